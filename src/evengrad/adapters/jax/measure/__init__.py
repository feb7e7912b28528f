"""One forward and backward pass of a function that is differentiated, measured operation by operation."""
