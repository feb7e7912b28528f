"""The Keras half of the zoo. Where PyTorch's has a family in one half, it is in the other one here."""
