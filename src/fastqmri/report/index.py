"""The page of a group: every scan's verdict and medians, one click from its report."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fastqmri.core import FileError, Parameter
from fastqmri.io.atomic import write_text
from fastqmri.report.metrics import cell, metrics_paths
from fastqmri.report.pages import render
from fastqmri.report.prose import versions
from fastqmri.report.quantities import DisplayUnit, display_unit, plain
from fastqmri.report.sections import LEADING
from fastqmri.report.statistics import WHOLE


@dataclass(frozen=True)
class Scan:
    """One row of the group page.

    Attributes:
        label: name of the report without its ending.
        link: address of the report, relative to the group page.
        model: in words.
        level: of the verdict.
        reasons: for the verdict.
        medians: parameter -> (median, unit as the maps have it), the most important first.
    """

    label: str
    link: str
    model: str
    level: str
    reasons: tuple[str, ...]
    medians: dict[str, tuple[float, str]]


@dataclass(frozen=True)
class Strip:
    """Medians of one parameter over all scans, as dots on a line.

    Attributes:
        label: parameter and unit.
        dots: (place in percent, scan, value with its unit).
        ticks: (place in percent, text).
    """

    label: str
    dots: tuple[tuple[float, Scan, str], ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Group:
    """The scans of one model.

    Attributes:
        model: in words.
        names: parameters with a column.
        rows: scan and its medians in the order of the names.
        strips: of the parameters that at least two scans hold.
    """

    model: str
    names: tuple[str, ...]
    rows: tuple[tuple[Scan, tuple[str, ...]], ...]
    strips: tuple[Strip, ...]


def write_index(path: Path, reports: Sequence[Path]) -> None:
    """Write the group page of several reports, and a TSV of their medians beside it.

    Args:
        path: of the group page; its links are relative.
        reports: pages made by `write_report`, with their metrics still beside them.

    Raises:
        FileError: a report without its metrics.
        OutputError: a file can't be written.
    """
    scans = [read_scan(report, path.parent) for report in reports]
    levels = {level: sum(scan.level == level for scan in scans) for level in ("ok", "check", "fail")}
    models = dict.fromkeys(scan.model for scan in scans)
    groups = [_group(model, [scan for scan in scans if scan.model == model]) for model in models]
    context = {"count": len(scans), "levels": levels, "groups": groups, "versions": versions()}
    write_text(path.with_suffix(".tsv"), _table(scans))
    write_text(path, render("index.html.j2", context))


def read_scan(report: Path, folder: Path) -> Scan:
    """What the metrics beside a report say; ``folder`` is where links start.

    Raises:
        FileError: the metrics are missing or broken.
    """
    source = metrics_paths(report)[0]
    try:
        record = json.loads(source.read_text(encoding="utf-8"))
        whole = {row["parameter"]: row for row in record["maps"] if row["region"] == WHOLE}
        return Scan(
            label=report.stem.removesuffix("report").rstrip("_-") or report.parent.name,
            link=quote(Path(os.path.relpath(report, folder)).as_posix()),
            model=record["model"],
            level=record["verdict"]["level"],
            reasons=tuple(record["verdict"]["reasons"]),
            medians={
                name: (whole[name]["median"], whole[name]["unit"])
                for name in record["shown"]
                if whole[name]["median"] is not None
            },
        )
    except (OSError, ValueError, KeyError) as error:
        raise FileError(
            f"{source}: {error}",
            "the group page is made from the metrics that lie beside each report.",
            "Write the report again.",
        ) from error


def _group(model: str, scans: Sequence[Scan]) -> Group:
    names = tuple(dict.fromkeys(name for scan in scans for name in list(scan.medians)[:LEADING]))
    holders = {name: [scan for scan in scans if name in scan.medians] for name in names}
    return Group(
        model,
        names,
        tuple((scan, tuple(_shown(scan, name) for name in names)) for scan in scans),
        tuple(_strip(name, found) for name, found in holders.items() if len(found) > 1),
    )


def _unit(name: str, unit: str) -> DisplayUnit:
    return display_unit(Parameter(name, unit, (0.0, 0.0), (0.0, 0.0), ""))


def _shown(scan: Scan, name: str) -> str:
    if name not in scan.medians:
        return ""
    median, unit = scan.medians[name]
    return _unit(name, unit).show(median)


def _strip(name: str, scans: Sequence[Scan]) -> Strip:
    from matplotlib.ticker import MaxNLocator

    unit = _unit(name, scans[0].medians[name][1])
    values = [scan.medians[name][0] * unit.factor for scan in scans]
    # Equal medians must not be drawn as a spread: a strip spans a fifth of its values at least.
    margin = max(0.0, 0.1 * max(abs(value) for value in values) - (max(values) - min(values)) / 2) or 1e-12
    locator = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
    ticks = locator.tick_values(min(values) - margin, max(values) + margin)
    low, high = float(ticks[0]), float(ticks[-1])

    def place(value: float) -> float:
        return 100 * (value - low) / (high - low)

    return Strip(
        f"{name} ({unit.text})" if unit.text else name,
        tuple((place(v), scan, _shown(scan, name)) for v, scan in zip(values, scans, strict=True)),
        tuple((place(float(tick)), plain(float(tick))) for tick in ticks),
    )


def _table(scans: Sequence[Scan]) -> str:
    """One row per scan, medians of all shown parameters in the units of the maps."""
    names = tuple(dict.fromkeys(name for scan in scans for name in scan.medians))
    lines = ["\t".join(["scan", "model", "verdict", *(f"{name}_median" for name in names)])]
    for scan in scans:
        medians = (cell(scan.medians[name][0]) if name in scan.medians else "n/a" for name in names)
        lines.append("\t".join([cell(scan.label), cell(scan.model), scan.level, *medians]))
    return "\n".join(lines) + "\n"
