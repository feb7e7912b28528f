"""EG956 padding mask the wrong way round: an attention is kept from all words, and sees the padding alone.

What it finds: a `key_padding_mask` that is true exactly where the tokens are no padding.

Why it matters: true means "to be left out" there. The attention then averages what fills up the sentences; a
sentence without padding is masked throughout, and its softmax is NaN. The loss stays near chance.

How it decides: exactly: the mask against the token ids that an embedding was given in the same step, whose
`padding_idx` (0 where it has none) fills them up.

What to do: `mask = ids == pad`, or `~mask`. (Libraries differ: elsewhere 1 may mean "keep".)

PyTorch alone: Keras' masks are true for what is kept, and its layers make them themselves.

References: PyTorch documentation, torch.nn.MultiheadAttention (key_padding_mask); pytorch#24816.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend
from evengrad.values.wording import percent

CODE = "EG956"
FACT = "mask_inverted"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
y = torch.randint(0, 2, (64,))
ids = torch.randint(3, 20, (64, 10))
ids[:, 0] = 1 + y
for row, length in enumerate(torch.randint(4, 10, (64,))):
    ids[row, length:] = 0
embed = nn.Embedding(20, 16, padding_idx=0)
attention = nn.MultiheadAttention(16, 2, batch_first=True)
head = nn.Linear(16, 2)
weights = [*embed.parameters(), *attention.parameters(), *head.parameters()]
optimizer = torch.optim.Adam(weights, lr=1e-2)
for step in range(30):
    optimizer.zero_grad()
    x = embed(ids)
    mixed, _ = attention(x, x, x, key_padding_mask={mask})
    nn.functional.cross_entropy(head((x + mixed)[:, 0]), y).backward()
    optimizer.step()
"""


def _loop(mask: str) -> tuple[Program, ...]:
    source = _LOOP.format(mask=mask)
    return Program("torch", source), Program("torch", source, "check")


SICK = _loop("ids != 0")
HEALTHY = (*_loop("ids == 0"), *_loop("None"))


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on the first."""
    values, place = facts[0].values, facts[0].where
    evidence = [] if place is None else [str(place)]
    evidence.append(
        msg(
            "the mask hides {hidden} of the places: all that are not the padding "
            "{pad}, and none that is",
            hidden=percent(values["hidden"]),
            pad=values["pad"],
        )
    )
    if values["throughout"]:
        evidence.append(
            msg(
                "{throughout} sequences are masked throughout: their softmax is of nothing",
                throughout=values["throughout"],
            )
        )
    yield Finding(
        CODE,
        msg("the padding mask is the wrong way round: the attention sees the padding alone"),
        Cause.ARCHITECTURE,
        Severity.ERROR,
        evidence=tuple(evidence),
        advice=(
            msg(
                "key_padding_mask (src_key_padding_mask) is True where a place is to be left out: "
                "mask = ids == {pad}, or pass ~mask",
                pad=values["pad"],
            ),
        ),
        where=place,
        mistake=True,
    )
