"""A Keras model's operations in the order of one call, with their tensors."""
