"""Variance-preserving gains, 1 / sqrt(E[phi^2]), as docs/theory.md lists them (Activations)."""

GAINS = {
    "relu": 1.41421,
    "leaky_relu": 1.41414,
    "tanh": 1.59254,
    "sigmoid": 1.84623,
    "gelu": 1.53353,
    "silu": 1.67653,
    "selu": 1.0,
    "elu": 1.24520,
    "softplus": 1.04187,
    "mish": 1.48685,
}
