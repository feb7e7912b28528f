"""Further mistakes in a script, repaired in its text: one kind of fact after another."""

import pytest
from test_repairs import ways

TAPE = """
    import keras, tensorflow as tf
    generator = keras.Sequential([keras.layers.Dense(2)])
    critic = keras.Sequential([keras.layers.Dense(1)])
    def train(real):
        with tf.GradientTape() as tape:
            d_loss = loss_fn(critic(real), critic(generator(noise)))
        grads = tape.gradient(d_loss, critic.trainable_weights)
        d_optimizer.apply_gradients(zip(grads, critic.trainable_weights))
        with tf.GradientTape() as tape:
            g_loss = -critic(generator(noise))
        grads = tape.gradient(g_loss, critic.trainable_weights)
        g_optimizer.apply_gradients(zip(grads, critic.trainable_weights))
"""


def test_a_step_of_another_models_weights():
    code = "tape.gradient(g_loss, critic.trainable_weights)"
    first, _ = ways(TAPE, "weights_unheld", code, how="twice", model="generator", other="critic")
    assert first == [
        "-grads = tape.gradient(g_loss, critic.trainable_weights)",
        "-g_optimizer.apply_gradients(zip(grads, critic.trainable_weights))",
        "+grads = tape.gradient(g_loss, generator.trainable_weights)",
        "+g_optimizer.apply_gradients(zip(grads, generator.trainable_weights))",
    ]


def test_a_model_that_is_in_no_list_of_weights():
    source = """
        import keras, tensorflow as tf
        encoder, head = make(), keras.Sequential([])
        classifier = keras.Sequential([keras.layers.Dense(2)])
        weights = encoder.trainable_variables + decoder.trainable_variables
        def step(x):
            with tf.GradientTape() as tape:
                loss = loss_fn(classifier(encoder(x)))
            grads = tape.gradient(loss, weights)
            optimizer.apply_gradients(zip(grads, weights))
    """
    (found,) = ways(source, "weights_unheld", how="left", model="classifier")
    assert found[1] == (
        "+weights = encoder.trainable_variables + decoder.trainable_variables + "
        "classifier.trainable_variables"
    )
    own = source.replace("gradient(loss, weights)", "gradient(loss, encoder.trainable_variables)")
    _, found = ways(own, "weights_unheld", how="left", model="classifier")
    assert found[1] == (
        "+grads = tape.gradient(loss, encoder.trainable_variables + classifier.trainable_variables)"
    )


def test_a_loop_that_freezes_the_head_too():
    source = """
        import keras
        for layer in model.layers:
            layer.trainable = False
        base.trainable = False
        model.compile("adam", "mse")
    """
    first, second = ways(source, "weights_unheld", how="frozen", model="model")
    assert first == ["-for layer in model.layers:", "+for layer in model.layers[:-1]:"]
    assert second == ["-base.trainable = False", "+base.trainable = True"]


def test_a_state_that_is_handed_on():
    source = """
        import keras
        for x, y in data:
            loss, new_state = train_step(state, (x, y))
        for variable, value in zip(model.trainable_variables, new_state[0]):
            variable.assign(value)
    """
    (found,) = ways(source, "weights_unheld", how="dropped")
    assert found == [
        "-loss, new_state = train_step(state, (x, y))",
        "-for variable, value in zip(model.trainable_variables, new_state[0]):",
        "+loss, state = train_step(state, (x, y))",
        "+for variable, value in zip(model.trainable_variables, state[0]):",
    ]


def test_layers_that_have_the_batch_first():
    source = "import torch\nlstm = torch.nn.LSTM(4, 8)\nlinear = torch.nn.Linear(8, 1)\n"
    (found,) = ways(source, "samples_mixed", kind="LSTM", known=True)
    assert found[1] == "+lstm = torch.nn.LSTM(4, 8, batch_first=True)"
    assert ways(source, "samples_mixed", kind="LSTM", known=False) == []


@pytest.mark.parametrize(
    ("mask", "wanted"), [("mask", "~mask"), ("~mask", "mask"), ("ids != 0", "~(ids != 0)")]
)
def test_a_padding_mask_the_right_way_round(mask, wanted):
    source = f"import torch\ny = encoder(x, src_key_padding_mask={mask})\n"
    (found,) = ways(source, "mask_inverted")
    assert found[1] == f"+y = encoder(x, src_key_padding_mask={wanted})"


def test_a_mask_that_is_handed_on_is_turned_once():
    source = """
        import torch
        class Net(torch.nn.Module):
            def forward(self, x, key_padding_mask):
                return self.attention(x, x, x, key_padding_mask=key_padding_mask)
        y = net(x, key_padding_mask=mask)
    """
    (found,) = ways(source, "mask_inverted")
    assert found == ["-y = net(x, key_padding_mask=mask)", "+y = net(x, key_padding_mask=~mask)"]


@pytest.mark.parametrize(
    ("line", "wanted", "more"),
    [
        ("clip_grad_norm_(weights, 1e-5)", "clip_grad_norm_(weights, 3.6)", {}),
        ("clip_grad_norm_(weights, max_norm=1e-5)", "clip_grad_norm_(weights, max_norm=3.6)", {}),
        ("Adam(clipnorm=1e-5)", "Adam(clipnorm=3.6)", {"argument": "clipnorm"}),
    ],
)
def test_a_clip_that_leaves_something(line, wanted, more):
    (found,) = ways(f"{line}\n", "clipped_away", norm=1.2, bound=1e-5, **more)
    assert found == [f"-{line}", f"+{wanted}"]


def test_a_line_search():
    source = "import torch\noptimizer = torch.optim.LBFGS(weights, lr=1)\n"
    (found,) = ways(source, "line_search_missing")
    assert (
        found[1] == '+optimizer = torch.optim.LBFGS(weights, lr=1, line_search_fn="strong_wolfe")'
    )


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ('LSTM(8, activation="relu")', 'LSTM(8, activation="tanh")'),
        ("layers.GRU(8, activation=keras.activations.relu)", 'layers.GRU(8, activation="tanh")'),
        ('torch.nn.RNN(4, 8, nonlinearity="relu")', 'torch.nn.RNN(4, 8, nonlinearity="tanh")'),
    ],
)
def test_a_recurrence_within_bounds(line, wanted):
    more = 'Dense(8, activation="relu")\nLSTM(8, activation="tanh")\n'
    (found,) = ways(f"{line}\n{more}", "recurrence_unbounded")
    assert found == [f"-{line}", f"+{wanted}"]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            "model.fit(x, y, class_weight=counts)",
            "model.fit(x, y, class_weight={label: sum(counts.values()) / (len(counts) * weight) "
            "for label, weight in counts.items()})",
        ),
        (
            "loss = torch.nn.CrossEntropyLoss(weight=w)",
            "loss = torch.nn.CrossEntropyLoss(weight=w.sum() / (len(w) * w))",
        ),
        (
            "loss = torch.nn.BCEWithLogitsLoss(pos_weight=neg / pos)",
            "loss = torch.nn.BCEWithLogitsLoss(pos_weight=1 / (neg / pos))",
        ),
    ],
)
def test_class_weights_the_right_way_round(line, wanted):
    (found,) = ways(f"import torch\n{line}\n", "weights_reversed")
    assert found == [f"-{line}", f"+{wanted}"]


def test_a_step_in_the_place_of_anothers():
    source = """
        import torch
        for x in data:
            opt_d.zero_grad()
            d_loss.backward()
            opt_d.step()
            opt_d.zero_grad()
            g_loss.backward()
            opt_d.step()
    """
    given = {"optimizer": "opt_g", "instead": "opt_d"}
    first, second = ways(source, "never_stepped", "g_loss.backward()", **given)
    assert first == [
        "-opt_d.zero_grad()",
        "+opt_g.zero_grad()",
        "-opt_d.step()",
        "+opt_g.step()",
    ]
    assert second == ["+opt_g.step()"]
    (found,) = ways(source, "never_stepped", "g_loss.backward()", optimizer="opt_g")
    assert found == second


def test_samples_that_are_shuffled_before_they_are_split():
    source = """
        import numpy as np
        model.fit(x, y, validation_split=0.2)
        model.fit(x, y, validation_data=(a, b))
    """
    (found,) = ways(source, "classes_apart")
    assert found == ["+order = np.random.permutation(len(x))", "+x, y = x[order], y[order]"]


def test_a_schedule_of_lightnings():
    source = """
        def configure_optimizers(self):
            return {"optimizer": o, "lr_scheduler": {"scheduler": s, "interval": "step"}}
    """
    (found,) = ways(source, "rate_gone", since=3, steps=10)
    assert found[1].endswith('"interval": "epoch"}}')


def test_a_plateau_that_waits_for_the_better_value():
    source = 'r = keras.callbacks.ReduceLROnPlateau("loss", mode="max", factor=0.1, patience=1)\n'
    first, second = ways(source, "rate_gone", since=3, steps=10, mode="max")
    assert 'mode="min"' in first[1]
    assert "factor=0.5, patience=10" in second[1]


@pytest.mark.parametrize(
    "decay",
    ["def decay(epoch, lr):\n    return lr * 0.9**epoch\n", "decay = lambda e, lr: lr * 0.9**e\n"],
)
def test_a_decay_of_what_has_decayed(decay):
    given = decay.split(" = ")[-1].strip() if "lambda" in decay else "decay"
    source = f"import keras\n{decay}c = keras.callbacks.LearningRateScheduler({given})\n"
    (found,) = ways(source, "rate_gone", since=3, steps=10)
    assert "0.9**" in found[0]
    assert "0.9**" not in found[-1]


@pytest.mark.parametrize(
    ("imports", "line", "operand", "wanted"),
    [
        ("import torch", "l = torch.square(a - b).mean()", "a - b", "(a - b).float()"),
        ("import tensorflow as tf", "l = tf.square(a - b)", "a - b", 'tf.cast(a - b, "float32")'),
        ("import keras", "l = keras.ops.exp(a)", "", 'keras.ops.cast(a, "float32")'),
    ],
)
def test_what_half_precision_cannot_hold(imports, line, operand, wanted):
    given = {"operation": "other", "direction": "forward", "operand": operand}
    code = line.removeprefix("l = ").removesuffix(".mean()")
    (found,) = ways(f"{imports}\n{line}\n", "born", code, dtype="float16", **given)
    assert wanted in found[1]
    assert ways(f"{imports}\n{line}\n", "born", code, dtype="float32", **given) == []


@pytest.mark.parametrize(
    ("imports", "first", "second", "order"),
    [
        (
            "import numpy as np",
            "np.random.shuffle(x)",
            "np.random.shuffle(y)",
            "np.random.permutation(len(x))",
        ),
        (
            "import torch",
            "x = x[torch.randperm(9)]",
            "y = y[torch.randperm(9)]",
            "torch.randperm(9)",
        ),
    ],
)
def test_samples_and_labels_are_shuffled_together(imports, first, second, order):
    (found,) = ways(f"{imports}\n{first}\n{second}\n", "labels_apart")
    assert [line for line in found if line.startswith("+")] == [
        f"+order = {order}",
        "+x, y = x[order], y[order]",
    ]
    between = f"{imports}\n{first}\nnp.random.seed(0)\n{second}\n"
    assert ways(between, "labels_apart") == []


def test_the_argument_of_a_curve():
    source = """
        import torch
        years = torch.arange(1900, 2000)
        r = torch.tensor(0.5, requires_grad=True)
        t = torch.nn.Parameter(torch.zeros(()))
        for step in range(9):
            loss = ((r * torch.sigmoid(years - t) - people) ** 2).mean()
            loss.backward()
    """
    (found,) = ways(source, "curve_flat")
    assert found == ["+years = (years - years.mean()) / years.std()"]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            's = layers.Dense(1, activation="relu")(h)',
            's = layers.Dense(1, activation="softplus")(h)',
        ),
        (
            "s = nn.Sequential(nn.Linear(8, 1), nn.ReLU())",
            "s = nn.Sequential(nn.Linear(8, 1), nn.Softplus())",
        ),
    ],
)
def test_a_deviation_above_zero(line, wanted):
    imports = "import torch\nfrom torch import nn\nfrom keras import layers\n"
    more = 'h = layers.Dense(32, activation="relu")(x)\nb = nn.Sequential(nn.Linear(8, 8), nn.ReLU())\n'
    given = {"operation": "divide", "direction": "forward"}
    first, *_ = ways(f"{imports}{more}{line}\ny = a / s\n", "born", "a / s", low=0.0, **given)
    assert first == [f"-{line}", f"+{wanted}"]
    assert all(
        "oftplus" not in str(way)
        for way in ways(f"{imports}{line}\ny = a / s\n", "born", "a / s", low=-1.0, **given)
    )


def test_a_deviation_of_a_forward_pass():
    source = """
        import torch
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                self.body = nn.Linear(8, 32)
                self.scale = nn.Linear(32, 1)
            def forward(self, x):
                h = torch.relu(self.body(x))
                return torch.relu(self.scale(h))
        loss = ((y - mu) / s).mean()
    """
    given = {"operation": "divide", "direction": "forward", "low": 0.0}
    first = ways(source, "born", "(y - mu) / s", **given)[0]
    assert len(first) == 2
    assert first[-1].endswith("softplus(self.scale(h))")


def test_targets_that_two_terms_of_a_loss_read():
    source = """
        import torch
        import torch.nn.functional as F
        loss = F.binary_cross_entropy_with_logits(logits, mask) + dice(logits, mask)
    """
    code = "F.binary_cross_entropy_with_logits(logits, mask)"
    first = ways(source, "targets_outside", code, low=0, high=255)[0]
    assert first == ["+mask = mask / 255.0"]
