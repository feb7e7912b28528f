"""A probe changes nothing: everything is bit-equal before and after, for a net that has it all."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from evengrad.adapters.torch.probe import probe


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.frozen = nn.Linear(8 * 16, 8 * 16)
        self.frozen.requires_grad_(False)
        self.head = nn.Linear(8 * 16, 4)
        self.norm2 = nn.BatchNorm1d(8 * 16)
        self.norm2.eval()

    def forward(self, x):
        x = self.drop(self.relu(self.norm(self.conv(x))))
        return self.head(self.norm2(self.frozen(x.flatten(1))))


@pytest.fixture
def trained():
    """A model mid-training: momentum, moving statistics and .grad are all there."""
    torch.manual_seed(5)
    model = Everything()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    x, y = torch.randn(6, 3, 4, 4), torch.randint(0, 4, (6,))
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model, optimizer, (x, y)


def measure(trained):
    model, optimizer, batch = trained
    return probe(model, loss=nn.CrossEntropyLoss(), batch=batch, optimizer=optimizer)


def bits(tensors):
    return [t.detach().clone().numpy().tobytes() for t in tensors]


def test_weights(trained):
    before = bits(trained[0].parameters())
    measure(trained)
    assert bits(trained[0].parameters()) == before


def test_moving_statistics_and_other_buffers(trained):
    before = bits(trained[0].buffers())
    measure(trained)
    assert bits(trained[0].buffers()) == before


def test_gradients_keep_their_identity_and_value(trained):
    gradients = [p.grad for p in trained[0].parameters()]
    before = bits(g for g in gradients if g is not None)
    measure(trained)
    for p, gradient in zip(trained[0].parameters(), gradients, strict=True):
        assert p.grad is gradient
    assert bits(g for g in gradients if g is not None) == before


def test_optimizer_state(trained):
    before = copy.deepcopy(trained[1].state_dict())
    measure(trained)
    after = trained[1].state_dict()
    assert after["param_groups"] == before["param_groups"]
    for key, state in before["state"].items():
        for name, value in state.items():
            assert torch.equal(after["state"][key][name], value), name


def test_random_states(trained):
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    expected = random.random(), np.random.rand(), torch.rand(3)
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    measure(trained)
    assert random.random() == expected[0]
    assert np.random.rand() == expected[1]
    assert torch.equal(torch.rand(3), expected[2])


def test_flags_and_hooks(trained):
    model = trained[0]

    def state():
        return [
            (
                m.training,
                getattr(m, "inplace", None),
                dict(m._forward_hooks),
                dict(m._backward_hooks),
                dict(m._forward_pre_hooks),
                sorted(vars(m)),
            )
            for m in model.modules()
        ] + [(p.requires_grad, p._backward_hooks) for p in model.parameters()]

    before, call = state(), nn.Module.__call__
    measure(trained)
    assert state() == before
    assert nn.Module.__call__ is call
    assert torch.overrides._len_torch_function_stack() == 0


def test_inputs_are_left_alone(trained):
    x, y = trained[2]
    before = bits([x, y])
    measure(trained)
    assert bits([x, y]) == before
    assert not x.requires_grad


def test_everything_is_put_back_when_the_model_fails(trained):
    model, _, (x, y) = trained
    before, call = bits(model.buffers()), nn.Module.__call__
    with pytest.raises(RuntimeError):
        probe(model, loss=nn.CrossEntropyLoss(), batch=(x[:, :2], y))
    assert bits(model.buffers()) == before
    assert nn.Module.__call__ is call
    assert torch.overrides._len_torch_function_stack() == 0


def test_the_training_after_a_probe_is_bit_equal(trained):
    model, optimizer, (x, y) = trained
    plain_model, plain_optimizer = copy.deepcopy((model, optimizer))

    def train(model, optimizer):
        torch.manual_seed(9)
        losses = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, bits(model.parameters())

    measure(trained)
    assert train(model, optimizer) == train(plain_model, plain_optimizer)


def test_a_compiled_model_stays_compiled(trained):
    model = torch.compile(trained[0], backend="eager")
    compiled = model._orig_mod
    probe(model, loss=nn.CrossEntropyLoss(), batch=trained[2])
    assert model._orig_mod is compiled
    assert torch.compiler.is_compiling() is False
