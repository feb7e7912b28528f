"""Where a NaN or an infinity is born in a Keras script: every operation of a step, as it is computed."""
