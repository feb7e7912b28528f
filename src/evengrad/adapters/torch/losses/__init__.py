"""Mistakes in a loss that its call shows: shapes that broadcast, targets out of range, texts too long."""
