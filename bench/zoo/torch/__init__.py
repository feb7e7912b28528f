"""The PyTorch half of the zoo."""
