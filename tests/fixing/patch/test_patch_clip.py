"""Clipping in the text of a script."""

import pytest
from patch_scripts import KERAS_ADD, KERAS_CLASS, TORCH_CLASS, TORCH_LIST, added, by_hand, patched

from evengrad.fixing.changes.clip_gradients import ClipGradients

NORM = ClipGradients("norm", 1.0)
HEAD = "import torch\nmodel = torch.nn.Linear(2, 2)\no = torch.optim.SGD(model.parameters(), 0.1)\n"


def test_before_the_step():
    patch = patched(TORCH_LIST, NORM, frontend="torch")
    assert (
        "    nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n    optimizer.step()" in patch.after
    )


def test_in_another_function_that_has_the_model():
    assert added(TORCH_CLASS, ClipGradients("value", 0.5), frontend="torch") == [
        "nn.utils.clip_grad_value_(model.parameters(), 0.5)"
    ]


def test_in_another_function_that_has_not_the_model():
    code = (
        "import torch\n"
        "def main():\n    model = torch.nn.Linear(2, 2)\n"
        "    train(torch.optim.SGD(model.parameters(), 0.1))\n"
        "def train(optimizer):\n    optimizer.step()\n"
    )
    assert added(code, NORM, frontend="torch") == [
        "torch.nn.utils.clip_grad_norm_(",
        '[p for group in optimizer.param_groups for p in group["params"]], 1.0',
        ")",
    ]


def test_on_a_line_with_other_statements():
    code = HEAD + "loss.backward(); o.step()  # go\n"
    assert added(code, NORM, frontend="torch") == [
        "loss.backward(); torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0); o.step()  # go"
    ]


def test_under_a_gradient_scaler():
    code = HEAD + "scaler = torch.amp.GradScaler()\nscaler.step(o)\nscaler.update()\n"
    assert added(code, NORM, frontend="torch") == [
        "scaler.unscale_(o)",
        "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
    ]


@pytest.mark.parametrize(
    ("call", "change", "after"),
    [
        (
            "clip_grad_norm_(model.parameters(), 5)",
            NORM,
            "clip_grad_norm_(model.parameters(), 1.0)",
        ),
        ("clip_grad_norm_(p, max_norm=5)", NORM, "clip_grad_norm_(p, max_norm=1.0)"),
        ("clip_grad_norm_(p, 5)", ClipGradients("value", 0.1), "clip_grad_value_(p, 0.1)"),
    ],
)
def test_a_clip_that_is_there_gets_the_bound(call, change, after):
    code = HEAD + f"torch.nn.utils.{call}\no.step()\n"
    assert added(code, change, frontend="torch") == [f"torch.nn.utils.{after}"]


def test_a_clip_that_may_not_be_reached():
    code = (
        HEAD + "if clip:\n    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)\no.step()\n"
    )
    assert "train.py:5" in by_hand(code, NORM, frontend="torch")


def test_a_step_with_a_closure():
    assert "train.py:4" in by_hand(HEAD + "o.step(closure)\n", NORM, frontend="torch")


def test_schedulers_are_not_optimizers():
    code = HEAD + "scheduler = torch.optim.lr_scheduler.StepLR(o, 1)\nscheduler.step()\n"
    assert "train.py:3" in by_hand(code, NORM, frontend="torch")


def test_twice_is_once():
    once = patched(TORCH_LIST, NORM, frontend="torch")
    again = patched(once.after, NORM, frontend="torch")
    assert again.after == once.after
    assert again.manual == ()


def test_keras():
    after = patched(KERAS_CLASS, NORM, frontend="keras").after
    assert "optimizer=tf.keras.optimizers.Adam(1e-3, global_clipnorm=1.0), loss" in after
    after = patched(KERAS_ADD, ClipGradients("value", 0.5), frontend="keras").after
    assert "model.compile(keras.optimizers.SGD(clipvalue=0.5), loss" in after


def test_keras_takes_one_limit():
    code = "import keras\no = keras.optimizers.SGD(0.1, clipnorm=3)\n"
    assert added(code, NORM, frontend="keras") == [
        "o = keras.optimizers.SGD(0.1, global_clipnorm=1.0)"
    ]


def test_keras_choice_of_optimizers():
    code = "import keras\no = 'adam' if a else keras.optimizers.SGD()\nm.compile(optimizer=o, loss=l)\n"
    assert added(code, NORM, frontend="keras") == [
        "o = keras.optimizers.Adam(global_clipnorm=1.0) if a else keras.optimizers.SGD(global_clipnorm=1.0)"
    ]
