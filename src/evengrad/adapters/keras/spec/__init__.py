"""A Keras model described without running it: one file a family of layers."""
