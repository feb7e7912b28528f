"""What every rule must hold, whichever framework builds the networks."""

from evengrad.diagnosis.catalogue import all_rules
from evengrad.diagnosis.evidence import evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.verbs.check import check_probe

SICK = [(rule, network) for rule in all_rules() for network in rule.sick]
HEALTHY = [(rule, network) for rule in all_rules() for network in rule.healthy]


def name(value):
    """A readable test id: the rule's code, or what a network changes from the default."""
    if isinstance(value, NetworkCase):
        default = NetworkCase()
        changed = [
            f for f in NetworkCase.__dataclass_fields__ if getattr(value, f) != getattr(default, f)
        ]
        return " ".join(f"{f}={getattr(value, f)}" for f in changed) or "default"
    return value.code


def assert_fires(rule, probe):
    found = list(rule.check(evidence(probe)))
    assert found, f"{rule.code} is silent on a sick network"
    for finding in found:
        assert finding.code == rule.code
        assert finding.title
        assert finding.advice
    codes = {f.code for root in check_probe(probe).findings for f in (root, *root.echoes)}
    assert rule.code in codes, "the diagnosis keeps it, alone or as an echo"


def assert_silent(rule, probe):
    assert list(rule.check(evidence(probe))) == []


# The 20 healthy networks of the promise: none of them may give any finding.
NETWORKS = {
    "dense relu 3": NetworkCase(depth=3),
    "dense relu 10": NetworkCase(depth=10, width=128),
    "dense relu 20": NetworkCase(depth=20, width=128),
    "dense relu narrow": NetworkCase(depth=5, width=16),
    "dense tanh 5": NetworkCase(depth=5, activation="tanh"),
    "dense tanh 20": NetworkCase(depth=20, activation="tanh", width=128),
    "dense selu 20": NetworkCase(depth=20, activation="selu", width=128),
    "dense elu 10": NetworkCase(depth=10, activation="elu"),
    "dense gelu 6": NetworkCase(depth=6, activation="gelu"),
    "dense silu 6": NetworkCase(depth=6, activation="silu"),
    "dense leaky_relu 10": NetworkCase(depth=10, activation="leaky_relu"),
    "dense sigmoid 2": NetworkCase(depth=2, activation="sigmoid"),
    "dense relu batch norm 8": NetworkCase(depth=8, normalisation="batch"),
    "dense relu layer norm 10": NetworkCase(depth=10, normalisation="layer"),
    "dense relu residual 6": NetworkCase(depth=6, residual=True),
    "conv relu 4": NetworkCase(layers="conv", depth=4, width=16),
    "conv relu 12": NetworkCase(layers="conv", depth=12, width=32, batch=16),
    "conv tanh 8": NetworkCase(layers="conv", depth=8, width=16, activation="tanh"),
    "conv relu batch norm 8": NetworkCase(layers="conv", depth=8, width=16, normalisation="batch"),
    # At 0.01 its loss rises from 8 to 83 in five steps before it falls: EG702 says so.
    "conv relu batch norm residual 12": NetworkCase(
        layers="conv",
        depth=12,
        width=16,
        normalisation="batch",
        residual=True,
        learning_rate=1e-3,
    ),
    "dense softmax adam": NetworkCase(
        head="softmax", loss="probabilities", optimizer="adam", learning_rate=1e-3
    ),
    "dense mse": NetworkCase(loss="mse", optimizer="adam", learning_rate=1e-3),
}
