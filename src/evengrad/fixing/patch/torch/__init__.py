"""Changes written into a script that uses PyTorch: one file a change."""
