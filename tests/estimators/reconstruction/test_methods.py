"""What every image reconstruction must do."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from estimators.reconstruction.kspace import ECHOES, MODEL, error, scan, truth
from fastqmri.core import DataError, Measurement
from fastqmri.core.references import REFERENCES
from fastqmri.estimators.reconstruction import RECONSTRUCTIONS, ImageReconstruction, ZeroFilled
from fastqmri.physics.encoding import (
    NonUniformFourier,
    Sensitivities,
    synthetic_sensitivities,
)

ITERATIVE = [name for name in RECONSTRUCTIONS if name != "zero-filled"]
REGULARISED = [name for name in ITERATIVE if name != "cg-sense"]


def build(name: str, **changes: object) -> ImageReconstruction:
    return dataclasses.replace(RECONSTRUCTIONS[name].build(MODEL), **changes)


def quick(name: str) -> ImageReconstruction:
    """A few iterations of it: enough to see shapes, scales and progress."""
    if name == "zero-filled":
        return build(name)
    return build(name, rounds=2, atoms=20) if name == "dictionary-learning" else build(name, iterations=4)


def shorter(name: str) -> ImageReconstruction:
    """Enough iterations for half a solution."""
    return build(name, rounds=6) if name == "dictionary-learning" else build(name, iterations=20)


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_names_and_references(name):
    method = RECONSTRUCTIONS[name]
    assert method.name == method.build(MODEL).name == name
    assert set(method.references) <= set(REFERENCES)
    assert method.references == method.build(MODEL).references
    assert method.description.endswith(".")


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_full_sampling_gives_the_object(name, generator):
    phantom, measurement = scan(generator, acceleration=1.0, snr=1000)
    assert error(build(name).reconstruct(measurement), phantom) < 0.01


@pytest.mark.parametrize("name", ITERATIVE)
def test_beats_zero_filling(name, generator):
    """Those that know the coils by a tenth at least; 48², R = 4, SNR 60, one phantom."""
    phantom, measurement = scan(generator, voxels=(48, 48))
    bar = 0.9 if RECONSTRUCTIONS[name].needs_coils else 1.0
    ours = error(build(name).reconstruct(measurement), phantom)
    assert ours < bar * error(ZeroFilled().reconstruct(measurement), phantom)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_data_a_thousand_times_larger_give_images_a_thousand_times_larger(name, known, generator):
    _, measurement = scan(generator)
    measurement = dataclasses.replace(measurement, noise=measurement.noise if known else None)
    louder = dataclasses.replace(
        measurement, data=1000 * measurement.data, noise=1000 * measurement.noise if known else None
    )
    images, loud = (quick(name).reconstruct(m) for m in (measurement, louder))
    assert float((loud / 1000 - images).norm() / images.norm()) < 2e-4


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_same_input_same_bytes_and_progress(name, generator):
    _, measurement = scan(generator)
    seen: list[tuple[int, int]] = []
    images = quick(name).reconstruct(measurement, progress=lambda done, of: seen.append((done, of)))
    assert images.dtype == torch.complex64
    assert images.shape == (8, 32, 32)
    assert torch.equal(images, quick(name).reconstruct(measurement))
    if name in ITERATIVE:
        assert seen
        assert seen == [(i + 1, seen[0][1]) for i in range(len(seen))]


@pytest.mark.parametrize("name", ITERATIVE)
def test_volumes_of_odd_sides(name, generator):
    phantom, measurement = scan(generator, voxels=(21, 13, 10), acceleration=2.0, coils=3)
    images = shorter(name).reconstruct(measurement)
    assert images.shape == (8, 21, 13, 10)
    bar = error(ZeroFilled().reconstruct(measurement), phantom)
    assert error(images, phantom) < (bar if RECONSTRUCTIONS[name].needs_coils else 1.2 * bar)


def spokes(generator: torch.Generator) -> tuple[object, Measurement]:
    """16 golden-angle spokes for every echo."""
    phantom, cartesian = scan(generator)
    radius = torch.linspace(-math.pi, math.pi, 65, dtype=torch.float64)[:-1]
    angle = 2.39996 * torch.arange(8 * 16, dtype=torch.float64).view(8, 16, 1)
    trajectory = torch.stack([radius * angle.cos(), radius * angle.sin()], -1).flatten(1, 2)
    maps = synthetic_sensitivities((32, 32), 4, generator=generator)
    encoding = NonUniformFourier(trajectory.float(), (32, 32)) @ Sensitivities(maps, 2)
    clean = encoding(truth(phantom))
    noise = cartesian.noise
    noisy = clean + noise * math.sqrt(2) * torch.randn(clean.shape, dtype=clean.dtype, generator=generator)
    return phantom, dataclasses.replace(cartesian, data=noisy, encoding=encoding)


@pytest.mark.parametrize("name", REGULARISED)
def test_radial_samples(name, generator):
    phantom, measurement = spokes(generator)
    images = shorter(name).reconstruct(measurement)
    assert error(images, phantom) < 0.2


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_images_are_refused(name, generator):
    images = Measurement(torch.ones(len(ECHOES), 4, 4), MODEL.acquisition)
    with pytest.raises(DataError, match="k-space"):
        build(name).reconstruct(images)
