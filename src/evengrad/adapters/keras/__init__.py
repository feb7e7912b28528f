"""Keras 3 on TensorFlow, JAX and PyTorch: a symbolic trace, replayed on the real batch."""
