"""EG937 a sum over the batch beside a mean over it, in one loss.

What it finds: a loss that adds up a sum over all samples and a mean over the same ones, where the sum is more
than ten times as large: a variational autoencoder's `F.mse_loss(...)` plus a KL divergence by `torch.sum(...)`.

Why it matters: the sum weighs as many times more as it has elements, and more with larger batches. The network
minimises it alone: the KL divergence falls to 0, every output is the same mean (posterior collapse).

How it decides: exactly, in the first steps, by the two reductions of one loss and the samples that they run
over, the sum not divided or weighed down to a sample's share. The ten is a measured choice.

In Keras by the graph that TensorFlow traces (`fit`, with a `train_step` or `add_loss`, too, and `tf.function`),
without their sizes; not on JAX and PyTorch, nor in an eager loop.

What to do: one reduction for both: sum over the features and divide by the batch size, in each term.

References: Kingma & Welling 2013 (1312.6114), equation 10; Higgins et al. 2017, beta-VAE, appendix A.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
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
_VAE = """
import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).uniform(size=(64, 16)).astype("float32")

class VAE(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = layers.Dense(8), layers.Dense(16)

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, log_var = tf.split(self.encoder(data), 2, axis=1)
            z = mean + tf.exp(0.5 * log_var) * tf.random.normal(tf.shape(mean))
            rec = {rec}
            kl = {kl}
            loss = rec + kl
        found = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(found, self.trainable_weights))
        return dict(loss=loss)

model = VAE()
model.compile(keras.optimizers.Adam(1e-3))
model.fit(x, batch_size=16, epochs=3, verbose=0)
"""
_TF_MEAN = "tf.reduce_mean(tf.square(self.decoder(z) - data))"
_TF_KL = "-0.5 * tf.reduce_sum(1 + log_var - tf.square(mean) - tf.exp(log_var){axis})"


def _vae(rec: str, kl: str) -> Program:
    return Program("keras", _VAE.format(rec=rec, kl=kl), "run", ("tensorflow",))


_MEAN = "nn.functional.mse_loss(decoder(z), x)"
_KL = "-0.5 * torch.sum(1 + logvar - mu ** 2 - logvar.exp())"


def _loop(rec: str, kl: str, verb: str = "run") -> Program:
    source = _LOOP.format(rec=rec, kl=kl)
    return Program("torch", source, "check" if verb == "check" else "run")


SICK = (
    _vae(_TF_MEAN, _TF_KL.format(axis="")),
    _vae(
        "ops.mean(keras.losses.mean_squared_error(data, self.decoder(z)))", _TF_KL.format(axis="")
    ),
    _loop(_MEAN, _KL),
    _loop(_MEAN, _KL, "check"),
    _loop("((decoder(z) - x) ** 2).mean()", _KL),
)
HEALTHY = (
    _vae(_TF_MEAN, "tf.reduce_mean(" + _TF_KL.format(axis=", axis=1") + ")"),
    _vae(_TF_MEAN, "0.001 * " + _TF_KL.format(axis="")),
    _vae(_TF_MEAN, "1e-4 * tf.reduce_sum(tf.square(self.encoder.kernel))"),
    _loop(_MEAN, _KL + " / x.numel()"),
    _loop(_MEAN, _KL + " / len(x) * 0.01", "check"),
    _loop('nn.functional.mse_loss(decoder(z), x, reduction="sum")', _KL),
    _loop(_MEAN, "1e-4 * encoder.weight.pow(2).sum()"),
)

_TORCH = msg(
    "one reduction for both: sum each term over its features and divide it by the batch size (for a VAE: the "
    "reconstruction and the KL term alike), then weigh them (beta)"
)
_KERAS = msg(
    "one reduction for both: sum each term over its features, axis=-1 or axis=(1, 2), and then ops.mean() over "
    "the batch (for a VAE: the reconstruction and the KL term alike), then weigh them (beta)"
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire once."""
    for fact in facts[:1]:
        values = fact.values
        count = (
            msg("{elements:,} elements", elements=values["elements"])
            if values["elements"]
            else msg("the whole batch")
        )
        sizes = (
            msg("{sum:.3g} beside {mean:.3g}", sum=values["sizes"][0], mean=values["sizes"][1])
            if values["sizes"]
            else ""
        )
        samples = (
            msg("all {rows:,} samples", rows=values["rows"])
            if values["rows"]
            else msg("all samples")
        )
        yield Finding(
            CODE,
            msg("one term of the loss is a sum over {count}, another a mean", count=count)
            + (sizes and ": " + sizes),
            Cause.LOSS_HEAD,
            Severity.ERROR,
            evidence=(
                msg(
                    "{where}: a sum over {samples} of the batch",
                    where=fact.where or values["sum"],
                    samples=samples,
                ),
                msg(
                    "{mean_at}: a mean over the same ones, which the sum drowns",
                    mean_at=values["mean_at"] or values["mean"],
                ),
            ),
            advice=(_KERAS if frontend == "keras" else _TORCH,),
            where=fact.where,
            mistake=True,
        )
