"""Schedules, logits and inputs in the text of a script."""

import pytest
from patch_scripts import (
    KERAS_ADD,
    KERAS_CLASS,
    KERAS_FUNCTIONAL,
    KERAS_LIST,
    KERAS_LOOP,
    TORCH_CLASS,
    TORCH_LIST,
    added,
    by_hand,
    lines,
    patched,
)

from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.decay import Decay
from evengrad.fixing.changes.inputs import StandardiseInputs
from evengrad.fixing.changes.logits import Logits
from evengrad.fixing.changes.rate_by_loss import RateByLoss
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.changes.warmup import Warmup

SCHEDULES = "keras.optimizers.schedules"

# ---- schedules


def test_torch_schedules():
    new = added(TORCH_LIST, Warmup(100), Decay(500), frontend="torch")
    assert new == [
        "warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / 100, total_iters=99)",
        "decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=500)",
        "warmup.step()",
        "decay.step()",
    ]


BY_LOSS = RateByLoss(0.3, 8.4, 1.1, 7.5)


def test_a_rate_that_follows_the_loss():
    new = added(TORCH_LIST, BY_LOSS, frontend="torch")
    assert new == [
        "for group in optimizer.param_groups:",
        'group["lr"] = min(0.3, 1 / (8.4 + 1.1 * loss.item()))',
    ]
    new = [line for line in added(KERAS_LIST, BY_LOSS, frontend="keras") if line]
    assert new[0] == "class RateByLoss(keras.callbacks.Callback):"
    assert "self.model.optimizer.learning_rate = min(0.3, 1 / (8.4 + 1.1 * 7.5))" in new
    assert 'self.model.optimizer.learning_rate = min(0.3, 1 / (8.4 + 1.1 * logs["loss"]))' in new
    assert new[-1] == "model.fit(x, y, callbacks=[RateByLoss()])  # train"


def test_no_rate_by_the_loss_beside_a_schedule():
    text = TORCH_LIST + "\nlater = torch.optim.lr_scheduler.StepLR(optimizer, 2)\n"
    assert 'group["lr"] = min(' in by_hand(text, BY_LOSS, frontend="torch")


def test_torch_step_in_a_function_without_the_schedule():
    message = by_hand(TORCH_CLASS, Warmup(100), frontend="torch")
    assert message.startswith("after the line `optimizer = optim.Adam(model.parameters()")
    assert "warmup.step() after each optimizer.step()" in message


@pytest.mark.parametrize("kind", ["OneCycleLR(optimizer, 0.1)", "LambdaLR(optimizer, f)"])
def test_torch_schedules_that_overwrite_the_rate(kind):
    code = TORCH_LIST + f"scheduler = torch.optim.lr_scheduler.{kind}\n"
    assert "LinearLR" in by_hand(code, Warmup(10), frontend="torch")
    assert "CosineAnnealingLR" in by_hand(code, Decay(10), frontend="torch")


def test_torch_own_attributes():
    code = """
    import torch
    class Trainer:
        def __init__(self, model):
            self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        def step(self):
            self.optimizer.step(); self.n += 1
    """
    new = added(code, Decay(10), frontend="torch")
    assert new == [
        "self.decay = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=10)",
        "self.optimizer.step(); self.decay.step(); self.n += 1",
    ]


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ([Decay(500)], f"{SCHEDULES}.CosineDecay(LR, decay_steps=500)"),
        (
            [Warmup(100)],
            f"{SCHEDULES}.PolynomialDecay(LR / 100, decay_steps=99, end_learning_rate=LR)",
        ),
        (
            [Warmup(100), Decay(500)],
            f"{SCHEDULES}.CosineDecay(LR / 100, decay_steps=401, warmup_target=LR, warmup_steps=99)",
        ),
    ],
)
def test_keras_schedules(changes, rate):
    after = patched(KERAS_FUNCTIONAL, *changes, frontend="keras").after
    opt = "".join(after[after.index("opt =") : after.index("model.compile")].split())
    plain = f"opt=keras.optimizers.SGD(learning_rate={rate},momentum=0.9)".replace(" ", "")
    assert opt.replace(",)", ")") == plain


def test_keras_usual_rate():
    after = patched(KERAS_ADD, Decay(500), frontend="keras").after
    assert f"{SCHEDULES}.CosineDecay(0.01, decay_steps=500)" in after


def test_keras_callback_that_sets_the_rate():
    code = KERAS_CLASS + "c = tf.keras.callbacks.ReduceLROnPlateau()\n"
    assert "ReduceLROnPlateau" in by_hand(code, Decay(500), frontend="keras")


# ---- logits


def test_torch_closing_functions_and_modules():
    gone, new = lines(patched(TORCH_LIST, Logits(False), frontend="torch"))
    assert (gone, new) == (["nn.Sigmoid(),"], [])
    assert added(TORCH_CLASS, Logits(False), frontend="torch") == ["return self.fc2(x)"]


@pytest.mark.parametrize("body", ["torch.softmax(x, dim=1)", "x.softmax(1)", "self.soft(x)"])
def test_torch_closing_softmax(body):
    code = f"""
    import torch
    from torch import nn
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.soft = nn.Softmax(dim=1)
        def forward(self, x):
            return {body}
    o = torch.optim.SGD(Net().parameters(), lr=0.1)
    """
    assert added(code, Logits(False), frontend="torch") == ["return x"]


def test_torch_loss_of_logits():
    new = added(TORCH_LIST, Logits(True), frontend="torch")
    assert new == ["loss_fn = nn.BCEWithLogitsLoss()"]
    assert "CrossEntropyLoss" in by_hand(TORCH_CLASS, Logits(True), frontend="torch")


def test_a_network_that_gives_logits_already():
    code = "import torch\nm = torch.nn.Linear(2, 2)\no = torch.optim.SGD(m.parameters(), 0.1)\n"
    assert by_hand(code, Logits(False), frontend="torch").startswith("at the end of the network")


@pytest.mark.parametrize(
    ("source", "loss"),
    [
        (KERAS_LIST, "loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)"),
        (KERAS_FUNCTIONAL, "loss=keras.losses.BinaryCrossentropy(from_logits=True)"),
        (KERAS_ADD, "loss=keras.losses.BinaryCrossentropy(from_logits=True)"),
    ],
)
def test_keras_loss_of_logits(source, loss):
    assert loss in patched(source, Logits(True), frontend="keras").after


@pytest.mark.parametrize(
    ("source", "new"),
    [
        (KERAS_LIST, ["layers.Dense(10),"]),
        (KERAS_ADD, ["model.add(Dense(1))"]),
        (KERAS_FUNCTIONAL, ['outputs = layers.Dense(1, name="head")(x)']),
        (KERAS_CLASS, ["self.out = tf.keras.layers.Dense(1)"]),
    ],
)
def test_keras_closing_activation(source, new):
    assert added(source, Logits(False), frontend="keras") == new


@pytest.mark.parametrize(
    ("code", "after"),
    [
        ("m = K.Sequential([K.layers.Dense(2), K.layers.Softmax()])", "m = K.Sequential([K.layers.Dense(2)])"),
        ("i = K.Input((2,))\nm = K.Model(i, K.layers.Activation('softmax')(i))", "m = K.Model(i, i)"),
        ("i = K.Input((2,))\no = K.ops.softmax(i)\nm = K.Model(inputs=i, outputs=o)", "o = i"),
    ],
)  # fmt: skip
def test_keras_closing_layers_and_functions(code, after):
    assert added(f"import keras as K\n{code}\n", Logits(False), frontend="keras") == [after]


def test_keras_closing_layer_that_was_added():
    code = (
        "import keras\nm = keras.Sequential()\nm.add(a)\nm.add(keras.layers.Softmax())\nm.fit(x)\n"
    )
    gone, new = lines(patched(code, Logits(False), frontend="keras"))
    assert (gone, new) == (["m.add(keras.layers.Softmax())"], [])


# ---- inputs


def test_torch_inputs():
    assert added(TORCH_CLASS, StandardiseInputs(0.13, 0.31), frontend="torch") == [
        "x = (x - 0.13) / 0.31"
    ]
    assert added(TORCH_LIST, StandardiseInputs(-2, 4), frontend="torch") == ["x = (x + 2) / 4"]
    rows = TORCH_LIST.replace("model(x), y", "model(x[rows]), y[rows]")
    assert added(rows, StandardiseInputs(-2, 4), frontend="torch") == ["x = (x + 2) / 4"]
    tested = TORCH_LIST + "model(x_test)\n"
    assert "loss_fn(model(x), y)" in by_hand(tested, StandardiseInputs(-2, 4), frontend="torch")


def test_torch_inputs_that_come_from_a_loader():
    code = TORCH_LIST.replace("for step in range(3):", "for x, y in loader:")
    message = by_hand(code, StandardiseInputs(0.13, 0.31), frontend="torch")
    assert message.startswith("before the line `loss = loss_fn(model(x), y)`")


@pytest.mark.parametrize(
    ("source", "new"),
    [
        (KERAS_LIST, ["layers.Rescaling(0.25, offset=-0.5),"]),
        (KERAS_CLASS, ["x = (x - 2) / 4"]),
        (
            KERAS_ADD,
            [
                "from tensorflow import keras",
                "model.add(keras.layers.Rescaling(0.25, offset=-0.5, input_shape=(8,)))",
                "model.add(Dense(64, activation=ACT))",
            ],
        ),
    ],
)
def test_keras_inputs(source, new):
    assert added(source, StandardiseInputs(2, 4), frontend="keras") == new


def test_keras_functional_inputs():
    after = patched(KERAS_FUNCTIONAL, StandardiseInputs(2, 4), frontend="keras").after
    assert ")(layers.Rescaling(0.25, offset=-0.5)(inputs))" in after


def test_keras_functional_inputs_under_another_name():
    source = KERAS_FUNCTIONAL.replace("x = layers.Dense(64", "x = inputs\nx = layers.Dense(64", 1)
    source = source.replace(")(inputs)\n", ")(x)\n", 1).replace(
        "Model(inputs, ", "Model(inputs=inputs, outputs="
    )
    new = ["x = layers.Rescaling(0.25, offset=-0.5)(inputs)"]
    assert added(source, StandardiseInputs(2, 4), frontend="keras") == new


@pytest.mark.parametrize(
    "more", ["x = layers.Add()([x, inputs])", "y = layers.Dense(3)(inputs)", "y = inputs[:, :4]"]
)
def test_keras_inputs_that_are_read_twice_are_left_to_the_user(more):
    source = KERAS_FUNCTIONAL.replace("outputs =", f"{more}\noutputs =", 1)
    assert "inputs = keras.Input" in by_hand(source, StandardiseInputs(2, 4), frontend="keras")


def test_keras_inputs_before_a_loop_that_adds_layers():
    after = patched(KERAS_LOOP, StandardiseInputs(2, 4), frontend="keras").after
    assert "model.add(keras.layers.Rescaling(0.25, offset=-0.5))\nfor _ in" in after


# ---- several at once


def test_rate_goes_before_the_schedule_that_reads_it():
    after = patched(KERAS_CLASS, Warmup(10), SetRate(0.5), frontend="keras").after
    assert "PolynomialDecay(0.05, decay_steps=9, end_learning_rate=0.5)" in after.replace(
        "\n                ", ""
    ).replace("\n            ", "")


def test_what_can_be_written_is_written_and_the_rest_is_said():
    changes = SetRate(0.5), Warmup(10), AddNormalisation("batch", ("nowhere",))
    patch = patched(TORCH_CLASS, *changes, frontend="torch")
    assert "default=0.5" in patch.after
    assert len(patch.manual) == 2
