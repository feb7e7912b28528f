"""A training being watched: what is decided at each step, and the file that it is written to."""
