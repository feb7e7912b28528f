"""What a script's own training loop does in its first steps: mistakes that no gradient shows by itself."""
