"""From a table of Cartesian readouts to k-space on its matrix, slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastqmri.core import FileError, ShapeError
from fastqmri.io.raw.scan import LazySlices, RawScan

Integers = NDArray[np.int64]
_BATCH = 256  # readouts that are in memory besides their slice


@dataclass(frozen=True)
class Readouts:
    """A table of readouts, and how to fetch them.

    Attributes:
        path: of the file.
        slice, contrast, step1, step2: of each readout; steps count lines of the matrix.
        samples, centre: number of samples, and which of them crosses the middle of k-space.
        before, after: samples to drop at both ends.
        reversed: acquired from right to left.
        coils: of each readout.
        fetch: row numbers -> their samples (coil, sample), one after another.
    """

    path: Path
    slice: Integers
    contrast: Integers
    step1: Integers
    step2: Integers
    samples: Integers
    centre: Integers
    before: Integers
    after: Integers
    reversed: NDArray[np.bool_]
    coils: Integers
    fetch: Callable[[Integers], Iterator[NDArray[np.complex64]]]

    def __len__(self) -> int:
        return len(self.slice)

    def check_coils(self) -> int:
        """The number of coils.

        Raises:
            ShapeError: readouts differ in it.
        """
        found, count = np.unique(self.coils, return_counts=True)
        if len(found) > 1:
            usual = found[count.argmax()]
            other = int(np.flatnonzero(self.coils != usual)[0])
            raise ShapeError(
                f"{self.path}: readouts of {' and '.join(map(str, found))} coils "
                f"(readout {other} has {self.coils[other]})",
                "all readouts of a scan come from the same coils.",
                "Export the scan again, with all its channels.",
            )
        return int(found[0])


def assembled(
    readouts: Readouts,
    count: tuple[int, int],
    encoded: tuple[int, int, int],
    width: int,
    field_of_view: tuple[float, float, float],
    *,
    calibration: Readouts | None = None,
    **known: Any,
) -> RawScan:
    """The scan of a table of readouts, its slices lazy.

    Args:
        readouts: of the images.
        count: of slices and contrasts.
        encoded: (z, y, x) matrix, with oversampling along x; z of 1 makes it 2D.
        width: x without oversampling.
        field_of_view: (z, y, x) without oversampling, m.
        calibration: readouts that only calibrate.
        known: what else `RawScan` takes.
    """
    coils = readouts.check_coils()
    flat = encoded[0] == 1
    mask = sampled(readouts, *count, encoded, width)
    kspace = gather(readouts, *count, coils, encoded, width)
    lines = None
    if calibration is not None:
        calibration.check_coils()
        lines = _of_one(gather(calibration, count[0], 1, coils, encoded, width), 1)
        lines = _of_one(lines, 2) if flat else lines
    if flat:
        kspace, mask = _of_one(kspace, 3), mask[:, :, 0]
    return RawScan(
        kspace=kspace,
        matrix=(encoded[1], width) if flat else (encoded[0], encoded[1], width),
        field_of_view=field_of_view[1:] if flat else field_of_view,
        mask=mask[0] if len(mask) == 1 else mask,
        calibration=lines,
        **known,
    )


def _of_one(kspace: LazySlices, axis: int) -> LazySlices:
    """Without an axis of length one."""
    shape = kspace.shape[:axis] + kspace.shape[axis + 1 :]
    return LazySlices(shape, lambda index: kspace.read(index).squeeze(axis - 1))


def sampled(
    readouts: Readouts, slices: int, contrasts: int, encoded: tuple[int, int, int], width: int
) -> Tensor:
    """Where k-space was measured: (slice or 1, contrast or 1, z, y, x) bool.

    Args:
        readouts: of the images.
        slices, contrasts: how many of each.
        encoded: (z, y, x) matrix, with oversampling along x.
        width: x without oversampling.

    Raises:
        FileError: readouts outside the matrix, a contrast or slice without any.
    """
    depth, height, wide = encoded
    for name, step, size in (("line", readouts.step1, height), ("partition", readouts.step2, depth)):
        if len(step) and (step.min() < 0 or step.max() >= size):
            raise FileError(
                f"{readouts.path}: {name}s {step.min()} to {step.max()}, counted from the first of the matrix",
                f"the header's matrix has {size}.",
                "Check encodedSpace and the centres of encodingLimits.",
            )
    first, last = _ends(readouts, wide)
    if len(first) and (first.min() < 0 or last.max() > wide):
        raise FileError(
            f"{readouts.path}: readouts from sample {first.min()} to {last.max()} of the matrix",
            f"the header's matrix has {wide} samples along the readout.",
            "Check encodedSpace, center_sample and the discarded samples.",
        )
    mask = np.zeros((slices, contrasts, depth, height, width), bool)
    covers, which = _covers(readouts, wide, width)
    for number, cover in enumerate(covers):
        rows = which == number
        place = readouts.slice[rows], readouts.contrast[rows], readouts.step2[rows], readouts.step1[rows]
        mask[place] |= cover
    empty = np.argwhere(~mask.any((2, 3, 4)))
    if len(empty):
        where = ", ".join(f"slice {s} contrast {c}" for s, c in empty[:4])
        raise FileError(
            f"{readouts.path}: no readout of {where}{' …' if len(empty) > 4 else ''} (counted from 0)",
            "every contrast (echo) of every slice needs data.",
            "Export the scan again; it may have been cut short.",
        )
    if (mask == mask[:1]).all():
        mask = mask[:1]
    if (mask == mask[:, :1]).all():
        mask = mask[:, :1]
    return torch.from_numpy(np.ascontiguousarray(mask))


def _ends(readouts: Readouts, wide: int) -> tuple[Integers, Integers]:
    """First matrix column of each readout, and the one after the last."""
    first = wide // 2 - readouts.centre + readouts.before
    return first, first + readouts.samples - readouts.before - readouts.after


def _covers(readouts: Readouts, wide: int, width: int) -> tuple[NDArray[np.bool_], Integers]:
    """The stretches of ``width`` samples without oversampling that occur, and the one of each readout."""
    ends, which = np.unique(np.stack(_ends(readouts, wide), 1), axis=0, return_inverse=True)
    position = wide // 2 + np.round((np.arange(width) - width // 2) * (wide / width))
    covers: NDArray[np.bool_] = (position >= ends[:, :1]) & (position < ends[:, 1:])
    return covers, which.reshape(-1)


def gather(
    readouts: Readouts, slices: int, contrasts: int, coils: int, encoded: tuple[int, int, int], width: int
) -> LazySlices:
    """k-space (slice, contrast, coil, z, y, x) that reads its slices on demand; repeated samples are averaged.

    Args:
        readouts: with their places.
        slices: how many.
        contrasts: how many.
        coils: how many.
        encoded: matrix (z, y, x) with oversampling.
        width: voxels along x without it.

    Raises:
        FileError: when a slice is read, samples that are not finite.
    """
    depth, height, wide = encoded
    first, last = _ends(readouts, wide)
    covers, which = _covers(readouts, wide, width)
    shape = (contrasts, coils, depth, height, width)

    def read(index: int) -> Tensor:
        kspace = np.zeros(shape, np.complex64)
        count = np.zeros((contrasts, depth, height, width), np.uint16)
        rows = np.flatnonzero(readouts.slice == index)
        for begin in range(0, len(rows), _BATCH):
            some = rows[begin : begin + _BATCH]
            block = np.zeros((len(some), coils, wide), np.complex64)
            for place, (row, samples) in enumerate(zip(some, readouts.fetch(some), strict=True)):
                if not np.isfinite(samples).all():
                    raise FileError(
                        f"{readouts.path}: readout {row} of the image (counted from 0) with NaN or infinity",
                        "no scanner writes them.",
                        "Export the scan again.",
                    )
                ordered = samples[:, ::-1] if readouts.reversed[row] else samples
                kept = ordered[:, readouts.before[row] : samples.shape[1] - readouts.after[row]]
                block[place, :, first[row] : last[row]] = kept
            block = without_oversampling(block, width)
            for place, row in enumerate(some):
                where = readouts.contrast[row], readouts.step2[row], readouts.step1[row]
                cover = covers[which[row]]
                kspace[where[0], :, where[1], where[2]] += block[place] * cover
                count[where] += cover
        if count.max(initial=0) > 1:
            kspace /= np.maximum(count, 1)[:, None]
        return torch.from_numpy(kspace)

    return LazySlices((slices, *shape), read)


def without_oversampling(samples: NDArray[np.complex64], width: int) -> NDArray[np.complex64]:
    """Readouts (..., sample) of the middle ``width`` voxels only; noise keeps its variance."""
    wide = samples.shape[-1]
    if wide == width:
        return samples
    tensor = torch.fft.ifftshift(torch.from_numpy(np.ascontiguousarray(samples)), -1)
    image = torch.fft.fftshift(torch.fft.ifft(tensor, norm="ortho"), -1)
    begin = wide // 2 - width // 2
    image = torch.fft.ifftshift(image[..., begin : begin + width], -1)
    return torch.fft.fftshift(torch.fft.fft(image, norm="ortho"), -1).numpy()
