"""Images that are sparse in wavelets, contrasts or coils sharing their structure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastqmri.core import DataError, Measurement, UnknownNameError
from fastqmri.estimators.reconstruction.images import Progress, encoding_of
from fastqmri.estimators.reconstruction.problem import data_term
from fastqmri.physics.encoding import CartesianEncoding, LinearOperator, Sensitivities, Wavelets
from fastqmri.physics.encoding.operator import Composition
from fastqmri.solvers.proximal import group_soft, ordered, oscar_weights, soft, sparse_group_soft
from fastqmri.solvers.subspace import leading_direction

PENALTIES = ("lasso", "group-lasso", "sparse-group-lasso", "oscar")
GROUPS = ("coils", "contrasts", "all")
Shrink = Callable[[Tensor, float], Tensor]
"""(details (channel, coefficient), threshold) -> what is left of them."""


@dataclass(frozen=True)
class WaveletSparsity:
    """min ½||E ρ - y||² + λ R(details of Ψ ρ), Ψ an orthogonal wavelet transform shifted at random in every iteration.

    Source: Lustig 2007; groups over contrasts after Yuan 2006; λ is our choice.

    Attributes:
        weight: λ in standard deviations of the noise that arrives in the images.
        joint: whether a coefficient of all contrasts is shrunk as one group, else each by itself.
        wavelet: name that PyWavelets knows.
        iterations: at most.
        tolerance: relative change to stop at.
        seed: of the shifts.
    """

    weight: float = 0.4
    joint: bool = True
    wavelet: str = "haar"
    iterations: int = 60
    tolerance: float = 1e-4
    seed: int = 0
    name: str = "wavelet"
    references: tuple[str, ...] = ("lustig2007", "yuan2006", "beck2009")

    def reconstruct(self, measurement: Measurement, *, progress: Progress | None = None) -> Tensor:
        """Complex images (contrast, *voxels)."""
        term = data_term(measurement)
        shrink: Shrink = group_details if self.joint else soft
        return term.minimum(
            wavelet_threshold(
                measurement.voxels, self.wavelet, shrink, self.weight * term.noise * term.step, self.seed
            ),
            iterations=self.iterations,
            tolerance=self.tolerance,
            progress=progress,
        )


@dataclass(frozen=True)
class StructuredSparsity:
    """Images of every coil without knowing the coils: min ½||F x - y||² + λ R(details of Ψ x), then combined.

    R works on each wavelet coefficient across the coils of a contrast, the contrasts of a coil, or all of them: LASSO
    shrinks every number by itself, group LASSO the group as a whole, sparse-group LASSO first one then the other, OSCAR
    the larger the more, which ties members of similar size. Coil images are combined voxel by voxel along their leading
    direction over contrasts.

    Source: El Gueddari 2021 for OSCAR, there over coils (groups over contrasts gave better images on our phantoms);
    Yuan 2006, Simon 2013; λ is our choice.

    Attributes:
        penalty: one of `PENALTIES`.
        weight: λ in standard deviations of the noise that arrives in the coil images.
        share: of the group in a sparse-group LASSO, of the slope in OSCAR (the rest is plain LASSO).
        over: ``coils``, ``contrasts`` or ``all``.
        wavelet: name that PyWavelets knows.
        iterations: at most.
        tolerance: relative change to stop at.
        seed: of the shifts of the transform.

    Raises:
        UnknownNameError: another penalty.
    """

    penalty: str = "oscar"
    weight: float = 0.5
    share: float = 0.9
    over: str = "contrasts"
    wavelet: str = "haar"
    iterations: int = 60
    tolerance: float = 1e-4
    seed: int = 0
    references: tuple[str, ...] = ("elgueddari2021", "beck2009")

    def __post_init__(self) -> None:
        for value, allowed in ((self.penalty, PENALTIES), (self.over, GROUPS)):
            if value not in allowed:
                raise UnknownNameError(
                    f"{value!r} for structured sparsity",
                    "there is no such penalty or group.",
                    f"Take one of {', '.join(allowed)}.",
                )

    @property
    def name(self) -> str:
        """The penalty's."""
        return self.penalty

    def reconstruct(self, measurement: Measurement, *, progress: Progress | None = None) -> Tensor:
        """Complex images (contrast, *voxels)."""
        return combined(self.coil_images(measurement, progress=progress))

    def coil_images(self, measurement: Measurement, *, progress: Progress | None = None) -> Tensor:
        """Complex images of every coil, (contrast, coil, *voxels)."""
        term = data_term(measurement, without_coils(encoding_of(measurement)))
        proximal = wavelet_threshold(
            measurement.voxels, self.wavelet, self._shrink, self.weight * term.noise * term.step, self.seed
        )
        return term.minimum(proximal, iterations=self.iterations, tolerance=self.tolerance, progress=progress)

    def _shrink(self, details: Tensor, threshold: float) -> Tensor:
        """Shrink (contrast, coil, coefficient)."""
        if self.penalty == "lasso":
            return soft(details, threshold)
        groups = {"coils": details, "contrasts": details.transpose(0, 1)}.get(
            self.over, details.flatten(0, 1)[None]
        )
        size = groups.shape[1]
        if self.penalty == "group-lasso":
            changed = group_soft(groups, threshold * math.sqrt(size), 1)
        elif self.penalty == "sparse-group-lasso":
            group = self.share * threshold * math.sqrt(size)
            changed = sparse_group_soft(groups, (1 - self.share) * threshold, group, 1)
        else:
            # the mean of all weights is the threshold
            slope = 2 * self.share * threshold / max(size - 1, 1)
            weights = oscar_weights(size, (1 - self.share) * threshold, slope)
            changed = ordered(groups.movedim(1, -1), weights).movedim(-1, 1)
        return changed.transpose(0, 1) if self.over == "contrasts" else changed.view_as(details)


def wavelet_threshold(
    voxels: tuple[int, ...], wavelet: str, shrink: Shrink, threshold: float, seed: int
) -> Callable[[Tensor], Tensor]:
    """Proximal operator of a penalty on the details of a transform that is shifted at every call.

    The coarsest approximation is left alone.

    Args:
        voxels: of the images.
        wavelet: name that PyWavelets knows.
        shrink: changes details (..., coefficient) by a threshold.
        threshold: for one gradient step.
        seed: of the shifts.
    """
    transform = Wavelets(voxels, wavelet)
    generator = torch.Generator().manual_seed(seed)
    axes, reach = tuple(range(-len(voxels), 0)), 2**transform.levels
    coarse: Any = (..., *(slice(side) for side in transform.coarse))

    def proximal(x: Tensor) -> Tensor:
        shift = [int(torch.randint(min(n, reach), (1,), generator=generator)) for n in voxels]
        coefficients = transform(x.roll(shift, axes))
        kept = coefficients[coarse].clone()
        changed = shrink(coefficients.flatten(-len(voxels)), threshold).view_as(coefficients)
        changed[coarse] = kept
        return transform.adjoint(changed).roll([-s for s in shift], axes)

    return proximal


def without_coils(encoding: LinearOperator) -> LinearOperator:
    """What an encoding does to images of every coil.

    Raises:
        DataError: it does not begin with coil sensitivities.
    """
    if isinstance(encoding, CartesianEncoding):
        return encoding.sampling @ encoding.fourier
    if isinstance(encoding, Composition) and isinstance(encoding.inner, Sensitivities):
        return encoding.outer
    raise DataError(
        f"an encoding ({type(encoding).__name__}) whose coils can't be taken off",
        "reconstruction without coil maps needs what comes after them alone.",
        "Use a Cartesian encoding, or compose one of coil sensitivities and a Fourier transform.",
    )


def combined(coils: Tensor) -> Tensor:
    """Images (contrast, *voxels) of coil images (contrast, coil, *voxels).

    Each voxel's coils are summed with the conjugate of their leading direction over contrasts, which is what keeps
    noise from adding to the magnitude. The first contrast gets the phase of its largest coil.
    """
    contrasts, count, *voxels = coils.shape
    matrices = coils.reshape(contrasts, count, -1).permute(2, 0, 1)
    direction = leading_direction(matrices)
    images = (matrices @ direction.unsqueeze(-1)).squeeze(-1)
    largest = matrices[:, 0].gather(1, matrices[:, 0].abs().argmax(1, keepdim=True))
    turn = torch.polar(
        torch.ones_like(largest.abs()), (largest / images[:, :1].where(images[:, :1] != 0, 1)).angle()
    )
    return (images * turn).T.reshape(contrasts, *voxels)


def group_details(details: Tensor, threshold: float) -> Tensor:
    """Shrink (contrast, coefficient), a coefficient of all contrasts as one group."""
    return group_soft(details, threshold * math.sqrt(len(details)), 0)
