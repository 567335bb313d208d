"""One self-contained page per measurement: can I trust these maps, and where did they come from?"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from fastqmri.core import Flag, Measurement, ParameterMap, ParameterMaps
from fastqmri.core.references import bibtex, citation, doi
from fastqmri.io.atomic import atomic
from fastqmri.physics.signal import SignalModel
from fastqmri.physics.signal.diffusion import TENSOR_ELEMENTS
from fastqmri.report import evidence, figures
from fastqmri.report.colours import Floats, Scale, scale_of, uncertainty_scale, window
from fastqmri.report.figures import ColourBar, Picture
from fastqmri.report.mosaic import Mosaic, plan
from fastqmri.report.pages import render
from fastqmri.report.prose import methods_text, versions
from fastqmri.report.quantities import DisplayUnit, count, display_unit, flag_name, grouped, number, percent
from fastqmri.report.statistics import (
    WHOLE,
    Region,
    Summary,
    array,
    flag_counts,
    inside,
    noise_level,
    regions_of,
    summarise,
)
from fastqmri.report.verdict import Verdict, judge

COLOUR_REFERENCES = ("fuderer2025", "crameri2020")


@dataclass(frozen=True)
class InputRecord:
    """One row of the input table.

    Attributes:
        file: which file it came from, as the user named it.
        role: what it is (``flip angle``, ``mask``, ``B1+ map``).
        value: with its unit.
        source: where the value was read (``sidecar``, ``--fa``, ``file name``).
        guessed: whether nothing stated it.
    """

    file: str
    role: str
    value: str
    source: str
    guessed: bool = False


@dataclass(frozen=True)
class ReportContent:
    """Everything a report is made of.

    Attributes:
        title: of the page.
        maps: the estimate.
        measurement: what was measured.
        model: A, as fitted.
        method: name and description (``nlls: non-linear least squares …``).
        command: that repeats the run.
        inputs: files and values, and where each came from.
        shown: parameters to show, the most important first.
        references: bibliography keys of the model and the method.
        warnings: sentences that the reader must see.
        seconds: run time of the estimate.
        regions: (*voxels) integer labels to summarise by, 0 for none.
        region_names: label -> name.
    """

    title: str
    maps: ParameterMaps
    measurement: Measurement
    model: SignalModel
    method: str
    command: str
    inputs: tuple[InputRecord, ...]
    shown: tuple[str, ...]
    references: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    seconds: float | None = None
    regions: Tensor | None = None
    region_names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _MapView:
    """One of the pictures that a reader switches between."""

    label: str
    picture: Picture
    bar: ColourBar | None = None
    legend: tuple[tuple[str, str], ...] = ()


def write_report(path: Path, content: ReportContent) -> Verdict:
    """Write the report, and its numbers beside it; see `metrics_paths` for their names.

    Raises:
        OutputError: a file can't be written.
        UnknownNameError: a shown parameter that the maps don't hold, or an unknown reference.
    """
    maps = content.maps
    guessed = dict.fromkeys(record.role for record in content.inputs if record.guessed)
    verdict = judge(maps, warnings=content.warnings, guessed=guessed)
    regions = regions_of(maps, content.regions, content.region_names)
    summaries = [summarise(maps, one.parameter.name, region) for one in maps for region in regions]
    page = render("report.html.j2", _context(content, verdict, regions, summaries))
    as_json, as_table = metrics_paths(path)
    _write(as_json, json.dumps(_metrics(content, verdict, regions, summaries), indent=2, ensure_ascii=False))
    _write(as_table, _table(maps, regions, summaries))
    _write(path, page)
    return verdict


def metrics_paths(path: Path) -> tuple[Path, Path]:
    """JSON and TSV of a report's numbers: ``report.html`` has ``metrics.json`` and ``metrics.tsv``."""
    stem = path.stem.removesuffix("report") if path.stem.endswith("report") else f"{path.stem}_"
    return path.with_name(f"{stem}metrics.json"), path.with_name(f"{stem}metrics.tsv")


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")


def _context(
    content: ReportContent, verdict: Verdict, regions: Sequence[Region], summaries: Sequence[Summary]
) -> dict[str, object]:
    """What the template shows, section by section."""
    maps, mask = content.maps, inside(content.maps)
    mosaic = plan(maps.flags & int(Flag.MASKED) == 0, maps.affine)
    references = tuple(dict.fromkeys((*content.references, *COLOUR_REFERENCES)))
    cited = tuple(dict.fromkeys(content.references))
    return {
        "title": content.title,
        "model": content.model,
        "method": content.method,
        "verdict": verdict,
        "versions": versions(),
        "seconds": None if content.seconds is None else f"{number(content.seconds)} s",
        "voxels": count(int(mask.sum())),
        "headlines": _headlines(content, summaries),
        "inputs": content.inputs,
        "slices": mosaic.description,
        "blocks": [_block(content, name, mosaic) for name in content.shown],
        "directions": _directions(content, mosaic),
        "flags": _flag_rows(maps, regions[0]),
        "flag_view": _flag_view(maps, mosaic),
        "uncertainty": _uncertainty_rows(content, summaries),
        "notes": maps.notes,
        "evidence": _evidence(content, mosaic),
        "distributions": _distributions(content, regions),
        "statistics": _statistics_rows(content, summaries),
        "methods": methods_text(
            maps, content.measurement, content.model, content.method, content.shown, cited
        ),
        "references": [(citation(key), doi(key)) for key in references],
        "bibtex": bibtex(references),
        "command": content.command,
    }


def _unit_of(one: ParameterMap, scale: Scale) -> DisplayUnit:
    return display_unit(one.parameter.unit, max(abs(scale.low), abs(scale.high)))


def _shown_values(maps: ParameterMaps, name: str) -> tuple[Floats, Floats]:
    """Map with NaN outside the mask, and the values that its window is taken from."""
    values = np.where(inside(maps), array(maps[name].value), np.nan)
    trusted = values[np.asarray(maps.trusted.cpu())]
    return values, trusted if trusted.size else values


def _block(content: ReportContent, name: str, mosaic: Mosaic) -> dict[str, object]:
    """A parameter's map, standard deviation, coefficient of variation and flags, for the same slices."""
    maps, one = content.maps, content.maps[name]
    values, reference = _shown_values(maps, name)
    scale = scale_of(name, reference)
    unit = _unit_of(one, scale)
    views = [_view(name, name, values, scale, unit, mosaic)]
    deviation = np.where(inside(maps), array(one.standard_deviation), np.nan)
    trusted = np.asarray(maps.trusted.cpu())
    if np.isfinite(deviation).any():
        spread = uncertainty_scale(deviation[trusted])
        views.append(_view("Standard deviation", f"SD of {name}", deviation, spread, unit, mosaic))
        if scale.low == 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(values > 0, 100 * deviation / values, np.nan)
            relative = uncertainty_scale(ratio[trusted])
            views.append(
                _view("Relative", f"SD over {name}", ratio, relative, DisplayUnit(1.0, "%"), mosaic)
            )
    return {"name": name, "description": one.parameter.description, "views": [*views, _flag_view(maps, mosaic)]}


def _view(label: str, quantity: str, values: Floats, scale: Scale, unit: DisplayUnit, mosaic: Mosaic) -> _MapView:
    median = float(np.nanmedian(values)) if np.isfinite(values).any() else math.nan
    alt = f"{quantity}, {mosaic.description}; median {unit.show(median)}, window up to {unit.show(scale.high)}"
    return _MapView(
        label, figures.map_picture(values, scale, mosaic, alt), figures.colour_bar(scale, quantity, unit)
    )


def _flag_view(maps: ParameterMaps, mosaic: Mosaic) -> _MapView:
    counts = flag_counts(maps, Region(WHOLE, inside(maps)))
    named = ", ".join(f"{flag_name(f) if f else 'trusted'} {grouped(n)}" for f, n in counts.items() if n)
    alt = f"Map of flags, {mosaic.description}; voxels: {named or 'none'}"
    return _MapView(
        "Flags", figures.flag_picture(maps.flags, mosaic, alt), legend=tuple(figures.flag_legend(counts))
    )


def _directions(content: ReportContent, mosaic: Mosaic) -> Picture | None:
    maps = content.maps
    if "FA" not in maps or any(name not in maps for name in TENSOR_ELEMENTS):
        return None
    elements = maps.value[[maps.names.index(name) for name in TENSOR_ELEMENTS]]
    anisotropy = np.where(inside(maps), array(maps["FA"].value), 0.0)
    alt = f"Fractional anisotropy coloured by main diffusion direction, {mosaic.description}"
    return figures.direction_picture(anisotropy, elements, mosaic, alt)


def _headlines(content: ReportContent, summaries: Sequence[Summary]) -> list[tuple[str, str, str]]:
    """Name, median and quartiles of the shown parameters over the whole mask."""
    rows = []
    for summary in _whole(content, summaries):
        unit = _summary_unit(content.maps, summary)
        spread = f"{number(summary.lower_quartile * unit.factor)} to {unit.show(summary.upper_quartile)}"
        rows.append((summary.parameter, unit.show(summary.median), spread))
    return rows


def _whole(content: ReportContent, summaries: Sequence[Summary]) -> list[Summary]:
    found = {s.parameter: s for s in summaries if s.region == WHOLE}
    return [found[name] for name in content.shown]


def _summary_unit(maps: ParameterMaps, summary: Summary) -> DisplayUnit:
    """The unit that the parameter's map is shown in."""
    low, high = window(summary.parameter, _shown_values(maps, summary.parameter)[1])
    return display_unit(summary.unit, max(abs(low), abs(high)))


def _flag_rows(maps: ParameterMaps, mask: Region) -> list[tuple[str, str, str, str, str]]:
    """Colour, flag, meaning, voxels, share."""
    total = int(mask.voxels.sum())
    return [
        (
            figures.FLAG_COLOURS[flag],
            flag_name(flag) if flag else "trusted",
            flag.description,
            grouped(voxels),
            percent(voxels, total),
        )
        for flag, voxels in flag_counts(maps, mask).items()
    ]


def _uncertainty_rows(content: ReportContent, summaries: Sequence[Summary]) -> list[tuple[str, str, str]]:
    """Parameter, mean standard deviation, median relative one."""
    rows = []
    for summary in _whole(content, summaries):
        unit = _summary_unit(content.maps, summary)
        relative = "–" if math.isnan(summary.median_cv) else f"{number(100 * summary.median_cv)} %"
        rows.append((summary.parameter, unit.show(summary.mean_sd), relative))
    return rows


def _evidence(content: ReportContent, mosaic: Mosaic) -> dict[str, object]:
    """Curves of chosen voxels, and residuals where the fit leaves any."""
    maps, measurement, model = content.maps, content.measurement, content.model
    label, fits = evidence.fits(maps, measurement, model, content.shown[0])
    shown: dict[str, object] = {
        "curves": figures.curves_figure(fits, label, _curves_alt(fits)) if fits else None,
        "complex": model.complex_valued,
        "exact": measurement.acquisition.contrasts <= len(model.estimated) and not model.complex_valued,
        "excluded": any(fit.excluded.any() for fit in fits),
    }
    if shown["exact"] or maps.residual is None:
        return shown
    level = noise_level(maps)
    scaled = np.where(inside(maps), array(maps.residual), np.nan) / (level or 1.0)
    trusted = scaled[np.asarray(maps.trusted.cpu())]
    if not np.isfinite(trusted).any():
        return shown
    unit = "noise standard deviations" if level else "signal units"
    by_contrast = evidence.residuals_by_contrast(maps, measurement, model)
    if by_contrast is not None:
        by_contrast = by_contrast / (level or 1.0)
    alt = f"Histogram of residuals, median {number(float(np.nanmedian(trusted)))} {unit}, and residuals by contrast"
    scale = uncertainty_scale(trusted)
    return shown | {
        "residual": _view("Residual", "root mean square residual", scaled, scale, DisplayUnit(1.0, unit), mosaic),
        "residuals": figures.residual_figure(trusted, by_contrast, unit, alt),
    }


def _curves_alt(fits: Sequence[evidence.Fit]) -> str:
    described = "; ".join(f"{fit.subtitle}, {fit.title}" for fit in fits)
    return f"Measured signals and fitted curves of {count(len(fits))}: {described}"


def _distributions(content: ReportContent, regions: Sequence[Region]) -> list[tuple[str, Picture]]:
    """Histogram of every shown parameter by region."""
    maps, trusted = content.maps, np.asarray(content.maps.trusted.cpu())
    pictures = []
    for name in content.shown:
        one = maps[name]
        low, high = window(name, _shown_values(maps, name)[1])
        unit = display_unit(one.parameter.unit, max(abs(low), abs(high)))
        values = array(one.value) * unit.factor
        groups = [(region.name, values[region.voxels & trusted]) for region in regions]
        label = f"{name} ({unit.text})" if unit.text else name
        alt = f"Histograms of {name} by region: " + "; ".join(_histogram_words(g, unit) for g in groups)
        limits = (low * unit.factor, high * unit.factor)
        pictures.append((name, figures.histogram_figure(groups, label, limits, alt)))
    return pictures


def _histogram_words(group: tuple[str, Floats], unit: DisplayUnit) -> str:
    name, values = group
    if not values.size:
        return f"{name}, no trusted voxel"
    return f"{name}, median {number(float(np.median(values)))} {unit.text} of {count(values.size)}"


def _statistics_rows(content: ReportContent, summaries: Sequence[Summary]) -> list[tuple[str, ...]]:
    """Parameter, region, trusted and all voxels, median, quartiles, mean standard deviation."""
    rows = []
    for summary in summaries:
        if summary.parameter in content.shown:
            unit = _summary_unit(content.maps, summary)
            quartiles = (number(q * unit.factor) for q in (summary.lower_quartile, summary.upper_quartile))
            voxels = f"{grouped(summary.trusted)} of {grouped(summary.voxels)}"
            median, deviation = unit.show(summary.median), unit.show(summary.mean_sd)
            rows.append((summary.parameter, summary.region, voxels, median, " to ".join(quartiles), deviation))
    return rows


def _metrics(
    content: ReportContent, verdict: Verdict, regions: Sequence[Region], summaries: Sequence[Summary]
) -> dict[str, object]:
    """The report's numbers for programs; units as the maps have them, null for what is unknown."""
    return {
        "title": content.title,
        "verdict": asdict(verdict),
        "model": content.model.title,
        "method": content.method,
        "shown": content.shown,
        "versions": versions(),
        "flags": {
            region.name: {f.name: n for f, n in flag_counts(content.maps, region).items()} for region in regions
        },
        "maps": [{k: _finite(v) for k, v in asdict(summary).items()} for summary in summaries],
    }


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(maps: ParameterMaps, regions: Sequence[Region], summaries: Sequence[Summary]) -> str:
    """Tab-separated: one row per parameter and region; ``n/a`` as BIDS has it."""
    counts = {region.name: flag_counts(maps, region) for region in regions}
    flags = [f for f in next(iter(counts.values())) if f]
    names = list(asdict(summaries[0]))
    lines = ["\t".join([*names, *(f"flag_{f.name}".lower() for f in flags)])]
    for summary in summaries:
        cells = [_cell(v) for v in asdict(summary).values()]
        lines.append("\t".join([*cells, *(str(counts[summary.region][f]) for f in flags)]))
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else "n/a"
    return " ".join(str(value).split())

