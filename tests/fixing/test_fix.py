"""Which remedy is chosen, by trials that are made up; and whole fixes of small scripts."""

import json
import math
import os
import re
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import evengrad
from evengrad.cli import app
from evengrad.errors import ScriptError
from evengrad.fixing import remedies, trials, worker
from evengrad.fixing.changes.clip_gradients import ClipGradients
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.changes.use_optimizer import UseOptimizer
from evengrad.fixing.changes.warmup import Warmup
from evengrad.fixing.fix import fix_script
from evengrad.fixing.outcome import FixPlan
from evengrad.fixing.processes import execute
from evengrad.fixing.trial import Result, Trial, stored_result
from evengrad.fixing.trials import Silent
from evengrad.recording import failure
from evengrad.report.fix_text import render
from evengrad.values.fact import Fact, Where

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.fixes import searches

sight_module = sys.modules["evengrad.fixing.sight"]
LOOP = """
    import torch
    from torch import nn

    torch.manual_seed(0)
    x = torch.randn(2048, 16)
    y = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    {more}
    optimizer = torch.optim.SGD(model.parameters(), lr={rate})  # the rate
    for epoch in range(4):
        for rows in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
"""


def script(folder, rate=0.1, more="pass", loop=LOOP):
    path = folder / "train.py"
    path.write_text(textwrap.dedent(loop).format(rate=rate, more=more))
    return path


def run(path, world, tmp_path, monkeypatch, search=None, **plan):
    """A fix in which ``world(trial)`` says what comes of a trial; the trials made."""
    made, more = [], {} if search is None else {"search": search}

    def execute(trial, folder, where):
        made.append(trial)
        return world(trial)

    monkeypatch.setattr(trials, "execute", execute)
    with ThreadPoolExecutor(2) as pool:
        given = {"steps": 100, "folder": tmp_path / "fixes", "reference": False, **plan}
        return fix_script(FixPlan(str(path), **given), Silent(), pool, **more), made


def learns(trial):
    rng = np.random.default_rng(trial.seed)
    losses = 1.39 - np.linspace(0, 1, 100) + 0.05 * rng.normal(size=100)
    return Result("budget", tuple(losses), (1.0,) * 100, baseline=1.39)


def stays(trial):
    rng = np.random.default_rng(trial.seed)
    return Result("budget", tuple(1.4 + 0.05 * rng.normal(size=100)), (1.0,) * 100, baseline=1.39)


def test_a_healthy_training_is_left_alone(tmp_path, monkeypatch):
    found, made = run(script(tmp_path), learns, tmp_path, monkeypatch)
    assert found.status == "healthy"
    assert found.patch is None
    assert found.diff == ""
    assert [trial.seed for trial in made] == [0, 1, 2]
    assert all(not trial.changes and trial.source is None for trial in made)


def test_what_the_seeds_together_speak_against_is_said(tmp_path, monkeypatch):
    """Each seed's held-out loss is lower by a hair, and all together are not by more than their noise."""
    withheld = [1.3 + 0.3 * (-1) ** i - 0.001 * (i >= 50) for i in range(100)]

    def world(trial):
        return (
            replace(learns(trial), withheld=tuple(withheld)) if not trial.changes else stays(trial)
        )

    found, _ = run(script(tmp_path), world, tmp_path, monkeypatch, budget=1)
    assert found.status == "not_fixed"
    assert [attempt.verdict.good for attempt in found.plain] == [True, True, False]
    assert "held-out loss 1.287 is not below" in found.plain[-1].verdict.why


def test_a_fault_that_the_losses_hide(tmp_path, monkeypatch):
    """A softmax before a loss that applies one learns, too; without it the loss must end lower."""
    path = script(tmp_path, more="model.append(nn.Softmax(1))")

    def lower(trial):
        found = learns(trial)
        changed = bool(trial.changes or trial.source)
        return replace(found, losses=tuple(v - 0.3 * changed for v in found.losses))

    found, _ = run(path, lower, tmp_path, monkeypatch)
    assert found.status == "fixed"
    assert found.chosen.remedy == "loss_head"
    assert "EG501" in {finding.code for finding in found.findings}


def test_what_a_check_calls_an_error_is_neither_healthy_nor_fixed(tmp_path, monkeypatch):
    """Whatever the losses say; and a patch with which the error stays is none."""
    twice = LOOP.replace("nn.Linear(32, 4))", "nn.Linear(32, 4), nn.Softmax(1))")
    path = script(tmp_path, loop=twice)

    def world(trial):
        wrong = ("EG501 softmax twice",) if trial.check else ()
        return replace(learns(trial), unhealthy=wrong, end="finished" if trial.check else "budget")

    found, _ = run(path, world, tmp_path, monkeypatch)
    assert found.status == "not_fixed"
    assert any("a check finds EG501" in attempt.verdict.why for attempt in found.attempts)
    (finding,) = [f for f in found.findings if f.code == "EG501"]
    assert finding.advice[0] in render(found)


def test_where_nothing_is_found_the_rate_is_tried(tmp_path, monkeypatch):
    found, made = run(script(tmp_path), stays, tmp_path, monkeypatch)
    assert found.findings == ()
    rates = [c.value for trial in made for c in trial.changes if isinstance(c, SetRate)]
    assert min(rates) < 0.1 < max(rates)


def test_a_clip_that_hides_the_symptom_is_refused(tmp_path, monkeypatch):
    """Finite with a clip, but at the baseline: only the smaller rate also learns."""

    def world(trial):
        if any(isinstance(c, SetRate) for c in trial.changes) or trial.source:
            return learns(trial)
        if any(isinstance(c, ClipGradients) for c in trial.changes):
            return stays(trial)
        return Result("stopped", (1.4,), (9.0,), message="Step 0: too large")

    path = script(tmp_path, rate=300.0)
    only = {"only": ("clipping", "learning_rate")}
    found, _ = run(path, world, tmp_path, monkeypatch, **only)
    assert found.status == "fixed"
    assert found.chosen.remedy == "learning_rate"
    alone, _ = run(path, world, tmp_path, monkeypatch, only=("clipping",))
    assert alone.status == "not_fixed"
    assert alone.closest.candidate.remedy == "clipping"
    assert "constant baseline" in alone.closest.verdict.why


def test_the_patched_script_is_what_is_proved(tmp_path, monkeypatch):
    def world(trial):
        good = trial.source is not None or any(isinstance(c, SetRate) for c in trial.changes)
        return learns(trial) if good else stays(trial)

    path = script(tmp_path, rate=300.0)
    before = path.read_text()
    found, made = run(path, world, tmp_path, monkeypatch, only=("learning_rate",))
    assert found.status == "fixed"
    patched = [trial for trial in made if trial.source is not None]
    assert {trial.seed for trial in patched} == {1, 2}
    assert all(not trial.changes for trial in patched)
    assert patched[0].source == found.patch.after
    assert "evengrad" not in found.patch.after
    assert "# the rate" in found.patch.after
    assert path.read_text() == before


def test_a_patch_that_fails_with_one_seed_is_not_kept(tmp_path, monkeypatch):
    def world(trial):
        if trial.source is not None and trial.seed == 2:
            return stays(trial)
        return learns(trial) if trial.source or trial.changes else stays(trial)

    found, made = run(
        script(tmp_path, rate=300.0), world, tmp_path, monkeypatch, only=("learning_rate",)
    )
    assert found.status == "not_fixed"
    assert sum(trial.source is not None for trial in made) >= 2


def test_two_remedies_together(tmp_path, monkeypatch):
    def world(trial):
        kinds = {type(change) for change in trial.changes}
        return (
            learns(trial)
            if {UseOptimizer, ClipGradients} <= kinds or trial.source
            else stays(trial)
        )

    found, made = run(script(tmp_path, rate=300.0), world, tmp_path, monkeypatch, budget=40)
    assert found.status == "fixed"
    assert "+" in found.chosen.remedy
    assert {type(change) for change in found.chosen.changes} >= {UseOptimizer, ClipGradients}
    assert len(made) <= 1 + 40 + 2


@pytest.mark.parametrize("budget", [1, 3])
def test_the_budget_holds(budget, tmp_path, monkeypatch):
    path = script(tmp_path, rate=300.0)
    found, made = run(path, stays, tmp_path, monkeypatch, budget=budget)
    assert found.status == "not_fixed"
    assert len(made) == 1 + budget


def test_a_script_that_fails_cannot_be_fixed(tmp_path, monkeypatch):
    def world(trial):
        return Result("failed", message="ValueError: no data")

    found, made = run(script(tmp_path), world, tmp_path, monkeypatch)
    assert found.status == "cannot_run"
    assert "no data" in found.message
    assert len(made) == 1


# --- our own failures ----------------------------------------------------------------------------------


def broken(*_args, **_kwargs):
    try:
        raise RuntimeError("a name is missing")
    except RuntimeError as error:
        raise failure.internal("measuring this script", error) from error


@pytest.mark.parametrize("world", [learns, stays])
def test_a_probe_that_fails_by_our_fault_calls_nothing_sick(world, tmp_path, monkeypatch):
    monkeypatch.setattr(sight_module, "probe_trainings", broken)
    found, made = run(script(tmp_path), world, tmp_path, monkeypatch)
    assert found.status == "internal_error"
    assert "a name is missing" in found.message
    assert not any(trial.changes or trial.source for trial in made)
    assert found.diff == ""


def test_the_command_says_its_own_failure_in_one_line(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(sight_module, "probe_trainings", broken)
    monkeypatch.setattr(trials, "execute", lambda trial, *_: stays(trial))
    monkeypatch.chdir(tmp_path)
    script(tmp_path)
    done = CliRunner().invoke(app, ["fix", "train.py", "--steps", "100"])
    assert done.exit_code == 2
    (line,) = [line for line in done.output.splitlines() if line.startswith("evengrad:")]
    assert "sick" not in done.output
    assert "Please report it with evengrad" in line
    (file,) = re.findall(r"the traceback in (\S+)\.$", line)
    assert "a name is missing" in Path(file).read_text()


@pytest.mark.parametrize("name", ["plain", "remedies"])
def test_trials_that_fail_by_our_fault_call_nothing_sick(name, tmp_path, monkeypatch):
    def world(trial):
        if name == "plain" or trial.changes:
            return Result("internal", message="evengrad itself failed in a trial (...).")
        return stays(trial)

    found, made = run(script(tmp_path), world, tmp_path, monkeypatch, budget=2)
    assert found.status == "internal_error"
    assert found.message == "evengrad itself failed in a trial (...)."
    assert len(made) == (1 if name == "plain" else 3)


def test_a_trial_tells_our_failure_from_the_scripts(tmp_path, monkeypatch):
    """And is made again, by whatever version comes next."""
    monkeypatch.setattr(worker, "end_with_parent", lambda: None)
    monkeypatch.setattr(worker, "diagnose_run", lambda _run: 1 / 0)
    path = script(tmp_path)
    folder = tmp_path / "trial"
    folder.mkdir()
    (folder / "trial.json").write_text(json.dumps(Trial(str(path), steps=10).to_json()))
    worker.main(folder)
    found = stored_result(folder)
    assert found.end == "internal"
    assert "division by zero" in found.message
    path.write_text("raise ValueError('no data')")
    again = execute(Trial(str(path), steps=10), folder, str(tmp_path))
    assert (again.end, again.message) == ("failed", "ValueError: no data")


def test_what_is_clear_ends_early_but_one_proof_does_not(tmp_path, monkeypatch):
    def world(trial):
        return learns(trial) if trial.source or trial.changes else stays(trial)

    path = script(tmp_path, rate=300.0)
    _, made = run(path, world, tmp_path, monkeypatch, only=("learning_rate",))
    assert [(t.seed, bool(t.source), t.enough, t.hopeless, t.seconds) for t in made] == [
        (0, False, None, False, None),
        (0, False, None, True, None),
        (1, True, None, False, 60.0),
        (2, True, math.inf, False, None),
    ]
    _, made = run(path, world, tmp_path, monkeypatch, only=("warm_up",))
    assert not any(trial.enough or trial.hopeless for trial in made)


# --- searches to compare with ------------------------------------------------------------------------


def test_a_random_search_needs_no_finding(tmp_path, monkeypatch):
    """Of a healthy network that does not learn by bad luck nothing is found; at random all is tried."""
    monkeypatch.chdir(tmp_path)
    path = script(tmp_path).relative_to(tmp_path)  # the draws are seeded by it
    _, by_diagnosis = run(path, stays, tmp_path, monkeypatch, budget=30)
    found, at_random = run(path, stays, tmp_path, monkeypatch, budget=30, search=searches.AtRandom)
    assert len(by_diagnosis) < len(at_random) == 31
    tried = [attempt.candidate.changes for attempt in found.attempts]
    assert len(set(tried)) == len(tried)
    names = {name for a in found.attempts for name in a.candidate.remedy.split(" + ")}
    assert {"optimizer", "learning_rate", "initialisation"} <= names
    again, _ = run(path, stays, tmp_path, monkeypatch, budget=30, search=searches.AtRandom)
    assert [attempt.candidate.changes for attempt in again.attempts] == tried


def test_warm_up_alone(tmp_path, monkeypatch):
    _, made = run(
        script(tmp_path, rate=300.0), stays, tmp_path, monkeypatch, search=searches.WarmUpOnly
    )
    assert [trial.changes for trial in made[1:]] == [(Warmup(10),), (Warmup(25),), (Warmup(50),)]


# --- a function instead of a script ------------------------------------------------------------------

FUNCTION = """
    import torch
    import evengrad

    TRAINED = []

    def train():
        TRAINED.append(1)
        torch.manual_seed(0)
        x = torch.randn(512, 8)
        y = (x[:, 0] > 0).long()
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=500.0)
        for epoch in range(4):
            for rows in torch.randperm(len(x)).split(16):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()

    if __name__ == "__main__":
        found = evengrad.fix(train, steps=40, seeds=1, only=["learning_rate"])
        print(found.status, found.chosen.remedy, found.patch.manual)
        print(found.diff)
"""


def test_a_function_is_fixed(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(textwrap.dedent(FUNCTION))
    done = subprocess.run(
        [sys.executable, path], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fixed learning_rate ()")
    assert "-        optimizer = torch.optim.SGD(model.parameters(), lr=500.0)" not in done.stdout
    assert "-    optimizer = torch.optim.SGD(model.parameters(), lr=500.0)" in done.stdout


@pytest.mark.parametrize("given", [lambda: None, test_warm_up_alone.__call__, len])
def test_what_no_trial_could_import(given):
    with pytest.raises(ScriptError, match="file"):
        evengrad.fix(given)


# --- processes ---------------------------------------------------------------------------------------

BEATING = """
    import pathlib, time
    for beat in range(600):
        pathlib.Path("beat").write_text(str(beat))
        time.sleep(0.02)
"""


def beats(folder):
    found = []
    for _ in range(2):
        found.append((folder / "beat").read_text())
        time.sleep(0.3)
    return found


def test_a_trial_ends_with_the_process_that_wanted_it(tmp_path):
    path = script(tmp_path, loop=BEATING)
    trial = Trial(str(path))
    code = (
        "import pathlib; from evengrad.fixing.processes import execute; "
        "from evengrad.fixing.trial import Trial;"
        f"execute(Trial({str(path)!r}), pathlib.Path('trial'), {str(tmp_path)!r})"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    for _ in range(500):
        if (tmp_path / "beat").exists():
            break
        time.sleep(0.02)
    assert len(set(beats(tmp_path))) == 2
    parent.kill()
    parent.wait()
    time.sleep(0.5)
    assert len(set(beats(tmp_path))) == 1
    assert not (tmp_path / "trial" / "result.json").exists()
    path.write_text("raise SystemExit(3)")
    assert execute(trial, tmp_path / "trial", str(tmp_path)).end == "failed"


def test_trials_on_a_dask_cluster(tmp_path):
    distributed = pytest.importorskip("distributed")
    script(tmp_path, rate=300.0)
    # Workers in this process: what goes to them goes by TCP all the same, and a trial has its own.
    workers = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(processes=False, protocol="tcp", **workers) as cluster:
        done = command(
            *(tmp_path, "train.py", "--steps", "30", "--seeds", "1", "--jobs", "2"),
            *("--only", "learning_rate", "--dask", cluster.scheduler_address),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is fixed" in done.stdout


def test_no_dask_scheduler_there(tmp_path):
    pytest.importorskip("distributed")
    script(tmp_path)
    done = command(tmp_path, "train.py", "--dask", "tcp://127.0.0.1:1")
    assert done.returncode == 2
    assert "no Dask scheduler" in done.stderr


# --- the command ------------------------------------------------------------------------------------


def command(folder, *arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "evengrad", "fix", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_from_the_diagnosis_to_the_file(tmp_path):
    """Killed after its first trial; the next call takes up there, and only --apply changes the file."""
    path = script(tmp_path, rate=300.0)
    before = path.read_text()
    first = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "evengrad",
            "fix",
            "train.py",
            "--steps",
            "200",
            "--seeds",
            "2",
            "--apply",
        ],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert first.stderr is not None
    first.stderr.readline()
    first.kill()
    first.wait()
    assert path.read_text() == before
    done = sorted((tmp_path / "runs").glob("fix-*/**/result.json"))
    assert done
    times = {result: result.stat().st_mtime_ns for result in done}

    second = command(tmp_path, "train.py", "--steps", "200", "--seeds", "2", "--json", "out.json")
    assert second.returncode == 0, second.stdout + second.stderr
    assert {result: result.stat().st_mtime_ns for result in done} == times
    assert path.read_text() == before
    out = json.loads((tmp_path / "out.json").read_text())
    assert out["status"] == "fixed"
    assert "learning_rate" in {finding["cause"] for finding in out["findings"]}
    assert "-optimizer = torch.optim.SGD(model.parameters(), lr=300.0)  # the rate" in second.stdout

    page = ("--html", "out.html", "--json", "again.json", "--apply")
    again = command(tmp_path, "train.py", "--steps", "200", "--seeds", "2", *page)
    assert again.returncode == 0
    assert json.loads((tmp_path / "again.json").read_text())["proof"] == out["proof"]
    assert "lr=300.0" not in path.read_text()
    assert "is fixed" in (tmp_path / "out.html").read_text()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 2, "Expected a script"),
        (("nowhere.py",), 2, "nowhere.py"),
        (("train.py", "--only", "prayer"), 2, "no remedy 'prayer'"),
        (("--list",), 0, "initialisation"),
    ],
)
def test_wrong_use_says_what_to_do(arguments, status, words, tmp_path):
    script(tmp_path)
    done = command(tmp_path, *arguments)
    assert done.returncode == status
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_every_remedy_explains_itself():
    from evengrad.fixing.remedies import all_remedies

    for remedy in all_remedies():
        assert remedy.title.endswith(".")
        assert "Treats:" in remedy.explanation
        assert "Why:" in remedy.explanation
    names = {Path(name).stem for name in os.listdir(Path(remedies.__file__).parent)}
    assert {remedy.name for remedy in all_remedies()} == {n for n in names if not n.startswith("_")}


SICK = sorted((Path(__file__).parents[2] / "examples" / "sick").glob("*.py"))


@pytest.mark.parametrize("path", SICK, ids=lambda path: path.stem)
def test_every_sick_script_names_the_call_that_cures_it(path):
    from evengrad.fixing.remedies import all_remedies

    call = re.search(r"^Cure: (?:\w+=\w+ )?evengrad fix (\S+) ?(.*)$", path.read_text(), re.M)
    assert call is not None
    assert call[1] == f"examples/sick/{path.name}"
    options = call[2].split()
    for option, value in zip(options[::2], options[1::2], strict=True):
        if option == "--pretrained":
            assert (path.parents[2] / value).is_file()
        else:
            assert option == "--only"
            assert value in {remedy.name for remedy in all_remedies()}


# --- the reference -----------------------------------------------------------------------------------


def ends(level, seed):
    """Losses from the baseline down to a level."""
    rng = np.random.default_rng(seed)
    losses = 1.39 - np.linspace(0, (1.39 - level) / 0.875, 100) + 0.02 * rng.normal(size=100)
    return Result("budget", tuple(losses), (1.0,) * 100, baseline=1.39, floor=0.0)


def against(reference, rate, both):
    """A world in which the recipe comes to one level, a lower rate alone to another."""

    def world(trial):
        kinds = {type(change) for change in trial.changes}
        text = trial.source or ""
        if UseOptimizer in kinds or "Adam(" in text:
            level = reference if trial.source or len(kinds) == 1 else both
        else:
            level = rate if SetRate in kinds or (text and "lr=300.0" not in text) else 1.39
        return ends(level, trial.seed)

    return world


def test_what_only_beats_the_constant_answer_is_no_cure(tmp_path, monkeypatch):
    """The rate alone learns, a tenth of the way; the recipe is offered at last, and nothing else does it."""
    path = script(tmp_path, rate=300.0)
    given = {"reference": True, "budget": 3}
    found, _ = run(path, against(0.3, 1.28, 0.3), tmp_path, monkeypatch, **given)
    assert found.status == "fixed"
    assert "torch.optim.Adam" in found.diff
    assert found.reference is not None
    assert all(a.verdict.level < 0.5 for a in found.proof)
    enough, _ = run(path, against(0.3, 0.32, 0.3), tmp_path, monkeypatch, **given)
    assert enough.chosen.remedy == "learning_rate"


def test_a_training_that_ends_far_behind_the_recipe_is_not_healthy(tmp_path, monkeypatch):
    """Its own length counts, where that could be run to its end."""

    def world(trial):
        if trial.changes or trial.source:
            return ends(0.2, trial.seed)
        end = "finished" if trial.seconds else "budget"
        return replace(ends(level, trial.seed), end=end)

    path = script(tmp_path, rate=0.001)
    level = 1.1
    found, _ = run(path, world, tmp_path, monkeypatch, reference=True)
    assert found.status == "fixed"
    assert "the standard recipe comes to" in found.plain[-1].verdict.why
    level = 0.75
    slow, _ = run(path, world, tmp_path, monkeypatch, reference=True)
    assert slow.status == "healthy"


def test_a_mistake_in_a_training_that_learns_a_little(tmp_path, monkeypatch):
    """Most of the weights have no optimizer: what they could do is tried before it is called healthy."""
    loop = LOOP.replace("model.parameters()", "model[4].parameters()")

    def world(trial):
        found, gained = learns(trial), 1.0 if trial.source else 0.3
        return replace(found, losses=tuple(1.39 - gained * (1.39 - v) for v in found.losses))

    found, _ = run(script(tmp_path, loop=loop), world, tmp_path, monkeypatch)
    assert found.status == "fixed"
    assert found.chosen.remedy == "optimizer_last"
    assert "+optimizer = torch.optim.SGD(model.parameters(), lr=0.1)  # the rate" in found.diff


def test_a_way_that_leaves_what_the_check_has_seen_is_not_tried(tmp_path, monkeypatch):
    loop = LOOP.replace(
        "cross_entropy(model(x[rows]), y[rows])", "mse_loss(model(x[rows])[:, :1], z[rows])"
    )
    path = script(tmp_path, loop=loop, more="z = y.float()")

    def world(trial):
        if trial.check:
            wrong = ("EG930 shapes",) if "unsqueeze" in trial.source else ()
            return replace(stays(trial), unhealthy=wrong, end="finished")
        return learns(trial) if trial.source else stays(trial)

    found, made = run(path, world, tmp_path, monkeypatch)
    tried = [trial.source for trial in made if trial.source and not trial.check]
    assert found.status == "fixed"
    assert all("unsqueeze" not in source for source in tried)
    assert sum(trial.check for trial in made) > 1


def test_a_loss_that_is_what_an_epsilon_makes_it_is_no_cure(tmp_path, monkeypatch):
    loop = LOOP.replace(
        "(model(x[rows]), y[rows])", "(model(x[rows]), y[rows]) / (x[0] - x[0]).sum()"
    )

    def world(trial):
        if trial.source is None:
            return Result("stopped", (math.inf,), (math.inf,), message="not finite")
        losses = tuple(1e12 * v for v in learns(trial).losses)
        return replace(learns(trial), losses=losses, baseline=None)

    monkeypatch.setattr(sight_module, "_run", lambda *_: None)
    born = Fact(
        "born", Where("train.py", 14, "x"), 0, {"operation": "divide", "direction": "forward"}
    )
    monkeypatch.setattr(sight_module.Sight, "mistakes", (born,))
    found, made = run(script(tmp_path, loop=loop), world, tmp_path, monkeypatch)
    assert any(trial.source for trial in made)
    assert found.status == "not_fixed"
