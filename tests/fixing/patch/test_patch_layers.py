"""Initialisation, activation and normalisation in the text of a script."""

import math

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

from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.initialise import Initialise

RELU = 2**0.5
LOOP = [
    'nn.init.kaiming_normal_(module.weight, nonlinearity="relu")',
    "if module.bias is not None:",
    "nn.init.zeros_(module.bias)",
]


def he(*layers):
    return Initialise(layers, "relu", RELU)


# ---- initialise


def test_torch_all_layers_of_a_kind():
    new = added(TORCH_LIST, he("0", "2", "4"), frontend="torch")
    assert new == ["for module in model.modules():", "if isinstance(module, nn.Linear):", *LOOP]
    new = added(TORCH_CLASS, he("conv"), frontend="torch")
    assert new == ["for module in model.modules():", "if isinstance(module, nn.Conv2d):", *LOOP]


def test_torch_some_layers_by_name():
    new = added(TORCH_CLASS, he("conv", "fc1"), frontend="torch")
    assert new[:2] == ['for name in ("conv", "fc1"):', "module = model.get_submodule(name)"]
    assert new[2:] == LOOP
    new = added(TORCH_LIST, he("0"), frontend="torch")
    assert new == [
        'nn.init.kaiming_normal_(model[0].weight, nonlinearity="relu")',
        "nn.init.zeros_(model[0].bias)",
    ]


@pytest.mark.parametrize(
    ("gain", "code"),
    [
        (1.0, 'nn.init.kaiming_normal_(module.weight, nonlinearity="linear")'),
        (1.5, "nn.init.normal_(module.weight, std=1.5 / fan_in**0.5)"),
    ],
)
def test_torch_gains(gain, code):
    new = added(TORCH_LIST, Initialise(("0", "2", "4"), "tanh", gain), frontend="torch")
    assert code in new


def test_torch_layers_that_the_model_has_not():
    patch = patched(TORCH_LIST, he("0", "fc"), frontend="torch")
    assert "kaiming_normal_(model[0].weight" in patch.after
    assert "for layer in fc" in patch.manual[0]


def test_torch_after_the_scripts_own_initialisation():
    code = """
    import torch
    from torch import nn
    class Trainer:
        def __init__(self):
            self.net = nn.Sequential(nn.Linear(2, 2)).to("cpu")
            for layer in self.net:
                nn.init.ones_(layer.weight)
            self.net.apply(init_weights)
            self.optimizer = torch.optim.SGD(self.net.parameters(), 0.1)
    """
    after = patched(code, he("0"), frontend="torch").after
    assert after.index("apply(") < after.index("for module in self.net.modules()")
    assert after.index("kaiming") < after.index("torch.optim")


def test_torch_model_that_comes_from_elsewhere():
    code = "import torch\ndef train(model):\n    o = torch.optim.SGD(model.parameters(), 0.1)\n"
    message = by_hand(code, he("0"), frontend="torch")
    assert message.startswith(
        "before the line `o = torch.optim.SGD(model.parameters(), 0.1)` (train.py:3)"
    )


def test_torch_initialise_twice_is_once():
    once = patched(TORCH_CLASS, he("conv"), frontend="torch").after
    assert patched(once, he("conv"), frontend="torch").after == once


def test_keras_layers_by_the_names_that_keras_gives():
    new = added(KERAS_LIST, he("conv2d", "dense"), frontend="keras")
    assert new == [
        'layers.Conv2D(16, 3, activation="sigmoid", kernel_initializer="he_normal"),',
        'layers.Dense(64, activation="sigmoid", kernel_initializer="he_normal"),',
    ]
    new = added(KERAS_FUNCTIONAL, he("second"), frontend="keras")
    assert "second" in new[0]
    new = added(KERAS_ADD, he("dense_1"), frontend="keras")
    assert new == ["model.add(Dense(64, kernel_initializer='he_normal'))"]


@pytest.mark.parametrize(
    "names", [("dense1", "dense2"), ("dense", "dense_1"), ("net/dense", "net/dense_1")]
)
def test_keras_layers_of_a_class(names):
    gone, new = lines(patched(KERAS_CLASS, he(*names), frontend="keras"))
    assert gone[1] == 'bias_initializer="ones",'
    assert new[-1] == 'kernel_initializer="he_normal",'


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (Initialise(("dense1",), "linear", 1.0), '"lecun_normal"'),
        (
            Initialise(("dense1",), "tanh", 1.25),
            'tf.keras.initializers.VarianceScaling(1.56, "fan_in", "truncated_normal")',
        ),
        (
            Initialise(("dense2",), "tanh", 1.25, "orthogonal"),
            "tf.keras.initializers.Orthogonal(1.25)",
        ),
    ],
)
def test_keras_gains(change, code):
    after = patched(KERAS_CLASS, change, frontend="keras").after
    assert f"kernel_initializer={code}".replace(" ", "") in "".join(after.split())


def test_keras_orthogonal_weights_where_a_layer_widens():
    """Orthonormal columns are 1 / outputs in variance: sqrt(outputs / inputs) keeps 1 / inputs."""
    change = Initialise(("first", "second"), "linear", 1.25, "orthogonal")
    new = "".join(added(KERAS_FUNCTIONAL, change, frontend="keras"))
    first, second = f"Orthogonal({1.25 * math.sqrt(64 / 8):.4g})", "Orthogonal(1.25)"
    assert new.index(first) < new.index(second)
    unknown = Initialise(("dense1",), "linear", 1.25, "orthogonal")
    line = by_hand(KERAS_CLASS, unknown, frontend="keras")
    assert "Orthogonal(1.25 * max(1, outputs / inputs) ** 0.5)" in line


def test_keras_layers_of_a_loop():
    hidden = tuple(f"dense_{n}" if n else "dense" for n in range(4))
    assert added(KERAS_LOOP, he(*hidden), frontend="keras") == [
        'model.add(keras.layers.Dense(32, activation="tanh", kernel_initializer="he_normal"))'
    ]
    assert added(KERAS_LOOP, he("dense_4"), frontend="keras") == [
        'model.add(keras.layers.Dense(3, kernel_initializer="he_normal"))'
    ]
    message = by_hand(KERAS_LOOP, he("dense", "dense_1"), frontend="keras")
    assert 'model.add(keras.layers.Dense(32, activation="tanh"))' in message


def test_keras_helper_for_all_layers():
    code = """
    from tensorflow import keras
    def block(x, width):
        return keras.layers.Dense(width, activation="relu")(x)
    x = inputs = keras.Input((8,))
    for width in (64, 32):
        x = block(x, width)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    """
    new = added(code, he("dense", "dense_1"), frontend="keras")
    assert new == [
        'return keras.layers.Dense(width, activation="relu", kernel_initializer="he_normal")(x)'
    ]
    assert "train.py:4" in by_hand(code, he("dense"), frontend="keras")


# ---- activation


def test_torch_modules_but_not_the_last():
    gone, new = lines(patched(TORCH_LIST, Activation("sigmoid", "relu"), frontend="torch"))
    assert gone == ["nn.Sigmoid(),", "nn.Sigmoid(),"]
    assert new == ["nn.ReLU(),", "nn.ReLU(),"]
    new = added(TORCH_LIST, Activation("sigmoid", "leaky_relu", 0.2), frontend="torch")
    assert new == ["nn.LeakyReLU(0.2),", "nn.LeakyReLU(0.2),"]


def test_torch_functions():
    new = added(TORCH_CLASS, Activation("relu", "tanh"), frontend="torch")
    assert new == ["x = F.tanh(self.conv(x))", "x = F.tanh(self.fc1(x))"]
    new = added(TORCH_CLASS, Activation("relu", "leaky_relu", 0.1), frontend="torch")
    assert new[0] == "x = F.leaky_relu(self.conv(x), 0.1)"


NET = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, act=nn.Sigmoid):
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.act = nn.Sigmoid()
        self.last = nn.Sigmoid()
        self.make = act
    def forward(self, x):
        x = self.act(self.fc(x)).sigmoid()
        x = torch.sigmoid(torch.sigmoid(x))
        return BODY
model = Net()
accuracy = torch.sigmoid(model(x)).round()
optimizer = torch.optim.SGD(model.parameters(), 0.1)
"""


@pytest.mark.parametrize("body", ["torch.sigmoid(x)", "self.last(x)", "x.sigmoid().squeeze(-1)"])
def test_torch_all_ways_to_write_it_but_not_what_closes(body):
    code = NET.replace("BODY", body)
    _, new = lines(patched(code, Activation("sigmoid", "relu"), frontend="torch"))
    assert new[:2] == ["def __init__(self, act=nn.ReLU):", "self.act = nn.ReLU()"]
    assert new[-2:] == ["x = self.act(self.fc(x)).relu()", "x = torch.relu(torch.relu(x))"]
    assert ("self.last = nn.ReLU()" in new) == (body != "self.last(x)")


def test_torch_functions_that_tensors_have_not():
    after = patched(NET.replace("act=nn.Sigmoid", "act=None").replace("BODY", "x"),
                    Activation("sigmoid", "leaky_relu", 0.1), frontend="torch").after  # fmt: skip
    assert "x = nn.functional.leaky_relu(self.act(self.fc(x)), 0.1)" in after


def test_torch_activation_that_also_closes():
    code = NET.replace("BODY", "self.act(x)")
    message = by_hand(code, Activation("sigmoid", "relu"), frontend="torch")
    assert "self.act = nn.Sigmoid()" in message


def test_torch_block_of_a_larger_network():
    code = """
    import torch
    from torch import nn
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.n = nn.Linear(2, 2), 1
        def forward(self, x):
            return torch.tanh(x + self.fc(x))
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.Sequential(Block(), Block())
            self.head = nn.Linear(2, 1)
        def forward(self, x):
            return torch.tanh(self.head(self.blocks(x)))
    net = Net().cuda()
    o = torch.optim.Adam(net.parameters())
    """
    new = added(code, Activation("tanh", "relu"), frontend="torch")
    assert new == ["return torch.relu(x + self.fc(x))"]


@pytest.mark.parametrize(
    ("end", "new"),
    [
        ("[nn.Linear(2, 1), nn.Sigmoid()]", ["layers += [nn.Linear(2, 2), nn.ReLU()]"]),
        ("[nn.Linear(2, 1)]", ["layers += [nn.Linear(2, 2), nn.ReLU()]"]),
    ],
)
def test_torch_layers_that_are_listed_first(end, new):
    code = f"""
    import torch
    from torch import nn
    layers = []
    for _ in range(3):
        layers += [nn.Linear(2, 2), nn.Sigmoid()]
    layers += {end}
    model = nn.Sequential(*layers)
    o = torch.optim.Adam(model.parameters())
    """
    assert added(code, Activation("sigmoid", "relu"), frontend="torch") == new


def test_torch_list_that_a_loop_closes():
    code = """
    import torch
    from torch import nn
    layers = []
    for _ in range(3):
        layers.append(nn.Linear(2, 2))
        layers.append(nn.Sigmoid())
    o = torch.optim.Adam(nn.Sequential(*layers).parameters())
    model = nn.Sequential(*layers)
    o = torch.optim.Adam(model.parameters())
    """
    message = by_hand(code, Activation("sigmoid", "relu"), frontend="torch")
    assert "layers.append(nn.Sigmoid())" in message


def test_torch_several_models():
    code = """
    import torch
    from torch import nn
    G = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    D = nn.Sequential(nn.Linear(2, 1))
    a = torch.optim.Adam(G.parameters())
    b = torch.optim.Adam(D.parameters())
    """
    after = patched(code, he("G.0", "D.0"), frontend="torch").after
    assert after.index("(G[0].weight") < after.index("D = nn") < after.index("in D.modules()")
    new = added(code, he("G.2"), AddNormalisation("batch", ("G.0", "D.0")), frontend="torch")
    assert [line for line in new if "G" in line or "D" in line] == [
        'add_normalisation(G, ["0"])',
        'nn.init.kaiming_normal_(G[2].weight, nonlinearity="relu")',
        "nn.init.zeros_(G[2].bias)",
        'add_normalisation(D, ["0"])',
    ]


@pytest.mark.parametrize(
    ("source", "new"),
    [
        (
            KERAS_LIST,
            ['layers.Conv2D(16, 3, activation="relu"),', 'layers.Dense(64, activation="relu"),'],
        ),
        (KERAS_ADD, ["ACT = 'relu'", "model.add(Activation('relu'))"]),
        (
            KERAS_FUNCTIONAL,
            [
                'x = layers.Dense(64, activation="relu", name="first")(inputs)',
                'x = layers.Dense(64, activation="relu", name="second")(x)',
            ],
        ),
        (
            KERAS_CLASS,
            [
                'self.dense1 = tf.keras.layers.Dense(64, activation="relu")',
                'activation="relu",',
            ],
        ),
    ],
)
def test_keras_activations_but_not_the_last(source, new):
    assert added(source, Activation("sigmoid", "relu"), frontend="keras") == new


def test_keras_leaky_relu():
    new = added(KERAS_ADD, Activation("sigmoid", "leaky_relu", 0.1), frontend="keras")
    assert new == [
        "from tensorflow import keras",
        "ACT = keras.layers.LeakyReLU(negative_slope=0.1)",
        "model.add(keras.layers.LeakyReLU(negative_slope=0.1))",
    ]


def test_an_activation_that_is_nowhere():
    assert "elu" in by_hand(KERAS_LIST, Activation("elu", "relu"), frontend="keras")
    assert "elu" in by_hand(TORCH_LIST, Activation("elu", "relu"), frontend="torch")


# ---- normalise


def test_torch_sequential():
    new = added(TORCH_LIST, AddNormalisation("batch", ("0", "2")), frontend="torch")
    assert "norm = nn.BatchNorm1d(size)" in new
    assert new[-1] == 'add_normalisation(model, ["0", "2"])'
    new = added(TORCH_LIST, AddNormalisation("group", ("0",)), frontend="torch")
    assert "norm = nn.GroupNorm(groups, size)" in new


def test_torch_names_stay():
    changes = (he("2"), AddNormalisation("layer", ("0",)))
    new = added(TORCH_LIST, *changes, frontend="torch")
    assert 'nn.init.kaiming_normal_(model[2].weight, nonlinearity="relu")' in new


def test_torch_class():
    new = added(TORCH_CLASS, AddNormalisation("batch", ("conv", "fc1")), frontend="torch")
    assert "norm = norms[layer.weight.ndim - 2](size)" in new
    assert new[-1] == 'add_normalisation(model, ["conv", "fc1"])'
    new = added(TORCH_CLASS, AddNormalisation("layer", ("conv",)), frontend="torch")
    assert "norm = nn.GroupNorm(1, size)" in new


def test_a_function_of_the_patch_stands_above_a_comment_and_two_lines_apart():
    code = TORCH_LIST.replace("model = nn", "# the model,\n# a small one\nmodel = nn")
    after = patched(code, AddNormalisation("batch", ("0",)), frontend="torch").after
    assert "torch.manual_seed(0)\n\n\ndef add_normalisation(" in after
    assert (
        "return layer.normalisation(output)\n\n\n# the model,\n# a small one\nmodel = nn" in after
    )


@pytest.mark.parametrize("taken", ["def normalised(): ...", "add_normalisation = 1"])
def test_a_name_that_is_taken(taken):
    code = TORCH_LIST.replace("model = nn", f"{taken}\nmodel = nn")
    assert "normalisation behind 0" in by_hand(
        code, AddNormalisation("batch", ("0",)), frontend="torch"
    )


def test_a_model_that_is_changed_behind_its_optimizer():
    code = "import torch\no = torch.optim.SGD((m := torch.nn.Linear(1, 1)).parameters(), 0.1)\n"
    assert by_hand(code, AddNormalisation("batch", ("",)), frontend="torch")


def test_keras_sequential_list():
    gone, new = lines(
        patched(KERAS_LIST, AddNormalisation("batch", ("conv2d", "dense")), frontend="keras")
    )
    assert gone == [
        'layers.Conv2D(16, 3, activation="sigmoid"),',
        'layers.Dense(64, activation="sigmoid"),',
    ]
    assert new == [
        "layers.Conv2D(16, 3),",
        "layers.BatchNormalization(),",
        'layers.Activation("sigmoid"),',
        "layers.Dense(64),",
        "layers.BatchNormalization(),",
        'layers.Activation("sigmoid"),',
    ]


def test_keras_sequential_add():
    new = added(KERAS_ADD, AddNormalisation("layer", ("dense_1",)), frontend="keras")
    assert new == ["from tensorflow import keras", "model.add(keras.layers.LayerNormalization())"]


def test_keras_functional():
    new = added(KERAS_FUNCTIONAL, AddNormalisation("batch", ("first",)), frontend="keras")
    assert new == [
        'x = layers.Dense(64, name="first")(inputs)',
        "x = layers.BatchNormalization()(x)",
        'x = layers.Activation("sigmoid")(x)',
    ]


def test_keras_class():
    new = added(KERAS_CLASS, AddNormalisation("batch", ("dense1",)), frontend="keras")
    assert new == [
        "self.dense1 = tf.keras.layers.Dense(64)",
        "self.dense1_norm = tf.keras.layers.BatchNormalization()",
        "def call(self, x, training=None):",
        "x = tf.keras.activations.sigmoid(self.dense1_norm(self.dense1(x), training=training))",
    ]


def test_keras_channels_first():
    code = (
        "import keras\nl = keras.layers\n"
        "m = keras.Sequential([l.Conv2D(8, 3, data_format='channels_first')])\n"
    )
    (new,) = added(code, AddNormalisation("batch", ("conv2d",)), frontend="keras")
    assert "l.BatchNormalization(axis=1)" in new


def test_keras_activation_that_has_a_name():
    new = added(KERAS_ADD, AddNormalisation("batch", ("dense",)), frontend="keras")
    assert new[1:] == [
        "model.add(Dense(64, input_shape=(8,)))",
        "model.add(keras.layers.BatchNormalization())",
        "model.add(Activation(ACT))",
    ]


def test_keras_what_cannot_be_moved():
    code = "import keras\nm = keras.Sequential([keras.layers.Dense(2, activation=mine)])\n"
    assert "train.py:2" in by_hand(code, AddNormalisation("batch", ("dense",)), frontend="keras")
