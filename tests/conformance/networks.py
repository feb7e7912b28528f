"""The five networks of the conformance cases as lists of steps, with their weights and batch.

A step is (operation, name). "save" keeps the tensor, "add" adds the kept one. Images are NHWC, kernels
(k, k, in, out) or, depthwise, (k, k, channels, 1); dense kernels (in, out).
"""

import numpy as np

NETWORKS = {
    "plain conv": "conv:a relu conv:b relu conv:c relu flatten dense:head",
    "conv and batch norm": "conv:a bn:na relu conv:b bn:nb relu flatten dense:head",
    "residual": "conv:a relu save conv:b relu conv:c add relu save conv:d add flatten dense:head",
    "depthwise and strided": "conv:a relu depthwise:b relu conv:c relu depthwise:d flatten dense:head",
    "dense and layer norm": "flatten dense:a ln:na relu dense:b ln:nb tanh dense:c relu dense:head",
}
SIZE, CHANNELS, WIDTH, CLASSES, BATCH = 9, 6, 24, 5, 16
EPSILON = 1e-3  # of both normalisations


def steps(name):
    return [
        tuple(step.split(":")) if ":" in step else (step, "") for step in NETWORKS[name].split()
    ]


def make(name, seed):
    """Weights by name (float32) and a batch (images NHWC, labels) of that network."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(BATCH, SIZE, SIZE, 3)).astype(np.float32)
    y = rng.integers(0, CLASSES, BATCH)
    weights, shape = {}, x.shape[1:]
    for operation, layer in steps(name):
        kernel = None
        if operation == "conv":
            kernel, shape = (3, 3, shape[2], CHANNELS), (*shape[:2], CHANNELS)
        elif operation == "depthwise":
            kernel, side = (3, 3, shape[2], 1), (shape[0] - 3) // 2 + 1
            shape = (side, side, shape[2])
        elif operation == "flatten":
            shape = (int(np.prod(shape)),)
        elif operation == "dense":
            kernel = (shape[0], CLASSES if layer == "head" else WIDTH)
            shape = kernel[1:]
        elif operation in ("bn", "ln"):
            weights[layer, "gamma"] = rng.uniform(0.5, 1.5, shape[-1])
            weights[layer, "beta"] = rng.normal(0, 0.2, shape[-1])
        if kernel is not None:
            fan_in = 9 if operation == "depthwise" else int(np.prod(kernel[:-1]))
            outputs = kernel[2] if operation == "depthwise" else kernel[-1]
            weights[layer, "kernel"] = rng.normal(0, np.sqrt(1.5 / fan_in), kernel)
            weights[layer, "bias"] = rng.normal(0, 0.1, outputs)
    return {key: value.astype(np.float32) for key, value in weights.items()}, (x, y)
