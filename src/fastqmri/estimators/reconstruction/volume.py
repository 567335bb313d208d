"""Maps of a whole raw scan, plane by plane, so that memory holds one plane's coil images at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fastqmri.core import Acquisition, DataError, Estimator, Flag, Measurement, ParameterMaps, ShapeError
from fastqmri.estimators.reconstruction.coil_maps import estimate_sensitivities, walsh
from fastqmri.estimators.reconstruction.images import ImageReconstruction, Progress
from fastqmri.estimators.reconstruction.noise import kspace_noise
from fastqmri.estimators.screening import foreground
from fastqmri.io.raw import RawScan
from fastqmri.physics.encoding import (
    CartesianEncoding,
    Fourier,
    LinearOperator,
    NonUniformFourier,
    Sensitivities,
)
from fastqmri.physics.signal import SignalModel

_CALIBRATION = 24
"""Side of the middle of k-space that coil maps of non-Cartesian scans are made from."""


@dataclass(frozen=True)
class Plane:
    """One plane of a scan, mapped.

    Attributes:
        index: of the plane.
        measurement: its k-space, with the noise that was given or found.
        maps: the estimate.
        images: complex contrast images (contrast, *plane), for people to look at.
        predicted: complex images (contrast, *plane) that the maps stand for.
    """

    index: int
    measurement: Measurement
    maps: ParameterMaps
    images: Tensor
    predicted: Tensor


class PlaneMethod(Protocol):
    """Maps the k-space of one plane."""

    @property
    def needs_coils(self) -> bool:
        """Whether maps depend on coil sensitivities; if not, rough ones do, to predict k-space with."""
        ...

    def __call__(self, measurement: Measurement) -> tuple[ParameterMaps, Tensor, Tensor]:
        """Maps, contrast images, and the images that the maps stand for."""
        ...


@dataclass(frozen=True)
class ImagesFirst:
    """An image stage, then a voxel-wise estimator. A `PlaneMethod`.

    Attributes:
        images: the image stage.
        mapping: of the images.
        model: of ``mapping``.
        needs_coils: whether ``images`` takes coil sensitivities.
    """

    images: ImageReconstruction
    mapping: Estimator
    model: SignalModel
    needs_coils: bool = True

    def __call__(self, measurement: Measurement) -> tuple[ParameterMaps, Tensor, Tensor]:
        """Maps, contrast images, and the images that the maps stand for."""
        images = self.images.reconstruct(measurement)
        data = images if self.model.complex_valued else images.abs()
        maps = self.mapping.estimate(dataclasses.replace(measurement, data=data, encoding=None, noise=None))
        return maps, images, predicted_images(self.model, maps, measurement, images)


class Explained(Protocol):
    """Maps, and what they say of the images."""

    @property
    def maps(self) -> ParameterMaps:
        """The estimate."""
        ...

    @property
    def start(self) -> Tensor:
        """Complex images (contrast, *plane) that it started from."""
        ...

    @property
    def predicted(self) -> Tensor:
        """Complex images (contrast, *plane) that it stands for."""
        ...


class Explaining(Protocol):
    """Takes k-space straight to maps."""

    def explain(self, measurement: Measurement) -> Explained:
        """Maps, and what they say of the images."""
        ...


@dataclass(frozen=True)
class FromKSpace:
    """From k-space straight to maps, such as model-based reconstruction. A `PlaneMethod`.

    Attributes:
        reconstruction: of the maps.
        needs_coils: always.
    """

    reconstruction: Explaining
    needs_coils: bool = True

    def __call__(self, measurement: Measurement) -> tuple[ParameterMaps, Tensor, Tensor]:
        """Maps, contrast images that they started from, and the images that they stand for."""
        found = self.reconstruction.explain(measurement)
        return found.maps, found.start, found.predicted


def predicted_images(
    model: SignalModel, maps: ParameterMaps, measurement: Measurement, images: Tensor
) -> Tensor:
    """Complex images (contrast, *voxels) that maps stand for; zero where nothing was estimated.

    Models of magnitudes say nothing of phases: those of ``images`` (contrast, *voxels) are taken.
    """
    rows = []
    for parameter in model.parameters:
        if parameter.name in maps:
            rows.append(maps[parameter.name].value)
        else:
            known = measurement.known.get(parameter.name)
            rows.append(torch.full(images.shape[1:], parameter.nominal or 0.0) if known is None else known)
    estimated = maps.estimated
    x = torch.stack([row.to(torch.float32) for row in rows])
    signal = torch.zeros_like(images)
    values = model(x[:, estimated])
    if not values.is_complex():
        values = values * torch.sgn(images[:, estimated])
    signal[:, estimated] = values.to(images.dtype)
    return signal


class _Transforms:
    """Fourier transforms of planes; planes of one trajectory share one, with its plans and density weights."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, NonUniformFourier] | None = None

    def __call__(self, scan: RawScan) -> LinearOperator:
        if scan.trajectory is None:
            return Fourier(len(scan.matrix))
        if self._last is None or self._last[0] is not scan.trajectory:
            self._last = scan.trajectory, NonUniformFourier(scan.trajectory, scan.matrix)
        return self._last[1]


def encoding_of_plane(scan: RawScan, sensitivities: Tensor, fourier: LinearOperator) -> LinearOperator:
    """E of a scan of one slice.

    Args:
        scan: of one slice, or 3D.
        sensitivities: (coil, *matrix).
        fourier: transform of the scan.
    """
    if scan.trajectory is not None:
        return fourier @ Sensitivities(sensitivities, len(scan.matrix))
    assert scan.mask is not None
    return CartesianEncoding(sensitivities, scan.mask)


def sensitivities_of(
    scan: RawScan, fourier: LinearOperator, method: str = "espirit", *, rough: bool = False
) -> Tensor:
    """Coil maps (coil, *matrix) of a scan of one slice, from its calibration lines or the middle of its k-space.

    Args:
        scan: of one slice, or 3D.
        fourier: transform of the scan.
        method: as `estimate_sensitivities`.
        rough: without calibration lines take what there is of the middle, instead of an error.

    Raises:
        DataError: as `estimate_sensitivities`.
    """
    kspace = _tensor(scan.kspace)[0]
    if scan.coils == 1:
        return torch.ones(1, *scan.matrix, dtype=kspace.dtype)
    if scan.trajectory is not None:
        kspace = Fourier(len(scan.matrix))(fourier.zero_filled(kspace))
        mask = _middle(scan.matrix)
        return estimate_sensitivities(kspace * mask, mask[None], method=method)
    assert scan.mask is not None
    if scan.calibration is not None:
        calibration = _tensor(scan.calibration)[0]
        return estimate_sensitivities(calibration[None], (calibration != 0).any(0)[None], method=method)
    try:
        return estimate_sensitivities(kspace, scan.mask, method=method)
    except DataError:
        pooled, mask = _pooled(kspace, scan.mask)
    try:
        return estimate_sensitivities(pooled, mask, method=method)
    except DataError:
        if not rough:
            raise
    return walsh(pooled[(slice(None), slice(None), *_middle_of(scan.matrix))], scan.matrix).maps


def _pooled(kspace: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the contrasts where each was measured, brought to one strength by the samples that all have.

    Contrasts that take turns near the middle of k-space fill a calibration region together. Coils weight all contrasts
    alike, so that their mean tells of the coils what each would; how contrasts differ only blurs it.
    """
    measured = mask.expand(len(kspace), *mask.shape[1:])
    common = measured.all(0)
    strength = (kspace * common).flatten(1).norm(dim=1)
    if not bool((strength > 0).all()):
        strength = kspace.flatten(1).norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
    scaled = kspace / strength.view(-1, *(1,) * (kspace.ndim - 1))
    count = measured.sum(0)
    return (scaled.sum(0) / count.clamp_min(1))[None], (count > 0)[None]


@dataclass(frozen=True)
class Planes:
    """A scan cut into planes that can be mapped one by one, and how they make up the volume (x, y, z).

    3D Cartesian scans are cut across the readout, which is fully sampled; other 3D scans stay whole.

    Attributes:
        scan: its slices are the planes.
        affine: (4, 4) from (x, y, z) to mm.
    """

    scan: RawScan
    affine: Tensor
    _order: tuple[int, ...]

    @classmethod
    def of(cls, scan: RawScan) -> Planes:
        """Cut a scan."""
        affine = _affine(scan)[:, [2, 1, 0, 3]]
        if len(scan.matrix) == 2:
            return cls(scan, affine, (1, 0, 2))
        if scan.mask is None or bool((scan.mask != scan.mask[..., :1]).any()):
            return cls(scan, affine, (2, 1, 0, 3))
        line = Fourier(1)
        # contrast by contrast and in place, where it was read just now: a volume may fill half of the memory
        hybrid = scan.kspace[0].clone() if isinstance(scan.kspace, Tensor) else scan.kspace[0]
        for contrast in range(len(hybrid)):
            hybrid[contrast] = line.adjoint(hybrid[contrast])
        calibration = None
        if scan.calibration is not None:
            calibration = line.adjoint(_tensor(scan.calibration)[0]).movedim(-1, 0)
        cut = dataclasses.replace(
            scan,
            kspace=hybrid.movedim(-1, 0),
            matrix=scan.matrix[:2],
            field_of_view=scan.field_of_view[:2],
            mask=scan.mask[..., 0],
            calibration=calibration,
            affine=None,
        )
        return cls(cut, affine, (2, 1, 0))

    @property
    def shape(self) -> tuple[int, ...]:
        """(x, y, z) sides of the volume."""
        sides = (*self.scan.matrix, self.scan.slices)
        return tuple(sides[axis] for axis in self._order[:3])

    def volume(self, planes: Tensor) -> Tensor:
        """(..., *plane, slice) as (..., x, y, z)."""
        leading = planes.ndim - len(self._order)
        turned = planes.permute(*range(leading), *(leading + axis for axis in self._order))
        return turned.squeeze(-1) if len(self._order) == 4 else turned

    def cut(self, volume: Tensor) -> Tensor:
        """(..., x, y, z) as (..., *plane, slice)."""
        whole = volume.unsqueeze(-1) if len(self._order) == 4 else volume
        leading = whole.ndim - len(self._order)
        back = [self._order.index(axis) for axis in range(len(self._order))]
        return whole.permute(*range(leading), *(leading + axis for axis in back))

    def maps(self, planes: ParameterMaps) -> ParameterMaps:
        """Maps (*plane, slice) as those of the volume."""
        residual, noise = (None if p is None else self.volume(p) for p in (planes.residual, planes.noise))
        return dataclasses.replace(
            planes,
            affine=self.affine,
            value=self.volume(planes.value),
            standard_deviation=self.volume(planes.standard_deviation),
            flags=self.volume(planes.flags),
            residual=residual,
            noise=noise,
            quantiles={level: self.volume(part) for level, part in planes.quantiles.items()},
        )


def _combined_images(scan: RawScan, transforms: _Transforms) -> Tensor:
    """Root sum of squares over the coils of the zero-filled images, (contrast, *matrix, slice)."""
    slices = []
    for index in range(scan.slices):
        part = scan.slice(index)
        coils = transforms(part).zero_filled(_tensor(part.kspace)[0])
        slices.append((coils.abs() ** 2).sum(1).sqrt())
    return torch.stack(slices, -1)


def map_scan(
    planes: Planes,
    acquisition: Acquisition,
    method: PlaneMethod,
    *,
    sensitivities: str = "espirit",
    mask: Tensor | None = None,
    known: Mapping[str, Tensor] | None = None,
    noise: float | None = None,
    each: Callable[[Plane], None] | None = None,
    finished: Callable[[int], tuple[ParameterMaps, Tensor] | None] | None = None,
    progress: Progress | None = None,
) -> tuple[ParameterMaps, Measurement]:
    """Maps (x, y, z) of a scan, and its contrast images (contrast, x, y, z) as magnitudes.

    Args:
        planes: of the scan.
        acquisition: what the scanner was told.
        method: of a plane.
        sensitivities: how coil maps are made, as `estimate_sensitivities`.
        mask: (x, y, z) bool; found from the images if None.
        known: parameter name -> (x, y, z) map.
        noise: standard deviation of one real channel of k-space, or None.
        each: called with every plane when it is done.
        finished: maps and magnitudes (contrast, *plane) of a plane done earlier, by its index, or None.
        progress: called with (planes done, planes in all).

    Raises:
        ShapeError: a mask or map of another matrix.
        DataError: an empty mask, or no calibration lines to make coil maps from.
    """
    scan, transforms = planes.scan, _Transforms()
    inside = planes.volume(foreground(_combined_images(scan, transforms))) if mask is None else mask
    known = dict(known or {})
    for name, array in {"mask": inside, **known}.items():
        if tuple(array.shape) != planes.shape:
            raise ShapeError(
                f"{name} of shape {tuple(array.shape)} for a scan of {planes.shape}",
                "it must lie on the voxels of the scan.",
                "Resample it to the matrix of the scan.",
            )
    if not bool(inside.any()):
        raise DataError("a mask without a single voxel", "nothing would be mapped.", "Check the mask.")
    cut = planes.cut(inside)
    parts = {name: planes.cut(value) for name, value in known.items()}
    maps: list[ParameterMaps | None] = []
    images = torch.zeros(acquisition.contrasts, *cut.shape)
    for index in range(scan.slices):
        before = finished(index) if finished else None
        if before is not None:
            maps.append(before[0])
            images[..., index] = before[1]
        elif bool(cut[..., index].any()):
            part = scan.slice(index)
            plane = _map_plane(
                part, index, transforms(part), acquisition, method, sensitivities, cut, parts, noise
            )
            maps.append(plane.maps)
            images[..., index] = plane.images.abs()
            if each:
                each(plane)
        else:
            maps.append(None)
        if progress:
            progress(index + 1, scan.slices)
    empty = _empty(next(m for m in maps if m is not None))
    whole = planes.maps(ParameterMaps.stacked([empty if m is None else m for m in maps]))
    return whole, Measurement(planes.volume(images), acquisition, inside, known, affine=planes.affine)


def _map_plane(
    scan: RawScan,
    index: int,
    fourier: LinearOperator,
    acquisition: Acquisition,
    method: PlaneMethod,
    sensitivities: str,
    mask: Tensor,
    known: Mapping[str, Tensor],
    noise: float | None,
) -> Plane:
    coils = sensitivities_of(scan, fourier, sensitivities, rough=not method.needs_coils)
    measurement = Measurement(
        _tensor(scan.kspace)[0],
        acquisition,
        mask[..., index],
        {name: value[..., index] for name, value in known.items()},
        noise,
        encoding=encoding_of_plane(scan, coils, fourier),
    )
    measurement = dataclasses.replace(measurement, noise=kspace_noise(measurement))
    return Plane(index, measurement, *method(measurement))


def _tensor(part: object) -> Tensor:
    return part if isinstance(part, Tensor) else part.tensor()  # type: ignore[attr-defined]


def _middle(matrix: tuple[int, ...]) -> Tensor:
    """(*matrix) bool: the middle of k-space."""
    mask = torch.zeros(matrix, dtype=torch.bool)
    mask[_middle_of(matrix)] = True
    return mask


def _middle_of(matrix: tuple[int, ...]) -> tuple[slice, ...]:
    half = _CALIBRATION // 2
    return tuple(slice(max(n // 2 - half, 0), n // 2 + half) for n in matrix)


def _empty(like: ParameterMaps) -> ParameterMaps:
    """Maps of a plane outside the mask."""
    nothing = torch.full_like(like.value, torch.nan)
    return dataclasses.replace(
        like,
        value=nothing,
        standard_deviation=nothing,
        flags=torch.full_like(like.flags, int(Flag.MASKED)),
        residual=None if like.residual is None else torch.full_like(like.residual, torch.nan),
        noise=None if like.noise is None else torch.full_like(like.noise, torch.nan),
        notes=(),
    )


def _affine(scan: RawScan) -> Tensor:
    """(4, 4) from (slice or z, y, x) to mm; where the header has none, round the middle, slices as thick as wide."""
    if scan.affine is not None:
        return scan.affine.double()
    sides = [1e3 * length / side for length, side in zip(scan.field_of_view, scan.matrix, strict=True)]
    counts = list(scan.matrix)
    if len(sides) == 2:
        sides, counts = [sides[-1], *sides], [scan.slices, *counts]
    affine = torch.zeros(4, 4, dtype=torch.float64)
    for axis, (size, count) in enumerate(zip(sides, counts, strict=True)):
        affine[2 - axis, axis] = size
        affine[2 - axis, 3] = -size * (count // 2)
    affine[3, 3] = 1
    return affine
