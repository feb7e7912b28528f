"""The learning rate and the optimizer in the text of a script."""

import pytest
from patch_scripts import (
    KERAS_ADD,
    KERAS_CLASS,
    KERAS_FUNCTIONAL,
    KERAS_LOOP,
    TORCH_CLASS,
    TORCH_LIST,
    added,
    by_hand,
    lines,
    patched,
)

from evengrad.fixing.changes.beta2 import Beta2
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.changes.use_optimizer import UseOptimizer

HEAD = "import torch\nfrom torch import nn\nmodel = nn.Linear(2, 2)\n"


def torch_line(code, change, head=HEAD):
    return added(head + code + "\n", change, frontend="torch")


def keras_line(code, change, head="import keras\n"):
    return added(head + code + "\n", change, frontend="keras")


@pytest.mark.parametrize(
    ("code", "after"),
    [
        ("o = torch.optim.SGD(model.parameters(), lr=1)", "o = torch.optim.SGD(model.parameters(), lr=0.003)"),
        ("o = torch.optim.SGD(model.parameters(), 0.1)", "o = torch.optim.SGD(model.parameters(), 0.003)"),
        ("o = torch.optim.Adam(model.parameters())", "o = torch.optim.Adam(model.parameters(), lr=0.003)"),
        ("lr = 0.1\no = torch.optim.SGD(model.parameters(), lr)\nprint(lr)", "lr = 0.003"),
        ("lr = 0.1  # rate\no = torch.optim.SGD(model.parameters(), lr)", "lr = 0.003  # rate"),
        (
            "lr = 0.1\no = torch.optim.SGD(model.parameters(), lr=lr)\nscale = lr * 2",
            "o = torch.optim.SGD(model.parameters(), lr=0.003)",
        ),
        (
            "def make(model, lr=0.1):\n    return torch.optim.SGD(model.parameters(), lr=lr)\no = make(model)",
            "def make(model, lr=0.003):",
        ),
        (
            "def make(lr):\n    return torch.optim.SGD(model.parameters(), lr=lr)\no = make(0.1)",
            "return torch.optim.SGD(model.parameters(), lr=0.003)",
        ),
    ],
)  # fmt: skip
def test_torch_rate_at_its_source(code, after):
    assert torch_line(code, SetRate(0.003)) == [after]


def test_torch_rate_in_the_default_of_the_command_line():
    new = added(TORCH_CLASS, SetRate(1e-5), frontend="torch")
    assert new == ['parser.add_argument("--lr", type=float, default=1e-05, help="rate")']


def test_several_optimizers_that_share_their_rate():
    code = (
        "lr = 0.1\nadam = False\nif adam:\n    o = torch.optim.Adam(model.parameters(), lr=lr)\n"
        "else:\n    o = torch.optim.SGD(model.parameters(), lr=lr)"
    )
    assert torch_line(code, SetRate(0.5)) == ["lr = 0.5"]


@pytest.mark.parametrize(
    "code",
    [
        "a = torch.optim.SGD(model.parameters(), lr=0.1)\nb = torch.optim.Adam(model.parameters(), lr=0.2)",
        "o = torch.optim.SGD([{'params': model.parameters(), 'lr': 0.1}])",
        "o = torch.optim.SGD(model.parameters(), **options)",
        "o = torch.optim.SGD(model.parameters(), 0.1)\ns = torch.optim.lr_scheduler.OneCycleLR(o, max_lr=1)",
        "o = make(model)",
    ],
)
def test_torch_rate_that_is_left_to_the_user(code):
    message = by_hand(HEAD + code + "\n", SetRate(0.003), frontend="torch")
    assert "lr=0.003" in message
    assert "train.py:" in message or message.startswith("where the optimizer is made")


def test_a_message_names_the_line_of_the_script_as_the_user_has_it():
    code = HEAD + "o = torch.optim.SGD(model.parameters(), **options)\n"
    assert by_hand(code, SetRate(0.003), frontend="torch") == (
        "in the line `o = torch.optim.SGD(model.parameters(), **options)` (train.py:4) write: lr=0.003"
    )


@pytest.mark.parametrize(
    ("source", "after"),
    [
        (KERAS_FUNCTIONAL, "LR = 0.02  # found by hand"),
        (
            KERAS_CLASS,
            'model.compile(optimizer=tf.keras.optimizers.Adam(0.02), loss="binary_crossentropy")',
        ),
    ],
)
def test_keras_rate(source, after):
    assert added(source, SetRate(0.02), frontend="keras") == [after]


def test_keras_rate_with_an_import_where_there_is_none():
    assert added(KERAS_ADD, SetRate(0.02), frontend="keras") == [
        "from tensorflow import keras",
        "model.compile(keras.optimizers.SGD(learning_rate=0.02), loss='binary_crossentropy')",
    ]


def test_an_import_does_not_run_before_what_the_framework_reads():
    code = (
        "import os\nos.environ['KERAS_BACKEND'] = 'jax'\nfrom keras import layers\n"
        "m.compile(optimizer='adam', loss='mse')\n"
    )
    after = patched(code, SetRate(0.02), frontend="keras").after
    assert "'jax'\nimport keras\nfrom keras" in after


@pytest.mark.parametrize(
    ("call", "new"),
    [
        ("T(model)", ["def __init__(self, model, lr=0.003):"]),
        ("T(model, 0.5)", ["self.o = torch.optim.SGD(model.parameters(), lr=0.003)"]),
        ("T(model, lr=0.5)", ["self.o = torch.optim.SGD(model.parameters(), lr=0.003)"]),
    ],
)
def test_torch_rate_in_the_default_of_a_method(call, new):
    code = (
        "class T:\n    def __init__(self, model, lr=0.1):\n"
        f"        self.o = torch.optim.SGD(model.parameters(), lr=lr)\nt = {call}\n"
    )
    assert torch_line(code, SetRate(0.003)) == new


@pytest.mark.parametrize(
    ("code", "after"),
    [
        (
            "s = keras.optimizers.schedules.ExponentialDecay(0.1, 100, 0.9)\no = keras.optimizers.SGD(s)",
            "s = keras.optimizers.schedules.ExponentialDecay(0.003, 100, 0.9)",
        ),
        ("o = 'adam'\nm.compile(optimizer=o, loss='mse')", "o = keras.optimizers.Adam(learning_rate=0.003)"),
        (
            "o = keras.optimizers.Adam(\n    beta_1=0.9,\n    beta_2=0.99,  # memory\n)",
            "learning_rate=0.003,",
        ),
        ("o = keras.optimizers.Adam(\n    beta_1=0.9\n)", "learning_rate=0.003"),
    ],
)  # fmt: skip
def test_keras_rate_at_its_source(code, after):
    assert keras_line(code, SetRate(0.003))[-1] == after


@pytest.mark.parametrize(
    "code",
    [
        "o = 'adam' if a else keras.optimizers.SGD(0.1)\nm.compile(optimizer=o, loss='mse')",
        "m.compile(optimizer=make(), loss='mse')",
        "o = keras.optimizers.SGD()\nc = keras.callbacks.LearningRateScheduler(f)",
        "s = keras.optimizers.schedules.PiecewiseConstantDecay(b, v)\no = keras.optimizers.SGD(s)",
    ],
)
def test_keras_rate_that_is_left_to_the_user(code):
    assert "train.py:" in by_hand(f"import keras\n{code}\n", SetRate(0.003), frontend="keras")


def test_another_torch_optimizer_keeps_parameters_and_decay():
    assert added(TORCH_LIST, UseOptimizer("adam", 0.001), frontend="torch") == [
        "optimizer = torch.optim.Adam(model.parameters(), lr=0.001, weight_decay=1e-4)"
    ]


def test_another_torch_optimizer_whose_rate_is_of_the_command_line():
    gone, new = lines(patched(TORCH_CLASS, UseOptimizer("sgd", 0.05), frontend="torch"))
    assert len(gone) == len(new) == 2
    assert new[1] == "optimizer = optim.SGD(model.parameters(), args.lr)"


def test_a_choice_of_optimizers_becomes_one():
    code = "o = torch.optim.SGD(model.parameters(), 1.0) if a else torch.optim.Adam(model.parameters())"
    assert torch_line(code, UseOptimizer("adamw", 0.001)) == [
        "o = torch.optim.AdamW(model.parameters(), lr=0.001)"
    ]


def test_another_keras_optimizer():
    assert added(KERAS_FUNCTIONAL, UseOptimizer("adam", 0.001), frontend="keras") == [
        "LR = 0.001  # found by hand",
        "opt = keras.optimizers.Adam(learning_rate=LR)",
    ]
    new = keras_line(
        "o = keras.optimizers.SGD(0.1, 0.9, clipnorm=1.0)", UseOptimizer("adam", 0.001)
    )
    assert new == ["o = keras.optimizers.Adam(0.001, clipnorm=1.0)"]


def test_a_compile_without_optimizer_is_named():
    message = by_hand(KERAS_LOOP, UseOptimizer("adam", 0.001), frontend="keras")
    assert 'model.compile(loss="mse")' in message
    assert "keras.optimizers.Adam(learning_rate=0.001)" in message


def test_beta2():
    new = added(TORCH_CLASS, Beta2(0.95), frontend="torch")
    assert new == ["optimizer = optim.Adam(model.parameters(), args.lr, betas=(0.9, 0.95))"]
    assert torch_line("o = torch.optim.Adam(model.parameters())", Beta2(0.95)) == [
        "o = torch.optim.Adam(model.parameters(), betas=(0.9, 0.95))"
    ]
    assert "tf.keras.optimizers.Adam(1e-3, beta_2=0.95)" in added(
        KERAS_CLASS, Beta2(0.95), frontend="keras"
    )[0]  # fmt: skip
    assert "Adam" in by_hand(TORCH_LIST, Beta2(0.95), frontend="torch")
