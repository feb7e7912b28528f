"""EG937 a sum over the batch beside a mean over it, in one loss.

What it finds: a loss that adds up a sum over all samples and a mean over the same ones, where the sum is more
than ten times as large: a variational autoencoder's `F.mse_loss(...)` plus a KL divergence by `torch.sum(...)`.

Why it matters: the sum weighs as many times more as it has elements, and more with larger batches. The network
minimises it alone: the KL divergence falls to 0, every output is the same mean (posterior collapse).

How it decides: exactly, in the first steps, by the two reductions of one loss and the samples that they run
over, the sum not divided or weighed down to a sample's share. The ten is a measured choice.

What to do: one reduction for both: sum over the features and divide by the batch size, in each term.

References: Kingma & Welling 2013 (1312.6114), equation 10; Higgins et al. 2017, beta-VAE, appendix A.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.probe import Frontend

CODE = "EG937"
FACT = "terms_mixed"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.rand(64, 16)
encoder, decoder = nn.Linear(16, 8), nn.Linear(4, 16)
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
for step in range(12):
    mu, logvar = encoder(x).chunk(2, 1)
    z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
    rec = {rec}
    kl = {kl}
    loss = rec + kl
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
_MEAN = "nn.functional.mse_loss(decoder(z), x)"
_KL = "-0.5 * torch.sum(1 + logvar - mu ** 2 - logvar.exp())"


def _loop(rec: str, kl: str, verb: str = "run") -> Program:
    source = _LOOP.format(rec=rec, kl=kl)
    return Program("torch", source, "check" if verb == "check" else "run")


SICK = (
    _loop(_MEAN, _KL),
    _loop(_MEAN, _KL, "check"),
    _loop("((decoder(z) - x) ** 2).mean()", _KL),
)
HEALTHY = (
    _loop(_MEAN, _KL + " / x.numel()"),
    _loop(_MEAN, _KL + " / len(x) * 0.01", "check"),
    _loop('nn.functional.mse_loss(decoder(z), x, reduction="sum")', _KL),
    _loop(_MEAN, "1e-4 * encoder.weight.pow(2).sum()"),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire once."""
    for fact in facts[:1]:
        values = fact.values
        large, small = values["sizes"]
        yield Finding(
            CODE,
            f"one term of the loss is a sum over {values['elements']:,} elements, another a mean: "
            f"{large:.3g} beside {small:.3g}",
            Cause.LOSS_HEAD,
            Severity.ERROR,
            evidence=(
                f"{fact.where or values['sum']}: a sum over all {values['rows']:,} samples of the batch",
                f"{values['mean_at'] or values['mean']}: a mean over the same ones, which the sum drowns",
            ),
            advice=(
                "one reduction for both: sum each term over its features and divide it by the batch size "
                "(for a VAE: the reconstruction and the KL term alike), then weigh them (beta)",
            ),
            where=fact.where,
            mistake=True,
        )
