"""What watching and checking cost on one GPU."""
