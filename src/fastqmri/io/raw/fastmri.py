"""HDF5 files in the layout of the fastMRI data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastqmri.core import FileError
from fastqmri.io.raw.assembly import without_oversampling
from fastqmri.io.raw.header import opened, parse_header, sequence_of, spaces_of
from fastqmri.io.raw.scan import LazySlices, RawScan


def read_fastmri(path: str | Path) -> RawScan:
    """A file with ``kspace`` (slice, coil, readout, phase), or (slice, readout, phase) of one coil; slices lazy.

    With the ``ismrmrd_header`` readout oversampling is removed, and times and angles are known. Without a ``mask``,
    lines that are zero everywhere count as not measured.

    Args:
        path: of the file.

    Raises:
        FileError: no such file, cut short, or no complex k-space of this layout; a mask or header that doesn't fit.
    """
    path = Path(path)
    notes: list[str] = []
    with opened(path) as file:
        if "kspace" not in file:
            raise FileError(
                f"{path}: HDF5 with {', '.join(sorted(file)) or 'nothing in it'}",
                "fastMRI files have a data set named kspace.",
                "Check the file.",
            )
        shape, kind = tuple(file["kspace"].shape), file["kspace"].dtype
        mask = np.asarray(file["mask"][...]) if "mask" in file else None
        header = parse_header(file["ismrmrd_header"][()], path) if "ismrmrd_header" in file else None
    if len(shape) not in (3, 4) or kind.kind != "c":
        raise FileError(
            f"{path}: kspace of shape {shape}, {kind}",
            "it must be complex, (slice, coil, readout, phase) or (slice, readout, phase).",
            "Write it in this layout.",
        )
    slices, readout, phase = shape[0], shape[-2], shape[-1]
    coils = shape[1] if len(shape) == 4 else 1
    width, view = readout, (1e-3 * phase, 1e-3 * readout)
    common: dict[str, Any] = {}
    if header is None:
        notes.append("no header: voxels taken as 1 mm, oversampling not removed")
    else:
        (encoded, size), _ = spaces_of(header.encoding[0], path)
        if encoded[2] != readout or encoded[0] != 1:
            raise FileError(
                f"{path}: a header of {encoded[2]} samples on a readout (and {encoded[0]} partitions) for kspace "
                f"of {readout} on its last but one axis",
                "header and k-space must be of one scan, 2D.",
                "Check the order of the axes: (slice, coil, readout, phase).",
            )
        width = min(readout, round(readout * _ratio(header, path)))
        view = (size[1] * phase / encoded[1], size[2] * width / readout)
        common = sequence_of(header)

    def read(index: int) -> Tensor:
        with opened(path) as file:
            one = np.asarray(file["kspace"][index], np.complex64)
        if not np.isfinite(one).all():
            raise FileError(
                f"{path}: slice {index} with NaN or infinity", "it was not measured.", "Copy it again."
            )
        one = one.reshape(coils, readout, phase).swapaxes(1, 2)
        return torch.from_numpy(np.ascontiguousarray(without_oversampling(one, width)))[None]

    kspace = LazySlices((slices, 1, coils, phase, width), read)
    return RawScan(
        kspace=kspace,
        matrix=(phase, width),
        field_of_view=view,
        mask=_mask(path, mask, kspace, notes),
        notes=tuple(notes),
        **common,
    )


def _ratio(header: Any, path: Path) -> float:
    """The image's part of the encoded field of view along the readout."""
    (_, size), (_, view) = spaces_of(header.encoding[0], path)
    return view[2] / size[2] if 0 < view[2] <= size[2] else 1.0


def _mask(path: Path, mask: np.ndarray | None, kspace: LazySlices, notes: list[str]) -> Tensor:
    """(1, phase, readout)."""
    phase, width = kspace.shape[-2:]
    if mask is None:
        notes.append("no mask: lines that are zero count as not measured")
        found = (kspace.read(0) != 0).any(-1).any(1)
        return found[:, :, None].expand(1, phase, width).clone()
    mask = mask.reshape(-1)
    if len(mask) != phase:
        raise FileError(
            f"{path}: a mask of {len(mask)} lines for kspace of {phase}",
            "it must have one value for each phase-encoding line.",
            "Take the mask of this file.",
        )
    return torch.from_numpy(mask.astype(bool))[None, :, None].expand(1, phase, width).clone()
