"""What can be known without measuring: moments of activations and their variance-preserving gains."""
