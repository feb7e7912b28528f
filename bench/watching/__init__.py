"""What watching a training costs, against what PyTorch, Keras and others take for the like."""
