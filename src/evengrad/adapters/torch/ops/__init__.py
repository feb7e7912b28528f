"""PyTorch's functions and modules as operations of a spec."""
