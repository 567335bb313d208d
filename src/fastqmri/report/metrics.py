"""The numbers of a report for programs and tables, beside the page."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

from fastqmri.report.comparison_panel import ComparisonPanel
from fastqmri.report.content import ReportContent
from fastqmri.report.prose import versions
from fastqmri.report.statistics import Numbers
from fastqmri.report.verdict import Verdict


def metrics_paths(page: Path) -> tuple[Path, Path]:
    """JSON and TSV of a report: ``report.html`` has ``metrics.json`` and ``metrics.tsv``.

    What precedes ``report`` in the name is kept: ``sub-01_report.html`` has ``sub-01_metrics.json``.
    """
    stem = page.stem.removesuffix("report") if page.stem.endswith("report") else f"{page.stem}_"
    return page.with_name(f"{stem}metrics.json"), page.with_name(f"{stem}metrics.tsv")


def as_json(content: ReportContent, numbers: Numbers, verdict: Verdict) -> str:
    """Everything, nested; units as the maps have them, null for what is unknown."""
    record = {
        "title": content.title,
        "verdict": asdict(verdict),
        "model": content.model.title,
        "method": content.method,
        "shown": content.shown,
        "versions": versions(),
        "flags": {
            region.name: {flag.name: n for flag, n in numbers.flag_counts(region).items()}
            for region in numbers.regions
        },
        "maps": [
            {key: _or_null(value) for key, value in asdict(summary).items()}
            for summary in numbers.summaries.values()
        ],
    }
    if content.kspace is not None:
        record["kspace"] = {
            "relative_residual": _or_null(content.kspace.relative),
            "residual_over_noise": _or_null(content.kspace.residual_over_noise),
            "acceleration": _or_null(content.kspace.acceleration),
            "coils": content.kspace.coils,
        }
    if content.comparison is not None:
        panel = ComparisonPanel(content.comparison, content.shown)
        record["comparison"] = {
            "network": content.comparison.network,
            "classical": content.comparison.classical,
            "voxels": panel.voxels,
            "seconds": content.comparison.seconds,
            "classical_seconds": content.comparison.other_seconds,
            "percent": {
                one.name: {key: _or_null(getattr(one, key)) for key in ("median", "low", "high", "beyond")}
                for one in panel.parameters
            },
        }
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_table(numbers: Numbers) -> str:
    """One row per parameter and region, tab-separated; ``n/a`` for what is unknown, as BIDS has it."""
    counts = {region.name: numbers.flag_counts(region) for region in numbers.regions}
    lines: list[str] = []
    for summary in numbers.summaries.values():
        flags = {f"flag_{flag.name}".lower(): n for flag, n in counts[summary.region].items() if flag}
        row = {**asdict(summary), **flags}
        lines = lines or ["\t".join(row)]
        lines.append("\t".join(cell(value) for value in row.values()))
    return "\n".join(lines) + "\n"


def cell(value: object) -> str:
    """A value as a table cell: no tab, no line break."""
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else "n/a"
    return " ".join(str(value).split())


def _or_null(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
