"""Priors over voxels: support and moments against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from fastqmri.core import MultiEchoSpinEcho, PlausibilityError, ShapeError, UnknownNameError
from fastqmri.learning.priors import Independent, LogUniform, Mixture, TissueClasses, Uniform
from fastqmri.phantoms import tissue_properties
from fastqmri.physics.signal import ExponentialDecay

COUNT = 40_000
RANGES = {"T1": (0.1, 4.0), "T2": (0.01, 0.6)}
BRAIN = TissueClasses.brain(("M0", "T1", "F"), spread=0.1, correlation={("T1", "F"): -0.7})


def near(value: torch.Tensor, mean: float, deviation: float) -> bool:
    """Whether a sample's mean is within five standard errors."""
    return abs(float(value.double().mean()) - mean) < 5 * deviation / math.sqrt(len(value))


@pytest.mark.parametrize(
    "prior",
    [
        Uniform(RANGES, (("T2", "T1"),)),
        LogUniform(RANGES),
        Independent((LogUniform(RANGES), Uniform({"M0": (0.5, 1.0)})), (("T2", "T1"),)),
        BRAIN,
        Mixture((Uniform(RANGES), LogUniform(RANGES)), (1.0, 3.0), 0.3),
    ],
)
def test_same_seed_same_bytes_and_the_contract_holds(prior):
    one, two, other = (prior.draw(50, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert tuple(one) == prior.names
    for name, value in one.items():
        assert value.shape == (50,)
        assert value.dtype == torch.float32
        assert torch.equal(value, two[name])
        assert not torch.equal(value, other[name])
    assert prior.draw(0, torch.Generator())[prior.names[0]].shape == (0,)


def test_uniform_has_its_support_and_moments(generator):
    drawn = Uniform(RANGES).draw(COUNT, generator)
    for name, (low, high) in RANGES.items():
        assert float(drawn[name].min()) >= low - 1e-7
        assert float(drawn[name].max()) <= high + 1e-7
        assert near(drawn[name], (low + high) / 2, (high - low) / math.sqrt(12))
        assert near((drawn[name] - (low + high) / 2) ** 2, (high - low) ** 2 / 12, (high - low) ** 2)


def test_log_uniform_has_its_support_and_moments(generator):
    drawn = LogUniform(RANGES).draw(COUNT, generator)
    for name, (low, high) in RANGES.items():
        assert float(drawn[name].min()) >= torch.tensor(low)
        assert float(drawn[name].max()) <= torch.tensor(high)
        assert near(drawn[name], (high - low) / math.log(high / low), high)
        assert near(drawn[name].log(), math.log(low * high) / 2, math.log(high / low) / math.sqrt(12))


def test_what_has_to_stay_below_does_and_the_rest_keeps_its_distribution(generator):
    # T2 < T1 on one square: T1's density is proportional to T1, its mean two thirds of the way
    drawn = Uniform({"T1": (0.0, 1.0), "T2": (0.0, 1.0)}, (("T2", "T1"),)).draw(COUNT, generator)
    assert bool((drawn["T2"] < drawn["T1"]).all())
    assert near(drawn["T1"], 2 / 3, 0.3)
    assert near(drawn["T2"], 1 / 3, 0.3)
    free = Uniform({"T1": (0.0, 1.0), "T2": (0.0, 1.0)}).draw(COUNT, generator)
    assert not bool((free["T2"] < free["T1"]).all())
    assert not near(free["T1"], 2 / 3, 0.3)


def test_ranges_come_from_the_model_unless_given():
    model = ExponentialDecay(MultiEchoSpinEcho(echo_time=(0.01, 0.02, 0.03)))
    prior = Uniform.of(model, T2=(0.02, 0.1))
    assert prior.ranges == {"M0": model.parameters[0].prior, "T2": (0.02, 0.1)}


def test_tissues_have_their_means_spreads_and_correlation(generator):
    drawn = BRAIN.draw(COUNT, generator)
    weights = [tissue_properties(t) for t in BRAIN.tissues]
    for name in BRAIN.names:
        mean = sum(row[name] for row in weights) / 3
        assert near(drawn[name], mean, float(drawn[name].std()))
    white = TissueClasses.brain(
        ("M0", "T1", "F"), tissues=("white matter",), spread=0.1, correlation={("T1", "F"): -0.7}
    ).draw(COUNT, generator)
    for name in BRAIN.names:
        assert float(white[name].std() / white[name].mean()) == pytest.approx(0.1, rel=0.03)
    pairs = torch.corrcoef(torch.stack([white[n].log() for n in ("T1", "F", "M0")]))
    assert float(pairs[0, 1]) == pytest.approx(-0.7, abs=0.02)
    assert abs(float(pairs[0, 2])) < 0.03


def test_two_tissues_in_a_voxel_add_their_water(generator):
    pure = {"a": {"M0": 1.0, "T1": 1.0}, "b": {"M0": 3.0, "T1": 2.0}}
    drawn = TissueClasses(pure, spread=0.0, mixed=0.5).draw(COUNT, generator)
    share = (drawn["M0"] - 1) / 2
    assert torch.allclose(drawn["T1"], ((1 - share) + share * 3 * 2) / drawn["M0"], atol=1e-5)
    within = (share > 1e-6) & (share < 1 - 1e-6)
    # half of the voxels are mixed, half of those of two different tissues
    assert near(within.double(), 0.25, 0.5)
    assert not bool(((drawn["M0"] > 1) & (drawn["M0"] < 3))[~within].any())


def test_a_mixture_takes_parts_as_often_as_weighted(generator):
    parts = (Uniform({"T1": (0.0, 1.0)}), Uniform({"T1": (2.0, 3.0)}))
    drawn = Mixture(parts, (1.0, 3.0)).draw(COUNT, generator)["T1"]
    assert near((drawn > 1.5).double(), 0.75, 0.5)
    even = Mixture(parts).draw(COUNT, generator)["T1"]
    assert near((even > 1.5).double(), 0.5, 0.5)
    assert bool(((drawn <= 1) | (drawn >= 2)).all())
    blended = Mixture(parts, mixed=1.0).draw(COUNT, generator)["T1"]
    assert not bool(((blended <= 1) | (blended >= 2)).all())


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: Uniform({"T1": (2.0, 1.0)}), PlausibilityError),
        (lambda: Uniform({"T1": (0.0, math.inf)}), PlausibilityError),
        (lambda: LogUniform({"T1": (0.0, 1.0)}), PlausibilityError),
        (lambda: Uniform({"T1": (0.0, 1.0)}, (("T2", "T1"),)), UnknownNameError),
        (lambda: Uniform({"T1": (0.0, 1.0), "T2": (1.0, 2.0)}, (("T2", "T1"),)), PlausibilityError),
        (lambda: Independent((Uniform(RANGES), LogUniform(RANGES))), UnknownNameError),
        (lambda: Mixture((Uniform(RANGES), Uniform({"T1": (0.1, 1.0)}))), UnknownNameError),
        (lambda: Mixture((Uniform(RANGES),), (1.0, 1.0)), ShapeError),
        (lambda: Mixture((Uniform(RANGES),), (-1.0,)), PlausibilityError),
        (lambda: TissueClasses({"a": {"T1": 1.0}, "b": {"T2": 1.0}}), UnknownNameError),
        (lambda: TissueClasses({"a": {"T1": 1.0}}, {"T2": 0.1}), UnknownNameError),
        (lambda: TissueClasses({"a": {"T1": 1.0}}, -0.1), PlausibilityError),
        (lambda: TissueClasses({"a": {"T1": 1.0}}, mixed=1.5), PlausibilityError),
        (lambda: TissueClasses({"a": {"T1": 1, "F": 1}}, correlation={("T1", "F"): 1.2}), PlausibilityError),
        (lambda: TissueClasses.brain(("T9",)), UnknownNameError),
    ],
)
def test_priors_that_cannot_be_are_refused(build, error):
    with pytest.raises(error):
        build()


def test_ranges_that_almost_never_obey_are_refused(generator):
    prior = Uniform({"T1": (0.0, 1.0), "T2": (1.0 - 1e-7, 9e6)}, (("T2", "T1"),))
    with pytest.raises(PlausibilityError, match="rounds"):
        prior.draw(100, generator)
