"""Which cells there are, what is changed in them, and what is read of them."""

from __future__ import annotations

import pytest
from made import subject

from evengrad.errors import EvengradError
from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.clip_gradients import ClipGradients
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.scale_weights import ScaleWeights
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.changes.use_optimizer import UseOptimizer
from evengrad.fixing.lab.cells import Cell, LabTraining
from evengrad.fixing.lab.cures import CURES
from evengrad.fixing.lab.grid import LabPlan, cells, expect
from evengrad.fixing.lab.laboratory import printed_accuracy, trial_of
from evengrad.fixing.lab.planted import CAUSES
from evengrad.fixing.trial import Result

CAUSE = {one.name: one for one in CAUSES}
CURE = {one.name: one for one in CURES}


def changes(cause, cure="none", **more):
    return Cell(subject(**more), CAUSE[cause], CURE[cure], 0).changes()


def test_a_remedy_is_made_upon_the_cause():
    assert changes("none") == ()
    assert changes("weights x4") == (ScaleWeights(4.0),)
    assert changes("weights x4", "clipping") == (ScaleWeights(4.0), ClipGradients("norm", 1.0))
    scaled, *drawn = changes("weights x4", "Kaiming")
    assert scaled == ScaleWeights(4.0)
    assert [type(one) for one in drawn] == [Initialise, Initialise]
    assert changes("rate x10", "Adam") == (UseOptimizer("adam", 0.1), SetRate(1.0))


def test_another_activation_takes_the_place_of_the_planted_one():
    assert changes("sigmoid") == (Activation("relu", "sigmoid"),)
    assert changes("sigmoid", "leaky ReLU") == (Activation("relu", "leaky_relu", 0.01),)


def test_kaiming_is_for_the_activation_that_is_planted():
    relu, sigmoid = (changes(cause, "Kaiming")[-2] for cause in ("none", "sigmoid"))
    assert relu.gain == pytest.approx(2**0.5, rel=1e-4)
    assert sigmoid.activation == "sigmoid"
    assert sigmoid.gain == pytest.approx(1.8468, rel=1e-3)  # 1 / sqrt(E[sigmoid^2])


def test_what_does_not_fit_is_no_cell():
    assert changes("none", "pretrained") is None
    assert changes("rate x10", rate=None) is None
    assert changes("none", "Adam", rate=None) is None
    assert changes("sigmoid", activation="") is None
    assert changes("sigmoid", activation="sigmoid") is None
    assert changes("as written", convolutions=None) is None


def test_the_quick_grid_is_part_of_the_whole():
    subjects = [subject(2, pretrained="w.pt"), subject(8, pretrained="w.pt")]

    def places(plan):
        return [(c.subject.name, c.cause.name, c.cure.name, c.seed) for c in cells(plan, subjects)]

    quick, whole = places(LabPlan(quick=True)), places(LabPlan())
    assert set(quick) < set(whole)
    assert len(set(whole)) == len(whole)
    assert len(quick) <= 200
    assert {seed for *_, seed in quick[: len(quick) // 3]} == {0}


def test_causes_and_remedies_by_name():
    chosen = LabPlan(causes=("weights x4",), cures=("clipping",), seeds=1)
    found = {(c.cause.name, c.cure.name) for c in cells(chosen, [subject()])}
    assert found == {(a, b) for a in ("none", "weights x4") for b in ("none", "clipping")}
    with pytest.raises(EvengradError, match=r"no cause 'gremlins'. There are: none, weights x10"):
        expect(LabPlan(causes=("gremlins",)))
    with pytest.raises(EvengradError, match=r"no remedy 'prayer'. There are: none, small weights"):
        expect(LabPlan(cures=("prayer",)))


def test_the_article_s_script_goes_on_to_its_end():
    ours = trial_of(Cell(subject(), CAUSE["as written"], CURE["none"], 2))
    assert (ours.steps, ours.onward, ours.seed) == (99, True, 2)
    assert ours.arguments[0] == "--softmax"
    users = trial_of(Cell(subject(convolutions=None), CAUSE["none"], CURE["none"], 0))
    assert (users.steps, users.onward) == (100, False)


@pytest.mark.parametrize(
    ("text", "accuracy"),
    [
        ("accuracy 0.9312", 0.9312),
        ("epoch 1 accuracy: 0.5\nTest accuracy: 93.1%", 0.931),
        ("val_loss 0.1 acc=0.75", 0.75),
        ("Accuracy: 12", 0.12),
        ("313/313 - 1s - accuracy: 0.8 - loss: 0.3", 0.8),
        ("inaccuracy 0.3", None),
        ("loss 0.3", None),
        ("accuracy 250", None),
    ],
)
def test_what_a_script_prints(text, accuracy):
    assert printed_accuracy(text) == accuracy


def test_without_an_accuracy_the_loss_counts():
    losses = (2.0, 2.0, 2.0, 0.5)
    assert LabTraining("n", "c", "r", 0, Result("budget", losses, baseline=2.0)).reached == 0.75
    assert LabTraining("n", "c", "r", 0, Result("budget", losses), 0.4).reached == 0.4
    lost = Result("budget", (2.0, float("nan")), baseline=2.0)
    assert LabTraining("n", "c", "r", 0, lost).reached == 0.0
