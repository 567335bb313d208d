"""Model-based reconstruction takes any encoding and any model: off the grid, in 3D, tensors, lost polarity."""

from __future__ import annotations

import math

import torch

from estimators.reconstruction.undersampled import decay, error
from fastqmri.core import DiffusionWeighted, LookLocker, Measurement
from fastqmri.estimators import least_squares
from fastqmri.estimators.reconstruction import ConjugateGradientSense, ModelBased, TwoStep
from fastqmri.phantoms import Phantom, acquire, ellipses, spiral_directions
from fastqmri.physics.encoding import (
    CartesianEncoding,
    LinearOperator,
    NonUniformFourier,
    Sensitivities,
    golden_radial,
    synthetic_sensitivities,
    variable_density_lines,
)
from fastqmri.physics.signal import DiffusionTensor, LookLockerSignal, SignalModel


def _errors(
    model: SignalModel, phantom: Phantom, encoding: LinearOperator, name: str, g: torch.Generator
) -> tuple[float, float]:
    """Of the model-based map, and of CG-SENSE and a fit."""
    measurement = acquire(phantom, model, encoding, snr=60, generator=g)
    maps = ModelBased(model, draws=0).estimate(measurement)
    assert float((maps.flags[phantom.mask] == 0).double().mean()) > 0.8
    two_step = TwoStep(ConjugateGradientSense(), least_squares(model)).estimate(measurement)
    return error(maps[name].value, phantom, name), error(two_step[name].value, phantom, name)


def test_radial_spokes(generator: torch.Generator):
    model, voxels, spokes = decay(), (40, 36), 9
    phantom = ellipses(voxels, generator=generator)
    contrasts = model.acquisition.contrasts
    trajectory = golden_radial(contrasts * spokes, 80).reshape(contrasts, spokes * 80, 2).float()
    coils = Sensitivities(synthetic_sensitivities(voxels, 4, generator=generator), 2)
    encoding = NonUniformFourier(trajectory, voxels) @ coils
    ours, two_step = _errors(model, phantom, encoding, "T2", generator)
    print(f"radial, {spokes} spokes: T2 {ours:.1f} %, CG-SENSE + fit {two_step:.1f} %")
    assert ours < 8
    assert ours < 0.6 * two_step


def test_a_volume(generator: torch.Generator):
    model, voxels = decay(), (6, 32, 28)
    phantom = ellipses(voxels, generator=generator)
    lines = variable_density_lines(voxels[1], model.acquisition.contrasts, 4, generator=generator)
    coils = synthetic_sensitivities(voxels, 4, generator=generator)
    encoding = CartesianEncoding(coils, lines[:, None, :, None])
    ours, two_step = _errors(model, phantom, encoding, "T2", generator)
    print(f"volume: T2 {ours:.1f} %, CG-SENSE + fit {two_step:.1f} %")
    assert ours < 10
    assert ours < 0.8 * two_step


def _measured(
    model: SignalModel, images: torch.Tensor, mask: torch.Tensor, acceleration: float, g: torch.Generator
) -> Measurement:
    """k-space of images (contrast, *voxels) at an SNR of 50, by random lines and four coils."""
    voxels = tuple(mask.shape)
    lines = variable_density_lines(voxels[0], model.acquisition.contrasts, acceleration, generator=g)
    encoding = CartesianEncoding(synthetic_sensitivities(voxels, 4, generator=g), lines[:, :, None])
    images = torch.where(mask, images, 0.0).to(torch.complex64)
    sigma = float(images.abs().amax(0)[mask].mean()) / 50
    clean = encoding(images)
    noise = sigma * math.sqrt(2) * torch.randn(clean.shape, dtype=clean.dtype, generator=g)
    data = encoding.sampling(clean + noise)
    return Measurement(data, model.acquisition, mask, noise=sigma, encoding=encoding)


def test_diffusion_tensors(generator: torch.Generator):
    """Seven unknowns a voxel; truth is the same model, so that only sampling and noise are in the way."""
    acquisition = DiffusionWeighted(
        b_value=(0.0, *(1000.0,) * 16), b_vector=((0, 0, 0), *spiral_directions(16))
    )
    model = DiffusionTensor(acquisition)
    shape = ellipses((24, 24), generator=generator)
    x = torch.zeros(7, 24, 24, dtype=torch.float64)
    x[0] = shape.maps["M0"]
    along = (shape.labels % 3).double() / 2
    for row, (low, high) in zip((1, 4, 6), ((0.4e-3, 1.4e-3), (0.5e-3, 1e-3), (0.6e-3, 0.8e-3)), strict=True):
        x[row] = low + (high - low) * along
    measurement = _measured(model, model(x), shape.mask, 2, generator)
    maps = ModelBased(model, draws=0).estimate(measurement)
    two_step = TwoStep(ConjugateGradientSense(), least_squares(model)).estimate(measurement)
    wanted = x[[1, 4, 6]].mean(0)[shape.mask]
    ours, theirs = (
        100 * float((m["MD"].value[shape.mask].double() - wanted).norm() / wanted.norm())
        for m in (maps, two_step)
    )
    print(f"tensor, twofold undersampled: MD {ours:.1f} %, CG-SENSE + fit {theirs:.1f} %")
    assert ours < 10
    assert ours < theirs


def test_lost_polarity_does_not_throw_voxels_off():
    """Magnitude and signed models see the same k-space, in which the sign is not lost."""
    acquisition = LookLocker(inversion_time=("20ms", "0.5s", "1s", "2s", "4s"))
    g = torch.Generator().manual_seed(1000)
    phantom = ellipses((32, 32), generator=g)
    t1 = torch.where(phantom.mask, phantom.maps["T1"], 1.0)
    driven = 1 / (1 / t1 - math.log(math.cos(math.radians(6))) / 0.0041)
    signed, magnitude = (LookLockerSignal(acquisition, signal) for signal in ("real", "magnitude"))
    measurement = _measured(signed, signed(torch.stack([phantom.maps["M0"], t1, driven])), phantom.mask, 2, g)
    found = [ModelBased(m, draws=0).estimate(measurement)["T1"].value for m in (magnitude, signed)]
    errors = [error(value, phantom, "T1") for value in found]
    print(f"T1 from magnitude and signed models: {errors[0]:.1f} %, {errors[1]:.1f} %")
    assert max(errors) < 10
