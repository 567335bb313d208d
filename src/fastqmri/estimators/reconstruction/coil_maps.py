"""Coil sensitivities from the fully sampled middle of k-space: ESPIRiT, and adaptive combination."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import DataError, ShapeError, UnknownNameError
from fastqmri.physics.encoding import Fourier

METHODS = ("espirit", "walsh")
_LARGEST = 24  # samples of the calibration region along an axis
_LOWEST, _HIGHEST = 0.8, 0.97  # eigenvalue that parts object and background
_AT_ONCE = 2**24  # complex numbers of one stretch of ESPIRiT's matrices


@dataclass(frozen=True)
class CoilMaps:
    """Sensitivities and how far they can be trusted.

    Attributes:
        maps: (coil, *voxels) complex64; squares add up to one inside ``mask``, zero outside. The phase is that of the
            coils relative to the strongest combination of them in the calibration data, which is real.
        eigenvalues: (*voxels), one where a single set of sensitivities explains the data, small where there is none.
        mask: (*voxels) bool, where there are sensitivities.
    """

    maps: Tensor
    eigenvalues: Tensor
    mask: Tensor


def estimate_sensitivities(kspace: Tensor, mask: Tensor, *, method: str = "espirit") -> Tensor:
    """Coil maps (coil, *voxels), complex64, from the middle of Cartesian k-space, from all contrasts together.

    Args:
        kspace: (contrast, coil, *k-space), zero where not measured.
        mask: (contrast or 1, *k-space) bool.
        method: ``"espirit"`` or ``"walsh"``.

    Raises:
        UnknownNameError: no such method.
        ShapeError: k-space and mask that don't match.
        DataError: the middle of k-space isn't sampled fully, or is empty.
    """
    if method not in METHODS:
        raise UnknownNameError(
            f"coil maps by {method!r}", f"known are {', '.join(METHODS)}.", "Name one of them."
        )
    voxels = tuple(kspace.shape[2:])
    if tuple(mask.shape[1:]) != voxels or mask.shape[0] not in (1, kspace.shape[0]):
        raise ShapeError(
            f"a mask of shape {tuple(mask.shape)} for k-space of shape {tuple(kspace.shape)}",
            "it must be (contrast or 1, *k-space).",
            "Give the mask of these data.",
        )
    if kspace.shape[1] == 1:
        return torch.ones(1, *voxels, dtype=torch.complex64, device=kspace.device)
    region = calibration_region(mask)
    data = kspace[(slice(None), slice(None), *region)].to(torch.complex64)
    found = espirit(data, voxels) if method == "espirit" else walsh(data, voxels)
    return found.maps


def calibration_region(mask: Tensor, *, largest: int = _LARGEST, smallest: int = 8) -> tuple[slice, ...]:
    """The largest box round the middle of k-space that every contrast has sampled fully.

    Args:
        mask: (contrast, *k-space) bool.
        largest: side of the box at most.
        smallest: side at least; shorter axes need all of their samples.

    Raises:
        DataError: no such box.
    """
    always = mask.all(0)
    sides = tuple(always.shape)
    low = [side // 2 for side in sides]
    high = [middle + 1 for middle in low]

    def full() -> bool:
        return bool(always[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].all())

    growing = set(range(len(sides))) if full() else set()
    while growing:
        for axis in sorted(growing):
            before = low[axis], high[axis]
            # even boxes reach one further down, as the middle is at N//2
            if (high[axis] - low[axis]) % 2:
                low[axis] -= 1
            else:
                high[axis] += 1
            inside = low[axis] >= 0 and high[axis] <= sides[axis] and high[axis] - low[axis] <= largest
            if not (inside and full()):
                low[axis], high[axis] = before
                growing.discard(axis)
    found = [b - a for a, b in zip(low, high, strict=True)]
    if (
        any(size < min(smallest, side) for size, side in zip(found, sides, strict=True))
        or not always[tuple(side // 2 for side in sides)].all()
    ):
        shown = " x ".join(map(str, found)) if always[tuple(side // 2 for side in sides)].all() else "nothing"
        raise DataError(
            f"the fully sampled middle of k-space: {shown}, of {' x '.join(map(str, sides))}",
            f"coil maps need at least {smallest} samples along each axis, in every contrast.",
            "Give coil maps, or data with calibration lines in the middle.",
        )
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def espirit(
    calibration: Tensor,
    voxels: tuple[int, ...],
    *,
    kernel: int | None = None,
    threshold: float | None = None,
    crop: float | None = None,
) -> CoilMaps:
    """ESPIRiT: the eigenvector of eigenvalue one of the calibration's null-space projection, voxel by voxel.

    Source: Uecker 2014; one set of maps.

    Args:
        calibration: (contrast, coil, *region), fully sampled k-space round the middle.
        voxels: matrix of the maps.
        kernel: side of the patches; 6 in 2D, 5 in 3D, or what fits, if None.
        threshold: singular values below this part of the largest count as noise. None takes the optimal hard
            threshold of Gavish & Donoho for noise of unknown strength, from 0.001 to 0.05.
        crop: eigenvalues below get no sensitivity. None finds the gap between object and background by Otsu's
            method, from 0.8 to 0.97.

    Raises:
        DataError: calibration data that are zero or not finite.
    """
    _check(calibration)
    dimensions, coils = calibration.ndim - 2, calibration.shape[1]
    wanted = (6 if dimensions == 2 else 5) if kernel is None else kernel
    sides = tuple(min(wanted, (size + 1) // 2) for size in calibration.shape[2:])
    kernels = _signal_kernels(calibration, sides, threshold)
    correlation = _correlated(kernels, sides)
    leading = _leading_combination(calibration)
    reach = tuple(2 * side - 1 for side in sides)
    maps = torch.empty(coils, *voxels, dtype=torch.complex64, device=calibration.device)
    values = torch.empty(voxels, dtype=torch.float32, device=calibration.device)
    step = max(1, _AT_ONCE // (coils * coils * math.prod(voxels[1:])))
    first = _phases(voxels[0], reach[0], calibration.device)
    for begin in range(0, voxels[0], step):
        # the Fourier series of the correlation, axis by axis, for a stretch of the first axis at a time
        field = torch.einsum("abd...,rd->abr...", correlation, first[begin : begin + step])
        for axis in range(1, dimensions):
            series = _phases(voxels[axis], reach[axis], calibration.device)
            field = torch.tensordot(field, series, ([3], [1]))
        field = field.movedim((0, 1), (-2, -1)) / math.prod(sides)
        value, vector = _dominant(field)
        maps[:, begin : begin + step] = vector.movedim(-1, 0)
        values[begin : begin + step] = value
    cut = _gap(values) if crop is None else crop
    mask = values >= cut
    return CoilMaps(_rephased(maps, leading) * mask, values, mask)


def walsh(
    calibration: Tensor, voxels: tuple[int, ...], *, window: int | None = None, crop: float = 0.05
) -> CoilMaps:
    """Adaptive combination: the dominant eigenvector of the coils' covariance in a window round each voxel.

    Source: Walsh 2000.

    Args:
        calibration: (contrast, coil, *region), fully sampled k-space round the middle.
        voxels: matrix of the maps.
        window: side of the window, in voxels; 7 in 2D, 5 in 3D if None.
        crop: voxels weaker than this part of the strongest get no sensitivity.

    Raises:
        DataError: calibration data that are zero or not finite.
    """
    _check(calibration)
    dimensions = len(voxels)
    place = tuple(
        slice(side // 2 - size // 2, side // 2 - size // 2 + size)
        for side, size in zip(voxels, calibration.shape[2:], strict=True)
    )
    padded = calibration.new_zeros(*calibration.shape[:2], *voxels)
    tapered = calibration
    for axis, (size, side) in enumerate(zip(calibration.shape[2:], voxels, strict=True)):
        if size < side:
            taper = torch.hann_window(size + 2, periodic=False, device=calibration.device)[1:-1]
            tapered = tapered * taper.view(-1, *(1,) * (dimensions - 1 - axis))
    padded[(slice(None), slice(None), *place)] = tapered
    images = Fourier(dimensions).adjoint(padded)
    coils = images.shape[1]
    side = (7 if dimensions == 2 else 5) if window is None else window
    covariance = torch.empty(*voxels, coils, coils, dtype=torch.complex64, device=images.device)
    for one in range(coils):
        for other in range(one + 1):
            product = _smoothed((images[:, one] * images[:, other].conj()).sum(0), side)
            covariance[..., one, other] = product
            covariance[..., other, one] = product.conj()
    power = covariance.diagonal(dim1=-2, dim2=-1).sum(-1).real
    value, vector = _dominant(covariance)
    mask = power.clamp_min(0).sqrt() >= crop * float(power.max()) ** 0.5
    maps = _rephased(vector.movedim(-1, 0), _leading_combination(calibration))
    return CoilMaps(maps * mask, value / power.clamp_min(1e-30), mask)


def _check(calibration: Tensor) -> None:
    largest = float(calibration.abs().max())
    if not math.isfinite(largest) or largest == 0:
        raise DataError(
            f"calibration data of shape {tuple(calibration.shape)} with a largest magnitude of {largest:g}",
            "coil maps need finite data that are not all zero.",
            "Check the middle of k-space.",
        )


def _signal_kernels(calibration: Tensor, sides: tuple[int, ...], threshold: float | None) -> Tensor:
    """Orthonormal patches (kernel, coil, *sides) that span the calibration's."""
    patches = calibration
    for axis, side in enumerate(sides):
        patches = patches.unfold(2 + axis, side, 1)
    dimensions = len(sides)
    coils = calibration.shape[1]
    patches = patches.movedim(1, dimensions + 1).reshape(-1, coils * math.prod(sides))
    gram = (patches.mT @ patches.conj()).to(torch.complex128)
    eigenvalues, vectors = torch.linalg.eigh(gram)
    singular = eigenvalues.clamp_min(0).sqrt()
    if threshold is None:
        count, size = max(patches.shape), min(patches.shape)
        ratio = size / count
        optimal = 0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43
        median = float(singular[-size:].median())
        threshold = min(0.05, max(0.001, optimal * median / float(singular[-1])))
    kept = singular > threshold * float(singular[-1])
    return vectors[:, kept].mT.reshape(-1, coils, *sides).to(torch.complex64)


def _correlated(kernels: Tensor, sides: tuple[int, ...]) -> Tensor:
    """Sum over kernels of v_a(p) v_b(p - d)^*: (coil, coil, *(2 side - 1)), d from the middle."""
    axes = tuple(range(2, kernels.ndim))
    reach = tuple(2 * side - 1 for side in sides)
    spectra = torch.fft.fftn(kernels, reach, axes)
    flat = spectra.flatten(2)
    product = torch.einsum("naf,nbf->abf", flat, flat.conj()).unflatten(2, reach)
    return torch.fft.fftshift(torch.fft.ifftn(product, dim=axes), axes)


def _phases(side: int, reach: int, device: torch.device) -> Tensor:
    """exp(2πi d r / N): (voxel, d)."""
    voxel = torch.arange(side, dtype=torch.float64, device=device) - side // 2
    step = torch.arange(reach, dtype=torch.float64, device=device) - reach // 2
    angle = 2 * math.pi * torch.outer(voxel, step) / side
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


def _dominant(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Largest eigenvalue (...) and its vector (..., coil) of Hermitian matrices (..., coil, coil).

    By squaring: six times raise eigenvalues to their 64th power, from which the power method goes on.
    """
    power = matrices
    for _ in range(6):
        scale = power.diagonal(dim1=-2, dim2=-1).real.sum(-1).clamp_min(1e-30)
        power = power / scale[..., None, None]
        power = power @ power
    column = power.diagonal(dim1=-2, dim2=-1).real.argmax(-1)
    vector = power.gather(-1, column[..., None, None].expand(*power.shape[:-1], 1))
    for _ in range(4):
        vector = power @ (vector / vector.abs().square().sum(-2, keepdim=True).sqrt().clamp_min(1e-30))
    vector = vector / vector.abs().square().sum(-2, keepdim=True).sqrt().clamp_min(1e-30)
    value = (vector.conj() * (matrices @ vector)).sum((-2, -1)).real
    return value, vector[..., 0]


def _leading_combination(calibration: Tensor) -> Tensor:
    """The combination (coil) of coils that holds most of the calibration's energy, its strongest coil real."""
    flat = calibration.movedim(1, 0).flatten(1).to(torch.complex128)
    _, vectors = torch.linalg.eigh(flat @ flat.mH)
    leading = vectors[:, -1]
    return (leading * torch.sgn(leading[leading.abs().argmax()]).conj()).to(torch.complex64)


def _rephased(maps: Tensor, leading: Tensor) -> Tensor:
    """Maps whose combination ``leading`` is real."""
    reference = torch.tensordot(leading.conj(), maps, 1)
    return maps * torch.sgn(reference).conj()


def _smoothed(values: Tensor, window: int) -> Tensor:
    """Means over a window, which ends at the rim."""
    pool = torch.nn.functional.avg_pool2d if values.ndim == 2 else torch.nn.functional.avg_pool3d
    size = [min(window, side - 1 + side % 2) for side in values.shape]
    parts = torch.view_as_real(values).movedim(-1, 0)[None]
    half = [side // 2 for side in size]
    mean = pool(parts, size, 1, half, count_include_pad=False)[0]
    return torch.view_as_complex(mean.movedim(0, -1).contiguous())


def _gap(eigenvalues: Tensor) -> float:
    """Where eigenvalues part into those near one and the others: Otsu's method on the logarithm of 1 - λ."""
    away = (1 - eigenvalues.double().cpu()).clamp(1e-4, 1).log10()
    counts = torch.histc(away, 128, -4, 0)
    middles = (torch.arange(128, dtype=torch.float64) + 0.5) / 32 - 4
    below = counts.cumsum(0)
    sums = (counts * middles).cumsum(0)
    above = below[-1] - below
    between = (sums * below[-1] - sums[-1] * below) ** 2 / (below * above).clamp_min(1)
    return min(_HIGHEST, max(_LOWEST, 1 - 10 ** float(middles[between.argmax()])))
