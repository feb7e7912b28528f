"""EG917 losses crossed: an optimizer steps after the backward pass of another one's loss.

What it finds: an optimizer whose gradients are there at no step, though a backward pass makes them: they are
set to zero again before it steps.

Why it matters: it steps on nothing and its weights stay as they are, while its loss is worked out each time.

How it decides: exactly, in the first steps: backward passes at one line reach its weights, the one before its
step is at another and does not, and between the two the gradients were emptied.

Keras: on TensorFlow, in a step that is traced: of two losses and two models, one of which is given what the
other makes, the maker's weights are moved along the loss that reads the judge on data of its own, and the
judge's along the one that does not. Each then helps the other. Or both are moved along the judge's. Not in a
loop that runs eagerly.

What to do: keep the order zero_grad, backward, step for each optimizer with its own loss; under Keras
differentiate each model's own loss by its weights.

References: PyTorch documentation, torch.optim: taking an optimization step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend
from evengrad.values.wording import count

CODE = "EG917"
FACT = "losses_crossed"
_TWO = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8)
one, two = nn.Linear(8, 1), nn.Linear(8, 1)
first = torch.optim.SGD(one.parameters(), lr=0.1)
second = torch.optim.SGD(two.parameters(), lr=0.1)
for step in range(12):
    loss_one = (one(x) - x[:, :1]).pow(2).mean()
    loss_two = (two(x) - x[:, 1:2]).pow(2).mean()
    first.zero_grad()
    {a}.backward()
    first.step()
    second.zero_grad()
    {b}.backward()
    second.step()
"""
_GAN = """
import keras
import tensorflow as tf
keras.utils.set_random_seed(0)
generator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(8)])
discriminator = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1)])
bce = keras.losses.BinaryCrossentropy(from_logits=True)
g_opt, d_opt = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)

@tf.function
def train_step(real):
    with tf.GradientTape() as gen_tape, tf.GradientTape() as disc_tape:
        fake = generator(tf.random.normal((32, 4)), training=True)
        on_real, on_fake = discriminator(real, training=True), discriminator(fake, training=True)
        gen_loss = bce(tf.ones_like(on_fake), on_fake)
        disc_loss = bce(tf.ones_like(on_real), on_real) + bce(tf.zeros_like(on_fake), on_fake)
    g_grads = gen_tape.gradient({g}, generator.trainable_variables)
    d_grads = disc_tape.gradient({d}, discriminator.trainable_variables)
    g_opt.apply_gradients(zip(g_grads, generator.trainable_variables))
    d_opt.apply_gradients(zip(d_grads, discriminator.trainable_variables))

for step in range(12):
    train_step(tf.random.normal((32, 8)) + 1)
"""


def _gan(g: str, d: str) -> Program:
    return Program("keras", _GAN.format(g=g, d=d), "run", ("tensorflow",))


SICK = (
    _gan("disc_loss", "gen_loss"),
    _gan("disc_loss", "disc_loss"),
    Program("torch", _TWO.format(a="loss_two", b="loss_one")),
)
HEALTHY = (
    _gan("gen_loss", "disc_loss"),
    Program("torch", _TWO.format(a="loss_one", b="loss_two")),
    Program("torch", _TWO.format(a="(loss_one + two(x).mean())", b="loss_two")),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on each optimizer that it was seen of."""
    for fact in facts:
        values = fact.values
        if values.get("how") in ("swapped", "shared"):
            yield _swapped(fact) if values["how"] == "swapped" else _shared(fact)
            continue
        optimizer, whose = values["optimizer"], values["model"] or msg("its weights")
        yield Finding(
            CODE,
            msg(
                "{optimizer} steps after another loss: the gradients of {whose} are zeroed before they "
                "are used",
                optimizer=optimizer,
                whose=whose,
            ),
            Cause.ARCHITECTURE,
            Severity.ERROR,
            evidence=(
                msg(
                    "{backward} comes before {optimizer}.step() and does not reach {whose}",
                    backward=values["backward"],
                    optimizer=optimizer,
                    whose=whose,
                ),
                msg("{wiped} does, and zero_grad() empties what it made", wiped=values["wiped"]),
                msg(
                    "in {steps} of {steps2}",
                    steps=count(values["steps"], "step"),
                    steps2=values["steps"],
                ),
            ),
            advice=(
                msg(
                    "{optimizer}.zero_grad(), then backward() of the loss of {whose}, then {optimizer}.step()",
                    optimizer=optimizer,
                    whose=whose,
                ),
            ),
            unhealthy=True,
            where=fact.where,
            mistake=True,
        )


def _swapped(fact: Fact) -> Finding:
    values = fact.values
    whose, other = values["model"], values["other"]
    return Finding(
        CODE,
        msg(
            "the losses are swapped: {whose} is moved along the loss of {other}",
            whose=whose,
            other=other,
        ),
        Cause.ARCHITECTURE,
        Severity.ERROR,
        evidence=(
            msg(
                "{backward} differentiates the loss of {other} by the weights of {whose}",
                backward=values["backward"],
                other=other,
                whose=whose,
            ),
            msg(
                "{theirs} the other way round: each learns to help the other",
                theirs=values["theirs"],
            ),
        ),
        advice=(
            msg(
                "swap the two losses: differentiate the loss of {whose} by the weights of {whose}, and that of "
                "{other} by the weights of {other}",
                whose=whose,
                other=other,
            ),
        ),
        unhealthy=True,
        where=fact.where,
        mistake=True,
    )


def _shared(fact: Fact) -> Finding:
    values = fact.values
    whose, other = values["model"], values["other"]
    return Finding(
        CODE,
        msg(
            "{whose} is moved along the loss of {other}, and not along one of its own",
            whose=whose,
            other=other,
        ),
        Cause.ARCHITECTURE,
        Severity.ERROR,
        evidence=(
            msg(
                "{backward} differentiates the loss of {other} by the weights of {whose}",
                backward=values["backward"],
                other=other,
                whose=whose,
            ),
            msg(
                "{theirs} differentiates the same: {whose} learns to help {other}, not to fool it",
                theirs=values["theirs"],
                whose=whose,
                other=other,
            ),
        ),
        advice=(
            msg(
                "differentiate {whose}'s own loss by its weights (in a GAN the generator's)",
                whose=whose,
            ),
        ),
        unhealthy=True,
        where=fact.where,
        mistake=True,
    )
