"""Numbers of a report: medians and spreads per map and region, flags per region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastqmri.core import Flag, ParameterMaps
from fastqmri.report.colours import Floats

WHOLE = "mask"


@dataclass(frozen=True)
class Region:
    """Voxels that are summarised together.

    Attributes:
        name: ``mask`` for all voxels inside the mask.
        voxels: (*voxels) bool.
    """

    name: str
    voxels: NDArray[np.bool_]


@dataclass(frozen=True)
class Summary:
    """One parameter in one region; values in the parameter's own unit, NaN where there are none.

    Attributes:
        parameter: its name.
        unit: as the parameter has it.
        region: its name.
        voxels: inside the region, whatever their flags.
        trusted: of these, estimated and without any flag; all that follows is of them.
        median: of the values.
        lower_quartile: of the values.
        upper_quartile: of the values.
        mean_sd: mean standard deviation.
        median_cv: median of standard deviation over value.
    """

    parameter: str
    unit: str
    region: str
    voxels: int
    trusted: int
    median: float
    lower_quartile: float
    upper_quartile: float
    mean_sd: float
    median_cv: float


def array(tensor: Tensor) -> Floats:
    """A tensor from any device as float64."""
    return np.asarray(tensor.detach().cpu(), dtype=np.float64)


def inside(maps: ParameterMaps) -> NDArray[np.bool_]:
    """(*voxels) bool: voxels of the mask."""
    return np.asarray((maps.flags & int(Flag.MASKED)).cpu() == 0)


def noise_level(maps: ParameterMaps) -> float | None:
    """Standard deviation of the noise, in signal units: the median over voxels where it is a map."""
    if maps.noise is None:
        return None
    values = array(maps.noise)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else None


def regions_of(
    maps: ParameterMaps, labels: Tensor | None = None, names: Mapping[int, str] | None = None
) -> list[Region]:
    """The whole mask, then one region per non-zero label that lies in it.

    Args:
        maps: whose flags say where the mask is.
        labels: (*voxels) integers, 0 for none.
        names: label -> name; ``region 3`` by default.
    """
    mask = inside(maps)
    found = [Region(WHOLE, mask)]
    if labels is None:
        return found
    image = np.asarray(labels.detach().cpu())
    for label in np.unique(image[mask & (image != 0)]):
        found.append(Region((names or {}).get(int(label), f"region {label}"), mask & (image == label)))
    return found


def summarise(maps: ParameterMaps, name: str, region: Region) -> Summary:
    """Median, quartiles and mean standard deviation of a parameter over a region's trusted voxels."""
    one = maps[name]
    chosen = region.voxels & np.asarray(maps.trusted.cpu())
    values, deviations = array(one.value)[chosen], array(one.standard_deviation)[chosen]
    lower, median, upper = np.percentile(values, (25, 50, 75)) if values.size else [np.nan] * 3
    known = np.isfinite(deviations)
    ratio = deviations[known & (values != 0)] / np.abs(values[known & (values != 0)])
    return Summary(
        parameter=name,
        unit=one.parameter.unit,
        region=region.name,
        voxels=int(region.voxels.sum()),
        trusted=int(chosen.sum()),
        median=float(median),
        lower_quartile=float(lower),
        upper_quartile=float(upper),
        mean_sd=float(deviations[known].mean()) if known.any() else float("nan"),
        median_cv=float(np.median(ratio)) if ratio.size else float("nan"),
    )


def flag_counts(maps: ParameterMaps, region: Region) -> dict[Flag, int]:
    """How many voxels of a region carry each flag, and how many carry none (`Flag.OK`)."""
    flags = np.asarray(maps.flags.cpu())[region.voxels]
    counts = {flag: int(((flags & int(flag)) != 0).sum()) for flag in Flag if flag not in (Flag.OK, Flag.MASKED)}
    return {Flag.OK: int((flags == 0).sum()), **counts}
