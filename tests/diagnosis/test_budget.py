"""The budget's arithmetic against brute force over all paths of random graphs."""

import math
import random

import pytest

from evengrad.diagnosis.budget import budget
from evengrad.values.probe import Input, Loss, Operation, Port, Probe
from evengrad.values.spec import Kind
from evengrad.values.summary import Summary

ONE = Summary((1,), 0.0, 1.0, 1.0, 0.0, 0.0)


def operation(name, inputs, outputs, kind=Kind.OTHER):
    return Operation(name, name, kind, "op", inputs, outputs, forward=ONE, backward=ONE)


def probe(operations, inputs, outputs):
    return Probe(
        frontend="torch",
        backend="torch",
        versions=(),
        model="graph",
        batch_size=1,
        inputs=tuple(Input(f"x{p.tensor}", ONE, p) for p in inputs),
        outputs=tuple(outputs),
        operations=tuple(operations),
        weights=(),
        loss=Loss("loss", 0.0),
    )


def random_graph(seed, size):
    """A single-input, single-output graph without interference: energies add over paths.

    Returns the probe and gains[(reader, tensor)]: tensor i is made by operation i from lower tensors.
    """
    rng = random.Random(seed)
    reads = {i: sorted(rng.sample(range(i), rng.randint(1, min(i, 3)))) for i in range(1, size)}
    read = {t for tensors in reads.values() for t in tensors}
    for t in range(size - 1):  # nothing may lead nowhere
        if t not in read:
            reads[size - 1] = sorted({*reads[size - 1], t})
    gains = {(i, t): math.exp(rng.gauss(0, 1)) for i, tensors in reads.items() for t in tensors}
    energy = {size - 1: rng.random() + 0.5}
    for t in reversed(range(size - 1)):
        energy[t] = sum(gains[i, u] ** 2 * energy[i] for i, u in gains if u == t)
    norms = {t: math.sqrt(e) for t, e in energy.items()}
    operations = [
        operation(
            f"op{i}",
            tuple(Port(t, gains[i, t] * norms[i]) for t in reads[i]),
            (Port(i, norms[i]),),
        )
        for i in range(1, size)
    ]
    ends = [Port(size - 1, norms[size - 1])]
    return probe(operations, [Port(0, norms[0])], ends), gains, size


def paths(gains, end, tensor=0):
    if tensor == end:
        yield ()
    for reader, read in gains:
        if read == tensor:
            for rest in paths(gains, end, reader):
                yield ((reader, tensor), *rest)


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_against_all_paths(seed):
    measured, gains, size = random_graph(seed, 3 + seed % 7)
    found = budget(measured)
    every = list(paths(gains, size - 1))
    energies = [math.prod(gains[edge] ** 2 for edge in path) for path in every]
    shares = [e / sum(energies) for e in energies]

    assert found.total == pytest.approx(0.5 * math.log(sum(energies)))
    for i in range(1, size):
        through = [(p, e) for p, path in zip(shares, every, strict=True) for e in path if e[0] == i]
        term = sum(p * math.log(gains[e]) for p, e in through)
        assert found.terms[f"op{i}"] == pytest.approx(term)
        assert found.flow[f"op{i}"] == pytest.approx(sum(p for p, _ in through))
    entropy = -sum(p * math.log(p) for p in shares)
    assert sum(b.branching for b in found.blocks) == pytest.approx(entropy / 2)

    crossed = [t for t in range(1, size) if all(_crosses(path, t, size - 1) for path in every)]
    ends_of_blocks = [int(block.operations[-1][2:]) for block in found.blocks]
    assert ends_of_blocks == crossed, "a block ends at each tensor that all paths cross"
    assert sum(b.log_gain for b in found.blocks) == pytest.approx(found.total)


def _crosses(path, tensor, end):
    return tensor == end or any(read == tensor for _, read in path)


def test_chain_terms_are_the_gains():
    norms = [5.0, 0.02, 300.0, 1.5]
    chain = [
        operation(f"op{i}", (Port(i - 1, norms[i - 1]),), (Port(i, norms[i]),)) for i in (1, 2, 3)
    ]
    measured = probe(chain, [Port(0, 5.0)], [Port(3, 1.5)])
    found = budget(measured)
    assert len(found.blocks) == 3
    for op in chain:
        assert found.terms[op.name] == pytest.approx(op.log_gain)
    assert sum(found.terms.values()) == pytest.approx(math.log(5.0 / 1.5))
    assert [b.branching for b in found.blocks] == pytest.approx([0, 0, 0])
    assert [level.log_norm for level in found.profile] == pytest.approx(
        [math.log(n / 1.5) for n in norms[1:]]
    )


def test_equal_residual_branches_leave_log_2_to_the_branching():
    branch = operation("f", (Port(0, 1.0),), (Port(1, 1.0),))
    add = operation("add", (Port(0, 1.0), Port(1, 1.0)), (Port(2, 1.0),), Kind.MERGE)
    measured = probe([branch, add], [Port(0, math.sqrt(2))], [Port(2, 1.0)])
    (block,) = budget(measured).blocks
    assert block.branching == pytest.approx(math.log(2) / 2)
    assert add.log_gain == pytest.approx(math.log(2) / 2)


def test_gradient_that_stops_and_gradient_that_is_nan():
    dead = operation("dead", (Port(0, 0.0),), (Port(1, 2.0),))
    first = operation("first", (Port(9, 0.0),), (Port(0, 0.0),))
    found = budget(probe([first, dead], [Port(9, 0.0)], [Port(1, 2.0)]))
    assert found.total == -math.inf
    assert found.terms == {"first": 0.0, "dead": -math.inf}
    bad = operation("bad", (Port(0, math.nan),), (Port(1, 2.0),))
    assert math.isnan(budget(probe([bad], [Port(0, math.nan)], [Port(1, 2.0)])).total)


def test_embedding_is_a_source_and_the_loss_is_not_on_the_path():
    embed = operation("embed", (), (Port(0, 4.0),), Kind.EMBEDDING)
    dense = operation("dense", (Port(0, 4.0),), (Port(1, 2.0),))
    loss = operation("loss", (Port(1, 2.0),), (Port(2, 1.0),), Kind.LOSS)
    found = budget(probe([embed, dense, loss], [], [Port(1, 2.0)]))
    assert found.total == pytest.approx(math.log(2.0))
    assert set(found.terms) == {"dense"}


def test_two_inputs_count_together():
    join = operation("join", (Port(0, 3.0), Port(1, 4.0)), (Port(2, 1.0),), Kind.MERGE)
    found = budget(probe([join], [Port(0, 3.0), Port(1, 4.0)], [Port(2, 1.0)]))
    assert found.total == pytest.approx(math.log(5.0))
