"""Reports: one self-contained page per measurement, and one per group."""

from fastqmri.report.build import InputRecord, ReportContent, metrics_paths, write_report
from fastqmri.report.verdict import Verdict, judge

__all__ = ["InputRecord", "ReportContent", "Verdict", "judge", "metrics_paths", "write_report"]
