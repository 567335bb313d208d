"""DRONE: what is drawn and learned, and whether the shipped weights keep what they promise."""

import math
from pathlib import Path

import pytest
import torch

from fastqmri import methods
from fastqmri.core import Measurement, ValidityError
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.matching import dictionary_matching
from fastqmri.learning.training import train
from fastqmri.learning.validity import judge
from fastqmri.learning.voxelwise_evaluation import Trial, compare
from fastqmri.learning.weights import read_card, read_weights
from fastqmri.methods.drone import TESTED, TRAINED, Drone25, DroneIrFisp
from fastqmri.physics.spins import FingerprintingSignal
from fastqmri.physics.spins.schedules.fingerprinting import drone_epi_25

WEIGHTS = Path(methods.__file__).parent / "weights"


def shipped(recipe):
    card = read_card(WEIGHTS, recipe.name)
    network = read_weights(WEIGHTS, recipe.network(), card)
    return network, card


def percent(maps, x):
    wanted = x[1:3]
    found = torch.stack([maps["T1"].value, maps["T2"].value])
    return (100 * ((found - wanted) / wanted).abs()).mean(1)


def test_draws_are_fresh_replayable_and_in_range():
    recipe = Drone25()
    one, same, other = (recipe.draw(torch.Generator().manual_seed(s), 200) for s in (1, 1, 2))
    assert torch.equal(one.signals, same.signals)
    assert not torch.equal(one.signals, other.signals)
    assert one.signals.shape == (200, 25)
    assert float(one.target.abs().max()) <= 1 + 1e-5
    low, high = TRAINED["T1"]
    t1 = torch.exp((one.target[:, 0] + 1) / 2 * math.log(high / low)) * low
    t2 = torch.exp((one.target[:, 1] + 1) / 2 * math.log(60.0)) * 0.01
    assert bool((t2 < t1 * (1 + 1e-5)).all())


def test_a_pool_is_drawn_from(monkeypatch):
    monkeypatch.setattr(DroneIrFisp, "pool", (4096, 1))
    recipe = DroneIrFisp()
    batch = recipe.draw(torch.Generator().manual_seed(1), 64)
    assert batch.signals.shape == (64, 16)
    network = recipe.network()
    assert torch.isfinite(recipe.loss(network, batch, 0.0)["relative"])
    assert not network.projection.requires_grad


def test_two_hundred_steps_teach_something(tmp_path):
    recipe = Drone25()
    settings = recipe.settings.model_copy(update={"steps": 200, "batch": 200, "validate_every": 100})
    untrained = recipe.score(recipe.network())
    trained = train(recipe, tmp_path, settings)
    assert recipe.score(trained.network) < untrained / 4


def test_shipped_weights_are_at_least_as_good_as_the_full_dictionary():
    recipe = Drone25()
    network, card = shipped(recipe)
    matching = dictionary_matching(recipe.model, recipe.axes)
    for seed, (snr, slack) in enumerate(((math.inf, 1.0), (100, 1.1), (40, 1.1))):
        drawn = Trial(TESTED, snr).draw(recipe.model, torch.Generator().manual_seed(1500 + seed), 2000)
        measurement = Measurement(drawn.data, recipe.model.acquisition, noise=drawn.noise or None)
        by_network = percent(recipe.build(network, card, finishing=0).estimate(measurement), drawn.x)
        by_matching = percent(matching.estimate(measurement), drawn.x)
        assert bool((by_network <= slack * by_matching).all()), (snr, by_network, by_matching)
        if math.isinf(snr):
            assert by_network[0] <= 0.5
            assert by_network[1] <= 1.5


def test_finished_maps_are_those_of_least_squares():
    recipe = Drone25()
    network, card = shipped(recipe)
    drawn = Trial(TESTED, 100).draw(recipe.model, torch.Generator().manual_seed(1600), 4000)
    measurement = Measurement(drawn.data, recipe.model.acquisition, noise=drawn.noise)
    finished = recipe.build(network, card).estimate(measurement)
    fitted = least_squares(recipe.model).estimate(measurement)
    # magnitudes fold where the signal crosses zero: either may end in a dip of the misfit that the other avoids
    worse = finished.residual > 1.001 * fitted.residual
    better = fitted.residual > 1.001 * finished.residual
    assert int(worse.sum()) <= int(better.sum())
    assert float(worse.double().mean()) < 0.01
    assert percent(finished, drawn.x).le(1.01 * percent(fitted, drawn.x)).all()
    relative = (finished["M0"].value / drawn.x[0] - 1).abs()
    assert float(relative.median()) < 0.02


@pytest.mark.parametrize("kind", [Drone25, DroneIrFisp])
def test_the_card_refuses_other_schedules(kind):
    recipe = kind()
    _, card = shipped(recipe)
    model = FingerprintingSignal(drone_epi_25())
    estimator = recipe.build(recipe.network(), card, model=model)
    with pytest.raises(ValidityError, match="matching-refined"):
        estimator.estimate(Measurement(torch.ones(25, 4), model.acquisition))
    own = judge(
        card.validity, Measurement(torch.ones(recipe.model.acquisition.contrasts, 4), recipe.acquisition())
    )
    assert not own.refusals
    assert not own.warnings


def test_a_field_far_from_nominal_is_warned_of_or_refused():
    recipe = Drone25()
    network, card = shipped(recipe)
    drawn = Trial(TESTED, 50, {"B1": 0.9}).draw(recipe.model, torch.Generator().manual_seed(1700), 50)

    def estimate(b1):
        known = {"B1": torch.full((50,), b1)}
        return recipe.build(network, card).estimate(
            Measurement(drawn.data, recipe.model.acquisition, known=known)
        )

    maps = estimate(0.9)
    assert any("B1" in note for note in maps.notes)
    assert float(percent(maps, drawn.x)[0]) < 3  # the finishing steps know the field
    with pytest.raises(ValidityError, match="B1"):
        estimate(0.5)


def test_comparison_lists_every_method_and_the_bound():
    recipe = Drone25()
    axes = {"T1": torch.linspace(0.1, 4, 40), "T2": torch.linspace(0.01, 0.6, 30)}
    rows = compare(
        "net", recipe.model, recipe.network(), {"SNR 50": Trial(TESTED, 50)}, axes, seeds=2, voxels=100
    )
    methods = {row.method for row in rows}
    assert methods == {
        "net",
        "net, finished",
        "matching",
        "matching-svd",
        "matching-group",
        "matching-refined",
        "nlls",
        "Cramér-Rao bound",
    }
    by = {row.method: row.value for row in rows if row.quantity == "T1" and row.metric == "MAPE"}
    assert 0.5 < by["nlls"] / by["Cramér-Rao bound"] < 1.5
