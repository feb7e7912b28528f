"""Where a NaN or an infinity was born: every call of a step is heard, and every node of its backward pass."""
