"""``run`` on a miniature BIDS dataset: what is written, what is skipped, what is done again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests import builders

from fastqmri.io import read_image

SCANS = ("IRT1", "MEGRE", "MESE", "VFA", "dwi")


def times(folder: Path, pattern: str = "**/*") -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob(pattern) if path.is_file()}


def mapped(folder: Path) -> set[str]:
    """Suffixes of the scans that a run recorded as done."""
    return {path.stem.rpartition("_")[2] for path in (folder / "logs").glob("*.json")}


@pytest.fixture(scope="module")
def mapped_once(invoke, tmp_path_factory):
    """A dataset of one subject with every kind of scan, and its maps; not to be changed."""
    folder = tmp_path_factory.mktemp("run")
    builders.build(folder / "raw")
    result = invoke("run", folder / "raw", folder / "maps")
    assert result.exit_code == 0, result.output
    return folder, result.output


@pytest.fixture
def raw(mapped_once, tmp_path) -> tuple[Path, Path]:
    """A copy of both, to change; times of files are kept."""
    for name in ("raw", "maps"):
        shutil.copytree(mapped_once[0] / name, tmp_path / name)
    return tmp_path / "raw", tmp_path / "maps"


def test_dry_run_says_all_and_writes_nothing(invoke, mapped_once, tmp_path):
    result = invoke("run", mapped_once[0] / "raw", tmp_path / "out", "participant", "--dry-run")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    for scan, model in zip(SCANS, ("irt1", "megre", "mese", "vfa", "dti"), strict=True):
        (line,) = [line for line in lines if line.startswith(f"sub-01_{scan}:")]
        assert model in line
    assert "T1, R1, M0" in result.output
    assert "B1+ map: sub-01_TB1map.nii.gz" in result.output
    assert max(map(len, lines)) <= 80
    assert not (tmp_path / "out").exists()


def test_maps_hold_the_truth(mapped_once):
    anat = mapped_once[0] / "maps" / "sub-01" / "anat"
    for name, file in {
        "T1": "sub-01_desc-VFAnlls_T1map",
        "T2": "sub-01_desc-MESEnlls_T2map",
        "T2star": "sub-01_desc-MEGREnlls_T2starmap",
        "inversion_factor": "sub-01_desc-IRT1nlls_inversionFactor",
    }.items():
        found = read_image(anat / f"{file}.nii.gz")
        np.testing.assert_allclose(found.data, builders.truth([name])[0], rtol=2e-3)  # images are float32
        np.testing.assert_allclose(found.affine, builders.AFFINE, atol=1e-5)
    mean = read_image(mapped_once[0] / "maps/sub-01/dwi/sub-01_desc-dwiwls_MD.nii.gz").data
    np.testing.assert_allclose(mean, builders.truth(["Dxx", "Dyy", "Dzz"]).mean(0), rtol=2e-3)


def test_reports_and_their_index_are_written(mapped_once):
    folder, output = mapped_once
    index = folder / "maps" / "reports" / "index.html"
    assert output.splitlines()[-1] == f"Open the reports in a browser: {index}"
    for scan in SCANS:
        assert (folder / "maps" / "reports" / f"sub-01_{scan}_report.html").is_file()
        assert f"sub-01_{scan}_report.html" in index.read_text()


def test_derivatives_are_valid(mapped_once):
    validator = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    command = [validator, mapped_once[0] / "maps", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert not [issue for issue in issues if issue["severity"] == "error"]


def test_second_run_leaves_everything_alone(invoke, raw):
    dataset, maps = raw
    before = times(maps)
    result = invoke("run", dataset, maps)
    assert result.exit_code == 0
    assert result.output.count("done already") == len(SCANS) + 1  # each scan, and the sum
    after = times(maps)
    assert {path for path in after if after[path] != before.get(path)} <= set(maps.glob("reports/index.*"))
    assert before.keys() == after.keys()


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("image", {"VFA"}),
        ("sidecar", {"VFA"}),
        ("b1", {"VFA"}),
        ("map deleted", {"MESE"}),
        ("force", set(SCANS)),
    ],
)
def test_what_changed_is_mapped_again(invoke, raw, change, again):
    dataset, maps = raw
    before = times(maps, "logs/*.json")
    anat = dataset / "sub-01" / "anat"
    if change == "image":
        image = anat / "sub-01_flip-2_VFA.nii.gz"
        builders.write_nifti(image, 1.01 * read_image(image).data.numpy())
    elif change == "sidecar":
        (anat / "sub-01_flip-2_VFA.json").write_text('{"FlipAngle": 11}')
    elif change == "b1":
        os.utime(dataset / "sub-01" / "fmap" / "sub-01_TB1map.nii.gz")
    elif change == "map deleted":
        (maps / "sub-01" / "anat" / "sub-01_desc-MESEnlls_T2map.nii.gz").unlink()
    result = invoke("run", dataset, maps, *(("--force",) if change == "force" else ()))
    assert result.exit_code == 0, result.output
    after = times(maps, "logs/*.json")
    assert {path.stem.rpartition("_")[2] for path in after if after[path] != before[path]} == again
    assert (maps / "sub-01" / "anat" / "sub-01_desc-MESEnlls_T2map.nii.gz").exists()


def test_only_the_subjects_named(invoke, refused, tmp_path):
    dataset = builders.Dataset(tmp_path / "raw")
    for label in ("01", "02", "03"):
        builders.add_mese(dataset, label)
    result = invoke("run", tmp_path / "raw", tmp_path / "maps", "--participant-label", "03", "sub-01")
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "maps").glob("sub-*")} == {"sub-01", "sub-03"}
    text = refused("FQ301", "run", tmp_path / "raw", tmp_path / "maps", "--participant-label", "09")
    assert "01, 02, 03" in text


def test_diffusion_without_directions_gets_a_diffusion_coefficient(invoke, tmp_path):
    """Fewer than six directions can't give a tensor."""
    dataset = builders.Dataset(tmp_path / "raw")
    builders.add_dwi(dataset)
    folder = tmp_path / "raw" / "sub-01" / "dwi"
    same = np.tile([[0.0], [0.0], [1.0]], 7)
    np.savetxt(folder / "sub-01_dwi.bvec", same)
    result = invoke("run", tmp_path / "raw", tmp_path / "maps", "--dry-run")
    assert "adc" in result.output


# --- trouble --------------------------------------------------------------------------------------------


def break_image(dataset: Path) -> None:
    path = dataset / "sub-01" / "anat" / "sub-01_inv-2_IRT1.nii.gz"
    path.write_bytes(path.read_bytes()[:-40])


def break_sidecar(dataset: Path) -> None:
    (dataset / "sub-01" / "anat" / "sub-01_inv-2_IRT1.json").write_text("{")


@pytest.mark.parametrize(("planted", "code"), [(break_image, "FQ301"), (break_sidecar, "FQ302")])
def test_one_broken_scan_does_not_stop_the_others(invoke, tmp_path, planted, code):
    builders.build(tmp_path / "raw")
    planted(tmp_path / "raw")
    result = invoke("run", tmp_path / "raw", tmp_path / "maps")
    assert result.exit_code == 3
    assert f"Error {code}" in result.output
    assert "sub-01_inv-2_IRT1" in result.output
    assert mapped(tmp_path / "maps") == set(SCANS) - {"IRT1"}
    assert not list((tmp_path / "maps").rglob("*IRT1*"))
    assert "Open the reports" in result.output
    again = invoke("run", tmp_path / "raw", tmp_path / "maps")
    assert again.exit_code == 3
    assert "4 done already" in again.output


def test_a_bug_in_one_scan_does_not_stop_the_others(invoke, tmp_path, monkeypatch):
    from fastqmri.cli import job

    whole = job.estimate

    def fails_for_echoes(one: job.Job) -> job.Outcome:
        if one.entry.name == "mese":
            raise RuntimeError("planted")
        return whole(one)

    monkeypatch.setattr(job, "estimate", fails_for_echoes)
    dataset = builders.Dataset(tmp_path / "raw")
    builders.add_mese(dataset)
    builders.add_vfa(dataset)
    result = invoke("run", tmp_path / "raw", tmp_path / "maps")
    assert result.exit_code == 3
    assert "This is a bug in fastqmri" in result.output
    assert "RuntimeError: planted" in result.output
    assert mapped(tmp_path / "maps") == {"VFA"}


def test_nothing_usable_writes_nothing(refused, tmp_path):
    dataset = builders.Dataset(tmp_path / "raw")
    builders.add_mese(dataset)
    for path in (tmp_path / "raw").rglob("*_MESE.json"):
        path.unlink()
    refused("FQ301", "run", tmp_path / "raw", tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize("what", ["empty", "missing", "not BIDS"])
def test_no_scans_is_refused_with_what_was_expected(refused, tmp_path, what):
    if what == "empty":
        builders.Dataset(tmp_path / "raw")
    elif what == "not BIDS":
        (tmp_path / "raw").mkdir()
    text = refused("FQ301", "run", tmp_path / "raw", tmp_path / "maps")
    assert str(tmp_path / "raw") in text
    assert not (tmp_path / "maps").exists()


def test_unknown_level_is_refused(refused, mapped_once, tmp_path):
    refused("FQ501", "run", mapped_once[0] / "raw", tmp_path / "maps", "group")


def test_somebody_else_s_dataset_is_left_alone(refused, mapped_once, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "dataset_description.json").write_text('{"Name": "other", "BIDSVersion": "1.10.0"}')
    refused("FQ401", "run", mapped_once[0] / "raw", other)
    assert len(list(other.iterdir())) == 1


def test_raw_dataset_is_no_output_folder(refused, mapped_once):
    raw = mapped_once[0] / "raw"
    before = times(raw)
    refused("FQ401", "run", raw, raw)
    assert times(raw) == before


def test_images_are_not_touched(mapped_once, tmp_path):
    builders.build(tmp_path / "raw")
    for path in (tmp_path / "raw").rglob("*.nii.gz"):
        twin = mapped_once[0] / "raw" / path.relative_to(tmp_path / "raw")
        np.testing.assert_array_equal(nibabel.load(path).get_fdata(), nibabel.load(twin).get_fdata())
