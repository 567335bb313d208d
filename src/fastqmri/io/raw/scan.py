"""What a raw-data file holds: k-space, where it was sampled, and what the header knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fastqmri.core import ShapeError
from fastqmri.physics.encoding.noise import prewhiten, whitening_of


@dataclass(frozen=True)
class LazySlices:
    """Slices that are read when they are asked for.

    Attributes:
        shape: of all, slices first.
        read: slice number -> tensor of ``shape[1:]``.
    """

    shape: tuple[int, ...]
    read: Callable[[int], Tensor]

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index < self.shape[0]:
            raise IndexError(index)
        return self.read(index)

    def tensor(self) -> Tensor:
        """All slices; one copy of them is held."""
        whole: Tensor | None = None
        for index in range(self.shape[0]):
            one = self.read(index)
            if whole is None:
                whole = one[None] if self.shape[0] == 1 else one.new_empty(self.shape)
            if self.shape[0] > 1:
                whole[index] = one
        assert whole is not None
        return whole


@dataclass(frozen=True)
class RawScan:
    """A scan's k-space. The orthonormal centred transform of `Fourier` makes images of it.

    Attributes:
        kspace: (slice, contrast, coil, *samples), complex64, or slices that are read on demand. Cartesian: samples are
            the full matrix, (y, x) or (z, y, x) with the readout last, zero where nothing was measured.
        matrix: of the images, (y, x) or (z, y, x).
        field_of_view: along the same axes, m.
        mask: (contrast or 1, *matrix) bool, or (slice, contrast or 1, *matrix) where slices differ; None if
            non-Cartesian.
        trajectory: (contrast or 1, sample, dimension), rad per voxel, dimensions in the order of ``matrix``, or
            (slice, contrast or 1, sample, dimension) where slices differ; None if Cartesian.
        noise: (coil, sample) of noise scans, scaled to the bandwidth of the data.
        calibration: (slice, coil, *matrix) of separately flagged calibration lines, zero elsewhere.
        affine: (4, 4) from indices (slice or z, y, x) of the image to mm, axes to the right, front and head.
        echo_time, repetition_time, inversion_time: s, as the header lists them.
        flip_angle: rad.
        field_strength: T.
        notes: what was left out, guessed or averaged.

    Raises:
        ShapeError: arrays that don't match.
    """

    kspace: Tensor | LazySlices
    matrix: tuple[int, ...]
    field_of_view: tuple[float, ...]
    mask: Tensor | None = None
    trajectory: Tensor | None = None
    noise: Tensor | None = None
    calibration: Tensor | LazySlices | None = None
    affine: Tensor | None = None
    echo_time: tuple[float, ...] = ()
    repetition_time: tuple[float, ...] = ()
    flip_angle: tuple[float, ...] = ()
    inversion_time: tuple[float, ...] = ()
    field_strength: float | None = None
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        shape, dimensions = tuple(self.kspace.shape), len(self.matrix)
        samples = self.matrix if self.trajectory is None else (int(self.trajectory.shape[-2]),)
        if len(shape) != 3 + len(samples) or shape[3:] != tuple(samples):
            raise ShapeError(
                f"k-space of shape {shape} for samples {tuple(samples)}",
                "it must be (slice, contrast, coil, *samples).",
                "Check the matrix and the trajectory.",
            )
        if self.trajectory is None and self.mask is None:
            raise ShapeError(
                "k-space without mask and trajectory",
                "one of them says where it was measured.",
                "Give the mask of a Cartesian scan, or the trajectory.",
            )
        for name, array in (("mask", self.mask), ("trajectory", self.trajectory)):
            if array is None:
                continue
            wanted = self.matrix if name == "mask" else (samples[0], dimensions)
            leading = tuple(array.shape[: -len(wanted)])
            fits = tuple(array.shape[-len(wanted) :]) == tuple(wanted) and leading[-1:] in ((1,), (shape[1],))
            if not fits or leading[:-1] not in ((), (shape[0],)):
                raise ShapeError(
                    f"a {name} of shape {tuple(array.shape)} for k-space of shape {shape}",
                    f"it must be (contrast or 1, {', '.join(map(str, wanted))}).",
                    "Check contrasts and matrix.",
                )
        if self.noise is not None and self.noise.shape[0] != shape[2]:
            raise ShapeError(
                f"noise of {self.noise.shape[0]} coils for k-space of {shape[2]}",
                "each coil needs its noise.",
                "Take the noise scan of this measurement.",
            )

    @property
    def slices(self) -> int:
        """Number of slices; one if 3D."""
        return int(self.kspace.shape[0])

    @property
    def contrasts(self) -> int:
        """Number of contrasts."""
        return int(self.kspace.shape[1])

    @property
    def coils(self) -> int:
        """Number of coils."""
        return int(self.kspace.shape[2])

    def slice(self, index: int) -> RawScan:
        """One slice, read if need be: k-space (1, contrast, coil, *samples), mask (contrast or 1, *matrix)."""
        mask, trajectory = self.mask, self.trajectory
        if mask is not None and mask.ndim == len(self.matrix) + 2:
            mask = mask[index]
        if trajectory is not None and trajectory.ndim == 4:
            trajectory = trajectory[index]
        shift = None
        if self.affine is not None:
            shift = self.affine.clone()
            shift[:3, 3] += index * shift[:3, 0] if len(self.matrix) == 2 else 0
        calibration = None if self.calibration is None else self.calibration[index][None]
        return dataclasses.replace(
            self,
            kspace=self.kspace[index][None],
            mask=mask,
            trajectory=trajectory,
            affine=shift,
            calibration=calibration,
        )

    def loaded(self) -> RawScan:
        """The same with all slices in memory."""
        kspace, calibration = (
            part.tensor() if isinstance(part, LazySlices) else part
            for part in (self.kspace, self.calibration)
        )
        assert kspace is not None
        return dataclasses.replace(self, kspace=kspace, calibration=calibration)

    def prewhitened(self) -> RawScan:
        """With noise of unit variance (of complex samples: both channels together) that coils don't share.

        Slices stay lazy. Without a noise scan it comes back as it is.

        Raises:
            DataError: too few noise samples.
        """
        if self.noise is None:
            return self
        matrix = whitening_of(self.noise)
        axis = -1 if self.trajectory is not None else -len(self.matrix)

        def whitened(part: Tensor | LazySlices) -> Tensor | LazySlices:
            if isinstance(part, LazySlices):
                return LazySlices(part.shape, lambda index: prewhiten(part[index], matrix, axis - 1))
            return prewhiten(part, matrix, axis - 1)

        return dataclasses.replace(
            self,
            kspace=whitened(self.kspace),
            calibration=None if self.calibration is None else whitened(self.calibration),
            noise=prewhiten(self.noise, matrix, 0),
        )


def join_contrasts(scans: Sequence[RawScan], names: Sequence[str]) -> RawScan:
    """Contrasts of several files, one after another.

    Raises:
        ShapeError: other coils, matrices, slices or fields of view.
    """
    first = scans[0]
    if len(scans) == 1:
        return first
    for scan, name in zip(scans[1:], names[1:], strict=True):
        for what, one, other in (
            ("coils", first.coils, scan.coils),
            ("slices", first.slices, scan.slices),
            ("matrix", first.matrix, scan.matrix),
            ("samples", tuple(first.kspace.shape[3:]), tuple(scan.kspace.shape[3:])),
            ("field of view", _rounded(first.field_of_view), _rounded(scan.field_of_view)),
            ("trajectory", first.trajectory is None, scan.trajectory is None),
        ):
            if one != other:
                raise ShapeError(
                    f"{name}: {what} {other}, but {one} in {names[0]}",
                    "the contrasts of one measurement share coils, slices, matrix and field of view.",
                    "Leave out the file that doesn't belong, or give the contrasts to separate runs.",
                )

    def read(index: int) -> Tensor:
        return torch.cat([scan.kspace[index] for scan in scans])

    contrasts = sum(scan.contrasts for scan in scans)
    shape = (first.slices, contrasts, *first.kspace.shape[2:])
    lazy = any(isinstance(scan.kspace, LazySlices) for scan in scans)
    whole = None if lazy else torch.cat([scan.kspace for scan in scans], 1)  # type: ignore[misc]
    return dataclasses.replace(
        first,
        kspace=LazySlices(shape, read) if whole is None else whole,
        mask=_joined([scan.mask for scan in scans], scans, len(first.matrix)),
        trajectory=_joined([scan.trajectory for scan in scans], scans, 2),
        noise=next((scan.noise for scan in scans if scan.noise is not None), None),
        calibration=next((scan.calibration for scan in scans if scan.calibration is not None), None),
        echo_time=_chained([scan.echo_time for scan in scans]),
        repetition_time=_chained([scan.repetition_time for scan in scans]),
        flip_angle=_chained([scan.flip_angle for scan in scans]),
        inversion_time=_chained([scan.inversion_time for scan in scans]),
        notes=tuple(dict.fromkeys(note for scan in scans for note in scan.notes)),
    )


def _joined(parts: list[Tensor | None], scans: Sequence[RawScan], last: int) -> Tensor | None:
    """Masks or trajectories of files with all contrasts, and with slices if they differ in one."""
    whole = []
    for part, scan in zip(parts, scans, strict=True):
        if part is None:
            return None
        full = part if part.ndim == last + 2 else part[None]
        sizes = scan.contrasts, *part.shape[-last:]
        whole.append(full.expand(max(len(full), 1), *sizes))
    slices = max(len(part) for part in whole)
    joined = torch.cat([part.expand(slices, *part.shape[1:]) for part in whole], 1)
    return joined[0] if slices == 1 else joined


def _chained(values: list[tuple[float, ...]]) -> tuple[float, ...]:
    """Header values of all files; one value that all agree on stays one."""
    return (
        values[0]
        if len(values[0]) == 1 and len(set(values)) == 1
        else tuple(v for one in values for v in one)
    )


def _rounded(lengths: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(length, 6) for length in lengths)
