"""Larger changes in a live PyTorch training: each against a training with the same written by hand."""

import pickle

import pytest
import torch
from test_torch_trying import Over, Session, batch, net
from torch import nn
from torch.nn import functional as F

from evengrad.adapters.torch import trying
from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.finite import Finite
from evengrad.fixing.changes.inputs import StandardiseInputs
from evengrad.fixing.changes.loss_scale import LossScale
from evengrad.fixing.changes.pretrained import Pretrained
from evengrad.fixing.changes.rate_by_loss import RateByLoss
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.changes.skip import Skip
from evengrad.fixing.changes.unit_variance import UnitVariance
from evengrad.fixing.changes.use_optimizer import UseOptimizer

STEPS = 8


def sgd(parameters, lr=0.1):
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def plain(model, optimizer, step=None, data=batch, forward=None):
    """A loop without evengrad: its losses."""
    losses = []
    for i in range(STEPS):
        x, y = data(i % 4)
        optimizer.zero_grad()
        loss = F.cross_entropy((forward or model)(x), y)
        loss.backward() if step is None else step(loss)
        if step is None:
            optimizer.step()
        losses.append(loss.item())
    return losses


def tried(session, model, make=sgd, step=None, data=batch, forward=None):
    """The same loop under a session with changes."""
    armed = trying.arm(session)
    try:
        return plain(model, make(model.parameters()), step and step(model), data, forward)
    except Over:
        return []
    finally:
        armed.disarm()


def square(seed=0, norm=False, width=16):
    torch.manual_seed(seed)
    layers = [nn.Linear(6, width), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Linear(width, width)] + [nn.BatchNorm1d(width)] * norm + [nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 3))


class Scaled(nn.Module):
    def __init__(self, branch):
        super().__init__()
        self.branch, self.scale = branch, nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x + self.scale * self.branch(x)


# --- residual connections ----------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [False, True])
def test_skip_is_a_residual_connection_that_begins_at_zero(norm):
    by_hand, step = square(norm=norm), 3 if norm else 2
    names = [str(2 + step * i) for i in range(3)]
    layers, hand = list(by_hand), []
    while layers:
        layer = layers.pop(0)
        if isinstance(layer, nn.Linear) and layer.in_features == layer.out_features:
            layer = Scaled(nn.Sequential(layer, layers.pop(0)) if norm else layer)
        hand.append(layer)
    by_hand = nn.Sequential(*hand)
    model = square(norm=norm)
    found = tried(Session(Skip(tuple(names)), steps=99), model)
    assert found == pytest.approx(plain(by_hand, sgd(by_hand.parameters())), rel=1e-6)
    assert all(float(model.get_submodule(name).skip.detach()) != 0 for name in names)


def test_skip_goes_around_a_normalisation_that_came_with_it():
    by_hand = square(norm=True)
    hand = [by_hand[0], by_hand[1]]
    for i in (2, 5, 8):
        hand += [Scaled(nn.Sequential(by_hand[i], nn.BatchNorm1d(16))), nn.ReLU()]
    by_hand = nn.Sequential(*hand, by_hand[11])
    names = ("2", "4", "6")
    session = Session(AddNormalisation("batch", names), Skip(names), steps=99)
    model = square()
    model.load_state_dict(
        {f"{new}.{p}": getattr(hand[i].branch[0], p).detach().clone()
         for i, new in zip((2, 4, 6), names, strict=True) for p in ("weight", "bias")},
        strict=False,
    )  # fmt: skip
    for new, old in (("0", by_hand[0]), ("8", by_hand[-1])):
        model.get_submodule(new).load_state_dict(old.state_dict())
    assert tried(session, model) == pytest.approx(
        plain(by_hand, sgd(by_hand.parameters())), rel=1e-6
    )


# --- weights ------------------------------------------------------------------------------------------


def test_unit_variance_and_nothing_else_changes():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Tanh(),
        nn.Linear(16, 3),
    )  # fmt: skip
    seen = {}

    def look(name):
        def hook(_m, _a, output):
            seen.setdefault(name, float(output.detach().std()))

        return hook

    for name in ("0", "2"):
        model.get_submodule(name).register_forward_hook(look(name))
    session = Session(UnitVariance(("0", "2")), steps=1)
    head = model[6].weight.detach().clone()
    armed = trying.arm(session)
    optimizer = sgd(model.parameters())
    x, _ = batch()
    seen.clear()
    model(3 * x)
    armed.disarm()
    assert session.refused is None
    seen.clear()
    rng = torch.get_rng_state()
    model(3 * x)
    assert not torch.equal(rng, torch.get_rng_state())
    assert seen == {"0": pytest.approx(1, abs=0.01), "2": pytest.approx(1, abs=0.2)}
    for name in ("0", "2"):
        layer = model.get_submodule(name)
        assert not layer.bias.any()
        square_ = layer.weight.T @ layer.weight
        torch.testing.assert_close(
            square_ / square_[0, 0], torch.eye(len(square_)), atol=1e-4, rtol=0
        )
    assert torch.equal(model[6].weight, head)
    assert int(model[3].num_batches_tracked) == 2
    assert len(optimizer.param_groups) == 1


def test_unit_variance_is_measured_behind_all_layers_before():
    model = square()
    session = Session(UnitVariance(("0", "2", "4", "6", "8")), steps=99)
    x, _ = batch()
    armed = trying.arm(session)
    sgd(model.parameters())
    model(x)
    armed.disarm()
    for i in (0, 2, 4, 6, 8):
        assert float(model[: i + 1](x).detach().std()) == pytest.approx(1, abs=0.011)


@pytest.mark.parametrize("kind", ["safetensors", "pt", "state_dict", "model"])
@pytest.mark.parametrize("factor", [0.1, 0.0])
def test_pretrained_weights_at_their_own_rate_or_frozen(tmp_path, kind, factor):
    other = square(seed=5)
    kept = {n: t for n, t in other.state_dict().items() if not n.startswith("8.")}
    kept["8.weight"] = torch.zeros(7, 16)  # another shape
    file = tmp_path / f"weights.{'safetensors' if kind == 'safetensors' else 'pt'}"
    if kind == "safetensors":
        from safetensors.torch import save_file

        save_file(kept, file)
    else:
        torch.save(kept if kind == "pt" else {kind: kept, "epoch": 3}, file)
    by_hand, head = square(), []
    head = list(by_hand[8].parameters())
    body = [p for n, p in by_hand.named_parameters() if not n.startswith("8.")]
    by_hand.load_state_dict({n: t for n, t in kept.items() if n != "8.weight"}, strict=False)
    if factor:
        optimizer = sgd([{"params": head}, {"params": body, "lr": 0.1 * factor}])
    else:
        for parameter in body:
            parameter.requires_grad = False
        optimizer = sgd(by_hand.parameters())
    session, model = Session(Pretrained(str(file), factor), steps=99), square()
    assert tried(session, model) == plain(by_hand, optimizer)
    (note,) = session.notes
    assert note.startswith("8 of 10 tensors matched: 0.weight, 0.bias, ")
    assert note.endswith("; not matched: 8.weight, 8.bias")


def test_pretrained_rates_follow_the_scripts_schedule_and_another_optimizer(tmp_path):
    file = tmp_path / "weights.pt"
    torch.save({n: t for n, t in square(seed=5).state_dict().items() if n[0] != "8"}, file)
    rates = []

    def scheduled(parameters):
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        optimizer.register_step_post_hook(
            lambda *_: (rates.append([g["lr"] for g in optimizer.param_groups]), schedule.step())
        )
        return optimizer

    changes = Pretrained(str(file), 0.1), UseOptimizer("adam", 0.01), SetRate(0.02)
    assert len(tried(Session(*changes, steps=99), square(), scheduled)) == STEPS
    assert rates[0] == pytest.approx([0.02, 0.002])
    assert rates[2] == pytest.approx([0.005, 0.0005])


def test_a_rate_that_follows_the_loss():
    rates, kept = [], []

    def noting(parameters):
        kept.append(sgd(parameters))
        kept[0].register_step_post_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
        return kept[0]

    losses = tried(Session(RateByLoss(0.05, 2.0, 30.0, 1.1), steps=99), square(), noting)
    assert rates == pytest.approx([min(0.05, 1 / (2 + 30 * loss)) for loss in losses])


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_files_that_are_no_weights_are_refused_and_not_run(tmp_path, capsys):
    other = tmp_path / "other.pt"
    torch.save({"a": torch.zeros(2)}, other)
    evil = tmp_path / "evil.pt"
    evil.write_bytes(pickle.dumps(Evil()))
    evil_too = tmp_path / "evil2.pt"
    torch.save({"0.weight": Evil()}, evil_too)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    numbers = tmp_path / "numbers.pt"
    torch.save({"epoch": 3}, numbers)
    whole = tmp_path / "whole.pt"
    torch.save(net().state_dict(), whole)
    for file, factor, words in (
        (other, 0.1, "has a name and shape of this model's; it has a, and the model 0.weight, 0.bias"),
        (evil, 0.1, "cannot be read as weights"),
        (evil_too, 0.1, "cannot be read as weights"),
        (broken, 0.1, "cannot be read as weights"),
        (numbers, 0.1, "has no tensors by name"),
        (whole, 0.0, "none would be left"),
    ):  # fmt: skip
        session = Session(Pretrained(str(file), factor))
        assert tried(session, net()) == []
        assert words in str(session.refused)
    assert capsys.readouterr().out == ""


# --- inputs --------------------------------------------------------------------------------------------


def spoilt(seed):
    x, y = batch(seed)
    x[0, 0], x[1, 2], x[2, 3] = torch.nan, torch.inf, -torch.inf
    return x, y


@pytest.mark.parametrize("scaled", [False, True])
def test_inputs_that_are_not_finite_become_zero(scaled):
    def hand(seed):
        x, y = spoilt(seed)
        x[~torch.isfinite(x)] = 0.0
        return ((x - 2.0) / 4.0 if scaled else x), y

    changes = (Finite(), StandardiseInputs(2.0, 4.0)) if scaled else (Finite(),)
    by_hand = net()
    expected = plain(by_hand, sgd(by_hand.parameters()), data=hand)
    assert tried(Session(*changes, steps=99), net(), data=spoilt) == expected


# --- loss scale -----------------------------------------------------------------------------------------


def halved(model):
    def forward(x):
        with torch.autocast("cpu", dtype=torch.float16):
            return model(x)

    return forward


def scaling(scale, clip):
    def make(model, optimizer):
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)

        def step(loss):
            scaler.scale(loss).backward()
            if clip:
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()

        return step

    return make


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("scale", [2.0**8, 2.0**30])  # the second overflows, and is halved
def test_loss_scale_does_what_torchs_own_scaler_does(scale, clip):
    by_hand = net()
    optimizer = sgd(by_hand.parameters())
    step = scaling(scale, clip)(by_hand, optimizer)
    expected = plain(by_hand, optimizer, step, forward=halved(by_hand))

    model, made = net(), []

    def own(parameters):
        made.append(sgd(parameters))
        return made[-1]

    def unscaled(model):
        def step(loss):
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            made[0].step()

        return step

    places = torch.Tensor, torch.autograd, torch.nn.utils.clip_grad
    before = [dict(vars(place)) for place in places]
    session = Session(LossScale(scale), steps=99)
    assert tried(session, model, own, unscaled, forward=halved(model)) == expected
    assert (session.made == STEPS) is (scale < 2**20)
    assert before == [dict(vars(place)) for place in places]


def test_loss_scale_is_refused_where_it_cannot_be():
    session = Session(LossScale(8.0))
    armed = trying.arm(session)
    try:
        scaler = torch.amp.GradScaler("cpu")
        model = net()
        optimizer = sgd(model.parameters())
        with pytest.raises(Over):
            model(batch()[0])
        assert "scales its loss itself" in str(session.refused)
    finally:
        armed.disarm()
    assert scaler.is_enabled()
    assert optimizer
    session = Session(LossScale(8.0))
    half = net().half()
    assert tried(session, half, data=lambda i: (batch(i)[0].half(), batch(i)[1])) == []
    assert "float32" in str(session.refused)
