"""MoDL-QSM as a recipe, and what its card lets through."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from fastqmri.core import ValidityError
from fastqmri.learning.fields import FieldRanges
from fastqmri.learning.inversion_results import fields_of
from fastqmri.learning.training import make_card, train
from fastqmri.methods.modl_qsm import ModlQsm

RANGES = FieldRanges(side=20, heads=0.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):  # type: ignore[no-untyped-def]
    recipe = ModlQsm(phantoms=3, ranges=RANGES)
    settings = recipe.settings.model_copy(update={"steps": 6, "validate_every": 3, "precision": "float32"})
    done = train(recipe, tmp_path_factory.mktemp("modl"), settings)
    card = make_card(
        recipe, done, settings, method="MoDL-QSM", command="-", sha256="", classical="--method tv"
    )
    return recipe, done, card


def test_training_lowers_the_loss(trained) -> None:  # type: ignore[no-untyped-def]
    recipe, done, _ = trained
    before = recipe.score(recipe.network())
    assert min(entry["score"] for entry in done.history) < before


def test_one_channel_leaves_no_rest() -> None:
    recipe = ModlQsm(rest=False, phantoms=1, ranges=RANGES)
    batch = recipe.draw(torch.Generator().manual_seed(0), 1)
    network = recipe.network()
    assert set(recipe.loss(network, batch, 0.0)) == {"chi", "edges"}
    assert not bool(network(batch.given)[:, 1].any())


def test_card_refuses_what_was_not_trained(trained) -> None:  # type: ignore[no-untyped-def]
    recipe, done, card = trained
    inversion = recipe.build(done.network, card)
    drawn = fields_of(21, RANGES)
    assert drawn.invert(inversion, noise=drawn.noise).notes == ()
    near = dataclasses.replace(drawn, voxel_size=(1.0, 1.0, 1.6)).invert(inversion)
    assert len(near.notes) == 1
    assert "ratio of voxel edges 1.6" in near.notes[0]
    for change in ({"voxel_size": (1.0, 1.0, 2.5)}, {"direction": (0.0, 0.5, 0.8)}):
        with pytest.raises(ValidityError, match="tv"):
            dataclasses.replace(drawn, **change).invert(inversion)
    with pytest.raises(ValidityError, match="snr"):
        drawn.invert(inversion, noise=8 * drawn.noise)
