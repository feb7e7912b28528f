"""Every kind of clip on a torch optimizer, fused or not, against a plain loop that does the same by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import evengrad
from evengrad.adapters.torch.tap.clipping import folds, multiply
from evengrad.recording import clip as clips
from tests.adapters.torch.torch_trainings import OPTIMIZERS, batch, build, everything, train

KINDS = [
    "norm:0.3",
    "tensor:0.05",
    "value:0.002",
    "agc:0.001",
    "percentile",
    "zscore:0.5",
    "adagc",
    "auto",
]


def by_hand(written, model):
    """A function that clips ``.grad`` in place, from the kind's own definition."""
    kind = clips.parse(written)
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    state = kind.start(len(named)) if kind.scope == "norms" else None
    last = next(n for n, p in reversed(named) if p.ndim > 1).rpartition(".")[0]

    def clip(step):
        nonlocal state
        if written.startswith("norm"):
            nn.utils.clip_grad_norm_(model.parameters(), kind.bound)
        elif written.startswith("value"):
            nn.utils.clip_grad_value_(model.parameters(), kind.bound)
        elif written.startswith("agc"):
            for name, p in named:
                if name.rpartition(".")[0] != last:
                    units(p, kind)
        else:
            norms = np.array([float(p.grad.double().norm()) for _, p in named])
            with np.errstate(all="ignore"):
                factors, state = kind.factors(clips.OnHost(), norms, state)
            for (_, p), f in zip(named, np.broadcast_to(factors, len(named)), strict=True):
                p.grad.mul_(float(f))

    return clip


def units(p, kind):
    rows = zip(p.grad, p.detach(), strict=True) if p.ndim > 1 else [(p.grad, p.detach())]
    for gradient, weight in rows:
        limit = kind.limit * max(float(weight.norm()), kind.eps)
        if float(gradient.norm()) > limit:
            gradient.mul_(limit / float(gradient.norm()))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("written", KINDS)
def test_is_what_it_says(written, optimizer, tmp_path):
    plain, model = build("residual", 1), build("residual", 1)
    hand = by_hand(written, plain)

    def jump(model, step):
        if step in (26, 29):
            torch._foreach_mul_([p.grad for p in model.parameters()], 20.0)

    def spoil(step):
        jump(plain, step)
        hand(step)

    train(plain, OPTIMIZERS[optimizer](plain.parameters()), steps=30, spoil=spoil)
    chosen = OPTIMIZERS[optimizer](model.parameters())
    with evengrad.watch(model, chosen, folder=tmp_path, clip=written) as watch:
        train(model, chosen, steps=30, spoil=lambda step: jump(model, step))
    for a, b in zip(plain.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    run = evengrad.load(watch.watching.path)
    assert (run.steps["coefficient"] < 1).any()
    assert run.steps["clipped"] == pytest.approx(run.steps["norm"] * run.steps["coefficient"])
    assert not hasattr(chosen, "grad_scale")
    assert not hasattr(chosen, "found_inf")


def stable_adamw(parameters, rate, betas, eps, decay, steps, gradients):
    """2304.13013, algorithm 2, with the framework's own bias correction; plain tensors."""
    weights = [p.clone() for p in parameters]
    first = [torch.zeros_like(p) for p in weights]
    second = [torch.zeros_like(p) for p in weights]
    for t in range(1, steps + 1):
        for i, w in enumerate(weights):
            g = gradients(t - 1, i, w)
            first[i] = betas[0] * first[i] + (1 - betas[0]) * g
            second[i] = betas[1] * second[i] + (1 - betas[1]) * g * g
            v = second[i] / (1 - betas[1] ** t)
            rms = float((g * g / v.clamp_min(eps * eps)).mean().sqrt())
            own = rate / max(1.0, rms)
            update = first[i] / (1 - betas[0] ** t) / (v.sqrt() + eps)
            weights[i] = w - own * decay * w - own * update
    return weights


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_update_clip_is_stable_adamw(fused, seed):
    """The update is taken back in part after the step: the same as a rate divided by max(1, RMS)."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(5, 3)
    given = [
        [torch.randn(p.shape, generator=generator) for p in model.parameters()] for _ in range(12)
    ]
    for step in (6, 9):
        given[step] = [g * 40 for g in given[step]]
    start = [p.detach().clone() for p in model.parameters()]
    expected = stable_adamw(start, 0.01, (0.9, 0.99), 1e-8, 0.1, 12, lambda t, i, _: given[t][i])
    chosen = torch.optim.AdamW(
        model.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=0.1, fused=fused
    )
    with evengrad.watch(model, chosen, folder=None, clip="update"):
        for gradients in given:
            for p, g in zip(model.parameters(), gradients, strict=True):
                p.grad = g.clone()
            chosen.step()
    for a, b in zip(expected, model.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adam fused", "adamw", "sgd fused", "sgd"])
@pytest.mark.parametrize("unscales", [True, False])
def test_a_clip_under_a_grad_scaler_is_of_the_true_gradients(optimizer, unscales):
    """GradScaler multiplies into a scale that is there, and takes both attributes off itself."""
    found = []
    for watched in (False, True):
        model = build("dense", 2)
        chosen = OPTIMIZERS[optimizer](model.parameters())
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
        watch = evengrad.watch(model, chosen, folder=None, clip=0.2) if watched else None
        torch.manual_seed(0)
        for number in range(8):
            x, y = batch(torch.Generator().manual_seed(number))
            chosen.zero_grad()
            scaler.scale(nn.functional.cross_entropy(model(x), y)).backward()
            if unscales or not watched:
                scaler.unscale_(chosen)
            if not watched:
                nn.utils.clip_grad_norm_(model.parameters(), 0.2)
            scaler.step(chosen)
            scaler.update()
        if watch is not None:
            assert not watch.watching.off
            watch.remove()
        found.append(everything(model, chosen))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_folds_only_into_fused_kernels_that_read_memory_alike():
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    fused = torch.optim.SGD(model.parameters(), lr=1.0, fused=True)
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    gradients = [p.grad for p in model.parameters()]
    assert gradients[0].stride() == model.weight.stride()
    assert folds(fused, gradients)
    assert not folds(torch.optim.SGD(model.parameters(), lr=1.0), gradients)
    model.weight.grad = model.weight.grad.contiguous()
    gradients = [p.grad for p in model.parameters()]
    assert not folds(fused, gradients)
    before = [g.clone() for g in gradients]
    assert not multiply(fused, gradients, np.array(0.5), None)
    for old, new in zip(before, gradients, strict=True):
        torch.testing.assert_close(new, old * 0.5)


def test_folding_leaves_the_gradients_to_one_pass():
    """The fused kernel divides them itself; nothing of ours wrote to them before it."""
    model = build("dense", 0)
    chosen = OPTIMIZERS["sgd fused"](model.parameters())
    seen = []
    watch = evengrad.watch(model, chosen, folder=None, clip=1e-3)
    chosen.register_step_pre_hook(
        lambda o, *_: seen.append((float(o.grad_scale), float(o.found_inf)))
    )
    norms = []
    train(model, chosen, steps=3, spoil=lambda step: norms.append(
        math.sqrt(sum(float(p.grad.double().square().sum()) for p in model.parameters()))
    ))  # fmt: skip
    watch.remove()
    assert [scale for scale, _ in seen] == pytest.approx([norm / 1e-3 for norm in norms])
    assert [found for _, found in seen] == [0.0] * 3


def test_a_closure_is_clipped_in_place():
    """A fused kernel would apply the scale of the step before."""
    found = []
    for watched in (False, True):
        model = build("dense", 3)
        chosen = OPTIMIZERS["sgd fused"](model.parameters())
        x, y = batch(torch.Generator().manual_seed(0))

        def closure(model=model, chosen=chosen, x=x, y=y, watched=watched):
            chosen.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            if not watched:
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            return loss

        watch = evengrad.watch(model, chosen, folder=None, clip=0.1) if watched else None
        torch.manual_seed(0)
        for _ in range(4):
            chosen.step(closure)
        if watch is not None:
            watch.remove()
        found.append(everything(model, chosen))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
