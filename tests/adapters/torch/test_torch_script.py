"""Ordinary PyTorch loops, run under the armed recorder, give the probe that evengrad.check gives."""

import sys
import textwrap
import traceback

import pytest
import torch
from torch import nn

from evengrad.adapters.torch.probe import probe
from evengrad.adapters.torch.script import arm
from evengrad.diagnosis.budget import budget
from evengrad.values.spec import Kind
from evengrad.verbs.check import check_probe

SETUP = """
import torch
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(inplace=True), nn.Linear(9, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
x, y = torch.randn(12, 6), torch.randint(0, 3, (12,))
criterion = nn.CrossEntropyLoss()
"""


class Stop(BaseException):
    pass


class Session:
    probe = error = failure = None
    started = 0

    precise = several = False

    def starting(self):
        self.started += 1

    def deliver(self, probe):
        self.probe = probe
        raise Stop

    def fail(self, error):
        self.error = error
        raise Stop

    def failed(self, error):
        self.failure = error
        raise Stop

    trouble = failed


def run(text):
    """Run a script's text as evengrad's runner would; the session and the script's names."""
    session, names = Session(), {"__name__": "__main__"}
    armed = arm(session)
    try:
        exec(compile(textwrap.dedent(text), "train.py", "exec"), names)
        armed.flush()
    except Stop:
        pass
    finally:
        armed.disarm()
    return session, names


def reference(optimizer=True):
    names = {}
    exec(SETUP, names)
    return probe(
        names["model"],
        loss=names["criterion"],
        batch=(names["x"], names["y"]),
        optimizer=names["optimizer"] if optimizer else None,
    )


def assert_same(found, expected):
    assert [op.name for op in found.operations] == [op.name for op in expected.operations]
    for a, b in zip(found.operations, expected.operations, strict=True):
        assert a.outputs[0].norm == pytest.approx(b.outputs[0].norm, rel=1e-5)
        assert a.log_gain == pytest.approx(b.log_gain, abs=1e-5)
    for a, b in zip(found.weights, expected.weights, strict=True):
        assert a.name == b.name
        assert a.gradient.rms == pytest.approx(b.gradient.rms, rel=1e-5)


LOOPS = {
    "plain": """
        for step in range(3):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        """,
    "torch.autograd.backward": """
        torch.autograd.backward(criterion(model(x), y))
        optimizer.step()
        """,
    "accumulation": """
        for step in range(4):
            criterion(model(x), y).backward()
        optimizer.step()
        """,
    "evaluation first": """
        model.eval()
        with torch.no_grad():
            model(x)
        model.train()
        model(torch.randn(2, 6))
        criterion(model(x), y).backward()
        optimizer.step()
        """,
    "compiled": """
        compiled = torch.compile(model)
        criterion(compiled(x), y).backward()
        optimizer.step()
        """,
    "grad scaler": """
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        scaler.scale(criterion(model(x), y)).backward()
        scaler.step(optimizer)
        """,
}


@pytest.mark.parametrize("loop", LOOPS)
def test_loops_give_the_probe_of_check(loop):
    session, _ = run(SETUP + textwrap.dedent(LOOPS[loop]))
    assert session.error is None
    assert session.started == 1
    expected = reference()
    found = session.probe
    if loop in ("evaluation first", "compiled"):  # names count an earlier call, or its wrapper
        assert budget(found).total == pytest.approx(budget(expected).total, abs=1e-5)
    else:
        assert_same(found, expected)
    assert found.optimizer == expected.optimizer
    if loop != "accumulation":
        for a, b in zip(found.weights, expected.weights, strict=True):
            assert a.update == pytest.approx(b.update, rel=1e-3)


def test_nothing_was_trained_and_nothing_stays_patched():
    call, backward = nn.Module.__call__, torch.autograd.backward
    scale = torch.amp.GradScaler.scale
    _, names = run(
        SETUP
        + "before = [p.detach().clone() for p in model.parameters()]"
        + textwrap.dedent(LOOPS["plain"])
    )
    for old, new in zip(names["before"], names["model"].parameters(), strict=True):
        assert torch.equal(old, new)
    assert nn.Module.__call__ is call
    assert torch.autograd.backward is backward
    assert torch.amp.GradScaler.scale is scale
    assert torch.overrides._len_torch_function_stack() == 0
    assert not sys.modules["torch.optim.optimizer"]._global_optimizer_pre_hooks


def test_the_users_clip_is_in_the_update():
    clipped = """
        criterion(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        optimizer.step()
        """
    session, _ = run(SETUP + textwrap.dedent(clipped))
    squares = sum(w.update**2 * w.value.size for w in session.probe.weights)
    assert squares**0.5 == pytest.approx(1e-3, rel=1e-3)


def test_a_closure_as_lbfgs_takes_it():
    session, _ = run(
        SETUP
        + textwrap.dedent("""
        optimizer = torch.optim.LBFGS(model.parameters())
        def closure():
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            return loss
        optimizer.step(closure)
        """)
    )
    assert session.probe.optimizer.name == "LBFGS"
    assert_same(session.probe, reference(optimizer=False))


def test_updates_by_hand_are_flushed_at_the_end():
    session, _ = run(
        SETUP
        + textwrap.dedent("""
        criterion(model(x), y).backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
        """)
    )
    assert session.probe.optimizer is None
    assert_same(session.probe, reference(optimizer=False))


def test_raw_tensors_without_any_module():
    session, names = run("""
        import torch
        torch.manual_seed(0)
        w1 = (torch.randn(6, 9) / 6**0.5).requires_grad_()
        w2 = (torch.randn(9, 3) / 3).requires_grad_()
        x, y = torch.randn(12, 6), torch.randint(0, 3, (12,))
        optimizer = torch.optim.SGD([w1, w2], lr=0.1)
        loss = torch.nn.functional.cross_entropy(torch.relu(x @ w1) @ w2, y)
        loss.backward()
        optimizer.step()
        """)
    assert {w.name for w in session.probe.weights} == {"w1", "w2"}
    kinds = [op.kind for op in session.probe.operations]
    assert kinds == [Kind.WEIGHTS, Kind.ACTIVATION, Kind.WEIGHTS, Kind.LOSS]
    for weight in session.probe.weights:
        assert weight.scale == pytest.approx(1.0, rel=0.3)
        exact = names[weight.name].grad.pow(2).mean().sqrt().item()
        assert weight.gradient.rms == pytest.approx(exact, rel=1e-5)


def test_two_modules_are_told_apart_by_their_variables():
    session, _ = run("""
        import torch
        from torch import nn
        encoder, decoder = nn.Linear(6, 4), nn.Linear(4, 6)
        optimizer = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=0.1)
        x = torch.randn(12, 6)
        nn.functional.mse_loss(decoder(torch.relu(encoder(x))), x).backward()
        optimizer.step()
        """)
    assert {w.name for w in session.probe.weights} == {
        "encoder.weight",
        "encoder.bias",
        "decoder.weight",
        "decoder.bias",
    }
    assert len(budget(session.probe).blocks) == 3


def test_autocast_and_half_precision():
    session, _ = run(
        SETUP
        + textwrap.dedent("""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        """)
    )
    assert budget(session.probe).total == pytest.approx(budget(reference()).total, abs=0.05)


def test_a_loss_that_is_no_scalar_fails_with_words():
    session, _ = run(SETUP + "nn.CrossEntropyLoss(reduction='none')(model(x), y).backward()")
    assert "scalar" in str(session.error)


def test_checkpointed_blocks():
    session, _ = run(
        SETUP
        + textwrap.dedent("""
        from torch.utils.checkpoint import checkpoint
        hidden = checkpoint(model[:2], x, use_reentrant=False)
        criterion(model[2](hidden), y).backward()
        optimizer.step()
        """)
    )
    assert session.error is None
    assert session.probe.loss.value > 0


@pytest.mark.parametrize("call", ["loss.backward()", "torch.autograd.backward(loss)"])
def test_a_fault_of_ours_leaves_the_backward_of_checkpoints_as_it_was(call, monkeypatch):
    def broken(recorder, *_):
        if recorder.measuring:
            raise RuntimeError("broken")

    monkeypatch.setattr("evengrad.adapters.torch.record.numbers.TensorNumbers._above", broken)
    session, names = run(
        SETUP
        + textwrap.dedent(f"""
        from torch.utils.checkpoint import checkpoint
        class Block(nn.Linear):
            def forward(self, hidden, turn):
                return super().forward(hidden) * turn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.block = nn.Linear(6, 3), Block(3, 3)
            def forward(self, x):
                return checkpoint(self.block, self.first(x), torch.ones(3), use_reentrant=False)
        model = Net()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        loss = criterion(model(x), y)
        {call}
        passed = True
        optimizer.step()
        """)
    )
    assert names["passed"]
    assert "broken" in str(session.failure)


def test_a_function_that_gives_no_gradient_for_an_output():
    """As TRL's chunked cross entropy: hooks are called with None then."""
    session, _ = run(
        SETUP
        + textwrap.dedent("""
        class Two(torch.autograd.Function):
            @staticmethod
            def forward(ctx, a, b):
                return a * 2, b + 1
            @staticmethod
            def backward(ctx, first, second):
                return first * 2, None
        hidden = model[:2](x)
        both = Two.apply(hidden, hidden * 3)
        criterion(model[2](both[0] + 0 * both[1]), y).backward()
        optimizer.step()
        """)
    )
    assert session.error is None
    assert session.failure is None
    assert session.probe.operations


def test_a_loss_that_is_written_in_place_has_a_rate():
    """As Hugging Face's Trainer writes it."""
    session, _ = run(
        SETUP
        + textwrap.dedent("""
        loss = criterion(model(x), y)
        loss *= 1.0
        loss.backward()
        optimizer.step()
        """)
    )
    assert session.error is None
    assert session.probe.rate is not None


METRIC = """
for step in range(2):
    out = model(x)
    {metric}
    loss = {loss}
    optimizer.zero_grad()
    {backward}
    optimizer.step()
"""
BAD = "nn.functional.nll_loss(out.log_softmax(1), y + 1)"
GOOD = "criterion(out, y)"


@pytest.mark.parametrize(
    ("metric", "loss", "backward"),
    [
        (f"{BAD}.item()", GOOD, "loss.backward()"),
        ("criterion(out, y + 1)", GOOD, "loss.backward()"),
        ("", BAD, "pass"),
    ],
    ids=["metric", "layer", "no backward"],
)
def test_an_error_at_a_loss_that_is_not_trained_on_is_the_scripts(metric, loss, backward):
    text = SETUP + METRIC.format(metric=metric, loss=loss, backward=backward)
    with pytest.raises(IndexError, match="Target 3 is out of bounds") as plain:
        exec(compile(text, "train.py", "exec"), {"__name__": "__main__"})
    session, _ = run(text)
    assert session.probe is session.error is None
    assert type(session.failure) is IndexError
    assert str(session.failure) == str(plain.value)
    lines = [
        [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == "train.py"]
        for error in (session.failure, plain.value)
    ]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("loss", [BAD, f"{GOOD} + {BAD}"], ids=["alone", "second term"])
@pytest.mark.parametrize("metric", ["", f"{BAD}.item()"], ids=["", "metric"])
def test_labels_out_of_range_in_the_trained_loss_are_a_finding(metric, loss):
    session, _ = run(SETUP + METRIC.format(metric=metric, loss=loss, backward="loss.backward()"))
    assert session.failure is None
    assert session.probe.loss.targets.max == 3
    assert check_probe(session.probe).findings[0].code == "EG602"


def test_a_metric_with_labels_out_of_range_in_a_loss_of_the_users():
    def loss(out, y):
        nn.functional.cross_entropy(out, y + 1).item()
        return nn.functional.cross_entropy(out, y)

    with pytest.raises(IndexError, match="Target 3 is out of bounds") as raised:
        probe(nn.Linear(5, 3), loss=loss, batch=(torch.randn(8, 5), torch.arange(8) % 3))
    names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert names.count("loss") == 1


LBFGS = """
optimizer = torch.optim.LBFGS(model.parameters(), lr={rate}, line_search_fn={search})
def closure():
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    return loss
before = [p.detach().clone() for p in model.parameters()]
optimizer.step(closure)
"""


def test_the_first_inner_step_of_lbfgs_is_worked_out():
    session, names = run(SETUP + LBFGS.format(rate=300.0, search=None))
    slopes = [p.grad for p in names["model"].parameters()]
    total = sum(float(g.abs().sum()) for g in slopes)
    expected = 300.0 * min(1.0, 1.0 / total) * slopes[0].square().mean().sqrt()
    (weight,) = [w for w in session.probe.weights if w.name == "0.weight"]
    assert weight.update == pytest.approx(float(expected), rel=1e-4)
    assert all(map(torch.equal, names["before"], names["model"].parameters()))
    assert any("curvature" in note for note in session.probe.notes)


def test_a_line_search_is_said_to_leave_the_update_unknown():
    session, _ = run(SETUP + LBFGS.format(rate=1.0, search="'strong_wolfe'"))
    assert any("along a line" in note for note in session.probe.notes)
