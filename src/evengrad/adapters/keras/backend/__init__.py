"""What differs between TensorFlow, JAX and PyTorch under Keras."""
