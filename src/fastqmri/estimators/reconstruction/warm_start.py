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
from fastqmri.solvers.subspace import lost, principal

_ATOMS = 2000
_LEFT_OUT = 1e-4
"""Share of the atoms' energy outside the subspace."""
_ITERATIONS = 20
_TOLERANCE = 0.01
_LEAST_SNR = 3.0
_FIT_ITERATIONS = 15
_DOUBTFUL_SIGN = 0.05
"""Share of the energy that a voxel's first match leaves, from which the opposite sign is tried."""
_MOST_LOST = (1e-3, 0.01)
_LOST_IN_NOISE = 0.3
"""What the data, reduced to the span of the signals, may lose of any signal: so much of the noise, in those limits."""
_BRIGHT = 0.9
_WORTHWHILE = 0.8


def subspace_images(data: ModelData, model: SignalModel, noise: float, generator: torch.Generator) -> Tensor:
    """Images whose voxels lie in the span of the principal signals of a model, (contrast, *voxels).

    Coefficients are damped by the ratio of the noise to what the prior expects of them.

    Args:
        data: the measurement.
        model: with the sign of its signal.
        noise: standard deviation of one channel of k-space.
        generator: draws the model's parameters.
    """
    directions, shares = _subspace(model, generator)
    part = data.within(directions)
    density = float(data.density.mean())
    signal = float(data.back.abs().double().square().sum()) / data.back[0].numel() / density**2
    damping = (noise**2 / (shares * max(signal, noise**2))).clamp_max(1.0).to(data.back.real.dtype)
    damping = damping.view(-1, *(1,) * (data.back.ndim - 1))
    coefficients = conjugate_gradient(
        lambda c: part.gram(c) + damping * c,
        part.back,
        iterations=_ITERATIONS,
        tolerance=_TOLERANCE,
        preconditioner=lambda c: c / (density + damping),
    )
    assert part.subspace is not None
    return part.subspace(coefficients)


def reduced(
    data: ModelData, unknowns: Unknowns, v: Tensor, noise: float, generator: torch.Generator
) -> ModelData:
    """The data in the span of the signals that the prior allows and of those at v; as it is if that saves little.

    Args:
        data: the measurement.
        unknowns: what v means.
        v: where to start.
        noise: standard deviation of one channel of the images.
        generator: draws the parameters.
    """
    basis = unknowns.basis(v)
    size = float(basis.images.flatten(1).norm(dim=0).quantile(_BRIGHT))
    limit = min(max(_LOST_IN_NOISE * noise / max(size, 1e-30), _MOST_LOST[0]), _MOST_LOST[1])
    signal = basis.signal.flatten(1)
    signal = signal / signal.norm(dim=0).clamp_min(torch.finfo(v.dtype).tiny)
    atoms = simulated_curves(unknowns.model, _ATOMS, generator=generator)
    everything = torch.cat([atoms, signal.to(atoms.dtype)], 1)
    everything = everything[:, torch.isfinite(everything.abs().sum(0))]
    directions, _ = principal(everything.T)
    directions = directions.conj().resolve_conj()
    rank = 1 + int((lost(everything.T, directions.conj()) > limit).sum())
    if rank > _WORTHWHILE * len(directions):
        return data
    return data.within(directions[:, :rank])


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
    strong = images.abs().amax(0) > _LEAST_SNR * noise
    if not bool(strong.any()):
        strong = torch.ones_like(strong)
    rotated = images
    if not model.complex_valued:
        rotated = (
            images.abs() if unknowns.model.non_negative else _without_phase(images, unknowns.model, strong)
        )
    maps = least_squares(unknowns.model, iterations=_FIT_ITERATIONS).estimate(
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


def _without_phase(images: Tensor, model: SignalModel, strong: Tensor) -> Tensor:
    """Real images of a signed model: the phase that all contrasts share goes, the sign is that of the better fit."""
    squares = (images * images).sum(0)
    rotated = (images * torch.polar(torch.ones_like(squares.real), -squares.angle() / 2)).real
    chosen = rotated[:, strong]
    largest = chosen.gather(0, chosen.abs().argmax(0, keepdim=True))[0]
    last = chosen[-1]
    sign = torch.where(torch.where(last.abs() > 0.1 * largest.abs(), last, largest) < 0, -1.0, 1.0)
    error = _mismatch(sign * chosen, model)
    again = error > _DOUBTFUL_SIGN * chosen.square().sum(0)
    other = _mismatch(-(sign * chosen)[:, again], model)
    sign[again] = torch.where(other < error[again], -sign[again], sign[again])
    signs = torch.ones_like(rotated[0])
    signs[strong] = sign.to(signs)
    return signs * rotated


def _mismatch(data: Tensor, model: SignalModel) -> Tensor:
    return (data - model(model.start(data))).square().sum(0)
