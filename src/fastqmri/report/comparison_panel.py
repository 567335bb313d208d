"""Pictures and numbers of a network's maps beside classical ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastqmri.core import Flag
from fastqmri.report import figures
from fastqmri.report.colours import Floats, Scale, scale_of, symmetric_scale
from fastqmri.report.comparison import MethodComparison
from fastqmri.report.figures import ColourBar, Picture
from fastqmri.report.mosaic import plan
from fastqmri.report.quantities import DisplayUnit, count, display_unit, grouped, number, percent
from fastqmri.report.statistics import array

_PERCENT = DisplayUnit(1.0, "%")
_FAR = 3.0


@dataclass(frozen=True)
class ComparedParameter:
    """One parameter, both ways.

    Attributes:
        name: of the parameter.
        pictures: label, picture and legend of the network's map, the classical one, and their difference.
        numbers: median difference, limits of agreement, share beyond three standard deviations, as text.
        median, low, high: percent of the classical value (of its spread, where values go through zero).
        beyond: share of voxels that differ by more than three classical standard deviations; NaN where it has none.
    """

    name: str
    pictures: tuple[tuple[str, Picture, ColourBar], ...]
    numbers: tuple[str, str, str]
    median: float
    low: float
    high: float
    beyond: float


class ComparisonPanel:
    """Turns a comparison into what the template shows.

    Args:
        comparison: to show.
        shown: parameters, the most important first.
    """

    def __init__(self, comparison: MethodComparison, shown: tuple[str, ...]) -> None:
        self.comparison = comparison
        own, other = comparison.own, comparison.other
        self.both = array(own.estimated & other.estimated).astype(bool)
        self.trusted = self.both & array(other.flags == int(Flag.OK)).astype(bool)
        self.mosaic = plan(self.both, own.affine)
        names = [name for name in comparison.names or shown if name in own and name in other]
        self.parameters = [p for p in (self._parameter(name) for name in names) if p is not None]

    @property
    def voxels(self) -> int:
        """Mapped by both."""
        return int(self.both.sum())

    @property
    def counted(self) -> str:
        """How many voxels the numbers are of."""
        return count(int(self.trusted.sum()))

    @property
    def sentences(self) -> tuple[str, ...]:
        """Times, flags, and the card."""
        c = self.comparison
        flags, inside = c.own.flags, c.own.flags & int(Flag.MASKED) == 0
        total = int(inside.sum())
        outside, misfit = (
            int((flags & int(flag) != 0)[inside].sum())
            for flag in (Flag.OUTSIDE_TRAINING_RANGE, Flag.MODEL_MISFIT)
        )
        own, other = (
            number(1e6 * seconds / max(voxels, 1))
            for seconds, voxels in ((c.seconds, total), (c.other_seconds, self.voxels))
        )
        return (
            f"{c.network} took {number(c.seconds)} s for {grouped(total)} voxels, {c.classical} "
            f"{number(c.other_seconds)} s for the {grouped(self.voxels)} compared here "
            f"({own} and {other} µs a voxel).",
            f"Of the network's voxels, {grouped(outside)} ({percent(outside, total)}) lie outside its training "
            f"range and {grouped(misfit)} ({percent(misfit, total)}) miss the measured signal by more than noise "
            "allows.",
            *c.card,
        )

    def _parameter(self, name: str) -> ComparedParameter | None:
        c = self.comparison
        own, other = (np.where(self.both, array(m[name].value), np.nan) for m in (c.own, c.other))
        spread = array(c.other[name].standard_deviation)
        valid = np.isfinite(own) & np.isfinite(other) & self.trusted
        if not valid.any():
            return None
        difference, told = own - other, other[valid]
        # percent of values that go through zero would mean nothing
        centred = told.min() < 0
        size = np.full_like(other, np.std(told)) if centred else np.abs(other)
        share = 100 * difference / np.where(size > 0, size, np.nan)
        numbers = share[valid & np.isfinite(share)]
        if not numbers.size:
            return None
        middle, mean, deviation = (float(f(numbers)) for f in (np.median, np.mean, np.std))
        low, high = mean - 1.96 * deviation, mean + 1.96 * deviation
        known = valid & np.isfinite(spread) & (spread > 0)
        far = float((np.abs(difference) > _FAR * spread)[known].mean()) if known.any() else np.nan
        unit = display_unit(c.own[name].parameter)
        scale = scale_of(name, told)
        of = "the spread" if centred else c.classical
        pictures = (
            self._picture(c.network, name, own, scale, unit),
            self._picture(c.classical, name, other, scale, unit),
            self._picture(
                "difference",
                f"difference in % of {of}",
                np.where(valid, share, np.nan),
                symmetric_scale(numbers, 1.0),
                _PERCENT,
            ),
        )
        text = (
            f"{number(_clean(middle))} %",
            f"{number(low)} to {number(high)} %",
            "no SD" if np.isnan(far) else f"{number(100 * far)} %",
        )
        return ComparedParameter(name, pictures, text, middle, low, high, far)

    def _picture(
        self, label: str, quantity: str, values: Floats, scale: Scale, unit: DisplayUnit
    ) -> tuple[str, Picture, ColourBar]:
        bar = figures.colour_bar(scale, quantity, unit)
        alt = f"{quantity}, {label}, {self.mosaic.description}; colours: {bar.note}"
        return label, figures.map_picture(values, scale, self.mosaic, alt), bar


def _clean(value: float) -> float:
    """Percent below a thousandth read as none."""
    return 0.0 if abs(value) < 1e-3 else value
