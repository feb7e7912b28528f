"""The kernel in Triton against torch's operators, interpreted on the CPU; left out where there is no Triton."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from evengrad.adapters.torch.statistics.many import gapless


def _interprets():
    """Whether there is a Triton whose interpreter makes zeros (3.0, of torch 2.4, does not)."""
    if importlib.util.find_spec("triton") is None:
        return False
    major, minor = importlib.metadata.version("triton").split(".")[:2]
    return (int(major), int(minor)) > (3, 0)


INTERPRETED = pytest.mark.skipif(not _interprets(), reason="needs Triton above 3.0")

SCRIPT = """
import math, torch
from evengrad.adapters.torch.statistics import eager, kernel

torch.manual_seed(0)
bad = torch.randn(3000); bad[[5, 700, 2999]] = torch.tensor([math.nan, math.inf, -math.inf])
kinds = {
    torch.float32: [torch.randn(70000), torch.randn(3, 5) * 1e19, torch.randn(9) * 1e-24, bad,
                    torch.zeros(4), torch.tensor(2.0), torch.zeros(0), torch.randn(40, 30).t()],
    torch.float64: [torch.randn(2000).double() * 1e100, torch.randn(5).double()],
    torch.float16: [(torch.randn(2000) * 1e-7).half(), torch.full((3,), 65504.0).half()],
    torch.bfloat16: [(torch.randn(33000) * 1e19).bfloat16()],
}
for dtype, tensors in kinds.items():
    plan = kernel.FiguresPlan([t.numel() for t in tensors], dtype, torch.device("cpu"))
    found = plan.figures(tensors)
    expected = torch.stack([eager.figures(t) for t in tensors])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(found, plan.figures(tensors)), "not the same bits twice"
    assert torch.equal(found, plan.figures([t.clone() for t in tensors])), "not so elsewhere in memory"
print("all equal")
"""


@INTERPRETED
def test_the_kernel_finds_what_torchs_operators_find():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", SCRIPT]
    ran = subprocess.run(
        command, check=False, env=environment, text=True, capture_output=True, timeout=200
    )
    assert ran.stdout.strip() == "all equal", ran.stderr


def test_what_lies_in_memory_without_gaps():
    whole = torch.zeros(4, 3, 5, 6)
    for tensor in (whole, whole.permute(2, 0, 1, 3), whole.to(memory_format=torch.channels_last)):
        assert gapless(tensor)
    for tensor in (whole[:, 1], whole[..., ::2], whole[:1].expand(4, 3, 5, 6)):
        assert not gapless(tensor)


DECISIONS = """
import itertools, math, torch
from evengrad.adapters.torch.tap import device_kernel
from evengrad.adapters.torch.tap.device_kernel import DeviceKernel, DeviceStep
from evengrad.adapters.torch.tap.one_launch import DecisionKernel
from evengrad.recording import clip, guard

class Optimizer: pass

cases = [(c, a, s) for c, a, s in itertools.product((None, "0.8", "auto"), ("stop", "skip", None), (0, 1))]
for number, (clipping, action, scaled) in enumerate(cases):
    torch.manual_seed(number)
    kernels = [DeviceKernel(clip.parse(clipping), guard.parse(action), 5, torch.device("cpu"),
                            torch.tensor([0.0, 0.1, 0.0, 0.0, 0.02]).numpy()) for _ in range(2)]
    kernels[1]._at_once = DecisionKernel(clip.parse(clipping), guard.parse(action), 5, kernels[1]._flag)
    for step in range(22):
        norms = torch.rand(5) + (3.0 if step == 15 else 0.0)
        if step == 17: norms[2] = math.nan
        if step == 18: norms *= 1e19
        found = []
        for kernel in kernels:
            optimizer = Optimizer()
            if scaled:
                optimizer.grad_scale, optimizer.found_inf = torch.tensor(4.0), torch.tensor(float(step == 9))
            losses = [torch.tensor(0.5 + step)] * (step % 3)
            factor = 1.0 if step % 2 else torch.tensor(0.9)
            given = DeviceStep(step, 0.1, 0.1, norms, factor, losses, 1e30 if step < 20 else 0.1, step == 4)
            decision = kernel.decide(given, optimizer)
            found.append([decision.grad_scale, decision.found_inf, kernel._flag])
        for one, other in zip(*found):
            assert (one is None) == (other is None), (clipping, action, step)
            if one is not None:
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-9, equal_nan=True)
        if step == 19:
            for kernel in kernels: kernel.resume()
    assert kernels[1]._at_once is not None, "it failed, and operators decided"
    one, other = (torch.as_tensor(kernel.unread()) for kernel in kernels)
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-9, equal_nan=True)
    read = [kernel.read(kernel.unread().double().numpy()) for kernel in kernels]
    assert [r.refused for r in read[0]] == [r.refused for r in read[1]]
    assert not any(kernel.waiting or kernel.alarmed for kernel in kernels)
print("all equal")
"""


@INTERPRETED
def test_one_launch_decides_as_torchs_operators_do():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", DECISIONS]
    ran = subprocess.run(
        command, check=False, env=environment, text=True, capture_output=True, timeout=280
    )
    assert ran.stdout.strip() == "all equal", ran.stderr


STEPS = """
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from evengrad.adapters.torch.tap import device_kernel, one_launch
from evengrad.adapters.torch.watch import WatchHandle
from evengrad.recording import clip, guard
from evengrad.recording.settings import Settings

VIEWS = ("view", "detach", "split_with_sizes", "as_strided", "slice", "permute", "alias", "unbind", "select")
class Launches(TorchDispatchMode):
    names, inside = [], False
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if not self.inside and name.lstrip("_") not in VIEWS: self.names.append(name)
        return func(*args, **(kwargs or {}))

counted = Launches()
original = one_launch.DecisionKernel.decide
def decide(*args):
    counted.names.append("decide")
    counted.inside = True
    try: return original(*args)
    finally: counted.inside = False
one_launch.DecisionKernel.decide = decide
device_kernel.kernel_there = lambda device: True

for clipping in (None, "1.0", "auto"):
    found = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(6)])
        optimizer = torch.optim.AdamW(model.parameters(), 0.01, fused=True)
        settings = Settings(8, clip.parse(clipping), guard.parse("stop"), None)
        watch = WatchHandle(model, optimizer, settings, on_device=True) if watched else None
        for step in range(14):
            model(torch.randn(2, 3)).square().mean().backward()
            counted.names = []
            with counted: optimizer.step()
            if step == 13: found.append(counted.names)
            optimizer.zero_grad()
        if watch: watch.remove(); assert not watch.watching.off
        found.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    more = list(found[2])
    for name in found[0]: more.remove(name)
    # On CUDA norms lie side by side, so that nothing is stacked; the last one is the optimizer's own.
    assert more == ["_foreach_norm", "stack", "decide", "_foreach_sub_"], more
    if clipping is None: assert torch.equal(found[1], found[3])
print("all equal")
"""


@INTERPRETED
def test_an_ordinary_step_is_three_launches():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", STEPS]
    ran = subprocess.run(
        command, check=False, env=environment, text=True, capture_output=True, timeout=280
    )
    assert ran.stdout.strip() == "all equal", ran.stderr
