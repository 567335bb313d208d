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
    numbers = Numbers(content.maps, content.regions, content.region_names)
    guessed = dict.fromkeys(record.role for record in content.inputs if record.guessed)
    verdict = judge(numbers, warnings=content.warnings, guessed=tuple(guessed))
    page = render("report.html.j2", Page(content, numbers, verdict).context())
    for_programs, for_tables = metrics_paths(path)
    write_text(for_programs, as_json(content, numbers, verdict))
    write_text(for_tables, as_table(numbers))
    write_text(path, page)
    return verdict
