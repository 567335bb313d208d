"""Numbers of a report: medians and spreads per map and region, flags per region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastqmri.core import Flag, ParameterMaps
from fastqmri.report.colours import Floats

_MOST_VALUES = 200_000
WHOLE = "mask"
"""Name of the region of all voxels inside the mask."""


@dataclass(frozen=True)
class Region:
    """Voxels that are summarised together.

    Attributes:
        name: for tables.
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


class Numbers:
    """Parameter maps as arrays, with what the sections of a report keep asking for.

    Args:
        maps: the estimate.
        labels: (*voxels) integers to summarise by, 0 for none.
        names: label -> name; ``region 3`` by default.
    """

    def __init__(
        self, maps: ParameterMaps, labels: Tensor | None = None, names: Mapping[int, str] | None = None
    ) -> None:
        self.maps = maps
        self.flags = np.asarray(maps.flags.detach().cpu())
        self.inside = (self.flags & int(Flag.MASKED)) == 0
        self.trusted = np.asarray(maps.trusted.detach().cpu())
        self.whole = Region(WHOLE, self.inside)
        self.regions = [self.whole, *self._labelled(labels, names or {})]

    def values(self, name: str) -> Floats:
        """(*voxels) map, NaN outside the mask."""
        return np.where(self.inside, array(self.maps[name].value), np.nan)

    def deviations(self, name: str) -> Floats:
        """(*voxels) standard deviations, NaN outside the mask."""
        return np.where(self.inside, array(self.maps[name].standard_deviation), np.nan)

    def representative(self, values: Floats) -> Floats:
        """(voxel) up to 200 000 values of trusted voxels spread over the mask; of all where none is trusted.

        Enough for windows, where the percentiles of millions would only take longer.
        """
        chosen = values[self.trusted] if self.trusted.any() else values.ravel()
        return chosen[:: 1 + len(chosen) // _MOST_VALUES]

    @cached_property
    def noise(self) -> float | None:
        """Standard deviation of the noise, in signal units: the median over voxels where it is a map."""
        if self.maps.noise is None:
            return None
        level = array(self.maps.noise)
        finite = level[np.isfinite(level)]
        return float(np.median(finite)) if finite.size else None

    @cached_property
    def summaries(self) -> dict[tuple[str, str], Summary]:
        """(parameter, region) -> summary."""
        return {
            (name, region.name): self._summarise(name, region)
            for name in self.maps.names
            for region in self.regions
        }

    def flag_counts(self, region: Region) -> dict[Flag, int]:
        """How many voxels of a region carry each flag, and how many carry none (`Flag.OK`)."""
        flags = self.flags[region.voxels]
        counts: dict[Flag, int] = {Flag.OK: int(np.count_nonzero(flags == 0))}
        for flag in Flag:
            if flag not in (Flag.OK, Flag.MASKED):
                counts[flag] = int(np.count_nonzero(flags & int(flag)))
        return counts

    def _labelled(self, labels: Tensor | None, names: Mapping[int, str]) -> list[Region]:
        if labels is None:
            return []
        image = np.asarray(labels.detach().cpu())
        present = np.unique(image[self.inside & (image != 0)])
        return [
            Region(names.get(int(label), f"region {int(label)}"), self.inside & (image == label))
            for label in present
        ]

    def _summarise(self, name: str, region: Region) -> Summary:
        one = self.maps[name]
        chosen = region.voxels & self.trusted
        values, deviations = array(one.value)[chosen], array(one.standard_deviation)[chosen]
        lower, median, upper = np.percentile(values, (25, 50, 75)) if values.size else [np.nan] * 3
        known = np.isfinite(deviations)
        divisible = known & (values != 0)
        ratio = deviations[divisible] / np.abs(values[divisible])
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


def array(tensor: Tensor) -> Floats:
    """A tensor from any device as float64."""
    return np.asarray(tensor.detach().cpu(), dtype=np.float64)
