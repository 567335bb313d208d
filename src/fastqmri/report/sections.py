"""What the template shows, section by section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fastqmri.core import Parameter
from fastqmri.core.references import bibtex, citation, doi
from fastqmri.physics.signal.diffusion import TENSOR_ELEMENTS
from fastqmri.report import evidence, figures
from fastqmri.report.colours import Floats, Scale, image_scale, scale_of, uncertainty_scale, window
from fastqmri.report.comparison_panel import ComparisonPanel
from fastqmri.report.content import InputRecord, ReportContent
from fastqmri.report.figures import ColourBar, Picture
from fastqmri.report.mosaic import plan
from fastqmri.report.prose import methods_text, versions
from fastqmri.report.quantities import (
    DisplayUnit,
    count,
    display_unit,
    flag_name,
    grouped,
    number,
    percent,
)
from fastqmri.report.statistics import WHOLE, Numbers, Summary, array
from fastqmri.report.verdict import Verdict

COLOUR_REFERENCES = ("fuderer2025", "crameri2020")
LEADING = 4
"""So many parameters are shown at once; further ones wait behind a click."""
_MOST_IMAGES = 10
_PERCENT = DisplayUnit(1.0, "%")


@dataclass(frozen=True)
class MapView:
    """One of the pictures that a reader switches between."""

    label: str
    picture: Picture
    bar: ColourBar | None = None
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Block:
    """All views of one parameter."""

    name: str
    description: str
    views: tuple[MapView, ...]


class Page:
    """Turns the content of a report into what its template needs.

    Args:
        content: of the report.
        numbers: the same maps as arrays, summarised.
        verdict: on them.
    """

    def __init__(self, content: ReportContent, numbers: Numbers, verdict: Verdict) -> None:
        self.content, self.numbers, self.verdict = content, numbers, verdict
        self.maps, self.model = content.maps, content.model
        self.mosaic = plan(numbers.inside, content.maps.affine)

    def context(self) -> dict[str, object]:
        """All that the template asks for."""
        content = self.content
        references = tuple(dict.fromkeys((*content.references, *COLOUR_REFERENCES)))
        blocks = [*(self._block(name) for name in content.shown), *self._known_blocks()]
        return {
            "title": content.title,
            "model": self.model,
            "method": content.method,
            "verdict": self.verdict,
            "versions": versions(),
            "seconds": None if content.seconds is None else f"{number(content.seconds)} s",
            "voxels": count(int(self.numbers.inside.sum())),
            "headlines": [self._headline(s) for s in self._whole[:LEADING]],
            "inputs": self._input_rows(),
            "images": self._images(),
            "slices": self.mosaic.description,
            "tile": self._flag_view.picture.width,
            "blocks": blocks[:LEADING],
            "further": blocks[LEADING:],
            "directions": self._directions(),
            "flags": self._flag_rows(),
            "flag_view": self._flag_view,
            "uncertainty": [self._uncertainty_row(s) for s in self._whole],
            "notes": self.maps.notes,
            "evidence": self._evidence(),
            "kspace": self._kspace(),
            "comparison": self._comparison(),
            "distributions": [self._distribution(name) for name in content.shown[:LEADING]],
            "statistics": self._statistics_rows(),
            "methods": methods_text(content, self.numbers),
            "references": [(citation(key), doi(key)) for key in references],
            "bibtex": bibtex(references),
            "command": content.command,
        }

    @cached_property
    def _whole(self) -> list[Summary]:
        return [self.numbers.summaries[name, WHOLE] for name in self.content.shown]

    def _unit(self, name: str) -> DisplayUnit:
        return display_unit(self.maps[name].parameter)

    def _headline(self, summary: Summary) -> tuple[str, str, str]:
        """Name, median and quartiles."""
        unit = self._unit(summary.parameter)
        return summary.parameter, unit.show(summary.median), _quartiles(summary, unit)

    def _input_rows(self) -> list[tuple[InputRecord, list[str]]]:
        """Inputs role by role, with the files that share a value and its source in one row."""
        rows: dict[InputRecord, list[str]] = {}
        for record in self.content.inputs:
            rows.setdefault(replace(record, file=""), []).append(record.file)
        roles = list(dict.fromkeys(record.role for record in rows))
        return sorted(rows.items(), key=lambda row: roles.index(row[0].role))

    def _images(self) -> Picture:
        """The middle slice of the measured contrasts, in the order they came in."""
        data = self.content.measurement.data
        chosen = np.linspace(0, len(data) - 1, min(len(data), _MOST_IMAGES)).round().astype(int).tolist()
        magnitudes = (data[i].abs() if data.is_complex() else data[i] for i in chosen)
        picture = self.mosaic.arrange_many((np.asarray(image.cpu()) for image in magnitudes), np.nan)
        finite = picture[np.isfinite(picture)]
        low, high = (finite.min(), np.percentile(finite, 99)) if finite.size else (0.0, 1.0)
        scale = image_scale(min(float(low), 0.0), max(float(high), float(low) + 1e-30))
        label, names = evidence.contrast_names(self.content.measurement.acquisition)
        which = f"{len(chosen)} of the {len(data)}" if len(chosen) < len(data) else f"The {len(data)}"
        made = "measured" if self.content.kspace is None else "reconstructed"
        alt = f"{which} {made} images in one slice and one grey window: {label} "
        return figures.image_picture(picture, scale, self.mosaic, alt + ", ".join(names[i] for i in chosen))

    def _block(self, name: str) -> Block:
        """A parameter's map, standard deviation, coefficient of variation and flags, for the same slices."""
        one, unit = self.maps[name], self._unit(name)
        values, deviations = self.numbers.values(name), self.numbers.deviations(name)
        scale = scale_of(name, self.numbers.representative(values))
        views = [self._view(name, name, values, scale, unit)]
        if np.isfinite(deviations).any():
            spread = uncertainty_scale(self.numbers.representative(deviations))
            views.append(self._view("Standard deviation", f"SD of {name}", deviations, spread, unit))
            if scale.low == 0:
                views.append(self._relative_view(name, values, deviations))
        return Block(name, one.parameter.description, (*views, self._flag_view))

    def _relative_view(self, name: str, values: Floats, deviations: Floats) -> MapView:
        positive = np.where(values > 0, values, np.nan)
        ratio = 100 * deviations / positive
        scale = uncertainty_scale(self.numbers.representative(ratio))
        return self._view("Coefficient of variation", f"SD / {name}", ratio, scale, _PERCENT)

    def _view(self, label: str, quantity: str, values: Floats, scale: Scale, unit: DisplayUnit) -> MapView:
        bar = figures.colour_bar(scale, quantity, unit)
        alt = f"{quantity}, {self.mosaic.description}; colours: {bar.note}"
        return MapView(label, figures.map_picture(values, scale, self.mosaic, alt), bar)

    def _known_blocks(self) -> list[Block]:
        """Maps that were measured elsewhere and held fixed."""
        blocks = []
        parameters = {p.name: p for p in self.model.parameters}
        for name, tensor in self.content.measurement.known.items():
            parameter = parameters.get(name, Parameter(name, "1", (0, 1), (0, 1), ""))
            values = np.where(self.numbers.inside, array(tensor), np.nan)
            scale = scale_of(name, self.numbers.representative(values))
            view = self._view(name, name, values, scale, display_unit(parameter))
            blocks.append(Block(name, f"{parameter.description}; measured elsewhere, held fixed", (view,)))
        return blocks

    @cached_property
    def _flag_view(self) -> MapView:
        counts = self.numbers.flag_counts(self.numbers.whole)
        named = ", ".join(f"{flag_name(f)} {grouped(n)}" for f, n in counts.items() if n)
        alt = f"Map of flags, {self.mosaic.description}; voxels: {named or 'none'}"
        picture = figures.flag_picture(self.numbers.flags, self.mosaic, alt)
        return MapView("Flags", picture, legend=tuple(figures.flag_legend(counts)))

    def _directions(self) -> Picture | None:
        if any(name not in self.maps for name in ("FA", *TENSOR_ELEMENTS)):
            return None
        elements = self.maps.value[[self.maps.names.index(name) for name in TENSOR_ELEMENTS]]
        alt = f"Fractional anisotropy coloured by main diffusion direction, {self.mosaic.description}"
        return figures.direction_picture(self.numbers.values("FA"), elements, self.mosaic, alt)

    def _flag_rows(self) -> list[tuple[str, str, str, str, str]]:
        """Colour, flag, meaning, voxels, share."""
        total = int(self.numbers.inside.sum())
        return [
            (figures.FLAG_COLOURS[f], flag_name(f), f.description, grouped(n), percent(n, total))
            for f, n in self.numbers.flag_counts(self.numbers.whole).items()
        ]

    def _uncertainty_row(self, summary: Summary) -> tuple[str, str, str]:
        """Parameter, mean standard deviation, median relative one."""
        return (
            summary.parameter,
            self._unit(summary.parameter).show(summary.mean_sd),
            _PERCENT.show(100 * summary.median_cv),
        )

    def _evidence(self) -> dict[str, object]:
        """Curves of chosen voxels, and residuals where the fit leaves any."""
        content, model = self.content, self.model
        label, fits = evidence.fits(content, self.numbers)
        samples = content.measurement.acquisition.contrasts * (2 if model.complex_valued else 1)
        shown: dict[str, object] = {
            "curves": figures.curves_figure(fits, label, _curves_alt(fits)) if fits else None,
            "excluded": any(fit.excluded.any() for fit in fits),
            "exact": samples <= model.unknowns,
            "residual": None,
        }
        if self.maps.residual is None or shown["exact"]:
            return shown
        scaled = np.where(self.numbers.inside, array(self.maps.residual), np.nan) / (
            self.numbers.noise or 1.0
        )
        trusted = self.numbers.representative(scaled)
        if not np.isfinite(trusted).any():
            return shown
        unit = DisplayUnit(1.0, "noise SD" if self.numbers.noise else "signal units")
        view = self._view("Residual", "RMS residual", scaled, uncertainty_scale(trusted), unit)
        contrasts = evidence.residuals_by_contrast(content, self.numbers)
        median = unit.show(float(np.nanmedian(trusted)))
        alt = f"Histogram of the residuals, median {median}, and residuals of every contrast"
        residuals = figures.residual_figure(trusted, contrasts, unit.text, alt)
        return shown | {"residual": view, "residuals": residuals}

    def _kspace(self) -> tuple[Picture, str] | None:
        """Picture of the k-space consistency, and its numbers in words."""
        kspace = self.content.kspace
        if kspace is None:
            return None
        words = f"The maps leave {_PERCENT.show(100 * kspace.relative)} of the measured k-space unexplained"
        if kspace.residual_over_noise is not None:
            words += f", {number(kspace.residual_over_noise)} times what noise alone would"
        alt = f"Measured k-space and its residual by distance from the centre. {words}"
        return figures.kspace_figure(kspace, alt), f"{words}."

    def _comparison(self) -> ComparisonPanel | None:
        comparison = self.content.comparison
        return None if comparison is None else ComparisonPanel(comparison, self.content.shown)

    def _distribution(self, name: str) -> Picture:
        """Histograms of a parameter by region."""
        one, unit = self.maps[name], self._unit(name)
        values = array(one.value)
        limits = window(name, self.numbers.representative(self.numbers.values(name)))
        groups = [
            (r.name, unit.factor * values[r.voxels & self.numbers.trusted]) for r in self.numbers.regions
        ]
        words = (self._histogram_words(self.numbers.summaries[name, r.name]) for r in self.numbers.regions)
        return figures.histogram_figure(
            groups,
            f"{name} ({unit.text})" if unit.text else name,
            (limits[0] * unit.factor, limits[1] * unit.factor),
            f"Histograms of {name} by region: {'; '.join(words)}",
        )

    def _histogram_words(self, summary: Summary) -> str:
        if not summary.trusted:
            return f"{summary.region}, no trusted voxel"
        median = self._unit(summary.parameter).show(summary.median)
        return f"{summary.region}, median {median} of {count(summary.trusted)}"

    def _statistics_rows(self) -> list[tuple[str, ...]]:
        """Parameter, region, trusted and all voxels, median, quartiles, mean standard deviation."""
        rows: list[tuple[str, ...]] = []
        for name in self.content.shown:
            unit = self._unit(name)
            for region in self.numbers.regions:
                s = self.numbers.summaries[name, region.name]
                voxels = f"{grouped(s.trusted)} of {grouped(s.voxels)}"
                median, deviation = unit.show(s.median), unit.show(s.mean_sd)
                rows.append((name, region.name, voxels, median, _quartiles(s, unit), deviation))
        return rows


def _quartiles(summary: Summary, unit: DisplayUnit) -> str:
    return f"{number(summary.lower_quartile * unit.factor)} to {unit.show(summary.upper_quartile)}"


def _curves_alt(fits: Sequence[evidence.Fit]) -> str:
    described = "; ".join(f"{fit.subtitle}, {fit.title}" for fit in fits)
    return f"Measured signals and fitted curves of {count(len(fits))}: {described}"
