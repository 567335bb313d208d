"""Where a model-based reconstruction starts: images in the subspace of the model's signals, fitted voxel by voxel."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from fastqmri.core import Measurement
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.reconstruction.model_data import ModelData
from fastqmri.estimators.reconstruction.subspace import simulated_curves
from fastqmri.estimators.reconstruction.unknowns import Unknowns, unscaled
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers.conjugate_gradient import conjugate_gradient

_ATOMS = 2000
_LEFT_OUT = 1e-4
"""Share of the atoms' energy outside the subspace."""
_ITERATIONS = 20
_TOLERANCE = 0.01
_LEAST_SNR = 3.0


def subspace_images(data: ModelData, model: SignalModel, noise: float, generator: torch.Generator) -> Tensor:
    """Images whose voxels lie in the span of the principal signals of a model, (contrast, *voxels).

    Coefficients are damped by the ratio of the noise to what the prior expects of them.

    Args:
        data: the measurement.
        model: with the sign of its signal.
        noise: standard deviation of one channel of k-space.
        generator: draws the model's parameters.
    """
    vectors, shares = _subspace(model, generator)
    vectors = vectors.to(data.back.dtype)
    rank = vectors.shape[1]
    voxel = (1,) * (data.back.ndim - 1)
    density = float(data.density.mean())
    signal = float(data.back.abs().double().square().sum()) / data.back[0].numel() / density**2
    damping = (noise**2 / (shares * max(signal, noise**2))).clamp_max(1.0).to(data.back.real.dtype)
    damping = damping.view(-1, *voxel)

    def expand(coefficients: Tensor) -> Tensor:
        return torch.tensordot(vectors, coefficients, 1)

    def project(images: Tensor) -> Tensor:
        return torch.tensordot(vectors.mH, images, 1)

    coefficients = conjugate_gradient(
        lambda c: project(data.gram(expand(c))) + damping * c,
        project(data.back),
        iterations=_ITERATIONS,
        tolerance=_TOLERANCE,
        preconditioner=lambda c: c / (density + damping),
    )
    assert len(coefficients) == rank
    return expand(coefficients)


def fitted(
    images: Tensor, model: SignalModel, known: Mapping[str, Tensor], noise: float
) -> tuple[Unknowns, Tensor]:
    """Scaled unknowns and their values from the voxel-wise fit of complex images.

    Voxels too weak to tell take the median of the others.

    Args:
        images: (contrast, *voxels) complex.
        model: as the voxel-wise fit takes it.
        known: parameter name -> (*voxels).
        noise: standard deviation of one channel of the images.
    """
    unknowns = unscaled(model, {name: value.to(images.real) for name, value in known.items()})
    rotated = images
    if not model.complex_valued:
        rotated = images.abs() if model.non_negative else _without_phase(images, unknowns.model)
    strong = images.abs().amax(0) > _LEAST_SNR * noise
    if not bool(strong.any()):
        strong = torch.ones_like(strong)
    maps = least_squares(model).estimate(
        Measurement(rotated, model.acquisition, mask=strong, known=known, saturation=math.inf)
    )
    x = maps.value[: len(model.estimated)].to(images.real)
    usable = torch.isfinite(x).all(0)
    if bool(usable.any()):
        middle = x[:, usable].median(1).values
    else:
        middle = torch.tensor([sum(p.prior) / 2 for p in (model.parameters[i] for i in model.estimated)])
    x = torch.where(usable, x, middle.to(x).view(-1, *(1,) * (x.ndim - 1)))
    v = unknowns.bounded(unknowns.pack(torch.ones_like(images[0]), x))
    signal = unknowns.basis(v).signal
    energy = signal.abs().square().sum(0).clamp_min(torch.finfo(x.dtype).tiny)
    amplitude = (signal.conj() * images).sum(0) / energy
    v = torch.cat([torch.stack([amplitude.real, amplitude.imag]), v[2:]])
    return unknowns.rescaled(v, usable)


def _subspace(model: SignalModel, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Principal signals (contrast, rank) of parameters drawn from the priors, and their shares of the energy."""
    atoms = simulated_curves(model, _ATOMS, generator=generator)
    atoms = atoms[:, torch.isfinite(atoms.abs().sum(0))]
    energies, vectors = torch.linalg.eigh(atoms @ atoms.mH / atoms.shape[1])
    energies, vectors = energies.flip(0).clamp_min(1e-12), vectors.flip(1)
    rank = 1 + int((1 - energies.cumsum(0) > _LEFT_OUT).sum())
    rank = min(rank, len(energies))
    return vectors[:, :rank], energies[:rank]


def _without_phase(images: Tensor, model: SignalModel) -> Tensor:
    """Real images of a signed model: the phase that all contrasts share goes, the sign is that of the better fit."""
    squares = (images * images).sum(0)
    rotated = (images * torch.polar(torch.ones_like(squares.real), -squares.angle() / 2)).real
    both = [model(model.start(sign * rotated.flatten(1))) for sign in (1.0, -1.0)]
    errors = [(s * rotated.flatten(1) - b).square().sum(0) for s, b in zip((1.0, -1.0), both, strict=True)]
    sign = torch.where(errors[1] < errors[0], -1.0, 1.0).view(rotated.shape[1:])
    return sign * rotated
