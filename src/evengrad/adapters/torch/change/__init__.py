"""Changes made in a live PyTorch model and its optimizer: one file a change."""
