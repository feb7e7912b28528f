"""The user's script under `evengrad check`: it must behave as under plain python until it trains."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

TRAIN = """
import torch
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
nn.init.kaiming_normal_(model[0].weight, nonlinearity="relu")
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
x, y = torch.randn(32, 8), torch.randint(0, 3, (32,))
for step in range(3):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    print("trained a step")
"""


def write(folder, text, name="train.py"):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def run(*arguments, cwd, command="check", **options):
    return subprocess.run(
        [sys.executable, "-m", "evengrad", command, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "100", **options},
    )


def test_a_healthy_script_stops_before_it_trains(tmp_path):
    done = run(write(tmp_path, TRAIN), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "trained a step" not in done.stdout
    assert "Healthy: nothing found" in done.stdout
    assert (tmp_path / "runs/check-train/report.html").read_text().startswith("<!")


def test_labels_out_of_range_in_a_metric_fail_as_under_plain_python(tmp_path):
    line = "    nn.functional.cross_entropy(model(x), y + 1).item()"
    script = write(tmp_path, TRAIN.replace("    loss =", f"{line}\n    loss ="))
    plain = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    done = run(script, cwd=tmp_path)
    assert done.returncode == 2
    assert "Healthy" not in done.stdout
    where = f'  File "{script}", line 11, in <module>'
    for error in (plain.stderr, done.stderr):
        assert where in error
        assert "IndexError: Target 3 is out of bounds." in error
    assert done.stderr.startswith(f"Traceback (most recent call last):\n{where}")


def test_findings_give_status_1_and_json(tmp_path):
    sick = TRAIN.replace("nn.init", "torch.nn.init.normal_(model[0].weight, std=200.0)  #")
    done = run(write(tmp_path, sick), "--json", "out/check.json", "--no-html", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    result = json.loads((tmp_path / "out/check.json").read_text())
    assert result["schema"] == 1
    assert result["findings"][0]["cause"] == "initialisation"
    assert not list(tmp_path.rglob("*.html"))


def test_the_scripts_own_surroundings(tmp_path):
    """__name__, argv, sys.path[0], imports beside it, relative paths, __file__."""
    (tmp_path / "package").mkdir()
    write(tmp_path / "package", "VALUE = 42", "beside.py")
    (tmp_path / "data.txt").write_text("relative")
    script = write(
        tmp_path / "package",
        """
        import argparse, sys, os
        import beside
        parser = argparse.ArgumentParser()
        parser.add_argument("--epochs", type=int)
        arguments = parser.parse_args()
        assert __name__ == "__main__"
        assert sys.modules["__main__"].__file__ == __file__ == sys.argv[0]
        assert os.path.samefile(sys.path[0], os.path.dirname(__file__))
        assert open("data.txt").read() == "relative"
        print("seen", arguments.epochs, beside.VALUE)
        """
        + textwrap.indent(TRAIN, " " * 8),
    )
    done = run("package/train.py", "--no-html", "--", "--epochs", 7, cwd=tmp_path)
    assert "seen 7 42" in done.stdout
    assert done.returncode == 0, done.stderr
    assert script.exists()


def test_a_module_by_its_dotted_name(tmp_path):
    (tmp_path / "package").mkdir()
    write(tmp_path / "package", "", "__init__.py")
    write(tmp_path / "package", TRAIN)
    done = run("-m", "package.train", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/check-package-train/report.html").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.py", None, "There is no script"),
        ("notebook.ipynb", "{}", "is a notebook"),
        ("prose.py", "this is not python at all", "not a Python script"),
        ("binary.py", "\0\1\2", "not a Python script"),
        ("idle.py", "print('nothing to train')", "without a training step"),
    ],
)
def test_what_cannot_be_checked(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_text(content)
    done = run(name, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_is_no_script(tmp_path):
    done = run(tmp_path, cwd=tmp_path)
    assert done.returncode == 2
    assert "is a folder" in done.stderr


def test_the_scripts_own_traceback_stays_whole(tmp_path):
    script = write(
        tmp_path,
        """
        def load(path):
            return open(path)

        def main():
            load("no-such-file.csv")

        main()
        """,
    )
    plain = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    done = run(script, cwd=tmp_path)
    assert done.returncode == 2
    assert plain.stderr.strip() in done.stderr
    assert "runpy" not in done.stderr


def test_a_framework_that_is_not_installed_names_its_extra(tmp_path):
    write(tmp_path, "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    done = run("train.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'evengrad[torch]'" in done.stderr


@pytest.mark.parametrize(("code", "status"), [("7", 7), ("0", 2), ("1", 2), ("'bye'", 2), ("", 2)])
def test_sys_exit_is_not_swallowed(tmp_path, code, status):
    write(tmp_path, f"import sys\nsys.exit({code})\nprint('went on')")
    done = run("train.py", cwd=tmp_path)
    assert done.returncode == status
    assert "went on" not in done.stdout
    assert "exited before its first training step" in done.stderr
    assert ("bye" in done.stderr) == (code == "'bye'")


def test_the_scripts_own_usage_error(tmp_path):
    write(tmp_path, "import argparse\nargparse.ArgumentParser().parse_args()")
    done = run("train.py", "--", "--nonsense", cwd=tmp_path)
    assert done.returncode == 2
    assert "unrecognized arguments: --nonsense" in done.stderr


def _interruptible():
    """Under nohup a child would ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_reaches_the_script(tmp_path):
    write(
        tmp_path,
        """
        import time
        print("waiting", flush=True)
        try:
            time.sleep(60)
        finally:
            print("cleaned up", flush=True)
        """,
    )
    with subprocess.Popen(
        [sys.executable, "-m", "evengrad", "check", "train.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_interruptible,  # noqa: PLW1509 (one thread)
    ) as process:
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cleaned up" in out
    assert "KeyboardInterrupt" in err


def test_a_script_that_catches_everything_is_stopped_all_the_same(tmp_path):
    greedy = TRAIN.replace(
        "    optimizer.step()",
        "    try:\n        optimizer.step()\n    except Exception:\n        pass",
    )
    done = run(write(tmp_path, greedy), "--no-html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "trained a step" not in done.stdout


def test_legacy_keras_is_named(tmp_path):
    write(tmp_path, "class Model:\n    def fit(self): print('trained')", "tf_keras.py")
    write(tmp_path, "import tf_keras\ntf_keras.Model().fit()")
    done = run("train.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "Keras 2" in done.stderr
    assert "trained" not in done.stdout


def test_a_report_that_cannot_be_written_any_more(tmp_path):
    write(tmp_path, "import os\nos.mkdir('report.html')\n" + TRAIN)
    done = run("train.py", "--html", "report.html", cwd=tmp_path)
    assert done.returncode == 2
    assert "Healthy: nothing found" in done.stdout, "the findings are shown all the same"
    elsewhere = re.search(r"Cannot write report.html.* It is in (\S+)\.$", done.stderr, re.M)
    assert elsewhere is not None, done.stderr
    assert Path(elsewhere[1]).read_text().startswith("<!")


@pytest.mark.parametrize("code", ["EG102", "eg301"])
def test_explain(tmp_path, code):
    done = run(code, cwd=tmp_path, command="explain")
    assert done.returncode == 0
    assert done.stdout.startswith(code.upper())
    assert "How it decides" in done.stdout


def test_explain_lists_and_refuses(tmp_path):
    everything = run(cwd=tmp_path, command="explain")
    assert everything.returncode == 0
    assert "EG101" in everything.stdout
    unknown = run("EG999", cwd=tmp_path, command="explain")
    assert unknown.returncode == 2
    assert "EG101" in unknown.stderr


def test_explain_theory_prints_the_page_that_findings_refer_to(tmp_path):
    done = run("theory", cwd=tmp_path, command="explain")
    assert done.returncode == 0, done.stderr
    page = (Path(__file__).parents[2] / "docs/theory.md").read_text()
    sections = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert all(section in done.stdout for section in sections)
    assert {"Growth through depth", "Activations", "Closed forms", "Learning rate"} < {*sections}
    assert {"Clipping", "Precision"} < {*sections}


def test_an_option_of_the_script_in_the_wrong_place(tmp_path):
    write(tmp_path, TRAIN)
    done = run("train.py", "--epochs", "3", cwd=tmp_path)
    assert done.returncode == 2
    assert "after --" in done.stderr


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_framework_that_is_too_old(tmp_path, command):
    """It may be imported; the script ends where it would begin to train with it."""
    write(
        tmp_path,
        """
        __version__ = "2.1.2"
        class optim:
            class Optimizer: pass
        """,
        "torch.py",
    )
    write(tmp_path, "import torch\nprint('imported')\ntorch.optim.Optimizer()\nprint('trained')")
    done = run("train.py", cwd=tmp_path, command=command)
    assert done.returncode == 2
    assert "needs torch 2.4 or newer, found 2.1.2" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.split() == ["imported"]
