from __future__ import annotations

import json
import subprocess
import sysconfig
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from tests import builders
from tests.builders import AFFINE, SHAPE, Dataset

from fastqmri.core import Flag, OutputError, Parameter, ParameterMaps, VariableFlipAngle
from fastqmri.io import (
    Collection,
    Estimation,
    find_collections,
    read_image,
    write_derivatives,
    write_plain,
    write_text,
)

ESTIMATION = Estimation("nlls", "Non-linear least squares", "doi:10.1000/1", details={"SoftwareVersion": "1"})
UNITS = {"T1": "s", "R1": "1/s", "T2": "s", "T2star": "s", "FA": "1", "MD": "mm2/s", "B0": "Hz"}
OUTPUTS = {
    "VFA": ("T1", "M0", "R1"),
    "IRT1": ("T1", "inversion_factor"),
    "MESE": ("T2", "M0", "R2"),
    "MEGRE": ("T2star", "R2star", "M0", "B0"),
    "dwi": ("S0", "FA", "MD", "ADC"),
}


def estimate(names: tuple[str, ...], shape: tuple[int, ...] = SHAPE) -> ParameterMaps:
    """Maps of ones, twos, …, with one voxel that holds no estimate."""
    parameters = tuple(
        Parameter(name, UNITS.get(name, "arbitrary"), (0.0, 10.0), (0.0, 10.0), f"what {name} is")
        for name in names
    )
    value = torch.ones(len(names), *shape) * torch.arange(1, len(names) + 1).view(-1, 1, 1, 1)
    value[:, 0, 0, 0] = torch.nan
    flags = torch.zeros(shape, dtype=torch.uint8)
    flags[0, 0, 0] = int(Flag.MASKED)
    flags[1, 0, 0] = int(Flag.AT_BOUND | Flag.LOW_SNR)
    return ParameterMaps(
        parameters,
        value,
        value / 10,
        flags,
        torch.from_numpy(AFFINE),
        torch.full(shape, 0.5, dtype=torch.float32),
    )


def sidecar(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


# --- plain ----------------------------------------------------------------------------------------------


def test_plain_folder(tmp_path: Path):
    acquisition = VariableFlipAngle(flip_angle=("3deg", "20deg"), repetition_time="15ms")
    written = write_plain(
        tmp_path / "out", estimate(("T1", "M0")), ESTIMATION, acquisition=acquisition, sources=[Path("a.nii")]
    )
    stems = {"T1map", "T1map_sd", "M0map", "M0map_sd", "flags", "residual"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        f"{s}.{e}" for s in stems for e in ("json", "nii.gz")
    }
    assert {p.name for p in written} == {p.name for p in (tmp_path / "out").iterdir()}
    content = sidecar(tmp_path / "out" / "T1map.json")
    assert content == {
        "Description": "T1: what T1 is; 0 where invalid",
        "Units": "s",
        "SkullStripped": False,
        "Sources": ["a.nii"],
        "EstimationAlgorithm": "Non-linear least squares",
        "EstimationReference": "doi:10.1000/1",
        "FlipAngle": [3, 20],
        "RepetitionTimeExcitation": 0.015,
        "SoftwareVersion": "1",
    }


def test_plain_values(tmp_path: Path):
    write_plain(tmp_path, estimate(("T1", "T2")), ESTIMATION)
    for name, expected in (("T2map", 2), ("T2map_sd", 0.2), ("residual", 0.5)):
        image = read_image(tmp_path / f"{name}.nii.gz")
        assert image.data[2, 2, 2] == pytest.approx(expected)
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    assert read_image(tmp_path / "T2map.nii.gz").data[0, 0, 0] == 0
    assert nibabel.load(tmp_path / "T2map_sd.nii.gz").header["intent_name"].item() == b"SD T2 [s]"


def test_flags_and_their_table(tmp_path: Path):
    write_plain(tmp_path, estimate(("T1",)), ESTIMATION)
    image = nibabel.load(tmp_path / "flags.nii.gz")
    assert image.header.get_data_dtype() == np.uint8
    values = np.asarray(image.dataobj)
    assert (values[0, 0, 0], values[1, 0, 0], values[2, 2, 2]) == (128, 3, 0)
    content = sidecar(tmp_path / "flags.json")
    assert content["FlagBits"].keys() == {"1", "2", "4", "8", "16", "32", "64", "128"}
    assert content["FlagBits"]["1"].startswith("AT_BOUND: ")
    assert content["FlagCounts"]["MASKED"] == 1
    assert content["FlagCounts"]["OK"] == np.prod(SHAPE) - 2


def test_names_can_be_chosen_and_unknown_deviations_are_left_out(tmp_path: Path):
    maps = estimate(("T1", "M0", "inversion_factor"))
    maps.standard_deviation[:] = torch.nan
    write_plain(tmp_path, maps, ESTIMATION, names=("T1", "inversion_factor"))
    stems = {p.name.partition(".")[0] for p in tmp_path.iterdir()}
    assert stems == {"T1map", "inversion_factor", "flags", "residual"}


def test_unwritable_folder(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        write_plain(tmp_path / "file" / "out", estimate(("T1",)), ESTIMATION)


def test_label_must_be_one(tmp_path: Path):
    with pytest.raises(OutputError, match="letters and digits"):
        Estimation("non-linear", "x")


# --- BIDS -----------------------------------------------------------------------------------------------


def write_all(dataset: Dataset, out_dir: Path) -> list[Path]:
    """Derivatives of every collection."""
    written = []
    for collection in find_collections(dataset.root):
        collection.load(complex=collection.has_complex)
        written += write_derivatives(out_dir, collection, estimate(OUTPUTS[collection.suffix]), ESTIMATION)
    return written


def only(dataset: Dataset) -> Collection:
    (collection,) = find_collections(dataset.root)
    return collection


def test_names_and_sidecars(tmp_path: Path):
    dataset = Dataset(tmp_path / "raw")
    builders.add_vfa(dataset, session="1")
    collection = only(dataset)
    collection.load()
    out = tmp_path / "raw" / "derivatives" / "fastqmri"
    write_derivatives(out, collection, estimate(("T1", "M0")), ESTIMATION, names=("T1",))
    folder = out / "sub-01" / "ses-1" / "anat"
    stems = ("desc-VFAnlls_T1map", "desc-VFAnllsSd_T1map", "desc-VFAnllsFlag_dseg", "desc-VFAnlls_residual")
    assert {p.name for p in folder.iterdir()} == {
        f"sub-01_ses-1_{stem}.{end}" for stem in stems for end in ("json", "nii.gz")
    }
    content = sidecar(folder / "sub-01_ses-1_desc-VFAnlls_T1map.json")
    assert content["Sources"] == [
        *(f"bids:raw:sub-01/ses-1/anat/sub-01_ses-1_flip-{i}_VFA.nii.gz" for i in (1, 2, 3)),
        "bids:raw:sub-01/ses-1/fmap/sub-01_ses-1_TB1map.nii.gz",
    ]
    assert content["FlipAngle"] == [3, 10, 20]
    assert content["RepetitionTimeExcitation"] == 0.015
    assert content["MagneticFieldStrength"] == 3
    assert content["EchoTime"] == 0.003
    assert len((out / "README.md").read_text()) > 150
    assert (out / ".bidsignore").read_text().splitlines() == ["*.html", "*_residual.*", "/reports"]


def test_dataset_description(tmp_path: Path):
    """What BIDS requires of a derivative dataset; its validator does not look at all of it."""
    dataset = Dataset(tmp_path / "raw")
    builders.add_mese(dataset)
    for out, link in (("raw/derivatives/fastqmri", "../.."), ("elsewhere", "../raw")):
        write_derivatives(tmp_path / out, only(dataset), estimate(("T2",)), ESTIMATION)
        description = sidecar(tmp_path / out / "dataset_description.json")
        assert description == {
            "Name": "Quantitative maps of miniature",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "fastqmri", "Version": version("fastqmri")}],
            "SourceDatasets": [{"URL": link}],
            "DatasetLinks": {"raw": link},
        }


def test_no_two_scans_share_a_name(tmp_path: Path):
    """Several scans give an M0 map, and MESE may exist in two phase-encoding directions."""
    dataset = builders.build(tmp_path / "raw")
    for direction in ("AP", "PA"):
        for echo in (1, 2):
            name = f"sub-01/anat/sub-01_dir-{direction}_run-1_echo-{echo}_MESE"
            dataset.image(name, np.ones(SHAPE, np.float32), {"EchoTime": 0.01 * echo})
    written = write_all(dataset, tmp_path / "out")
    assert len(written) == len(set(written))
    names = {p.name for p in written}
    assert "sub-01_run-1_desc-MESEdirAPnlls_T2map.nii.gz" in names
    assert "sub-01_desc-MEGREnlls_M0map.nii.gz" in names


def test_another_dataset_is_not_touched(tmp_path: Path):
    dataset = Dataset(tmp_path / "raw")
    builders.add_vfa(dataset)
    before = (tmp_path / "raw" / "dataset_description.json").read_bytes()
    with pytest.raises(OutputError, match="did not make"):
        write_derivatives(tmp_path / "raw", only(dataset), estimate(("T1",)), ESTIMATION)
    assert (tmp_path / "raw" / "dataset_description.json").read_bytes() == before


def test_a_second_run_changes_nothing(tmp_path: Path):
    dataset = builders.build(tmp_path / "raw")

    def content() -> dict[str, bytes]:
        write_all(dataset, tmp_path / "out")
        return {str(p): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}

    assert content() == content()


# --- BIDS's own validator -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bids_errors() -> Callable[[Path], set[str]]:
    """Codes of the errors that the official validator finds; the test skips where it is not installed."""
    program = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
    if not program.exists():
        pytest.skip("bids-validator-deno is not installed")

    def errors(root: Path) -> set[str]:
        command = [program, "--format", "json", root]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        issues = json.loads(done.stdout)["issues"]["issues"]
        found = {issue["code"] for issue in issues if issue["severity"] == "error"}
        assert bool(found) == bool(done.returncode), done.stderr
        return found

    return errors


@pytest.mark.parametrize("compressed", [True, False])
def test_raw_datasets_of_the_builder_are_valid(tmp_path: Path, bids_errors, compressed: bool):
    builders.build(tmp_path, compressed=compressed)
    assert bids_errors(tmp_path) == set()


@pytest.mark.parametrize("out", ["raw/derivatives/fastqmri", "elsewhere"])
def test_derivatives_are_valid(tmp_path: Path, bids_errors, out: str):
    dataset = builders.build(tmp_path / "raw")
    for direction in ("AP", "PA"):
        for echo in (1, 2):
            name = f"sub-01/anat/sub-01_dir-{direction}_run-1_echo-{echo}_MESE"
            dataset.image(name, np.ones(SHAPE, np.float32), {"EchoTime": 0.01 * echo})
    write_all(dataset, tmp_path / out)
    for name in ("reports/sub-01_VFA_report.html", "reports/index.html", "logs/sub-01_VFA.json"):
        write_text(tmp_path / out / name, "{}")
    assert bids_errors(tmp_path / "raw") == set()
    assert bids_errors(tmp_path / out) == set()


def _not_a_derivative(root: Path) -> None:
    path = root / "dataset_description.json"
    kept = {k: v for k, v in sidecar(path).items() if k not in ("DatasetType", "GeneratedBy")}
    path.write_text(json.dumps(kept))


def _misname(root: Path) -> None:
    path = next(root.rglob("*_T1map.nii.gz"))
    path.rename(path.with_name(path.name.replace("T1map", "T1mapp")))


def _without_skull_stripped(root: Path) -> None:
    path = next(root.rglob("*nlls_T1map.json"))
    path.write_text(json.dumps({k: v for k, v in sidecar(path).items() if k != "SkullStripped"}))


def _without_ignoring(root: Path) -> None:
    (root / ".bidsignore").unlink()


@pytest.mark.parametrize(
    "plant",
    [_not_a_derivative, _misname, _without_skull_stripped, _without_ignoring],
    ids=["not a derivative", "file name", "SkullStripped", ".bidsignore"],
)
def test_the_validator_bites(tmp_path: Path, bids_errors, plant: Callable[[Path], None]):
    """What the tests above rely on: each planted fault is found."""
    dataset = Dataset(tmp_path / "raw")
    builders.add_vfa(dataset)
    write_all(dataset, tmp_path / "out")
    assert bids_errors(tmp_path / "out") == set()
    plant(tmp_path / "out")
    assert bids_errors(tmp_path / "out") != set()
