"""Dipole inversions side by side on drawn fields: with what is known of the truth, and tuned on other fields."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from fastqmri.estimators.susceptibility import INVERSIONS, Inversion
from fastqmri.estimators.susceptibility.metrics import (
    correlation,
    demeaned_error,
    high_frequency_error,
    structural_similarity,
)
from fastqmri.learning.evaluation import SHIFT, Result
from fastqmri.learning.fields import DrawnField, FieldRanges, draw_field, draw_phantom
from fastqmri.physics.encoding import Dipole

_SIDE = 48
_GRIDS = {
    "tv": [{"jump": jump} for jump in (0.02, 0.04, 0.06, 0.09, 0.13)],
    "ndi": [{"iterations": steps, "tolerance": 0.0} for steps in (10, 20, 50, 100)],
}


def fields_of(seed: int, ranges: FieldRanges) -> DrawnField:
    """The field that a seed draws."""
    generator = torch.Generator().manual_seed(seed)
    return draw_field(draw_phantom(ranges, generator), ranges, generator)


def inversion_cases(trained: FieldRanges) -> dict[str, FieldRanges]:
    """Names of cases and what they draw: anisotropic phantoms inside what was trained, then outside of it."""
    inside = replace(trained, side=_SIDE, isotropic=0.0, calcification=0.0)
    tilt = math.radians(20)
    return {
        "anisotropic phantoms": inside,
        "texture 0.002 ppm": replace(inside, texture=(0.002, 0.002)),
        "texture 0.01 ppm": replace(inside, texture=(0.01, 0.01)),
        "isotropic phantoms": replace(inside, isotropic=1.0),
        "SNR 100": replace(inside, snr=(100.0, 100.0)),
        "SNR 40": replace(inside, snr=(40.0, 40.0)),
        f"{SHIFT}SNR 20": replace(inside, snr=(20.0, 20.0)),
        f"{SHIFT}B0 tilted by 20 degrees": replace(inside, tilt=(tilt, tilt)),
        f"{SHIFT}voxels twice as long": replace(inside, stretch=(2.0, 2.0)),
        f"{SHIFT}a calcification": replace(inside, calcification=1.0),
    }


def tuned(ranges: FieldRanges, seeds: Sequence[int]) -> dict[str, Inversion]:
    """Thresholded division (0.15), and total variation and nonlinear inversion with their best settings on fields."""
    drawn = [fields_of(seed, replace(ranges, isotropic=0.0, calcification=0.0)) for seed in seeds]

    def error(one: Inversion) -> float:
        return sum(
            demeaned_error(field.invert(one).value, field.chi33, field.phantom.mask) for field in drawn
        )

    found = {"tkd": INVERSIONS["tkd"]}
    for name, grid in _GRIDS.items():
        found[name] = min((INVERSIONS[name].configured(**settings) for settings in grid), key=error)
    return found


def inversion_results(
    case: str, methods: Mapping[str, Inversion], drawn: Sequence[DrawnField]
) -> list[Result]:
    """Errors of inversions on fields whose truth is known.

    For those that leave it, the rest of the field is what is left of it, field - D χ.

    Args:
        case: what the fields have in common.
        methods: name -> inversion.
        drawn: fields.
    """
    results = []
    for name, one in methods.items():
        rows = []
        for field in drawn:
            begin = time.perf_counter()
            got = field.invert(one)
            spent = time.perf_counter() - begin
            mask = field.phantom.mask
            rest = got.rest
            if rest is None:
                dipole = Dipole(field.phantom.voxels, field.voxel_size, field.direction, padding=2.0)
                rest = field.field - dipole(got.value)
            errors = [
                measure(got.value, field.chi33, mask)
                for measure in (demeaned_error, high_frequency_error, structural_similarity)
            ]
            alike = correlation(rest, field.rest, mask) if bool(field.rest[mask].any()) else math.nan
            rows.append([*errors, alike, spent])
        columns = list(zip(*rows, strict=True))
        heads = (
            ("Chi", "nRMSE", "%"),
            ("Chi", "HFEN", "%"),
            ("Chi", "XSIM", ""),
            ("off_diagonal_field", "r", ""),
            ("time", "time", "s"),
        )
        results += [
            Result.over(case, name, *head, values=values)
            for head, values in zip(heads, columns, strict=True)
            if not any(map(math.isnan, values))
        ]
    return results
