"""Siemens raw data (.dat, "twix"), read through twixtools."""

from __future__ import annotations

import contextlib
import io
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastqmri.core import FileError
from fastqmri.io.raw.assembly import Integers, Readouts, assembled
from fastqmri.io.raw.counters import number_contrasts
from fastqmri.io.raw.packages import needed
from fastqmri.io.raw.scan import RawScan

_COUNTERS = {"contrast": "Eco", "set": "Set", "repetition": "Rep", "phase": "Phs"}
_SKIPPED = (
    "PHASCOR",
    "RTFEEDBACK",
    "HPFEEDBACK",
    "SYNCDATA",
    "REFPHASESTABSCAN",
    "PHASESTABSCAN",
    "RETRO_DUMMYSCAN",
    "SLICE_ACCEL_REFSCAN",
    "SLICE_ACCEL_PHASCOR",
    "PACE",
)


def read_siemens(path: str | Path, *, contrast_axis: str | None = None) -> RawScan:
    """A Cartesian Siemens measurement: the last of the file, noise from those before it.

    Times come from the protocol in µs, angles in degrees, lengths in mm. Readout oversampling is removed, averages are
    averaged, lines that only calibrate become ``calibration``.

    Args:
        path: of the .dat file.
        contrast_axis: the counter that numbers the contrasts, by its name in ISMRMRD: ``"contrast"`` (Eco), ``"set"``,
            ``"repetition"``, ``"phase"``, or several joined by ``+``; None takes the one that varies.

    Raises:
        FileError: no such file, cut short, not Cartesian, contrasts not told apart or without data.
        ShapeError: readouts of different numbers of coils.
    """
    path = Path(path)
    scans = _parsed(path)
    scan = scans[-1]
    blocks = scan["mdb"]
    protocol = scan["hdr"]["MeasYaps"]
    notes: list[str] = []
    if int(protocol["sKSpace"].get("ucTrajectory", 1)) != 1:
        raise FileError(
            f"{path}: ucTrajectory {protocol['sKSpace']['ucTrajectory']}",
            "only Cartesian measurements (1) can be placed without their trajectory.",
            "Convert it to ISMRMRD with its trajectory.",
        )
    image, own, noisy = _sorted_by_kind(blocks, notes)
    if not image:
        raise FileError(
            f"{path}: no readout of an image", "nothing can be reconstructed.", "Give the measurement."
        )
    counters = {name: _of(image, lambda m, k=key: getattr(m.Counter, k)) for name, key in _COUNTERS.items()}
    contrast = number_contrasts(counters, contrast_axis, {}, path)
    numbers, slices = np.unique(_of(image, lambda m: m.Counter.Sli), return_inverse=True)
    encoded, width, view = _geometry(protocol, image, path)
    for block in (b for other in scans[:-1] for b in other["mdb"]):
        if block.is_flag_set("NOISEADJSCAN"):
            noisy.append(block)
    if int(_of(image, lambda m: m.Counter.Ave).max()) > 0:
        notes.append("averages averaged")
    calibration = None
    if own:
        places = _of(own, lambda m: m.Counter.Sli)
        if set(places) == set(numbers):
            calibration = _table(
                path, own, np.searchsorted(numbers, places), np.zeros(len(own), np.int64), encoded
            )
        else:
            notes.append(f"{len(own)} calibration readouts left out: not of every slice")
    return assembled(
        _table(path, image, slices, contrast, encoded),
        (len(numbers), int(contrast.max()) + 1),
        encoded,
        width,
        view,
        calibration=calibration,
        noise=_noise(noisy, image, notes),
        affine=_affine(scan, len(numbers), encoded, width, view),
        notes=tuple(notes),
        **_sequence(scan, protocol),
    )


def _parsed(path: Path) -> list[Any]:
    """Header and readouts' headers of all measurements in the file; samples stay on the disk."""
    twixtools = needed("twixtools", path)
    if not path.is_file():
        raise FileError(f"{path}", "there is no such file.", "Check the path.")
    size = path.stat().st_size
    cut = FileError(
        f"{path}: {size} bytes",
        "the measurement goes on beyond them.",
        "Copy or export it again; it was cut short.",
    )
    with path.open("rb") as file:
        start = file.read(8 + 64 * 152)
    first, entries = struct.unpack("<2I", start[:8]) if len(start) >= 8 else (0, 0)
    if first < 10_000 and entries <= 64:  # several measurements in one file, with a table of contents
        for entry in range(entries):
            place = start[8 + 152 * entry : 32 + 152 * entry]
            if len(place) < 24 or sum(struct.unpack("<8x2Q", place)) > size:
                raise cut
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            scans: list[Any] = twixtools.read_twix(
                str(path), verbose=False, keep_acqend=True, parse_pmu=False
            )
        for scan in scans:
            scan["hdr"]["MeasYaps"]["sKSpace"]
    except Exception as error:
        raise FileError(
            f"{path}",
            f"it can't be read as Siemens raw data ({type(error).__name__}: {error}).",
            "Export it again.",
        ) from error
    if not scans or not scans[-1]["mdb"] or not scans[-1]["mdb"][-1].is_flag_set("ACQEND"):
        raise cut
    scans[-1]["mdb"].pop()
    return scans


def _sorted_by_kind(blocks: list[Any], notes: list[str]) -> tuple[list[Any], list[Any], list[Any]]:
    """Readouts of images, of calibration alone, and of noise."""
    image, own, noisy, skipped = [], [], [], 0
    for block in blocks:
        flags = block.get_flags()
        if flags["NOISEADJSCAN"]:
            noisy.append(block)
        elif any(flags[name] for name in _SKIPPED):
            skipped += 1
        elif flags["PATREFSCAN"] and not flags["PATREFANDIMASCAN"]:
            own.append(block)
        else:
            image.append(block)
    if skipped:
        notes.append(f"{skipped} readouts that are no images left out (phase correction, feedback, dummies)")
    return image, own, noisy


def _of(blocks: list[Any], value: Any) -> Integers:
    return np.array([value(block.mdh) for block in blocks], np.int64)


def _geometry(
    protocol: Any, image: list[Any], path: Path
) -> tuple[tuple[int, int, int], int, tuple[float, float, float]]:
    """Matrix (z, y, x) with oversampling, x without it, field of view in m without it."""
    space = protocol["sKSpace"]
    width = int(space["lBaseResolution"])
    longest = int(_of(image, lambda m: m.SamplesInScan).max())
    wide = max(longest, 2 * int(_of(image, lambda m: m.CenterCol).max()))
    wide = wide if wide >= width else width
    deep = int(space.get("ucDimension", 2)) == 4
    height = max(
        int(space["lPhaseEncodingLines"]),
        2 * int(_of(image, lambda m: m.Counter.Lin - m.CenterLin).max()) + 1,
    )
    depth = int(space.get("lPartitions", 1)) if deep else 1
    one = protocol["sSliceArray"]["asSlice"][0]
    view = tuple(1e-3 * float(one[name]) for name in ("dThickness", "dPhaseFOV", "dReadoutFOV"))
    if not all(0 < length < 2 for length in view):
        raise FileError(
            f"{path}: slices of {view} m",
            "a field of view lies below 2 m.",
            "Check the protocol's sSliceArray.",
        )
    return (depth, height, wide), width, view  # type: ignore[return-value]


def _table(
    path: Path, blocks: list[Any], slices: Integers, contrast: Integers, encoded: tuple[int, int, int]
) -> Readouts:
    backwards = np.array([block.is_flag_set("REFLECT") for block in blocks])
    before, after = _of(blocks, lambda m: m.CutOff.Pre), _of(blocks, lambda m: m.CutOff.Post)

    def fetch(rows: Integers) -> Iterator[NDArray[np.complex64]]:
        for row in rows:
            try:
                yield np.asarray(blocks[row].data, np.complex64)
            except (OSError, ValueError) as error:
                raise FileError(
                    f"{path}: readout {row}", f"it can't be read ({error}).", "Export it again."
                ) from error

    deep = encoded[0] > 1
    return Readouts(
        path=path,
        slice=slices.astype(np.int64),
        contrast=contrast,
        step1=_of(blocks, lambda m: m.Counter.Lin - m.CenterLin) + encoded[1] // 2,
        step2=_of(blocks, lambda m: (m.Counter.Par - m.CenterPar) if deep else 0) + encoded[0] // 2,
        samples=_of(blocks, lambda m: m.SamplesInScan),
        centre=_of(blocks, lambda m: m.CenterCol),
        before=np.where(backwards, after, before),
        after=np.where(backwards, before, after),
        reversed=backwards,
        coils=_of(blocks, lambda m: m.UsedChannels),
        fetch=fetch,
    )


def _noise(blocks: list[Any], image: list[Any], notes: list[str]) -> Tensor | None:
    """Noise (coil, sample), as it is: dwell times are not in the readouts' headers."""
    if not blocks:
        return None
    if {block.mdh.UsedChannels for block in blocks} != {image[0].mdh.UsedChannels}:
        notes.append("noise scan left out: another number of coils than the image")
        return None
    notes.append("noise scan taken as strong as it is, whatever its bandwidth")
    return torch.from_numpy(np.concatenate([np.asarray(block.data, np.complex64) for block in blocks], 1))


def _affine(
    scan: Any, slices: int, encoded: tuple[int, int, int], width: int, view: tuple[float, float, float]
) -> Tensor | None:
    """Index (slice or z, y, x) to mm, right, front and head."""
    places = scan.get("geometry")
    if not places or len(places) != slices:
        return None
    turn = np.asarray(places[0].prs_to_pcs(), float)[:, [2, 0, 1]]  # slice, phase, read
    offset = [np.asarray(place.offset, float) for place in places]
    matrix = np.array([encoded[0], encoded[1], width])
    columns = turn * (1e3 * np.array(view) / matrix)
    if slices > 1:
        columns[:, 0] = (offset[-1] - offset[0]) / (slices - 1)
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = offset[0] - columns @ (matrix // 2)
    return torch.from_numpy(np.diag([-1.0, -1, 1, 1]) @ affine)


def _sequence(scan: Any, protocol: Any) -> dict[str, Any]:
    """µs to s, degrees to rad."""
    contrasts = int(protocol.get("lContrasts", 1))
    inverted = int(protocol.get("sPrepPulses", {}).get("ucInversion", 4)) in (1, 2)
    field = scan["hdr"].get("Dicom", {}).get("flMagneticFieldStrength")
    return {
        "echo_time": tuple(1e-6 * float(time) for time in protocol.get("alTE", [])[:contrasts]),
        "repetition_time": tuple(1e-6 * float(time) for time in protocol.get("alTR", [])[:1]),
        "inversion_time": tuple(1e-6 * float(time) for time in protocol.get("alTI", [])[: int(inverted)]),
        "flip_angle": tuple(
            math.radians(float(angle)) for angle in protocol.get("adFlipAngleDegree", [])[:1]
        ),
        "field_strength": float(field) if field else None,
    }
