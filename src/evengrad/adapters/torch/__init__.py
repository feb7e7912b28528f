"""PyTorch: a function mode records the user's own forward, tensor hooks measure its backward."""
