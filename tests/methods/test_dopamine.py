"""DOPAMINE's estimator and its card."""

import pytest
import torch

from fastqmri.core import DataError, Measurement, ValidityError
from fastqmri.methods import load
from fastqmri.phantoms import acquire, ellipses
from fastqmri.physics.encoding import CartesianEncoding, synthetic_sensitivities, variable_density_lines


@pytest.fixture
def scan(generator: torch.Generator):
    phantom = ellipses((64, 64), generator=generator)
    coils = synthetic_sensitivities((64, 64), 4, generator=generator)
    model = load("dopamine-t2").recipe.model
    mask = variable_density_lines(64, model.acquisition.contrasts, 5.0, generator=generator)[:, None, :]

    def measured(snr: float) -> Measurement:
        return acquire(phantom, model, CartesianEncoding(coils, mask), snr=snr, generator=generator)

    return measured


def test_noise_beyond_the_card_is_refused(scan) -> None:
    trained = load("dopamine-t2")
    estimator = trained.recipe.build(trained.network, trained.card)
    assert bool(estimator.estimate(scan(60.0)).estimated.any())
    with pytest.raises(ValidityError, match=r"snr .* below the trained range, 25 to 100"):
        estimator.estimate(scan(5.0))


def test_samples_that_are_no_numbers_are_refused(scan) -> None:
    trained = load("dopamine-t2")
    broken = scan(60.0)
    broken.data[0, 0, 3, 3] = torch.nan
    with pytest.raises(DataError, match="NaN"):
        trained.recipe.build(trained.network, trained.card).estimate(broken)
