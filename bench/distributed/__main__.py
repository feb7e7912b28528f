"""``python -m bench.distributed``: trainings in several processes against one in float64, and what it costs.

--sizes 2,4: numbers of processes; --only WAY or cost; --write: into docs/distributed.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from bench.distributed import layered
from bench.distributed.measure import ROOT, apart_from, cost, devices, processes, worst
from bench.distributed.ways import WAYS, Way

RESULTS = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs" / "distributed.md"
_WORDS = {True: "yes", False: "**no**", None: "-"}
_START, _END = "<!-- measured -->", "<!-- end of what was measured -->"


def row(way: Way, size: int, found: list[Any]) -> dict[str, Any]:
    """What all of the processes say of one way together."""
    apart = [worst(one[way.name]["healthy"], way.kind) for one in found]
    spoilt = [one[way.name]["spoilt"] for one in found]
    named = f"it began on rank {size - 1} of {size}"
    return {
        "way": way.name,
        "size": size,
        "tensor": max(one["gradient_rms"] for one in apart),
        "total": max(one["norm"] for one in apart),
        "loss": max(one["loss"] for one in apart),
        "together": all(one["applied"] == [1, 0, 1] and one["finite"] for one in spoilt),
        "named": all(named in one["events"][0] for one in spoilt if one["events"]),
    }


DEVICES = {
    "mirrored_fit": ("tensorflow", "Keras: `fit` under `MirroredStrategy`"),
    "mirrored_loop": (
        "tensorflow",
        "Keras: `tf.GradientTape` in `strategy.run` under `MirroredStrategy`",
    ),
    "data_parallel": ("jax", "Keras on JAX: `keras.distribution.DataParallel`"),
    "model_parallel": ("jax", "Keras on JAX: `keras.distribution.ModelParallel`, columns and rows"),
}
"""Ways of Keras on two devices of one process: the backend, and what it is, in the table."""


def rows_on_devices(only: str) -> dict[str, Any]:
    """Those ways of Keras whose name has this in it."""
    rows = {}
    for backend in ("tensorflow", "jax"):
        names = [n for n, (own, _) in DEVICES.items() if own == backend and only in n]
        with tempfile.TemporaryDirectory() as folder:
            found = devices(backend, Path(folder), names) if names else {}
        for name, one in found.items():
            apart = apart_from(layered.truth(one["healthy"]["start"]), one["healthy"])
            spoilt = one["spoilt"]
            rows[f"{name} 2"] = {
                "way": name,
                "size": "2 devices",
                "tensor": apart["gradient_rms"],
                "total": apart["norm"],
                "loss": apart["loss"],
                "together": spoilt["applied"] == [1, 0, 1] and spoilt["finite"],
                "named": None,
            }
    return rows


def page(results: dict[str, Any]) -> str:
    """The page with these tables."""
    titles = {way.name: way.title for way in WAYS}
    titles |= {name: title for name, (_, title) in DEVICES.items()}
    lines = [
        f"Measured with torch {results['torch']} on gloo{_and(results)}.",
        "",
        "| training | processes | norm of a tensor, apart by | of all | loss | one spoilt: all skip | named |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in results["rows"].values():
        figures = " | ".join(f"{one[name]:.0e}" for name in ("tensor", "total", "loss"))
        words = " | ".join(_WORDS[one[name]] for name in ("together", "named"))
        lines.append(f"| {titles[one['way']]} | {one['size']} | {figures} | {words} |")
    figures = results.get("cost")
    if figures is None:
        return _with(lines)
    low, high = figures["spread"]
    lines += [
        "",
        f"The cost, with two processes on two cores that were busy with other work, and "
        f"{figures['tensors']} tensors: a watched step takes {figures['watched']:.2f} times a bare one of "
        f"{figures['bare_ms']:.0f} ms "
        f"(quartiles {low:.2f} to {high:.2f}); an all-reduce of {figures['tensors']} + 8 numbers takes "
        f"{figures['round']:.4f} of it.",
    ]
    return _with(lines)


def versions(*names: str) -> str:
    """Such as "keras 3.15.1, tensorflow 2.21.0"."""
    sold_as = importlib.metadata.packages_distributions()
    return ", ".join(f"{n} {importlib.metadata.version(sold_as[n][0])}" for n in names)


def _and(results: dict[str, Any]) -> str:
    return f", and with {results['keras']}" if "keras" in results else ""


def _with(lines: list[str]) -> str:
    before, _, rest = PAGE.read_text().partition(_START)
    return f"{before}{_START}\n" + "\n".join(lines) + f"\n{_END}" + rest.partition(_END)[2]


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="2,4")
    parser.add_argument("--only", default="", help="a way, or cost")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {"torch": torch.__version__, "rows": results.get("rows", {})}
    for size in map(int, given.sizes.split(",")):
        ways = [way for way in WAYS if size in way.sizes and given.only in way.name]
        if not ways:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = processes(size, Path(folder), [way.name for way in ways])
        for way in ways:
            one = row(way, size, found)
            print(json.dumps(one), flush=True)
            results["rows"][f"{way.name} {size}"] = one
    if "2" in given.sizes:
        found = rows_on_devices(given.only)
        print(json.dumps(found), flush=True)
        results["rows"] |= found
        if found:
            results["keras"] = versions("keras", "tensorflow", "jax")
    if given.only in ("", "cost"):
        with tempfile.TemporaryDirectory() as folder:
            results["cost"] = cost(Path(folder))
        print(json.dumps(results["cost"]))
    if given.write:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
