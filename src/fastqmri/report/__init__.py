"""Reports: one self-contained page per measurement, and one per group."""

from fastqmri.report.build import render_report, write_report
from fastqmri.report.comparison import MethodComparison
from fastqmri.report.consistency import ConsistencyTally, KSpaceConsistency
from fastqmri.report.content import InputRecord, ReportContent
from fastqmri.report.index import write_index
from fastqmri.report.metrics import metrics_paths
from fastqmri.report.verdict import Verdict, judge

__all__ = [
    "ConsistencyTally",
    "InputRecord",
    "KSpaceConsistency",
    "MethodComparison",
    "ReportContent",
    "Verdict",
    "judge",
    "metrics_paths",
    "render_report",
    "write_index",
    "write_report",
]
