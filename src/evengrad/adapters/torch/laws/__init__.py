"""The distribution of each weight and constant, without its values."""
