"""Pieces that the scripts of both frameworks are made of."""

from __future__ import annotations

from textwrap import dedent, indent

from bench.fixes.specs import Spec

STEPS, BATCH = 220, 32


STRIDED = (1, 3)  # layers that halve the image


_GAIN = {"relu": 2.0**0.5, "tanh": 5.0 / 3.0, "sigmoid": 1.0}


RATES = {"sgd": 0.05, "momentum": 0.01, "adam": 0.001}


def rate(spec: Spec) -> float:
    """The optimizer's."""
    factor = spec.size if spec.plant in ("rate_large", "rate_small") else 1.0
    factor *= (
        3.0 if spec.architecture == "autoencoder" else 1.0
    )  # in 220 steps it learns little else
    return float(f"{RATES[spec.optimizer] * factor:.3g}")


def std(spec: Spec) -> str:
    """Of the weights, as written: a number where it is planted, else from the layer's fan in."""
    if spec.plant in ("weights_large", "weights_small"):
        return f"{spec.size:g}"
    return ""


def gain(spec: Spec) -> float:
    """That keeps the variance."""
    return _GAIN[spec.activation]


def loader(spec: Spec) -> str:
    """Where the data comes from."""
    return "make_friedman1" if spec.architecture == "towers" else "load_digits"


def data(spec: Spec) -> str:
    """``images`` and ``labels``: digits of 8x8 pixels, or, for a regression, ten inputs of a known function."""
    shape = {"cnn": ".reshape(-1, 8, 8, 1)", "conv1d": ".reshape(-1, 8, 8)"}
    shape |= {"strided": shape["cnn"], "mixer": shape["conv1d"], "attention": shape["conv1d"]}
    factor = 1.0 if spec.plant != "raw_inputs" else spec.size
    lines = [
        "images, labels = load_digits(return_X_y=True)",
        f"images = images.astype(np.float32){shape.get(spec.architecture, '')} / 16.0",
    ]
    if spec.architecture == "towers":
        lines = [
            "images, labels = make_friedman1(2000, random_state=0)",
            "images = (images.astype(np.float32) - 0.5) / 0.29",
            "labels = ((labels - labels.mean()) / labels.std()).astype(np.float32)[:, None]",
        ]
    if factor != 1.0:
        lines.append(f"images = images * {factor:g}")
    if spec.plant == "bad_rows":
        lines.append(f"bad = np.random.default_rng({spec.seed}).random(len(images)) < {spec.size}")
        lines.append("images[bad] = np.nan")
    return "\n".join(lines)


def block(text: str, spaces: int = 0) -> str:
    """Lines of a template, moved to the right."""
    return indent(dedent(text).strip("\n"), " " * spaces)
