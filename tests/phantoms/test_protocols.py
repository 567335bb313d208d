from __future__ import annotations

import numpy as np
import pytest

from fastqmri.core import Acquisition, UnknownNameError
from fastqmri.estimators import CATALOGUE
from fastqmri.phantoms import spiral_directions, typical_acquisition


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_every_model_has_a_typical_acquisition(entry):
    acquisition = typical_acquisition(entry.acquisition, entry.name)
    assert type(acquisition) is entry.acquisition
    model = entry.build(acquisition)
    samples = acquisition.contrasts * (2 if model.complex_valued else 1)
    assert samples >= model.unknowns


def test_unknown_family_is_refused():
    with pytest.raises(UnknownNameError, match="no typical protocol"):
        typical_acquisition(Acquisition)


@pytest.mark.parametrize("count", [1, 6, 32, 64])
def test_directions_are_spread_over_half_a_sphere(count):
    directions = np.array(spiral_directions(count))
    assert directions.shape == (count, 3)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    assert (directions[:, 2] > 0).all()
    if count < 6:
        return
    cosines = np.abs(directions @ directions.T) - 2 * np.eye(count)
    nearest = np.degrees(np.arccos(cosines.max(1)))
    # an even spread gives each direction the area of 2π / count: a disc of radius sqrt(2 / count)
    assert nearest.min() > 0.6 * np.degrees(np.sqrt(2 / count))


def test_directions_resolve_a_tensor():
    """Six elements need a well-conditioned design; 1.58 is that of an ideal spread (Batchelor 2003)."""
    x, y, z = np.array(spiral_directions(32)).T
    design = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], axis=1)
    assert np.linalg.cond(design) < 1.58 * 1.3
