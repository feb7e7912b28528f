"""Changes made in a live Keras model and its optimizer: one file a change."""
