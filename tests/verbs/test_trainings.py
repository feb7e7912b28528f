"""`check` looks at every training of a PyTorch script in turn."""

import json
import math
import textwrap

import pytest
import torch
from typer.testing import CliRunner

from evengrad.cli import app
from evengrad.errors import ScriptError
from evengrad.verbs.check import check_probe
from evengrad.verbs.check_script import probe_trainings

GAN = """
    import torch
    from torch import nn
    torch.manual_seed(0)
    netG = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    netD = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    criterion = nn.BCEWithLogitsLoss()
    optimizerD = torch.optim.Adam(netD.parameters(), lr=2e-4)
    optimizerG = torch.optim.Adam(netG.parameters(), lr=2e-4)
    for step in range(6):
        netD.zero_grad()
        criterion(netD(torch.randn(64, 2)), torch.ones(64, 1)).backward()
        fake = netG(torch.randn(64, 8)){cut}
        criterion(netD(fake.detach()), torch.zeros(64, 1)).backward()
        optimizerD.step()
        netG.zero_grad()
        criterion(netD(fake), torch.ones(64, 1)).backward()
        optimizerG.step()
    """
SWAPPED = """
    import torch
    from torch import nn
    torch.manual_seed(0)
    netG = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    netD = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    criterion = nn.BCEWithLogitsLoss()
    optimizerG = torch.optim.Adam({first}.parameters(), lr=2e-4)
    optimizerD = torch.optim.Adam({second}.parameters(), lr=2e-4)
    for step in range(12):
        optimizerD.zero_grad()
        real = criterion(netD(torch.randn(64, 2)), torch.ones(64, 1))
        (real + criterion(netD(netG(torch.randn(64, 8)).detach()), torch.zeros(64, 1))).backward()
        optimizerD.step()
        optimizerG.zero_grad()
        criterion(netD(netG(torch.randn(64, 8))), torch.ones(64, 1)).backward()
        optimizerG.step()
    """
FOLDS = """
    import torch
    from torch import nn
    torch.manual_seed(0)
    x, y = torch.randn(60, 4), torch.randint(0, 2, (60,))

    def train(fold, rate):
        model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        for epoch in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[fold::3]), y[fold::3]).backward()
            optimizer.step()

    for fold in range(3):
        train(fold, 0.1)
    """
UNFREEZE = """
    import torch
    from torch import nn
    torch.manual_seed(0)
    body, head = nn.Sequential(nn.Linear(4, 16), nn.ReLU()), nn.Linear(16, 2)
    x, y = torch.randn(60, 4), torch.randint(0, 2, (60,))
    for p in body.parameters():
        p.requires_grad = False

    def train(optimizer, epochs):
        for epoch in range(epochs):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(body(x)), y)
            loss.backward()
            optimizer.step()

    train(torch.optim.Adam(head.parameters(), lr=1e-2), 30)
    for p in body.parameters():
        p.requires_grad = True
    train(torch.optim.SGD([*body.parameters(), *head.parameters()], lr=1000.0), 2)
    """
AUTOENCODER = """
    import torch
    from torch import nn
    torch.manual_seed(0)
    encoder, decoder, classifier = nn.Linear(8, 4), nn.Linear(4, 8), nn.Linear(4, 2)
    pretraining = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
    finetuning = torch.optim.Adam([*encoder.parameters(), *classifier.parameters()])
    x, y = torch.randn(60, 8), torch.randint(0, 2, (60,))
    for epoch in range(20):
        pretraining.zero_grad()
        nn.functional.mse_loss(decoder(encoder(x)), x).backward()
        pretraining.step()
    for epoch in range(5):
        finetuning.zero_grad()
        nn.functional.cross_entropy(classifier(encoder(x)), y).backward()
        finetuning.step()
    """


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Writes a script, and gives its path."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "train.py").write_text(textwrap.dedent(text))
        return "train.py"

    return write


def names(found):
    return [probe.training.name for probe in found.probes]


def test_each_loss_of_a_gan_goes_to_the_optimizer_whose_weights_it_reaches(script):
    found = probe_trainings(script(GAN.format(cut="")))
    assert names(found) == ["netD by optimizerD", "netG by optimizerG"]
    layers = [{weight.name.split(".")[0] for weight in probe.weights} for probe in found.probes]
    assert "netG" in layers[1]
    assert "netG" not in layers[0]
    assert found.ahead is None


def test_an_optimizer_that_no_loss_reaches_is_a_training_with_a_fact(script):
    found = probe_trainings(script(GAN.format(cut=".detach()")))
    assert names(found) == ["netD by optimizerD", "netG by optimizerG"]
    facts = [fact for fact in found.probes[1].facts if fact.kind == "weights_unreached"]
    assert len(facts) == 1
    assert "detach" in facts[0].where.code
    assert not found.probes[0].facts


def test_optimizers_that_hold_each_others_weights(script):
    """The first step is of one whose own loss does not reach it, before anything is measured."""
    text = SWAPPED.format(first="netD", second="netG")
    found = probe_trainings(script(text))
    codes = [[f.code for f in check_probe(probe).findings] for probe in found.probes]
    assert "EG917" in [code for of_one in codes for code in of_one]
    right = probe_trainings(script(SWAPPED.format(first="netG", second="netD")))
    assert not any(check_probe(probe).findings for probe in right.probes)


def test_every_turn_of_a_loop_is_a_training(script):
    found = probe_trainings(script(FOLDS))
    assert [probe.training.number for probe in found.probes] == [1, 2, 3]
    assert {probe.training.where.line for probe in found.probes} == {9}
    losses = [probe.loss.value for probe in found.probes]
    assert len(set(losses)) == 3


def test_the_second_training_is_measured_with_the_first_really_made(script):
    text = textwrap.dedent(UNFREEZE)
    found = probe_trainings(script(UNFREEZE))
    names = {}
    exec(text.partition("for p in body.parameters():\n    p.requires_grad = True")[0], names)
    body, head = names["body"], names["head"]
    expected = torch.nn.functional.cross_entropy(head(body(names["x"])), names["y"])
    assert math.isclose(found.probes[1].loss.value, expected.item(), rel_tol=1e-5)
    assert [probe.optimizer.learning_rate for probe in found.probes] == [1e-2, 1000.0]


def test_optimizers_that_are_made_together_train_one_after_the_other(script):
    found = probe_trainings(script(AUTOENCODER))
    assert names(found)[0].endswith("by pretraining")
    assert names(found)[1].endswith("by finetuning")
    assert [probe.loss.family for probe in found.probes] == ["regression", "sparse_categorical"]


def test_a_script_with_one_training_is_stopped_before_it_trains(script, capsys):
    text = FOLDS.replace("for fold in range(3):\n        train(fold, 0.1)", "train(0, 0.1)")
    found = probe_trainings(script(text + '\n    print("trained")\n'))
    assert len(found.probes) == 1
    assert "trained" not in capsys.readouterr().out


def test_what_was_not_waited_for_is_said(script):
    text = UNFREEZE.replace("loss.backward()", "loss.backward(); __import__('time').sleep(0.2)")
    found = probe_trainings(script(text), patience=1.0)
    assert len(found.probes) == 1
    assert found.ahead.line == 20


def test_one_training_can_be_chosen(script):
    found = probe_trainings(script(UNFREEZE), fit=2)
    assert len(found.probes) == 1
    assert found.probes[0].training.number == 2
    assert found.probes[0].optimizer.learning_rate == 1000.0
    with pytest.raises(ScriptError, match="--fit 1 to 2"):
        probe_trainings(script(UNFREEZE), fit=3)


def test_a_script_that_fails_later_is_told(script):
    found = probe_trainings(script(UNFREEZE + "\n    raise ValueError('late')\n"), fit=None)
    assert len(found.probes) == 2
    broken = FOLDS.replace("model = ", "assert fold < 1, 'no more'\n        model = ")
    found = probe_trainings(script(broken))
    assert len(found.probes) == 1
    assert "no more" in found.trouble


def test_the_worst_training_is_the_result(script, tmp_path):
    path, result = script(UNFREEZE), tmp_path / "check.json"
    done = CliRunner().invoke(app, ["check", path, "--no-html", "--json", str(result)])
    assert done.exit_code == 1, done.output
    written = json.loads(result.read_text())
    assert written["findings"][0]["cause"] == "learning_rate"
    assert [one["healthy"] for one in written["trainings"]] == [True, False]
    assert "2 trainings: training 2 has" in " ".join(done.output.split())


def test_what_an_earlier_training_had_is_told_in_a_line(script):
    done = CliRunner().invoke(app, ["check", script(FOLDS), "--no-html"])
    said = " ".join(done.output.split())
    assert done.exit_code == 0, done.output
    assert said.count("Healthy: nothing found") == 1
    assert "nothing found, as in training 1" in said
    assert said.endswith("3 trainings: nothing found in any.")


NORM = """
    import torch
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1, bias=False)
    x, y = torch.randn(32, 4), torch.randn(32, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled={scaled})
    for piece in range({pieces}):
        loss = torch.nn.functional.mse_loss(model(x), y, reduction="{reduction}")
        scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9))
    optimizer.step()
    """


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("pieces", [1, 4])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_norm_that_a_script_sees_is_the_product_of_its_factors(
    script, scaled, pieces, reduction
):
    text = textwrap.dedent(NORM.format(scaled=scaled, pieces=pieces, reduction=reduction))
    names = {}
    exec(text, names)
    check = check_probe(probe_trainings(script(text)).probes[0])
    found = check.norm
    assert math.isclose(found.norm * found.pieces, names["norm"], rel_tol=1e-4)
    assert found.summed == (32 if reduction == "sum" else 1)
    assert found.pieces == pieces
    assert found.scale == (1024.0 if scaled else 1.0)
