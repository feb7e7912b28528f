"""JAX without Keras: optax, with flax (linen or nnx), Equinox, or nothing around it."""
