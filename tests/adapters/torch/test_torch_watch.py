"""Watching a torch training: nothing of it changes, and what is recorded is what happened."""

import copy
import io
import logging
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import evengrad
from evengrad.adapters.torch.tap import patches, reading
from evengrad.adapters.torch.tap.models import find_roots
from evengrad.values.run import TENSOR_FIGURES, EventKind
from tests.adapters.torch.torch_trainings import (
    NETWORKS,
    OPTIMIZERS,
    batch,
    build,
    everything,
    same,
    train,
)

GAN = '''
import torch
from torch import nn
torch.manual_seed(0)
make, judge = nn.Linear(3, 5), nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1))
one = torch.optim.Adam(make.parameters()); other = torch.optim.SGD(judge.parameters(), lr=0.1)
for step in range(4):
    fake = make(torch.randn(8, 3))
    other.zero_grad(); judge(fake.detach()).mean().backward(); other.step()
    one.zero_grad(); (-judge(fake).mean()).backward(); one.step()
'''  # fmt: skip


def both(run, network="dense", optimizer="adamw", seed=0, **watching):
    """The same training bare and watched: (result, everything) of each."""
    found = []
    for watched in (False, True):
        model = build(network, seed)
        chosen = OPTIMIZERS[optimizer](model.parameters())
        torch.manual_seed(seed)
        if watched:
            with evengrad.watch(model, chosen, folder=None, every=3, **watching) as watch:
                result = run(model, chosen)
            assert not watch.watching.off
        else:
            result = run(model, chosen)
        found.append((result, everything(model, chosen), torch.get_rng_state()))
    return found


def assert_equal(found):
    (one, left, noise), (other, right, noise_after) = found
    assert one == other
    assert same(left, right)
    assert torch.equal(noise, noise_after)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_changes_no_bit(network, optimizer):
    assert_equal(both(lambda m, o: train(m, o, seed=3), network, optimizer))


@pytest.mark.parametrize("guard", ["stop", "skip", "rollback", None])
def test_changes_no_bit_with_any_guard(guard):
    assert_equal(both(train, "conv", guard=guard))


@pytest.mark.parametrize("clip", [1e9, "tensor:1e9", "value:1e9", "agc:1e9"])
@pytest.mark.parametrize("optimizer", ["adam fused", "sgd"])
def test_a_clip_that_does_not_bind_changes_no_bit(clip, optimizer):
    assert_equal(both(train, "conv", optimizer, clip=clip))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("optimizer", ["adam fused", "adamw"])
def test_changes_no_bit_under_autocast_and_a_scaler(dtype, optimizer):
    def run(model, chosen):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14, growth_interval=4)
        generator, losses = torch.Generator().manual_seed(1), []
        for _ in range(12):
            x, y = batch(generator)
            chosen.zero_grad()
            with torch.autocast("cpu", dtype):
                loss = nn.functional.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(chosen)
            scaler.update()
            losses.append(loss.item())
        return losses, scaler.get_scale()

    assert_equal(both(run, "conv", optimizer))


def test_changes_no_bit_with_accumulation_and_the_scripts_own_clip():
    def run(model, chosen):
        generator, losses = torch.Generator().manual_seed(1), []
        for step in range(24):
            x, y = batch(generator)
            loss = nn.functional.cross_entropy(model(x), y) / 4
            loss.backward()
            losses.append(loss.item())
            if step % 4 == 3:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                chosen.step()
                chosen.zero_grad()
        return losses

    assert_equal(both(run))


def test_changes_no_bit_of_a_closure():
    found = []
    for watched in (False, True):
        model = build("residual", 0)
        chosen = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
        x, y = batch(torch.Generator().manual_seed(0))

        def closure(model=model, chosen=chosen, x=x, y=y):
            chosen.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            return loss

        if watched:
            with evengrad.watch(model, chosen, folder=None) as watch:
                losses = [float(chosen.step(closure)) for _ in range(4)]
            assert not watch.watching.off
        else:
            losses = [float(chosen.step(closure)) for _ in range(4)]
        found.append((losses, everything(model, chosen), torch.get_rng_state()))
    assert_equal(found)


@pytest.fixture
def compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("how", ["wrapper", "module", "step"])
def test_changes_no_bit_of_compiled_code(how, compiler):
    """With a backend that runs what it traced as it is: what it would compile is what is looked at."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def run(model, chosen):
        graphs.clear()
        torch.compiler.reset()
        if how == "wrapper":
            model = torch.compile(model, backend=backend)
        elif how == "module":
            model.compile(backend=backend)
        forward = model
        if how == "step":

            def forward(x):
                return model(x)

            forward = torch.compile(forward, backend=backend)
        return train(forward, chosen, steps=8), len(graphs)

    assert_equal(both(run, "dense"))


def test_an_error_of_our_own_never_ends_the_training(monkeypatch, caplog):
    plain = build("conv", 0)
    chosen = OPTIMIZERS["adam fused"](plain.parameters())
    expected = train(plain, chosen)
    for place in (
        "on_host.as_host",
        "training.Observation",
        "training.together",
        "on_host.total_norm",
    ):
        model = build("conv", 0)
        own = OPTIMIZERS["adam fused"](model.parameters())
        caplog.clear()
        with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, "evengrad"):
            patched.setattr(f"evengrad.adapters.torch.tap.{place}", lambda *a: 1 / 0)
            with evengrad.watch(
                model, own, folder=None, clip=0.5 if "as_host" in place else None
            ) as watch:
                assert train(model, own) == expected
        assert watch.watching.off
        assert [r.message.count("ZeroDivisionError") for r in caplog.records] == [1]
        assert same(everything(model, own), everything(plain, chosen))


def test_leaves_no_trace():
    model = build("conv", 0)
    chosen = OPTIMIZERS["adam fused"](model.parameters())
    modules = {id(m): dict(m.__dict__) for m in model.modules()}
    places = [
        torch.Tensor,
        torch.autograd,
        torch,
        torch.amp.GradScaler,
        torch.nn.utils.clip_grad,
        torch.nn.utils,
        nn.Module,  # whose __getstate__ leaves what is compiled out of files
    ]
    functions = [dict(vars(place)) for place in places]
    attributes = dict(chosen.__dict__)
    watch = evengrad.watch(model, chosen, folder=None, clip=1e-3)
    train(model, chosen, steps=3)
    watch.remove()
    watch.remove()
    for module in model.modules():
        assert module.__dict__.keys() == modules[id(module)].keys()
        assert not {**module._forward_hooks, **module._forward_pre_hooks}
    assert chosen.__dict__.keys() == attributes.keys()
    assert not {**chosen._optimizer_step_pre_hooks, **chosen._optimizer_step_post_hooks}
    for place, before in zip(places, functions, strict=True):
        now = vars(place)
        assert now.keys() - {"_dynamo"} == before.keys() - {"_dynamo"}
        assert [name for name in before if now[name] is not before[name]] == []
    assert not patches._taps


def test_copies_and_files_made_while_watched_are_plain():
    model = build("conv", 0)
    chosen = OPTIMIZERS["adamw"](model.parameters())
    with evengrad.watch(model, chosen, folder=None):
        model(batch(torch.Generator())[0]).sum().backward()
        twin, file = copy.deepcopy(model), io.BytesIO()
        torch.save(model, file)
        assert b"evengrad" not in file.getvalue()
        assert b"evengrad" not in pickle.dumps(chosen)
        assert not {**twin._forward_hooks, **twin._forward_pre_hooks}
        assert model._forward_hooks, "the model itself is still watched"
    state = chosen.state_dict()
    other = OPTIMIZERS["adamw"](twin.parameters())
    other.load_state_dict(state)


# --- what is recorded ----------------------------------------------------------------------------------


def test_records_what_a_plain_loop_computes(tmp_path):
    model = build("residual", 1)
    chosen = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    expected, kept = [], {}

    def spoil(step):
        rows = []
        for p in model.parameters():
            g = p.grad.double()
            rows.append(
                [
                    g.square().mean().sqrt(),
                    g.abs().max(),
                    (g == 0).double().mean(),
                    p.double().square().mean().sqrt(),
                ]
            )
        kept[step] = [p.detach().clone() for p in model.parameters()]
        total = sum(p.grad.double().square().sum() for p in model.parameters()).sqrt()
        expected.append((float(total), [[float(v) for v in row] for row in rows]))

    with evengrad.watch(model, chosen, folder=tmp_path, every=5) as watch:
        losses = train(model, chosen, steps=17, spoil=spoil)
        kept[17] = [p.detach().clone() for p in model.parameters()]
    run = evengrad.load(watch.watching.path)
    assert run.status == "finished"
    assert run.steps["loss"] == pytest.approx(losses)
    assert run.steps["rate"] == pytest.approx([0.05] * 17)
    assert run.steps["norm"] == pytest.approx([e[0] for e in expected], rel=1e-5)
    assert run.steps["clipped"] == pytest.approx(run.steps["norm"])
    observed = [*range(10), 10, 15]
    assert sorted(set(run.details["step"].tolist())) == observed
    assert [t.name for t in run.subject.tensors] == [name for name, _ in model.named_parameters()]
    for step in observed:
        rows = run.details["step"] == step
        table = np.stack([run.details[name][rows] for name in TENSOR_FIGURES], axis=1)
        assert table[:, :4] == pytest.approx(np.array(expected[step][1]), rel=1e-5)
        moved = [
            float((b - a).double().square().mean().sqrt())
            for a, b in zip(kept[step], kept[step + 1], strict=True)
        ]
        assert table[:, 4] == pytest.approx(moved, rel=1e-4)


def test_records_activations_of_modules_and_functions(tmp_path):
    model = build("conv", 0)
    chosen = OPTIMIZERS["sgd"](model.parameters())
    with torch.no_grad():
        model.norm.bias[:5] = -100.0
    with evengrad.watch(model, chosen, folder=tmp_path) as watch:
        train(model, chosen, steps=4)
    run = evengrad.load(watch.watching.path)
    assert run.layers == ("relu", "relu_2")
    first = run.samples["layer"] == 0
    assert run.samples["dead"][first] == pytest.approx([5 / 8] * first.sum())


def test_a_script_that_clips_is_seen_before_its_clip(tmp_path):
    """PEERS, trap 8: hooks of others see what clipping left, and one NaN has become many."""
    model = build("dense", 0)
    chosen = OPTIMIZERS["sgd"](model.parameters())
    norms = []

    def spoil(step):
        if step == 4:
            model[3].weight.grad[0, 0] = math.nan
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.01)))

    with (
        pytest.raises(evengrad.GuardStopError, match="of 1 of 6"),
        evengrad.watch(model, chosen, folder=tmp_path) as watch,
    ):
        train(model, chosen, steps=6, spoil=spoil)
    run = evengrad.load(watch.watching.path)
    assert run.steps["norm"][:4] == pytest.approx(norms[:4], rel=1e-5)
    assert run.steps["clipped"][:4] == pytest.approx([0.01] * 4, rel=1e-3)
    assert run.events[-1].layer == "3"


def test_nan_is_data(tmp_path):
    """PEERS, trap 4: loggers drop what is not finite; the run file has it, in every table."""
    model = build("dense", 0)
    chosen = OPTIMIZERS["sgd"](model.parameters())
    with evengrad.watch(model, chosen, folder=tmp_path, guard=None) as watch:
        train(model, chosen, steps=3, before=lambda step, x: x * math.nan if step == 2 else x)
    run = evengrad.load(watch.watching.path)
    assert np.isnan([run.steps["loss"][2], run.steps["norm"][2]]).all()
    assert run.steps["non_finite"][2] == sum(p.numel() for p in model.parameters())
    assert np.isnan(run.details["gradient_rms"][run.details["step"] == 2]).all()
    assert np.isnan(run.recent["gradient_rms"][run.recent["step"] == 2]).all()
    kinds = [event.kind for event in run.events]
    assert kinds[0] is EventKind.NON_FINITE
    assert not torch.isfinite(model[0].weight).all(), "without a guard it goes where it goes"


def test_under_compilation_the_source_is_named(tmp_path, compiler):
    """PEERS, trap 7: check_numerics fails under compilation, anomaly mode names a backward node."""
    model = build("residual", 0)
    chosen = OPTIMIZERS["sgd"](model.parameters())
    compiled = torch.compile(model, backend="eager")

    def before(step, x):
        if step == 3:
            with torch.no_grad():
                model.inner.bias[0] = math.inf
        return x

    with (
        pytest.raises(evengrad.GuardStopError),
        evengrad.watch(compiled, chosen, folder=tmp_path) as watch,
    ):
        train(compiled, chosen, before=before)
    events = evengrad.load(watch.watching.path).events
    assert events[0].layer.endswith("inner")


@pytest.mark.parametrize(("largest", "verdict"), [(1.0, "calibrating"), (None, "overflow")])
def test_says_whether_skips_of_a_scaler_are_normal(largest, verdict, tmp_path):
    model = nn.Linear(4, 1, bias=False)
    chosen = torch.optim.SGD(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    with evengrad.watch(model, chosen, folder=tmp_path) as watch:
        for step in range(30):
            chosen.zero_grad()
            loss = model(torch.full((1, 4), 1.0)).sum()
            scaler.scale(loss).backward()
            limit = 65504.0 if largest or step < 4 else 0.0
            if model.weight.grad.abs().max() > limit:  # as float16 gradients would
                model.weight.grad.fill_(math.inf)
            scaler.step(chosen)
            scaler.update()
    run = evengrad.load(watch.watching.path)
    told = [e.values["verdict"] for e in run.events if e.kind is EventKind.SCALER]
    assert told[0] == "calibrating"
    assert verdict in told
    assert ("overflow" in told) == (verdict == "overflow")
    assert run.steps["applied"].tolist()[0] == 0
    assert not any(e.kind is EventKind.STOP for e in run.events)
    if verdict == "calibrating":
        assert (run.steps["applied"] == 0).sum() == 1 == math.ceil(math.log2(65536 / 65504))


def test_losses_are_the_scripts_own_not_the_scaled_ones(tmp_path):
    model = build("dense", 0)
    chosen = OPTIMIZERS["adamw"](model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    losses = []
    with evengrad.watch(model, chosen, folder=tmp_path) as watch:
        for _ in range(12):
            x, y = batch(torch.Generator().manual_seed(0))
            chosen.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            norm = sum(p.grad.square().sum() for p in model.parameters()).sqrt() / 2.0**10
            scaler.step(chosen)
            scaler.update()
            losses.append((loss.item(), float(norm)))
    run = evengrad.load(watch.watching.path)
    assert run.steps["loss"] == pytest.approx([loss for loss, _ in losses])
    assert run.steps["norm"] == pytest.approx([norm for _, norm in losses], rel=1e-4)


def test_parameters_that_come_later_begin_another_run(tmp_path):
    model, more = build("dense", 0), nn.Linear(4, 4)
    chosen = torch.optim.SGD(model.parameters(), lr=0.01)
    with evengrad.watch(model, chosen, folder=tmp_path):
        train(model, chosen, steps=2)
        chosen.add_param_group({"params": more.parameters()})
        train(nn.Sequential(model, more), chosen, steps=2)
    runs = [evengrad.load(path) for path in sorted(tmp_path.iterdir())]
    assert sorted(len(run.subject.tensors) for run in runs) == [6, 8]
    assert [run.status for run in runs] == ["finished", "finished"]


def test_finds_the_outermost_modules():
    inner = build("dense", 0)
    outer = nn.ModuleDict({"a": inner, "b": nn.Linear(2, 2)})
    assert find_roots(inner[3].parameters(), [inner[3]]) == [outer]
    assert find_roots(inner[3].parameters()) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"clip": "agcc"}, "Expected a clip such as"),
        ({"clip": -1.0}, "positive"),
        ({"clip": "norm:inf"}, "positive, finite"),
        ({"guard": "halt"}, "Expected a guard such as"),
        ({"guard": "skip:0"}, "Expected a guard such as"),
        ({"every": 0}, "at least 1"),
        ({"clip": "update"}, "second moment"),
    ],
)
def test_wrong_settings_say_what_was_expected(given, expected):
    model = build("dense", 0)
    with pytest.raises(evengrad.EvengradError, match=expected):
        evengrad.watch(model, OPTIMIZERS["sgd"](model.parameters()), folder=None, **given)


def test_wrong_settings_leave_no_trace_and_never_end_a_script(tmp_path):
    model = build("dense", 0)
    chosen = OPTIMIZERS["sgd"](model.parameters())
    with pytest.raises(evengrad.EvengradError):
        evengrad.watch(model, chosen, folder=None, clip="update")
    assert not chosen._optimizer_step_pre_hooks
    assert torch._C._len_torch_function_stack() == 0
    (tmp_path / "gan.py").write_text(GAN)
    code = (
        "from evengrad.verbs.run_script import run_script; "
        "from evengrad.recording.settings import settings_of; "
        "print(run_script('gan.py', settings=settings_of('update', 'stop', 10, None, 'x')).error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "None", done.stderr
    assert done.stderr.count("cannot watch this training") == 1, (
        "SGD has no second moment, Adam has"
    )


def test_wrong_things_say_what_was_expected():
    model, other = build("dense", 0), build("dense", 0)
    with pytest.raises(evengrad.EvengradError, match=r"Expected a torch\.optim\.Optimizer"):
        evengrad.watch(model, model, folder=None)
    with pytest.raises(evengrad.EvengradError, match="trains none"):
        evengrad.watch(model, OPTIMIZERS["sgd"](other.parameters()), folder=None)


def test_every_optimizer_of_a_script_has_its_run(tmp_path):
    (tmp_path / "gan.py").write_text(GAN)
    code = (
        "from pathlib import Path; from evengrad.verbs.run_script import run_script; "
        "from evengrad.recording.settings import Settings; "
        "print(len(run_script('gan.py', settings=Settings(folder=Path('runs'))).runs))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "2", done.stderr
    runs = [evengrad.load(path) for path in sorted((tmp_path / "runs").iterdir())]
    assert sorted(run.subject.optimizer for run in runs) == ["one (Adam)", "other (SGD)"]
    assert all(len(run.steps["step"]) == 4 and np.isfinite(run.steps["loss"]).all() for run in runs)


def test_exact_norm_of_any_layout():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 5, 5, generator=generator)
    for value in (
        x,
        x.to(memory_format=torch.channels_last),
        x.transpose(0, 1),
        x.bfloat16(),
        x.double(),
        x[:, 1:],
    ):
        expected = float(value.double().square().sum().sqrt())
        assert float(reading.norms([value])[0]) == pytest.approx(expected, rel=1e-5)
        assert reading.exact(value) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("kind", "given", "memory"),
    [
        (torch.optim.AdamW, {"betas": (0.9, 0.95)}, 0.95),
        (torch.optim.RMSprop, {"alpha": 0.9}, 0.9),
        (torch.optim.SGD, {}, None),
    ],
)
def test_the_run_knows_how_long_the_optimizer_remembers(kind, given, memory, tmp_path):
    model = build("dense", 0)
    chosen = kind(model.parameters(), lr=1e-3, **given)
    with evengrad.watch(model, chosen, folder=tmp_path) as watch:
        train(model, chosen, steps=2)
    assert evengrad.load(watch.watching.path).subject.settings["beta2"] == memory
