"""Mistakes in the loop and the loss of a Keras script that can be seen exactly, as facts for the rules."""
