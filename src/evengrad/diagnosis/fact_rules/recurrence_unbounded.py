"""EG936 recurrence without a bound: an RNN's activation is a ReLU or its like, and the training explodes.

What it finds: an LSTM, GRU or simple RNN whose activation grows without a bound (relu, linear, elu), in a
training whose gradients or loss explode.

Why it matters: the same weights multiply the state at every step of the sequence. tanh holds the state within
1; behind a ReLU it is multiplied on and on, and what was fine at the first step is beyond every number a few
updates later. The longer the sequence, the sooner.

How it decides: by the activation's value far out; and only beside a finding that says that gradients, updates
or the loss exploded. Alone such a layer is no mistake: short sequences and small rates bear it.

What to do: activation="tanh" (the default), which is what Keras' fast kernels need, too; where it is to be a
ReLU, orthogonal or identity recurrent weights, a clip of the gradient's norm and a smaller rate.

References: Pascanu, Mikolov & Bengio 2013 (1211.5063); Le, Jaitly & Hinton 2015 (1504.00941).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG936"
FACT = "recurrence_unbounded"
_KERAS = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
t = np.arange(600) * 0.1
wave = np.sin(t) + 0.5 * np.sin(0.31 * t)
x = np.stack([wave[i : i + {steps}] for i in range(400)])[..., None].astype("float32")
y = np.stack([wave[i + {steps}] for i in range(400)])[:, None].astype("float32")
model = keras.Sequential([
    keras.Input(({steps}, 1)),
    keras.layers.SimpleRNN(32, activation="{activation}"),
    keras.layers.Dense(1),
])
model.compile(keras.optimizers.{optimizer}, "mse")
model.fit(x, y, batch_size=32, epochs=2, verbose=0)
"""
_TORCH = """
import torch
from torch import nn
torch.manual_seed(0)
t = torch.arange(600) * 0.1
wave = torch.sin(t) + 0.5 * torch.sin(0.31 * t)
x = torch.stack([wave[i : i + {steps}] for i in range(400)])[..., None]
y = torch.stack([wave[i + {steps}] for i in range(400)])[:, None]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(1, 32, nonlinearity="{activation}", batch_first=True)
        self.head = nn.Linear(32, 1)
        nn.init.orthogonal_(self.rnn.weight_hh_l0)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])

model = Net()
optimizer = torch.optim.{optimizer}
for epoch in range(2):
    for i in range(0, 384, 32):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[i : i + 32]), y[i : i + 32]).backward()
        optimizer.step()
"""


def _keras(activation: str, optimizer: str, steps: int = 60) -> Program:
    given = {"activation": activation, "optimizer": optimizer, "steps": steps}
    return Program("keras", _KERAS.format(**given), "run", ("tensorflow", "jax"))


def _torch(activation: str, optimizer: str, steps: int = 60) -> Program:
    given = {"activation": activation, "optimizer": optimizer, "steps": steps}
    return Program("torch", _TORCH.format(**given))


SICK = (
    _keras("relu", "SGD(0.5)", 100),
    _torch("relu", "SGD(model.parameters(), lr=0.5)", 100),
)
HEALTHY = (
    _keras("tanh", "SGD(0.1)"),
    _keras("relu", "Adam(1e-3)", 8),
    _torch("tanh", "Adam(model.parameters(), lr=1e-3)"),
    _torch("relu", "Adam(model.parameters(), lr=1e-3)", 8),
)

_EXPLODED = frozenset(["EG101", "EG801", "EG802", "EG803", "EG807", "EG811"])


def beside(measured: Sequence[Finding]) -> bool:
    """Whether something exploded."""
    return any(f.code in _EXPLODED and f.severity is Severity.ERROR for f in measured)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire on the first."""
    values = facts[0].values
    layers = ", ".join(values["layers"])
    kind, activation = values["kind"], values["activation"]
    tanh = msg('{kind}(..., activation="tanh"), the default', kind=kind)
    clip = msg("clip the norm: global_clipnorm=1.0 in the optimizer")
    if frontend == "torch":
        tanh = msg('nn.RNN(..., nonlinearity="tanh"), the default; or an LSTM or GRU')
        clip = msg("clip the norm: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)")
    yield Finding(
        CODE,
        msg(
            "the recurrence of {layers} has no bound ({activation}), and the training explodes",
            layers=layers,
            activation=activation,
        ),
        Cause.ACTIVATION,
        Severity.ERROR,
        layers=tuple(values["layers"]),
        evidence=(
            msg(
                "{activation} does not hold the state: the same weights multiply it at every step",
                activation=activation,
            ),
        ),
        advice=(
            tanh,
            msg(
                "or keep {activation}, {clip}, and lower the learning rate",
                activation=activation,
                clip=clip,
            ),
        ),
        mistake=True,
    )
