"""The data of a Network as NumPy arrays, the same for each framework's builder."""

import numpy as np

FEATURES, SIDE = 32, 8


def data(network, seed):
    """The batch as NumPy arrays, images NHWC."""
    rng = np.random.default_rng(seed)
    shape = (SIDE, SIDE, 1) if network.layers == "conv" else (FEATURES,)
    x = rng.normal(size=(network.batch, *shape)) * network.input_scale + network.input_shift
    if network.input_nan:
        x[0] = np.nan
    y = rng.integers(0, network.classes, network.batch) + network.label_offset
    return x.astype(np.float32), y
