"""Figures of tensors, worked out where the tensors are."""
