"""The callback classes of trainers in PyTorch."""
