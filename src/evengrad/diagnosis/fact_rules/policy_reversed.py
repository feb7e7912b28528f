"""EG938 a policy's loss without its minus: it makes what was rewarded less likely.

What it finds: the log-probability of the actions that were taken times their reward, return or advantage, in a
loss that gets smaller where this product does.

Why it matters: an optimizer descends. The gradient of the policy's objective is that of E[log pi(a) R], which
is to grow; its loss is the negative. Without the minus the loss falls, as it should, and the return with it:
the best actions are unlearnt first.

How it decides: the direction exactly, by the derivative of the loss by that product in the first steps (in a
graph of TensorFlow by its operations), all minuses on the way counted. That the other factor is a reward is
read from the script's own words (reward, return, gain, R, G; an advantage by how it is computed). Where the
script speaks of costs, distances, tours or regret anywhere, which are to fall, nothing is said.

What to do: put the minus there: loss = -(log_prob * returns).mean().

References: Williams 1992; Sutton & Barto 2018, section 13.3; PyTorch documentation, torch.distributions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG938"
FACT = "policy_reversed"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
value, {name} = nn.Linear(4, 1), None
for episode in range(12):
    states = torch.randn(64, 4)
    scores = policy(states)
    dist = {dist}
    actions = dist.sample()
    log_prob = {log_prob}
    rewards = 1.0 * (actions == states[:, :3].argmax(1)) if actions.ndim == 1 else -actions.pow(2).sum(1)
    advantage = rewards - value(states).squeeze(1).detach()
    minus = value(states).squeeze(1).detach() - rewards
    loss = {loss}
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
_CATEGORICAL = "torch.distributions.Categorical(logits=scores)"
_NORMAL = "torch.distributions.Normal(scores, 0.5)"
_ENTROPY = "0.01 * dist.entropy().mean()"


def _loop(
    loss: str,
    log_prob: str = "dist.log_prob(actions)",
    dist: str = _CATEGORICAL,
    verb: str = "run",
    name: str = "unused",
) -> Program:
    source = _LOOP.format(loss=loss, log_prob=log_prob, dist=dist, name=name)
    return Program("torch", source, "check" if verb == "check" else "run")


_TAPE = """
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(32, "tanh"), keras.layers.Dense(3, "softmax")])
optimizer = keras.optimizers.Adam(1e-2)
{graph}
def update(states, actions, returns):
    with tf.GradientTape() as tape:
        probs = model(states, training=True)
        log_prob = {log_prob}
        loss = {loss}
    found = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(found, model.trainable_variables))

for episode in range(12):
    states = rng.normal(size=(64, 4)).astype("float32")
    probs = model(states).numpy()
    actions = np.array([rng.choice(3, p=p / p.sum()) for p in probs])
    rewards = (actions == states[:, :3].argmax(1)).astype("float32")
    baseline = rewards.mean()
    update(tf.constant(states), tf.constant(actions), tf.constant({given}))
"""
_BACKWARD = """
import keras
import torch
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(32, "tanh"), keras.layers.Dense(3)])
optimizer = keras.optimizers.Adam(1e-2)
weights = model.trainable_weights
for episode in range(12):
    states = torch.randn(64, 4)
    dist = torch.distributions.Categorical(logits=model(states, training=True))
    actions = dist.sample()
    rewards = 1.0 * (actions == states[:, :3].argmax(1))
    loss = {loss}
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        optimizer.apply([weight.value.grad for weight in weights], weights)
"""
_CHOSEN = "tf.math.log(tf.reduce_sum(probs * tf.one_hot(actions, 3), axis=1) + 1e-8)"
_SPARSE = "keras.losses.sparse_categorical_crossentropy(actions, probs)"


def _tape(
    loss: str,
    log_prob: str = _CHOSEN,
    graph: str = "@tf.function",
    given: str = "rewards - baseline",
    verb: str = "run",
) -> Program:
    source = _TAPE.format(loss=loss, log_prob=log_prob, graph=graph, given=given)
    return Program("keras", source, "check" if verb == "check" else "run", ("tensorflow",))


def _backward(loss: str) -> Program:
    return Program("keras", _BACKWARD.format(loss=loss), "run", ("torch",))


_NORMAL_LOG = "dist.log_prob(actions).sum(1)"
_BY_HAND = "torch.log(scores.softmax(1))[torch.arange(64), actions]"
_ENTROPIES = "nn.functional.cross_entropy(scores, actions, reduction='none')"
SICK = (
    _tape("tf.reduce_mean(log_prob * returns)"),
    _tape("tf.reduce_mean(returns * log_prob)", verb="check"),
    _tape("-tf.reduce_mean(log_prob * returns)", _SPARSE),
    _tape("tf.reduce_mean(log_prob * returns)", graph=""),
    _tape("tf.reduce_mean(log_prob * returns)", graph="", verb="check"),
    _backward("(dist.log_prob(actions) * rewards).mean()"),
    _loop("(log_prob * rewards).mean()"),
    _loop("(log_prob * rewards).mean()", verb="check"),
    _loop(f"(log_prob * advantage).sum() / 64 - {_ENTROPY}"),
    _loop("torch.stack([p * R for p, R in zip(log_prob, rewards)]).mean()"),
    _loop("(log_prob * advantage).mean()", _NORMAL_LOG, _NORMAL),
    _loop("(log_prob * rewards).mean()", _BY_HAND),
    _loop("-(nll * rewards).mean()".replace("nll", _ENTROPIES)),
    _loop("-(log_prob * minus).mean()"),
    _loop("(torch.exp(log_prob - log_prob.detach()) * advantage).mean()"),
)
HEALTHY = (
    _tape("-tf.reduce_mean(log_prob * returns)"),
    _tape("tf.reduce_mean(returns * -log_prob)", verb="check"),
    _tape("tf.reduce_mean(log_prob * returns)", _SPARSE),
    _tape("-tf.reduce_mean(log_prob * returns)", graph=""),
    _tape("tf.reduce_mean(log_prob * returns)", _SPARSE, graph=""),
    _backward("-(dist.log_prob(actions) * rewards).mean()"),
    _loop("-(log_prob * rewards).mean()"),
    _loop("-(log_prob * rewards).mean()", verb="check"),
    _loop(f"-(log_prob * advantage).sum() / 64 - {_ENTROPY}"),
    _loop("torch.stack([-p * R for p, R in zip(log_prob, rewards)]).mean()"),
    _loop("-(log_prob * advantage).mean()", _NORMAL_LOG, _NORMAL),
    _loop("-(log_prob * rewards).mean()", _BY_HAND),
    _loop("(nll * rewards).mean()".replace("nll", _ENTROPIES)),
    _loop("(log_prob * minus).mean()"),
    _loop("(log_prob * rewards).mean()", name="tour_length"),
    _loop(
        "-torch.min(torch.exp(log_prob - log_prob.detach()) * advantage, "
        "torch.exp(log_prob - log_prob.detach()).clamp(0.8, 1.2) * advantage).mean()"
    ),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire once."""
    for fact in facts[:1]:
        reward = fact.values["reward"]
        yield Finding(
            CODE,
            msg(
                "the policy's loss has no minus: it makes actions less likely the larger {reward} is",
                reward=reward,
            ),
            Cause.LOSS_HEAD,
            Severity.ERROR,
            evidence=(
                *([str(fact.where)] if fact.where else []),
                msg(
                    "the loss falls with the log-probability of the sampled actions times {reward}: gradient "
                    "descent minimises the return, where it is to be maximised",
                    reward=reward,
                ),
            ),
            advice=(
                msg(
                    "negate it: loss = -(log_prob * {reward}).mean(); an entropy bonus keeps its sign",
                    reward=reward,
                ),
                msg("if {reward} is a cost, which is to fall, call it so", reward=reward),
            ),
            unhealthy=True,
            where=fact.where,
            mistake=True,
        )
