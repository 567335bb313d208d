"""One self-contained page per measurement: can I trust these maps, and where did they come from?"""

from __future__ import annotations

from pathlib import Path

from fastqmri.io.atomic import write_text
from fastqmri.report.content import ReportContent
from fastqmri.report.metrics import as_json, as_table, metrics_paths
from fastqmri.report.pages import render
from fastqmri.report.sections import Page
from fastqmri.report.statistics import Numbers
from fastqmri.report.verdict import Verdict, judge


def write_report(path: Path, content: ReportContent) -> Verdict:
    """Write the report, and its numbers beside it (`metrics_paths` says where).

    The page holds all its pictures, styles and scripts: it opens anywhere, without a network.

    Raises:
        OutputError: a file can't be written.
        UnknownNameError: a shown parameter that the maps don't hold, or an unknown reference.
    """
    verdict, pages = render_report(path, content)
    for file, text in pages.items():
        write_text(file, text)
    return verdict


def render_report(path: Path, content: ReportContent) -> tuple[Verdict, dict[Path, str]]:
    """Everything that `write_report` writes, file by file, the page last; nothing is written.

    Raises:
        UnknownNameError: as `write_report`.
    """
    numbers = Numbers(content.maps, content.regions, content.region_names)
    guessed = dict.fromkeys(record.role for record in content.inputs if record.guessed)
    verdict = judge(numbers, warnings=content.warnings, guessed=tuple(guessed))
    page = render("report.html.j2", Page(content, numbers, verdict).context())
    for_programs, for_tables = metrics_paths(path)
    return verdict, {
        for_programs: as_json(content, numbers, verdict),
        for_tables: as_table(numbers),
        path: page,
    }
