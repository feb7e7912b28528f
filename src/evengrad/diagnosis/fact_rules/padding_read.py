"""EG957 padding read: a recurrent network's last step is behind a long padding, and nothing else of it is used.

What it finds: an LSTM, GRU or RNN over sequences that are filled up at their end, of whose outputs the model
takes the last one alone, in a training that does not learn.

Why it matters: the state goes on over the padding, and forgets what was before it, the more the longer it is.
The gradient has the same way back. The loss stays at that of a constant answer.

How it decides: when the script is over, by the last training batch: no other step of its output has a slope,
and most sequences end in four or more equal steps. Only where the loss is above eight tenths of a constant
answer's.

In Keras by the layers that `fit` trains, on every backend: the last recurrent one gives its last step alone
(`return_sequences=False`) and no mask comes to it. `x[:, -1]` behind `return_sequences=True` is not seen.

What to do: `pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)` and the hidden state;
or take the output at `lengths - 1`; or pad in front; or a mean over what is no padding. Keras:
`Embedding(..., mask_zero=True)`, or pad in front (`padding="pre"`).

References: PyTorch documentation, torch.nn.utils.rnn.pack_padded_sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG957"
FACT = "padding_read"
_LEARNT = 0.8
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
n, steps, length = 320, {steps}, 5
y = torch.randint(0, 2, (n,))
ids = torch.zeros(n, steps, dtype=torch.long)
ids[:, {place}] = torch.randint(3, 20, (n, length))
ids[:, {first}] = 1 + y

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8, padding_idx=0)
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, ids):
        return self.head(self.lstm(self.embed(ids))[0][:, {read}])

model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(6):
    for rows in torch.randperm(n).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(ids[rows]), y[rows]).backward()
        optimizer.step()
"""


_FIT = """
import keras
import numpy as np
from keras import layers
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
n, length = 320, 5
y = rng.integers(0, 2, n)
words = rng.integers(3, 20, (n, length))
words[:, 2] = 1 + y
x = keras.utils.pad_sequences(words, maxlen={steps}, padding="{side}")
head = layers.Dense(1, activation="sigmoid")
model = keras.Sequential([layers.Embedding(20, 8{mask}), layers.LSTM(16), head])
model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy")
model.fit(x, y, batch_size=32, epochs=6, verbose=0)
"""


def _fit(side: str = "post", mask: str = "", steps: int = 60) -> Program:
    return Program("keras", _FIT.format(side=side, mask=mask, steps=steps))


def _loop(read: str, place: str = ":length", first: str = "2", steps: int = 120) -> Program:
    return Program("torch", _LOOP.format(read=read, place=place, first=first, steps=steps))


SICK = (_fit(), _loop("-1"))
HEALTHY = (
    _fit("pre"),
    _fit(mask=", mask_zero=True"),
    _fit(steps=7),
    _loop("length - 1"),
    _loop("-1", "-length:", "-3"),
    _loop("-1", steps=7),
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire on what was seen at the end, if nothing was learnt."""
    for fact in facts:
        values = fact.values
        if values["loss"] < _LEARNT * values["baseline"]:
            continue
        kind, name = values["kind"], values["module"] or values["kind"]
        yield Finding(
            CODE,
            msg(
                "{name} is read at its last step, behind {padding:.0f} steps of padding of {steps}",
                name=name,
                padding=values["padding"],
                steps=values["steps"],
            ),
            Cause.ARCHITECTURE,
            Severity.ERROR,
            layers=(name,),
            evidence=(
                msg(
                    "no other step of the {kind}'s output reaches the answer; its sequences end in equal steps",
                    kind=kind,
                ),
                msg(
                    "the last batch's loss is {loss:.3g}, a constant answer's {baseline:.3g}",
                    loss=values["loss"],
                    baseline=values["baseline"],
                ),
            ),
            advice=tuple(_advice(frontend)),
            where=fact.where,
            unhealthy=True,
            mistake=True,
        )


def _advice(frontend: Frontend) -> Iterable[str]:
    if frontend == "torch":
        yield msg(
            "let it stop at each sequence's length: pack_padded_sequence(x, lengths, batch_first=True, "
            "enforce_sorted=False), and take the hidden state h_n"
        )
        yield msg(
            "or take the output of the last true step, output[torch.arange(len(x)), lengths - 1]"
        )
    else:
        yield msg(
            "let it pass over the padding: Embedding(..., mask_zero=True), or a Masking layer in front of the "
            "recurrent one, for sequences of numbers"
        )
        yield msg('or pad in front: keras.utils.pad_sequences(..., padding="pre")')
    yield msg("or pad in front, or cut the sequences shorter")
