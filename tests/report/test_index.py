"""The group page links every report and shows its verdict and medians."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from fastqmri.core import FileError, Flag
from fastqmri.report import write_index, write_report
from report.samples import DIFFUSION, flagged, sample
from report.test_report import Outline


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    folder = tmp_path_factory.mktemp("group")
    scans = {
        "sub-01_VFA": sample(shape=(5, 5)),
        "sub-02_VFA": flagged(sample(shape=(6, 6)), int(Flag.AT_BOUND)),
        "sub-02_ses-2_VFA": sample(shape=(4, 4)),
        "sub-03_dwi": replace(sample("dti", DIFFUSION, (4, 4)), title="<b>bold</b>"),
    }
    reports = []
    for name, content in scans.items():
        reports.append(folder / f"{name}_report.html")
        write_report(reports[-1], content)
    return reports


def test_every_scan_is_listed(group):
    index = group[0].with_name("index.html")
    write_index(index, group)
    text = index.read_text(encoding="utf-8")
    page = Outline(text)
    links = {address for tag, address in page.addresses if tag == "a"}
    assert links == {path.name for path in group}
    assert all(index.with_name(link).is_file() for link in links)
    for expected in ("sub-01_VFA", "sub-02_VFA", "sub-03_dwi", "Fail", "T1 (s)", "Diffusion tensor"):
        assert expected in page.text
    assert "None of 36 voxels" in page.text
    assert all(address.startswith(("data:", *links)) for _, address in page.addresses)


def test_medians_are_tabulated(tmp_path, group):
    write_index(tmp_path / "index.html", group)
    with (tmp_path / "index.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["scan"] for row in rows] == ["sub-01_VFA", "sub-02_VFA", "sub-02_ses-2_VFA", "sub-03_dwi"]
    assert 1.0 < float(rows[0]["T1_median"]) < 2.6
    assert rows[1]["T1_median"] == "n/a", "nothing is trusted"
    assert rows[0]["FA_median"] == "n/a"


def test_links_reach_other_folders_and_odd_names(tmp_path):
    report = tmp_path / "sub 1#" / "anat" / "report.html"
    write_report(report, sample(shape=(3, 3)))
    write_index(tmp_path / "group" / "index.html", [report])
    text = (tmp_path / "group" / "index.html").read_text(encoding="utf-8")
    assert 'href="../sub%201%23/anat/report.html"' in text


def test_no_scan_makes_an_empty_page(tmp_path):
    write_index(tmp_path / "index.html", [])
    assert "Reports of 0 scans" in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("metrics", [None, "{}", "not JSON"])
def test_report_without_its_metrics_is_named(tmp_path, metrics):
    report = tmp_path / "sub-01_report.html"
    if metrics is not None:
        (tmp_path / "sub-01_metrics.json").write_text(metrics)
    with pytest.raises(FileError, match=r"sub-01_metrics\.json"):
        write_index(tmp_path / "index.html", [report])
    assert not (tmp_path / "index.html").exists()
