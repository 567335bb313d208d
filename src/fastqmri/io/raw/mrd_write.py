"""Writing ISMRMRD files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastqmri.core import DataError, UnknownNameError
from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.io.atomic import atomic
from fastqmri.io.raw.counters import CONTRAST_AXES
from fastqmri.io.raw.mrd_kinds import CALIBRATION, NOISE
from fastqmri.io.raw.packages import needed
from fastqmri.io.raw.scan import RawScan

_LAST = 25
_LONGEST = 4096  # samples of a non-Cartesian readout; the format ends at 65535


def write_mrd(path: str | Path, scan: RawScan, *, contrast_axis: str = "contrast") -> None:
    """Write a scan as ISMRMRD, slice by slice; `read_mrd` reads the same back.

    One acquisition holds one stretch of samples that were measured side by side on a readout; trajectories are written
    in cycles per voxel, x first.

    Args:
        path: of the file; whole or absent afterwards.
        scan: what to write.
        contrast_axis: the counter that numbers the contrasts.

    Raises:
        UnknownNameError: no such counter.
        DataError: k-space that isn't finite.
        OutputError: the file can't be written.
        FileError: ismrmrd or h5py isn't installed.
    """
    path = Path(path)
    if contrast_axis not in CONTRAST_AXES:
        raise UnknownNameError(
            f"contrast axis {contrast_axis!r}",
            f"it is one of {', '.join(CONTRAST_AXES)}.",
            "Name one of them.",
        )
    h5py, hdf5 = needed("h5py", path), needed("ismrmrd.hdf5", path)
    header = needed("ismrmrd.xsd", path).ToXML(_header(scan, contrast_axis, path))
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        group = file.create_group("dataset")
        xml = group.create_dataset("xml", (1,), dtype=h5py.special_dtype(vlen=bytes))
        xml[0] = header.encode("ascii", "xmlcharrefreplace")
        table = group.create_dataset(
            "data", (0,), maxshape=(None,), chunks=(64,), dtype=hdf5.acquisition_dtype
        )
        for block in _blocks(scan, contrast_axis, hdf5.acquisition_dtype):
            begin = len(table)
            table.resize(begin + len(block), axis=0)
            block["head"]["scan_counter"] = np.arange(begin, begin + len(block))
            table[begin:] = block
        if len(table):
            last = table[-1]
            last["head"]["flags"] |= np.uint64(1 << (_LAST - 1))
            table[-1] = last


def _blocks(scan: RawScan, axis: str, dtype: Any) -> Iterator[NDArray[Any]]:
    """Acquisitions of the noise, then slice by slice of calibration and image."""
    if scan.noise is not None:
        rows: list[Any] = [(part.numpy(), {}, None) for part in scan.noise.split(_LONGEST, 1)]
        yield _block(rows, dtype, flag=NOISE)
    for index in range(scan.slices):
        one = scan.slice(index)
        assert isinstance(one.kspace, torch.Tensor)
        kspace = one.kspace[0]
        if not bool(torch.isfinite(torch.view_as_real(kspace)).all()):
            raise DataError(
                f"k-space of slice {index} with NaN or infinity",
                "it was not measured so.",
                "Check where it is from.",
            )
        place = _placed(one, index)
        if one.calibration is not None:
            lines = one.calibration[0].numpy()
            present = (lines != 0).any((0, -1))
            mask = np.broadcast_to(present[..., None], lines.shape[1:])
            yield _block(_stretches(lines, mask, {}), dtype, flag=CALIBRATION, **place)
        for contrast in range(scan.contrasts):
            samples = kspace[contrast].numpy()
            counters = {axis: contrast}
            if one.trajectory is None:
                assert one.mask is not None
                mask = one.mask[min(contrast, len(one.mask) - 1)].numpy()
                yield _block(_stretches(samples, mask, counters), dtype, **place)
            else:
                path = one.trajectory[min(contrast, len(one.trajectory) - 1)].flip(-1) / (2 * math.pi)
                parts = range(0, samples.shape[1], _LONGEST)
                rows = [
                    (samples[:, b : b + _LONGEST], counters, path[b : b + _LONGEST].numpy()) for b in parts
                ]
                yield _block(rows, dtype, **place)


def _stretches(samples: NDArray[Any], mask: NDArray[Any], counters: dict[str, int]) -> list[Any]:
    """Each run of measured samples as one acquisition of the whole readout, the rest marked to be discarded."""
    if samples.ndim == 3:
        samples, mask = samples[:, None], mask[None]
    rows = []
    for step2, step1 in np.argwhere(mask.any(-1)):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], mask[step2, step1].astype(np.int8), [0]])))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            where = {
                **counters,
                "kspace_encode_step_1": step1,
                "kspace_encode_step_2": step2,
                "discard_pre": begin,
                "discard_post": mask.shape[-1] - end,
            }
            rows.append((samples[:, step2, step1], where, None))
    return rows


def _block(rows: list[Any], dtype: Any, *, flag: int = 0, **heads: Any) -> NDArray[Any]:
    """Acquisitions of (samples (coil, sample), counters, trajectory (sample, dimension) or None)."""
    block = np.zeros(len(rows), dtype)
    for place, (samples, counters, path) in enumerate(rows):
        head = block["head"][place]
        head["version"] = 1
        head["active_channels"] = head["available_channels"] = len(samples)
        head["number_of_samples"], head["center_sample"] = samples.shape[1], samples.shape[1] // 2
        head["flags"] = 1 << (flag - 1) if flag else 0
        head["trajectory_dimensions"] = 0 if path is None else path.shape[1]
        head["sample_time_us"] = 1.0
        for name, value in heads.items():
            if name == "slice":
                head["idx"]["slice"] = value
            else:
                head[name] = value
        for name, value in counters.items():
            (head if name.startswith("discard") else head["idx"])[name] = value
        contiguous = np.ascontiguousarray(samples, np.complex64).view(np.float32).ravel()
        block["data"][place] = contiguous
        block["traj"][place] = np.zeros(0, np.float32) if path is None else path.astype(np.float32).ravel()
    return block


def _placed(scan: RawScan, index: int) -> dict[str, Any]:
    """Slice number, position and directions (left, back, head) of a slice."""
    if scan.affine is None:
        return {"slice": index}
    affine = np.diag([-1.0, -1, 1, 1]) @ scan.affine.double().numpy()
    matrix = (1, *scan.matrix) if len(scan.matrix) == 2 else scan.matrix
    middle = np.array([side // 2 for side in matrix] + [1])
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    names = ("slice_dir", "phase_dir", "read_dir")
    return {
        "slice": index,
        "position": (affine @ middle)[:3].astype(np.float32),
        **{name: columns[:, axis].astype(np.float32) for axis, name in enumerate(names)},
    }


def _header(scan: RawScan, axis: str, path: Path) -> Any:
    """The XML header as the schema's object."""
    xsd = needed("ismrmrd.xsd", path)
    matrix = (1, *scan.matrix) if len(scan.matrix) == 2 else scan.matrix
    thickness = 0.0 if scan.affine is None else 1e-3 * float(scan.affine[:3, 0].norm())
    view = (thickness, *scan.field_of_view) if len(scan.matrix) == 2 else scan.field_of_view
    space = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=matrix[2], y=matrix[1], z=matrix[0]),
        fieldOfView_mm=xsd.fieldOfViewMm(x=view[2] * 1e3, y=view[1] * 1e3, z=view[0] * 1e3),
    )

    def limit(size: int, centre: int = 0) -> Any:
        return xsd.limitType(minimum=0, maximum=size - 1, center=centre)

    limits = xsd.encodingLimitsType(
        kspace_encoding_step_1=limit(matrix[1], matrix[1] // 2),
        kspace_encoding_step_2=limit(matrix[0], matrix[0] // 2),
        slice=limit(scan.slices),
    )
    setattr(limits, axis, limit(scan.contrasts))
    kind = xsd.trajectoryType.CARTESIAN if scan.trajectory is None else xsd.trajectoryType.OTHER
    field = scan.field_strength
    return xsd.ismrmrdHeader(
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemFieldStrength_T=field, receiverChannels=scan.coils
        ),
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=0 if field is None else round(GYROMAGNETIC_RATIO * field)
        ),
        encoding=[
            xsd.encodingType(encodedSpace=space, reconSpace=space, encodingLimits=limits, trajectory=kind)
        ],
        sequenceParameters=xsd.sequenceParametersType(
            TR=[1e3 * value for value in scan.repetition_time],
            TE=[1e3 * value for value in scan.echo_time],
            TI=[1e3 * value for value in scan.inversion_time],
            flipAngle_deg=[math.degrees(value) for value in scan.flip_angle],
        ),
    )
