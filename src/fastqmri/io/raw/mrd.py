"""ISMRMRD (MRD) files: k-space in HDF5, with a header in XML."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastqmri.core import FileError
from fastqmri.io.raw.assembly import Integers, Readouts, assembled
from fastqmri.io.raw.counters import CONTRAST_AXES, number_contrasts
from fastqmri.io.raw.header import opened, parse_header, sequence_of, spaces_of
from fastqmri.io.raw.mrd_kinds import REVERSE, Kind, sorted_by_kind
from fastqmri.io.raw.scan import LazySlices, RawScan
from fastqmri.io.raw.trajectories import in_radians

_RECORDS = 512


def read_mrd(
    path: str | Path,
    *,
    contrast_axis: str | None = None,
    trajectory_unit: str | None = None,
    dataset: str = "dataset",
) -> RawScan:
    """An ISMRMRD file. k-space stays on the disk until a slice is asked for.

    Oversampling along the readout of Cartesian scans is removed, repeated readouts are averaged, noise scans become
    ``noise``, calibration lines that are no part of the image become ``calibration``; what else isn't an image is left
    out, and said in ``notes``.

    Args:
        path: of the file.
        contrast_axis: the counter that numbers the contrasts, ``"contrast"``, ``"set"``, ``"repetition"`` or
            ``"phase"``, or several joined by ``+``, the first slowest. None takes the one that varies.
        trajectory_unit: see `in_radians`; None guesses from the largest value.
        dataset: group in the HDF5 file.

    Raises:
        FileError: no such file, not ISMRMRD, cut short, flags unknown, contrasts not told apart or without data.
        ShapeError: readouts of different numbers of coils.
        UnknownNameError: no such counter.
    """
    path = Path(path)
    with opened(path) as file:
        if dataset not in file or "xml" not in file[dataset] or "data" not in file[dataset]:
            raise FileError(
                f"{path}: HDF5 with {', '.join(sorted(file)) or 'nothing in it'}",
                f"an ISMRMRD file has {dataset}/xml and {dataset}/data.",
                "Name the group it is in, or convert the scan to ISMRMRD.",
            )
        header = parse_header(file[dataset]["xml"][0], path)
        table = file[dataset]["data"]
        # whole records, a few at a time: HDF5 never lets go of samples that it passes over on the way to one field
        starts = range(0, len(table), _RECORDS)
        heads = np.concatenate(
            [table[at : at + _RECORDS]["head"].copy() for at in starts] or [np.empty(0, table.dtype["head"])]
        )
    notes: list[str] = []
    kinds = sorted_by_kind(heads["flags"], path, notes)
    image = np.flatnonzero(kinds == Kind.IMAGE)
    if not len(image):
        raise FileError(
            f"{path}: {len(heads)} readouts, none of them of an image",
            "noise, navigators and calibration alone make no image.",
            "Give the file of the measurement itself.",
        )
    source = _Source(path, dataset)
    space = np.unique(heads["encoding_space_ref"][image])
    if len(space) > 1:
        raise FileError(
            f"{path}: image readouts of encoding spaces {', '.join(map(str, space))}",
            "they have different matrices, which one scan can't have.",
            "Write one file for each encoding space.",
        )
    encoding = header.encoding[min(int(space[0]), len(header.encoding) - 1)]
    counters = {name: heads["idx"][name][image] for name in CONTRAST_AXES}
    contrast = number_contrasts(counters, contrast_axis, _promised(encoding), path)
    slices = np.unique(heads["idx"]["slice"][image], return_inverse=True)
    noise = _noise(source, heads, kinds, image, notes)
    common: dict[str, Any] = {"noise": noise, **sequence_of(header)}
    affine = _affine(heads, image, encoding, len(slices[0]))
    if (
        encoding.trajectory.value in ("cartesian", "epi")
        and not (heads["trajectory_dimensions"][image] > 0).any()
    ):
        return _cartesian(source, heads, kinds, image, contrast, slices, encoding, notes, affine, common)
    return _elsewhere(
        source, heads, image, contrast, slices, encoding, trajectory_unit, notes, affine, common
    )


def _promised(encoding: Any) -> dict[str, int]:
    """How many contrasts the header's limits say there are, by counter."""
    limits = {name: getattr(encoding.encodingLimits, name) for name in CONTRAST_AXES}
    return {name: int(limit.maximum) + 1 for name, limit in limits.items() if limit is not None}


@dataclass(frozen=True)
class _Source:
    """Readouts on the disk."""

    path: Path
    dataset: str

    def fetch(self, rows: Integers) -> Iterator[NDArray[np.complex64]]:
        """Samples (coil, sample) of some rows, in their order."""
        for head, data, _ in self.raw(rows):
            samples = data.view(np.complex64)
            shape = int(head["active_channels"]), int(head["number_of_samples"])
            if samples.size != shape[0] * shape[1]:
                raise FileError(
                    f"{self.path}: a readout of {samples.size} samples in all",
                    f"its header promises {shape[0]} coils of {shape[1]} samples.",
                    "Export the scan again.",
                )
            yield samples.reshape(shape)

    def raw(self, rows: Integers) -> Iterator[tuple[Any, Any, Any]]:
        """Header, data and trajectory of some rows."""
        order = np.argsort(rows)
        back = np.argsort(order)
        with opened(self.path) as file:
            table = file[self.dataset]["data"]
            increasing = rows[order]
            first, last = (int(increasing[0]), int(increasing[-1])) if len(rows) else (0, -1)
            together = last - first < 2 * len(rows)
            block = table[first : last + 1][increasing - first] if together else table[increasing]
        for place in back:
            row = block[place]
            yield row["head"], row["data"], row["traj"]


def _noise(
    source: _Source, heads: NDArray[Any], kinds: Integers, image: Integers, notes: list[str]
) -> Tensor | None:
    """Noise (coil, sample), as strong as it is at the image's bandwidth."""
    rows = np.flatnonzero(kinds == Kind.NOISE)
    if not len(rows):
        return None
    coils = np.unique(heads["active_channels"][rows])
    if len(coils) > 1 or coils[0] != heads["active_channels"][image[0]]:
        notes.append(f"noise scan of {coils[0]} coils left out: the image has another number")
        return None
    noise = np.concatenate(list(source.fetch(rows)), 1)
    own, wanted = float(heads["sample_time_us"][rows[0]]), float(heads["sample_time_us"][image[0]])
    if own > 0 and wanted > 0:
        noise = noise * np.float32(math.sqrt(own / wanted))
    return torch.from_numpy(noise)


def _cartesian(
    source: _Source,
    heads: NDArray[Any],
    kinds: Integers,
    image: Integers,
    contrast: Integers,
    slices: tuple[Integers, Integers],
    encoding: Any,
    notes: list[str],
    affine: Tensor | None,
    common: dict[str, Any],
) -> RawScan:
    (encoded, view), (_, recon_view) = spaces_of(encoding, source.path)
    wide, width = encoded[2], encoded[2]
    oversampling = view[2] / recon_view[2] if recon_view[2] > 0 else 1.0
    if oversampling > 1 and abs(wide / oversampling - round(wide / oversampling)) < 1e-3 * wide:
        width = round(wide / oversampling)
    lines = _table(source, heads, image, contrast, slices[1], encoding, encoded, notes)
    count = len(slices[0]), int(contrast.max()) + 1
    averages = int(heads["idx"]["average"][image].max()) + 1
    if averages > 1:
        notes.append(f"{averages} averages averaged")
    if encoding.trajectory.value == "epi":
        notes.append("echo-planar readouts without phase correction")
    own = np.flatnonzero(kinds == Kind.CALIBRATION)
    calibration = None
    if len(own) and set(heads["idx"]["slice"][own]) == set(slices[0]):
        numbers = np.searchsorted(slices[0], heads["idx"]["slice"][own])
        calibration = _table(source, heads, own, np.zeros_like(own), numbers, encoding, encoded, notes)
    elif len(own):
        notes.append(f"{len(own)} calibration readouts left out: not of every slice")
    return assembled(
        lines,
        count,
        encoded,
        width,
        (*view[:2], view[2] * width / wide),
        calibration=calibration,
        affine=affine,
        notes=tuple(notes),
        **common,
    )


def _table(
    source: _Source,
    heads: NDArray[Any],
    rows: Integers,
    contrast: Integers,
    slices: Integers,
    encoding: Any,
    encoded: tuple[int, int, int],
    notes: list[str],
) -> Readouts:
    """The readouts ``rows`` with their places in the matrix."""
    head = heads[rows]
    samples = head["number_of_samples"].astype(np.int64)
    centre = head["center_sample"].astype(np.int64)
    if not centre.any() and (samples == encoded[2]).all():
        centre = samples // 2
        if "centre of readouts taken as their middle: center_sample is 0" not in notes:
            notes.append("centre of readouts taken as their middle: center_sample is 0")
    backwards = head["flags"] >> np.uint64(REVERSE - 1) & np.uint64(1) != 0
    # reversed, sample j lies where n - 1 - j did
    before, after = head["discard_pre"].astype(np.int64), head["discard_post"].astype(np.int64)
    steps = []
    for number, size in ((1, encoded[1]), (2, encoded[0])):
        limit = getattr(encoding.encodingLimits, f"kspace_encoding_step_{number}")
        middle = size // 2 if limit is None else int(limit.center)
        steps.append(head["idx"][f"kspace_encode_step_{number}"].astype(np.int64) - middle + size // 2)
    return Readouts(
        path=source.path,
        slice=slices.astype(np.int64),
        contrast=contrast,
        step1=steps[0],
        step2=steps[1],
        samples=samples,
        centre=centre,
        before=np.where(backwards, after, before),
        after=np.where(backwards, before, after),
        reversed=backwards,
        coils=head["active_channels"].astype(np.int64),
        fetch=lambda some: source.fetch(rows[some]),
    )


def _elsewhere(
    source: _Source,
    heads: NDArray[Any],
    image: Integers,
    contrast: Integers,
    slices: tuple[Integers, Integers],
    encoding: Any,
    unit: str | None,
    notes: list[str],
    affine: Tensor | None,
    common: dict[str, Any],
) -> RawScan:
    """A non-Cartesian scan: readouts of a contrast one after another."""
    (encoded, encoded_view), (recon, view) = spaces_of(encoding, source.path)
    head = heads[image]
    coils = np.unique(head["active_channels"])
    if len(coils) > 1:
        _coil_check(source, head)
    numbers = head["trajectory_dimensions"]
    if len(np.unique(numbers)) > 1 or not 2 <= int(numbers[0]) <= 3:
        raise FileError(
            f"{source.path}: {encoding.trajectory.value} readouts with trajectories of "
            f"{', '.join(map(str, np.unique(numbers)))} dimensions",
            "every readout needs its trajectory, in 2 or 3 dimensions.",
            "Write the trajectory into the acquisitions.",
        )
    dimensions = 3 if int(numbers[0]) == 3 and recon[0] > 1 else 2
    count = len(slices[0]), int(contrast.max()) + 1
    rows = [
        [np.flatnonzero((slices[1] == s) & (contrast == c)) for c in range(count[1])] for s in range(count[0])
    ]
    kept = head["number_of_samples"].astype(np.int64) - head["discard_pre"] - head["discard_post"]
    sizes = {int(kept[some].sum()) for one in rows for some in one}
    if len(sizes) > 1:
        raise FileError(
            f"{source.path}: contrasts or slices of {min(sizes)} to {max(sizes)} samples",
            "all contrasts and slices need equally many.",
            "Export the scan again; it may have been cut short.",
        )

    def cut(place: Any, array: NDArray[Any]) -> NDArray[Any]:
        begin, end = int(head["discard_pre"][place]), int(head["discard_post"][place])
        return array[..., begin : array.shape[-1] - end]

    def read(index: int) -> Tensor:
        parts = []
        for some in rows[index]:
            samples = source.fetch(image[some])
            parts.append(np.concatenate([cut(p, one) for p, one in zip(some, samples, strict=True)], 1))
        return torch.from_numpy(np.stack(parts))

    paths = []
    for some in itertools.chain.from_iterable(rows):
        raw = source.raw(image[some])
        lines = [
            cut(p, traj.reshape(-1, int(numbers[0])).T) for p, (_, _, traj) in zip(some, raw, strict=True)
        ]
        paths.append(np.concatenate(lines, 1).T[:, :dimensions])
    trajectory = torch.from_numpy(np.stack(paths)).unflatten(0, count)
    voxel = torch.tensor([v / m for v, m in zip(view[::-1], recon[::-1], strict=True)][:dimensions])
    encoded_voxel = torch.tensor(
        [v / m for v, m in zip(encoded_view[::-1], encoded[::-1], strict=True)][:dimensions]
    )
    matrix = torch.tensor(encoded[::-1][:dimensions])
    radians, said = in_radians(trajectory, unit, matrix, encoded_voxel, voxel, source.path)
    notes.append(said)
    radians = radians.flip(-1)
    if (radians == radians[:, :1]).all():
        radians = radians[:, :1]
    if (radians == radians[:1]).all():
        radians = radians[0]
    return RawScan(
        kspace=LazySlices((*count, int(coils[0]), sizes.pop()), read),
        matrix=recon[3 - dimensions :],
        field_of_view=view[3 - dimensions :],
        trajectory=radians,
        affine=affine,
        notes=tuple(notes),
        **common,
    )


def _coil_check(source: _Source, head: NDArray[Any]) -> None:
    zeros = np.zeros(len(head), np.int64)
    coils = head["active_channels"].astype(np.int64)
    none = np.zeros(len(head), bool)
    Readouts(
        source.path, zeros, zeros, zeros, zeros, zeros, zeros, zeros, zeros, none, coils, source.fetch
    ).check_coils()


def _affine(heads: NDArray[Any], image: Integers, encoding: Any, slices: int) -> Tensor | None:
    """Index (slice or z, y, x) to mm, right, front and head, if the header knows where slices lie."""
    head = heads[image]
    directions = np.stack([head[0][name] for name in ("slice_dir", "phase_dir", "read_dir")]).astype(float)
    if not np.allclose(directions @ directions.T, np.eye(3), atol=1e-2):
        return None
    space = encoding.encodedSpace
    size = np.array([getattr(space.fieldOfView_mm, axis) for axis in "zyx"], float)
    matrix = np.array([getattr(space.matrixSize, axis) for axis in "zyx"], float)
    recon = encoding.reconSpace
    depth = recon.matrixSize.z
    columns = directions * (size / matrix)[:, None]
    view = recon.fieldOfView_mm.x
    width = round(matrix[2] * view / size[2]) if view > 0 else int(matrix[2])
    number = head["idx"]["slice"]
    positions = np.stack([head["position"][number == one][0] for one in np.unique(number)]).astype(float)
    if slices > 1:
        columns[0] = (positions[-1] - positions[0]) / (slices - 1)
    middle = np.array([depth // 2 if slices == 1 else 0, matrix[1] // 2, width // 2])
    if slices == 1 and matrix[0] == 1:
        middle[0] = 0
    affine = np.eye(4)
    affine[:3, :3] = columns.T
    affine[:3, 3] = positions[0] - columns.T @ middle
    return torch.from_numpy(np.diag([-1.0, -1, 1, 1]) @ affine)
