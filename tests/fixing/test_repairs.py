"""Mistakes in a script, repaired in its text: by facts as adapters give them."""

import textwrap
from pathlib import Path

import pytest

from evengrad.fixing import repairs
from evengrad.fixing.patch.script.diff import unified
from evengrad.values.fact import Fact, Where
from evengrad.verbs.host import execute


def ways(source, fact, code="", line=0, **values):
    """The lines that each way adds and takes away, as a diff shows them. code: at the mistake's line."""
    source = textwrap.dedent(source).lstrip("\n")
    lines = source.splitlines()
    if code:
        line = next(n for n, text in enumerate(lines, 1) if code in text)
    where = Where("train.py", line, code) if line else None
    found = repairs.candidates(source, Fact(fact, where, 0, values), "train.py")
    assert all(candidate.source != source for candidate in found)
    return [changed(source, candidate.source) for candidate in found]


def changed(before, after):
    """Lines that went, and lines that came."""
    lines = unified(before, after, "train.py").splitlines()[2:]
    return [line[0] + line[1:].strip() for line in lines if line[:1] in "+-"]


LOOP = """
    import torch
    from torch import nn
    import torch.nn.functional as F

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    {before}
    for epoch in range(3):
        for x, y in loader:
            loss = {loss}
            {backward}
            {step}
"""


def loop(
    loss="F.mse_loss(model(x), y)",
    backward="loss.backward()",
    step="optimizer.step()",
    before="pass",
):
    return LOOP.format(loss=loss, backward=backward, step=step, before=before)


def test_gradients_that_are_never_set_to_zero():
    first, second = ways(loop(), "gradients_kept")
    assert first == ["+optimizer.zero_grad()"]
    assert second == ["+optimizer.zero_grad()"]


def test_gradients_that_are_set_to_zero_too_late():
    early = loop(step="optimizer.zero_grad(); optimizer.step()".replace("; ", "\n            "))
    assert ways(early, "gradients_kept")[0] == [
        "+optimizer.zero_grad()",
        "-optimizer.zero_grad()",
    ]


def test_a_step_in_another_function_than_backward():
    source = """
        import torch
        class Trainer:
            def __init__(self, model):
                self.optimizer = torch.optim.Adam(model.parameters())
            def back(self, loss):
                loss.backward()
            def step(self):
                self.optimizer.step()
    """
    (found,) = ways(source, "gradients_kept")
    assert found == ["+self.optimizer.zero_grad()"]


def test_keras_on_torch_has_a_zero_grad_of_the_model():
    source = """
        import keras
        for x, y in data:
            loss = loss_fn(y, model(x, training=True))
            loss.backward()
            gradients = [v.value.grad for v in model.trainable_weights]
            optimizer.apply(gradients, model.trainable_weights)
    """
    (found,) = ways(source, "gradients_kept")
    assert found == ["+model.zero_grad()"]


def test_a_clip_of_scaled_gradients():
    source = loop(
        backward="scaler.scale(loss).backward()\n            nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
        step="scaler.step(optimizer)",
    )
    (found,) = ways(source, "clipped_scaled", "nn.utils.clip_grad_norm_(model.parameters(), 1.0)")
    assert found == ["+scaler.unscale_(optimizer)"]
    late = source.replace("scaler.step(", "scaler.unscale_(optimizer); scaler.step(")
    (found,) = ways(late, "clipped_scaled", "nn.utils.clip_grad_norm_(model.parameters(), 1.0)")
    assert found[0] == "+scaler.unscale_(optimizer)"
    assert found[2] == "+None; scaler.step(optimizer)"


@pytest.mark.parametrize(
    ("operation", "line", "wanted", "values"),
    [
        ("sqrt", "torch.sqrt(a - 0.5)", "torch.sqrt((a - 0.5).clamp(min=1e-8))", {"low": -1}),
        ("sqrt", "torch.sqrt(a)", "torch.sqrt(a + 1e-8)", {"low": 0}),
        ("sqrt", "a.pow(2).sum(1).sqrt()", "(a.pow(2).sum(1) + 1e-8).sqrt()", {"low": 0}),
        ("sqrt", "a.sum() ** 0.5", "(a.sum().clamp(min=1e-8)) ** 0.5", {}),
        ("log", "torch.log(a)", "torch.log(a.clamp(min=1e-8))", {"low": -1}),
        ("log", "torch.log(F.softmax(a, dim=1))", "F.log_softmax(a, dim=1)", {"low": 0}),
        ("log", "a.softmax(1).log()", "F.log_softmax(a, 1)", {"low": 0}),
        ("log", "torch.log(torch.sigmoid(a))", "F.logsigmoid(a)", {"low": 0}),
        ("divide", "a / b.sum()", "a / b.sum().clamp(min=1e-8)", {}),
        ("divide", "torch.div(a, b)", "torch.div(a, b.clamp(min=1e-8))", {}),
        ("acos", "torch.acos(a)", "torch.acos(a.clamp(min=-1 + 1e-06, max=1 - 1e-06))", {}),
        ("exp", "torch.exp(a)", "torch.exp(a.clamp(max=20))", {}),
        ("norm", "torch.norm(a, dim=1)", "(a.square().sum(dim=1) + 1e-8).sqrt()", {}),
        (
            "norm",
            "a.norm(dim=-1, keepdim=True)",
            "(a.square().sum(dim=-1, keepdim=True) + 1e-8).sqrt()",
            {},
        ),
        ("std", "a.std(0)", "(a.var(0, unbiased=False) + 1e-8).sqrt()", {}),
        ("pow", "a ** 0.3", "(a.clamp(min=1e-4)) ** 0.3", {"dtype": "float16"}),
        ("mean", "a[m].mean()", "(a[m].sum() / max(a[m].numel(), 1))", {}),
        ("softmax", 'a.masked_fill(m, float("-inf"))', "a.masked_fill(m, -1e9)", {}),
    ],
)
def test_an_operation_kept_away_from_where_it_is_not_finite(operation, line, wanted, values):
    source = f"""
        import torch
        import torch.nn.functional as F
        loss = {line} + 1
    """
    found = ways(source, "born", line, operation=operation, **values)
    assert found[0] == [f"-loss = {line} + 1", f"+loss = {wanted} + 1"]


@pytest.mark.parametrize(
    ("operation", "line", "wanted"),
    [
        ("sqrt", "tf.sqrt(tf.reduce_sum(a))", "tf.sqrt(tf.maximum(tf.reduce_sum(a), 1e-8))"),
        ("log", "tf.math.log(a)", "tf.math.log(tf.math.maximum(a, 1e-8))"),
        ("log", "keras.ops.log(a)", "keras.ops.log(keras.ops.maximum(a, 1e-8))"),
        ("divide", "a / b", "a / tf.maximum(b, 1e-8)"),
        ("norm", "tf.norm(a, axis=1)", "tf.sqrt(tf.reduce_sum(tf.square(a), axis=1) + 1e-8)"),
        ("acos", "tf.acos(a)", "tf.acos(tf.minimum(tf.maximum(a, -1 + 1e-06), 1 - 1e-06))"),
    ],
)
def test_the_same_in_the_words_of_tensorflow_and_keras(operation, line, wanted):
    source = f"""
        import keras
        import tensorflow as tf
        loss = {line}
    """
    found = ways(source, "born", line, operation=operation, low=-1)
    assert found[0] == [f"-loss = {line}", f"+loss = {wanted}"]


def test_the_operand_that_was_named_comes_first():
    source = """
        import torch
        loss = torch.sqrt(a) + torch.sqrt(b)
    """
    found = ways(source, "born", line=2, operation="sqrt", operand="b", low=-1)
    assert found[0][1] == "+loss = torch.sqrt(a) + torch.sqrt(b.clamp(min=1e-8))"


def test_shapes_that_broadcast():
    line = "F.mse_loss(model(x), y)"
    found = ways(loop(line), "shapes_broadcast", line, output=[32, 1], target=[32])
    assert found[0][1] == "+loss = F.mse_loss(model(x), y.unsqueeze(1))"
    assert "+loss = F.mse_loss(model(x).squeeze(1), y)" in [way[1] for way in found]
    hand = "((model(x) - y) ** 2).mean()"
    found = ways(loop(hand), "shapes_broadcast", hand, output=[32, 1], target=[32])
    assert found[0][1] == "+loss = ((model(x) - y.unsqueeze(1)) ** 2).mean()"
    source = """
        import tensorflow as tf
        loss = tf.reduce_mean((model(x) - y) ** 2)
    """
    found = ways(source, "shapes_broadcast", line=2, output=[32, 1], target=[32])
    assert found[0][1] == "+loss = tf.reduce_mean((model(x) - y[..., None]) ** 2)"


def test_one_shape_where_the_targets_come_first():
    source = """
        import tensorflow as tf
        loss = tf.reduce_mean(tf.square(y - model(x)))
    """
    given = {"output": [32, 1], "target": [32], "first": False}
    found = ways(source, "shapes_broadcast", line=2, **given)
    assert found[0][1] == "+loss = tf.reduce_mean(tf.square(y[..., None] - model(x)))"
    given = {"output": [32], "target": [32, 1], "first": False}
    found = ways(source, "shapes_broadcast", line=2, **given)
    assert found[0][1] == "+loss = tf.reduce_mean(tf.square(y[..., 0] - model(x)))"


def test_targets_of_another_range():
    line = "F.binary_cross_entropy_with_logits(model(x), y)"
    given = {"kind": "probability", "side": "target", "least": 0, "most": 1}
    found = ways(loop(line), "targets_outside", line, low=0, high=255, **given)
    assert found[-1][1] == "+loss = F.binary_cross_entropy_with_logits(model(x), y / 255.0)"
    found = ways(loop(line), "targets_outside", line, low=-1, high=1, **given)
    assert found[-1][1] == "+loss = F.binary_cross_entropy_with_logits(model(x), (y + 1) / 2)"
    found = ways(loop(line), "targets_outside", line, low=20000, high=3e5, **given)
    assert found == [[f"-loss = {line}", "+loss = F.mse_loss(model(x), y)"]]


KERAS = """
    import keras
    import tensorflow as tf

    def prepare(image, mask):
        return image, tf.cast(mask, tf.float32)

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(loss="binary_crossentropy", optimizer="adam")
    model.fit({data})
"""


def test_targets_of_another_range_in_keras():
    given = {"kind": "probability", "side": "target", "low": 0, "high": 255}
    found = ways(KERAS.format(data="train.map(prepare).batch(8)"), "targets_outside", **given)
    assert found[0][1] == "+return image, tf.cast(mask, tf.float32) / 255.0"
    found = ways(KERAS.format(data="x, y, epochs=3"), "targets_outside", **given)
    assert found[0][1] == "+model.fit(x, y / 255.0, epochs=3)"
    found = ways(KERAS.format(data="x, y"), "targets_outside", **{**given, "high": 3e5})
    assert [line for line in found[0] if line[0] == "+"] == [
        "+model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])",
        '+model.compile(loss="mse", optimizer="adam")',
    ]


def test_a_softmax_over_one_unit():
    source = (
        KERAS.format(data="x, y").replace("sigmoid", "softmax").replace("binary", "categorical")
    )
    (found,) = ways(source, "one_unit_softmax")
    assert 'activation="sigmoid"' in found[1] + found[2]
    assert any("binary_crossentropy" in line for line in found if line[0] == "+")
    torch = """
        import torch
        from torch import nn
        model = nn.Sequential(nn.Linear(4, 1), nn.Softmax(dim=1))
        optimizer = torch.optim.Adam(model.parameters())
    """
    (found,) = ways(torch, "one_unit_softmax")
    assert found[1] == "+model = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())"


def test_an_optimizer_made_before_the_models_last_change():
    source = """
        import torch
        from torch import nn
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        model.fc = nn.Linear(8, 2)
        optimizer.step()
    """
    found = ways(source, "weights_unheld", "torch.optim.SGD(model.parameters(), lr=0.1)")[0]
    assert found == ["+model.fc = nn.Linear(8, 2)", "-model.fc = nn.Linear(8, 2)"]


def test_layers_in_a_plain_list():
    source = """
        import torch
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.blocks = [nn.Linear(8, 8) for _ in range(3)]
    """
    (found,) = ways(source, "weights_unheld")
    assert found[1] == "+self.blocks = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])"


def test_a_network_that_was_forgotten():
    source = """
        import torch
        from torch import nn
        encoder = nn.Linear(4, 2)
        decoder = nn.Linear(2, 4)
        optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    """
    found = ways(source, "weights_unheld")[0]
    assert found[1] == (
        "+optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)"
    )


def test_what_is_compiled_before_it_is_made_trainable():
    source = """
        import keras
        base.trainable = False
        model.compile(optimizer="adam", loss="mse")
        base.trainable = True
        model.fit(x, y)
    """
    (found,) = ways(source, "weights_unheld")
    assert found == ["+base.trainable = True", "-base.trainable = True"]


def test_a_detach_too_many():
    source = """
        import torch
        for real in loader:
            fake = netG(noise()).detach()
            errD = criterion(netD(fake), zeros)
            errD.backward()
            optimizerD.step()
            errG = criterion(netD(fake), ones)
            errG.backward()
            optimizerG.step()
    """
    moved, gone = ways(source, "weights_unreached")
    assert [line for line in moved if line[0] == "+"] == [
        "+fake = netG(noise())",
        "+errD = criterion(netD(fake.detach()), zeros)",
    ]
    assert gone[1] == "+fake = netG(noise())"
    frozen = """
        import torch
        for x, y in loader:
            with torch.no_grad():
                h = encoder(x)
            head(h).sum().backward()
    """
    (found,) = ways(frozen, "weights_unreached")
    assert found[1] == "+with torch.enable_grad():"


def test_a_schedule_that_steps_with_every_batch():
    source = loop(
        step="optimizer.step()\n            scheduler.step()",
        before="scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)",
    )
    (found,) = ways(source, "rate_gone")
    assert found == ["-scheduler.step()", "+scheduler.step()"]


@pytest.mark.parametrize(
    ("made", "becomes"),
    [
        ("StepLR(optimizer, 1, gamma=0.9)", "StepLR(optimizer, 25, gamma=0.9)"),
        ("StepLR(optimizer, step_size=30)", "StepLR(optimizer, step_size=750)"),
        ("MultiStepLR(optimizer, [2, 5])", "MultiStepLR(optimizer, [50, 125])"),
        ("ExponentialLR(optimizer, 0.9)", "ExponentialLR(optimizer, 0.995794)"),
        ("CosineAnnealingLR(optimizer, epochs)", "CosineAnnealingLR(optimizer, 25 * epochs)"),
        ("LinearLR(optimizer, 1, 0.01, 5)", "LinearLR(optimizer, 1, 0.01, 125)"),
        ("ExponentialLR(optimizer, gamma)", None),
        ("LambdaLR(optimizer, half)", None),
    ],
)
def test_a_schedule_is_counted_in_batches_where_no_loop_counts_epochs(made, becomes):
    source = f"""
        from torch.optim import lr_scheduler
        schedule = lr_scheduler.{made}
        for step in range(220):
            optimizer.step()
            schedule.step()
        """
    found = ways(source, "rate_gone", since=44, steps=220, zero=False)
    before = f"-schedule = lr_scheduler.{made}"
    assert found == ([] if becomes is None else [[before, f"+schedule = lr_scheduler.{becomes}"]])
    assert ways(source, "rate_gone", since=0, steps=220, zero=True) == []


def test_keras_decay_is_counted_in_batches():
    source = "import keras\nrate = keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)\n"
    (found,) = ways(source, "rate_gone", since=33, steps=200, zero=False)
    assert found[1] == "+rate = keras.optimizers.schedules.ExponentialDecay(0.1, 155, 0.5)"


def test_the_epsilon_of_half_precision():
    (found,) = ways(loop().replace("SGD", "Adam"), "update_not_finite")
    assert found[1].endswith("lr=0.1, eps=1e-4)")
    keras = "import keras\nopt = keras.optimizers.Adam(1e-3, epsilon=1e-7)\n"
    (found,) = ways(keras, "update_not_finite")
    assert found[1] == "+opt = keras.optimizers.Adam(1e-3, epsilon=1e-4)"


def test_a_sum_where_a_mean_was_expected():
    line = 'F.cross_entropy(model(x), y, reduction="sum")'
    assert ways(loop(line), "loss_summed", line)[0][1] == (
        '+loss = F.cross_entropy(model(x), y, reduction="mean")'
    )
    line = "((model(x) - y) ** 2).sum()"
    assert ways(loop(line), "loss_summed", line)[0][1] == "+loss = ((model(x) - y) ** 2).mean()"
    source = "import tensorflow as tf\nloss = tf.reduce_sum(losses)\n"
    assert ways(source, "loss_summed", "tf.reduce_sum(losses)")[0][1] == (
        "+loss = tf.reduce_mean(losses)"
    )


def test_a_loss_that_its_optimizer_expects_to_be_scaled():
    source = """
        import tensorflow as tf
        def train_step(x, y):
            with tf.GradientTape() as tape:
                loss = loss_fn(y, model(x, training=True))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    """
    (found,) = ways(source, "loss_unscaled")
    assert found == [
        "-gradients = tape.gradient(loss, model.trainable_variables)",
        "+scaled_loss = optimizer.scale_loss(loss)",
        "+gradients = tape.gradient(scaled_loss, model.trainable_variables)",
    ]


def test_a_model_that_is_not_told_that_it_trains():
    source = """
        import tensorflow as tf
        def train_step(x, y):
            with tf.GradientTape() as tape:
                loss = loss_fn(y, model(x))
            gradients = tape.gradient(loss, model.trainable_variables)
    """
    (found,) = ways(source, "statistics_unused")
    assert found[1] == "+loss = loss_fn(y, model(x, training=True))"


def test_accumulated_gradients_that_are_not_divided():
    source = loop(step="if (i + 1) % ACCUMULATE == 0:\n                optimizer.step()")
    (found,) = ways(source, "accumulation_undivided", count=4)
    assert found[1] == "+(loss / ACCUMULATE).backward()"
    (found,) = ways(loop(), "accumulation_undivided", count=4)
    assert found[1] == "+(loss / 4).backward()"


def test_a_mistake_in_another_file_is_left_alone():
    fact = Fact("gradients_kept", Where("library/engine.py", 3), 0, {})
    assert repairs.candidates(textwrap.dedent(loop()), fact, "train.py") == ()


def test_every_repair_is_of_a_fact_and_says_what_it_does():
    for repair in repairs.all_repairs():
        assert repair.title.endswith(".")
        assert repair.fact


def test_a_repaired_script_shows_its_own_lines(tmp_path, monkeypatch):
    """AutoGraph compiles what ``inspect`` gives it: with the old text the mistake would run again."""
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("def f():\n    return 1\n")
    new = "import inspect\n\n\ndef f():\n    return 2\n\n\nseen.append(inspect.getsource(f))\n"
    execute("train.py", False, "seen = []\n" + new + "open('seen', 'w').write(seen[0])\n")
    assert Path("seen").read_text() == "def f():\n    return 2\n"


SPAWNING = """
import multiprocessing
def work(queue):
    queue.put(("{which}", __file__))
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=work, args=(queue,))
    process.start()
    process.join()
    open("seen", "w").write(" ".join(queue.get()))
"""


def test_a_process_that_a_repaired_script_spawns_runs_what_was_repaired(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(SPAWNING.format(which="file"))
    execute("train.py", False, SPAWNING.format(which="repaired"))
    assert Path("seen").read_text() == f"repaired {tmp_path / 'train.py'}"


def test_what_is_trained_before_it_is_made_trainable_is_compiled_once_more():
    source = """
        import keras
        model.compile("adam", "mse")
        model.fit(x, y)
        base.trainable = True
        model.fit(x, y)
    """
    assert ways(source, "weights_unheld") == [['+model.compile("adam", "mse")']]


def test_two_optimizers_that_hold_each_others_weights():
    source = """
        import torch
        first = torch.optim.SGD(two.parameters(), lr=0.1)
        second = torch.optim.Adam(one.parameters(), lr=0.2)
    """
    (found,) = ways(source, "losses_crossed", optimizer="first")
    assert found == [
        "-first = torch.optim.SGD(two.parameters(), lr=0.1)",
        "-second = torch.optim.Adam(one.parameters(), lr=0.2)",
        "+first = torch.optim.SGD(one.parameters(), lr=0.1)",
        "+second = torch.optim.Adam(two.parameters(), lr=0.2)",
    ]


def test_an_optimizer_whose_gradients_are_emptied_before_its_step():
    source = """
        import torch
        first = torch.optim.SGD(one.parameters(), lr=0.1)
        for x in loader:
            loss(x).backward()
            first.zero_grad()
            other(x).backward()
            first.step()
    """
    (found,) = ways(source, "losses_crossed", optimizer="first", wiped="a.py:4: loss(x).backward()")
    assert sorted(found) == [
        "+first.step()",
        "+first.zero_grad()",
        "-first.step()",
        "-first.zero_grad()",
    ]
    assert ways(source, "losses_crossed", optimizer="first", wiped="") == []


@pytest.mark.parametrize(
    ("data", "loop", "target"),
    [
        ("price = table[:, 3]", "for i in rows:", "price[i]"),
        (
            "price = table[:, 3]\nloader = DataLoader(TensorDataset(x, price), batch_size=4)",
            "for a, b in loader:",
            "b",
        ),
        (
            "price = table[:, 3]\nx, x_test, y, y_test = train_test_split(table, price)",
            "for i in rows:",
            "y[i].to(device)",
        ),
    ],
)
def test_the_targets_of_a_loss_that_drowns_another(data, loop, target):
    source = f"import torch\n{data}\n{loop}\n    loss = F.mse_loss(model(x), {target}) + other\n"
    (found,) = ways(source, "output_dominates", f"F.mse_loss(model(x), {target})")
    assert found == ["+price = (price - price.mean()) / price.std()"]


def test_the_targets_of_an_output_under_keras():
    source = """
        import keras
        salary = table[:, 0]
        label = table[:, 1]
        model.compile("adam", loss={"kind": "binary_crossentropy", "pay": "mse"})
        model.fit(x, {"kind": label, "pay": salary})
    """
    first, second = ways(source, "output_dominates")
    assert first == ["+salary = (salary - salary.mean()) / salary.std()"]
    assert second == ["+label = (label - label.mean()) / label.std()"]


def test_targets_that_come_from_nowhere_plain_are_left():
    source = """
        import torch
        def step(x, y):
            return F.mse_loss(model(x), y)
    """
    assert ways(source, "output_dominates", "F.mse_loss(model(x), y)") == []


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("keras.layers.BatchNormalization()", "keras.layers.BatchNormalization(momentum=0.9)"),
        ("BatchNormalization(momentum=0.9999)", "BatchNormalization(momentum=0.9)"),
        ("nn.BatchNorm2d(8, momentum=0.001)", "nn.BatchNorm2d(8, momentum=0.1)"),
        ("nn.BatchNorm1d(8, 1e-5, 0.01)", "nn.BatchNorm1d(8, 1e-5, 0.1)"),
    ],
)
def test_moving_statistics_that_are_too_slow(line, wanted):
    source = f"import keras\nnorm = {line}\n"
    assert ways(source, "evaluation_apart") == [[f"-norm = {line}", f"+norm = {wanted}"]]


@pytest.mark.parametrize(
    "line",
    ["nn.BatchNorm2d(8)", "nn.BatchNorm2d(8, momentum=None)", "BatchNormalization(momentum=0.5)"],
)
def test_moving_statistics_that_are_not_slow_are_left(line):
    assert ways(f"norm = {line}\n", "evaluation_apart") == []


@pytest.mark.parametrize(
    ("data", "use", "columns"),
    [
        ("x = table[:, :3]\ny = table[:, 3]", "model.fit(x[:9], y[:9], epochs=3)", True),
        ("x, y = series[:, :3], series[:, 3]", "loss = F.mse_loss(model(x[i]), y[i])", False),
        ("x = table[:, :3]\ny = table[:, 3]", "data = TensorDataset(x[:9], y[:9])", False),
        (
            "x = table[:, :3]\ny = table[:, 3]\na, b, c, d = train_test_split(x, y)",
            "model.fit(a, c)",
            False,
        ),
    ],
)
def test_raw_numbers_on_both_sides(data, use, columns):
    (found,) = ways(f"import torch\n{data}\n{use}\n", "raw_data", columns=columns)
    mean, deviation = ("x.mean(0)", "(x.std(0) + 1e-8)") if columns else ("x.mean()", "x.std()")
    assert found == [f"+x = (x - {mean}) / {deviation}", "+y = (y - y.mean()) / y.std()"]


def test_a_loader_is_no_data_and_a_series_of_nobody_is_left():
    source = """
        import torch
        x, y = table[:, :3], table[:, 3]
        train = DataLoader(TensorDataset(x, y))
        model = Net()
        trainer.fit(model, train)
        class Net: pass
    """
    (found,) = ways(source, "raw_data")
    assert found == ["+x = (x - x.mean()) / x.std()", "+y = (y - y.mean()) / y.std()"]
    assert ways("model.fit(load(), 3)\n", "raw_data") == []


@pytest.mark.parametrize(
    ("line", "total", "wanted"),
    [
        ("torch.exp(z)", "e.sum(1, keepdim=True)", "torch.exp(z - z.amax(dim=1, keepdim=True))"),
        ("z.exp()", "e.sum(dim=-1)", "(z - z.amax(dim=-1, keepdim=True)).exp()"),
        ("torch.exp(z)", "torch.sum(e, 1)", "torch.exp(z - z.amax(dim=1, keepdim=True))"),
    ],
)
def test_a_softmax_by_hand(line, total, wanted):
    source = f"import torch\ne = {line}\np = e / {total}\n"
    found = ways(source, "born", line, operation="exp", operand="z")
    assert found[0] == [f"-e = {line}", f"+e = {wanted}"]


def test_a_softmax_by_hand_under_keras():
    source = "from keras import ops\ne = ops.exp(z)\np = e / ops.sum(e, axis=-1, keepdims=True)\n"
    found = ways(source, "born", "ops.exp(z)", operation="exp", operand="z")
    assert found[0][1] == "+e = ops.exp(z - ops.max(z, axis=-1, keepdims=True))"
    source = "import tensorflow as tf\ne = tf.exp(z)\np = e / tf.reduce_sum(e, axis=1)\n"
    found = ways(source, "born", "tf.exp(z)", operation="exp", operand="z")
    assert found[0][1] == "+e = tf.exp(z - tf.reduce_max(z, axis=1, keepdims=True))"


def test_an_exp_that_is_no_softmax_is_bounded():
    source = "import torch\ne = torch.exp(z)\np = e.sum(1) - 1\n"
    found = ways(source, "born", "torch.exp(z)", operation="exp", operand="z")
    assert found == [["-e = torch.exp(z)", "+e = torch.exp(z.clamp(max=20))"]]


def test_weights_that_are_frozen_are_trained():
    source = """
        import torch
        for p in model.parameters():
            p.requires_grad = False
        model.body.requires_grad_(False)
        model.head.requires_grad_(True)
        base.trainable = False
    """
    (found,) = ways(source, "weights_frozen")
    assert found == [
        "-p.requires_grad = False",
        "-model.body.requires_grad_(False)",
        "+p.requires_grad = True",
        "+model.body.requires_grad_(True)",
        "-base.trainable = False",
        "+base.trainable = True",
    ]
    assert ways("import torch\n", "weights_frozen") == []


@pytest.mark.parametrize(
    ("imports", "mask", "wanted"),
    [
        ("import torch", "~torch.isnan(target)", "target = torch.nan_to_num(target)"),
        (
            "import torch",
            "target.isfinite() & torch.isfinite(target)",
            "target = torch.nan_to_num(target)",
        ),
        ("import keras", "keras.ops.isfinite(target)", "target = keras.ops.nan_to_num(target)"),
    ],
)
def test_missing_targets_behind_their_mask(imports, mask, wanted):
    source = f"{imports}\ndef loss(output, target):\n    known = {mask}\n    return (output - target)[known]\n"
    given = {"operation": "other", "direction": "given", "role": "targets"}
    assert ways(source, "born", **given)[0] == [f"+{wanted}"]
    assert ways(source, "born", operation="other", direction="forward") == []


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("outputs = model(images)", "outputs = model(images, training=True)"),
        (
            "logits, state = model.stateless_call(tv, ntv, images)",
            "logits, state = model.stateless_call(tv, ntv, images, training=True)",
        ),
        ("outputs = model(images, training=False)", "outputs = model(images, training=True)"),
    ],
)
def test_a_model_that_is_called_in_a_function_of_its_own(line, wanted):
    source = f"""
        import keras
        def compute(images):
            {line}
            return outputs
        weights = model.trainable_variables
    """
    assert ways(source, "statistics_unused", line) == [[f"-{line}", f"+{wanted}"]]


def test_an_optimizer_that_a_function_uses_moves_without_it():
    source = """
        import torch
        net = torch.nn.Linear(2, 1)
        optimizer = torch.optim.Adam(net.parameters())
        def train(x):
            optimizer.step()
        net = torch.nn.Linear(2, 1)
        train(1)
    """
    first = ways(source, "weights_unheld", "torch.optim.Adam(net.parameters())")[0]
    assert first == [
        "-optimizer = torch.optim.Adam(net.parameters())",
        "+optimizer = torch.optim.Adam(net.parameters())",
    ]
