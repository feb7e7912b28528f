"""What a check of a script with optax says, and where a NaN is born in one."""

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("optax")
jax = pytest.importorskip("jax")

from evengrad.diagnosis.diagnose import diagnose_probe  # noqa: E402
from evengrad.verbs.births import Script, add_birth  # noqa: E402
from evengrad.verbs.check_script import probe_script  # noqa: E402
from evengrad.verbs.inquire import Beginnings  # noqa: E402
from evengrad.verbs.run_script import run_script  # noqa: E402

DATA = """
import jax, jax.numpy as jnp, numpy as np, optax
rng = np.random.default_rng(0)
x = rng.normal(size=(8, 32, 12)).astype("float32")
y = rng.integers(0, 4, (8, 32))
"""
LINEN = """
from flax import linen as nn
from flax.training import train_state
class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        for _ in range(DEPTH):
            x = nn.ACTIVATION(nn.Dense(32)(x))
        return nn.Dense(4)(x)
model = MLP()
params = model.init(jax.random.PRNGKey(0), x[0])["params"]
state = train_state.TrainState.create(apply_fn=model.apply, params=params, tx=TX)
@jax.jit
def step(state, x, y):
    def loss_fn(params):
        logits = state.apply_fn({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss
for a, b in zip(x, y):
    state, loss = step(state, a, b)
    print(float(loss))
"""
NNX = """
from flax import nnx
class Net(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(12, 32, rngs=rngs)
        self.norm = nnx.BatchNorm(32, rngs=rngs)
        self.drop = nnx.Dropout(0.1, rngs=rngs)
        self.last = nnx.Linear(32, 4, rngs=rngs)
    def __call__(self, x):
        return self.last(self.drop(nnx.relu(self.norm(self.first(x)))))
model = Net(nnx.Rngs(0))
opt = nnx.Optimizer(model, optax.adamw(1e-3), wrt=nnx.Param)
def loss_fn(model, x, y):
    logits = model(x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), logits
@nnx.jit
def step(model, opt, x, y):
    (loss, _), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model, x, y)
    opt.update(model, grads)
    return loss
for a, b in zip(x, y):
    step(model, opt, a, b)
"""
EQUINOX = """
import equinox as eqx
model = eqx.nn.MLP(12, 4, 32, 2, key=jax.random.PRNGKey(0))
optim = optax.sgd(1e-2)
state = optim.init(eqx.filter(model, eqx.is_array))
@eqx.filter_jit
def step(model, state, x, y):
    def loss_fn(model):
        logp = jax.nn.log_softmax(jax.vmap(model)(x))
        return -jnp.mean(jnp.take_along_axis(logp, y[:, None], axis=1))
    loss, grads = eqx.filter_value_and_grad(loss_fn)(model)
    updates, state = optim.update(grads, state, model)
    return eqx.apply_updates(model, updates), state, loss
for a, b in zip(x, y):
    model, state, loss = step(model, state, a, b)
"""
PLAIN = """
def loss_fn(params, x, y):
    h = jnp.tanh(x @ params["hidden"]["w"] + params["hidden"]["b"])
    logits = h @ params["out"]["w"] + params["out"]["b"]
    return optax.softmax_cross_entropy(logits, jax.nn.one_hot(y, 4)).mean()
k1, k2 = jax.random.split(jax.random.PRNGKey(0))
params = {
    "hidden": {"w": jax.random.normal(k1, (12, 32)) / 4, "b": jnp.zeros(32)},
    "out": {"w": jax.random.normal(k2, (32, 4)) / 6, "b": jnp.zeros(4)},
}
tx = optax.adam(1e-3)
"""
JITTED = """
state = tx.init(params)
@jax.jit
def step(params, state, x, y):
    grads = jax.grad(loss_fn)(params, x, y)
    updates, state = tx.update(grads, state)
    return optax.apply_updates(params, updates), state
for a, b in zip(x, y):
    params, state = step(params, state, a, b)
"""
SCANNED = """
def step(carry, batch):
    params, state = carry
    loss, grads = jax.value_and_grad(loss_fn)(params, *batch)
    updates, state = tx.update(grads, state)
    return (optax.apply_updates(params, updates), state), loss
carry, losses = jax.jit(lambda c: jax.lax.scan(step, c, (x, y)))((params, tx.init(params)))
print(losses)
"""
APART = """
state = tx.init(params)
differentiate, update = jax.jit(jax.value_and_grad(loss_fn)), jax.jit(tx.update)
for a, b in zip(x, y):
    loss, grads = differentiate(params, a, b)
    updates, state = update(grads, state, params)
    params = optax.apply_updates(params, updates)
"""
EAGER = APART.replace(
    "jax.jit(jax.value_and_grad(loss_fn)), jax.jit(tx.update)",
    "jax.value_and_grad(loss_fn), tx.update",
)


def linen(depth=2, activation="relu", tx="optax.adam(1e-3)"):
    text = LINEN.replace("DEPTH", str(depth)).replace("ACTIVATION", activation)
    return DATA + text.replace("TX", tx)


SCRIPTS = {
    "linen": (linen(), "Dense_0/kernel", 2),
    "nnx": (DATA + NNX, "first/kernel", 1),
    "equinox": (DATA + EQUINOX, "layers/0/weight", 2),
    "plain": (DATA + PLAIN + JITTED, "hidden/w", 1),
    "scan": (DATA + PLAIN + SCANNED, "hidden/w", 1),
    "apart": (DATA + PLAIN + APART, "hidden/w", 1),
    "eager": (DATA + PLAIN + EAGER, "hidden/w", 1),
}


def write(tmp_path, text):
    path = tmp_path / "train.py"
    path.write_text(textwrap.dedent(text))
    return str(path)


@pytest.mark.parametrize("name", SCRIPTS)
def test_check_measures_the_first_step(name, tmp_path):
    if name == "nnx":
        pytest.importorskip("flax.nnx")
    pytest.importorskip({"linen": "flax", "equinox": "equinox"}.get(name, "optax"))
    text, weight, slopes = SCRIPTS[name]
    probe = probe_script(write(tmp_path, text))
    assert probe.frontend == "jax"
    assert probe.batch_size == 32
    assert probe.weight(weight).gradient.rms > 0
    assert probe.weight(weight).update > 0
    assert sum(op.kind == "activation" for op in probe.operations) >= slopes
    assert [f.code for f in diagnose_probe(probe) if f.severity == "error"] == []
    if name == "apart":
        assert "compiled apart" in probe.notes[0]
    else:
        assert probe.rate is not None
        assert probe.rate.learning_rate < probe.rate.critical


@pytest.mark.parametrize("name", SCRIPTS)
def test_run_watches_every_step(name, tmp_path, monkeypatch):
    pytest.importorskip({"linen": "flax", "nnx": "flax", "equinox": "equinox"}.get(name, "optax"))
    monkeypatch.chdir(tmp_path)
    outcome = run_script(write(tmp_path, SCRIPTS[name][0]))
    assert outcome.error is None
    assert outcome.failure is None
    from evengrad import load

    run = load(outcome.runs[0])
    assert len(run.steps["step"]) == 8
    assert all(loss > 0 for loss in run.steps["loss"])
    assert all(rate > 0 for rate in run.steps["rate"])
    assert SCRIPTS[name][1] in [t.name for t in run.subject.tensors]


def test_check_finds_vanishing_gradients(tmp_path):
    pytest.importorskip("flax")
    probe = probe_script(write(tmp_path, linen(9, "sigmoid", "optax.sgd(0.1)")))
    assert {"EG102", "EG203"} & {finding.code for finding in diagnose_probe(probe)}


def test_check_finds_a_rate_that_is_too_large(tmp_path):
    pytest.importorskip("flax")
    probe = probe_script(write(tmp_path, linen(tx="optax.sgd(500.0)")))
    causes = [finding.cause for finding in diagnose_probe(probe)]
    assert "learning_rate" in causes


BORN = {
    "jnp.sqrt": ("jnp.sqrt(jnp.sum((x @ w - x @ w) ** 2, -1)).mean()", "sqrt", "backward"),
    "jnp.linalg.norm": ("jnp.linalg.norm(x @ w - x @ w, axis=-1).mean()", "norm", "backward"),
    "jnp.log": ("-jnp.log(jnp.maximum(x @ w, 0)).mean()", "log", "forward"),
    "jnp.exp": ("jnp.exp(1e3 + (x @ w) ** 2).mean()", "exp", "forward"),
    "jnp.arccos": ("jnp.arccos(1 + (x @ w) ** 2).mean()", "acos", "forward"),
    "/": ("(x @ w / (jnp.sum(w) - jnp.sum(w))).mean()", "divide", "forward"),
}


@pytest.mark.parametrize("call", BORN)
def test_the_birth_of_a_nan_has_the_users_line(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loss, operation, direction = BORN[call]
    text = (
        DATA
        + f"""
def loss_fn(w, x):
    return {loss}
w = jnp.ones((12, 3))
tx = optax.sgd(0.1)
state = tx.init(w)
@jax.jit
def step(w, state, x):
    value, grads = jax.value_and_grad(loss_fn)(w, x)
    updates, state = tx.update(grads, state)
    return optax.apply_updates(w, updates), state, value
for a in x:
    w, state, value = step(w, state, a)
    print(float(value))
"""
    )
    target = write(tmp_path, text)
    begun = Beginnings()
    outcome = run_script(target)
    assert outcome.stopped is not None
    fact = add_birth(outcome, Script(target, (), False, begun))
    assert fact is not None
    assert fact.values["operation"] == operation
    assert fact.values["direction"] == direction
    assert fact.values["call"] == call
    assert fact.where.code in loss
    assert loss in text.splitlines()[fact.where.line - 1]


def test_fix_says_what_it_cannot_do(tmp_path):
    target = write(tmp_path, DATA + PLAIN + JITTED)
    command = [sys.executable, "-m", "evengrad", "fix", target]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "optax" in done.stdout + done.stderr


def test_an_older_jax_is_named_where_it_cannot_be_measured(monkeypatch):
    """What its jaxprs lack is said with the version that is needed, not as a fault of ours."""
    from evengrad.adapters.jax import compat, script
    from evengrad.errors import MissingFrameworkError

    told = []

    class Session:
        def fail(self, error):
            told.append(error)
            raise error

    monkeypatch.setattr(compat, "older_than", lambda version: version == "0.10")
    steps = script._FirstUpdates(Session())
    try:
        with pytest.raises(MissingFrameworkError, match=r"needs jax 0\.10 or newer"):
            steps.trouble(KeyError("jaxpr"))
    finally:
        steps.disarm()
    assert len(told) == 1


@pytest.mark.parametrize(("name", "status"), [("nnx_cnn", 0), ("deep_sigmoid", 1)])
def test_the_examples(name, status, tmp_path, monkeypatch):
    from pathlib import Path

    from typer.testing import CliRunner

    from evengrad.cli import app

    monkeypatch.chdir(tmp_path)
    script = Path(__file__).parents[3] / "examples" / "jax" / f"{name}.py"
    done = CliRunner().invoke(app, ["check", str(script), "--no-html"])
    assert done.exit_code == status, done.output
