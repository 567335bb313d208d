"""The demo: real scans from installed packages, offline."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from fastqmri.cli.demo import _ArraysOnly
from fastqmri.io import read_image


@pytest.fixture(scope="module")
def demo(invoke, tmp_path_factory) -> tuple[Path, list[str]]:
    """The demo's folder and the lines it printed; every attempt to reach a network fails."""
    for package in ("mdreg", "dipy"):  # only their files are needed: neither is imported
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'fastqmri[demo]'")
    out = tmp_path_factory.mktemp("demo") / "new"
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_: object) -> None:
            raise AssertionError("the demo reached for the network")

        patch.setattr(socket.socket, "connect", refuse)
        result = invoke("demo", "--out", out)
    assert result.exit_code == 0, result.output
    return out, result.output.splitlines()


def test_last_path_printed_is_a_report(demo):
    out, lines = demo
    path = Path(lines[-1].removeprefix("Report: "))
    assert path.is_file()
    assert out in path.parents


def test_maps_are_plausible(demo):
    """Medians of whole maps, mask included: abdomen between fat and fluid, brain between white and grey."""
    maps = demo[0] / "maps"
    metrics = {
        name: json.loads((maps / "reports" / f"{name}_metrics.json").read_text())
        for name in ("sub-abdomen_VFA", "sub-brain_dwi")
    }
    medians = {
        (name, row["parameter"]): row["median"]
        for name, content in metrics.items()
        for row in content["maps"]
    }
    assert 0.2 < medians["sub-abdomen_VFA", "T1"] < 2.0
    assert 0.4e-3 < medians["sub-brain_dwi", "MD"] < 1.5e-3
    assert all(content["verdict"]["level"] != "fail" for content in metrics.values())


def test_datasets_are_valid(demo):
    validator = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    for name in ("bids", "maps"):
        command = [validator, demo[0] / name, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        issues = json.loads(done.stdout)["issues"]["issues"]
        assert not [issue for issue in issues if issue["severity"] == "error"]


def test_brain_is_what_dipy_ships(demo):
    from dipy.data import get_fnames
    from dipy.io import read_bvals_bvecs

    image, bval, bvec = get_fnames(name="small_64D")
    folder = demo[0] / "bids" / "sub-brain" / "dwi"
    values, vectors = read_bvals_bvecs(str(bval), str(bvec))
    np.testing.assert_array_equal(np.loadtxt(folder / "sub-brain_dwi.bval"), values)
    rows = np.loadtxt(folder / "sub-brain_dwi.bvec")
    assert rows.shape == (3, 65)
    np.testing.assert_array_equal(rows.T, vectors)
    assert read_image(folder / "sub-brain_dwi.nii").data.equal(read_image(image).data)


def test_keep_continues(invoke, demo):
    result = invoke("demo", "--out", demo[0], "--keep")
    assert result.exit_code == 0
    assert result.output.count("done already") == 3
    assert "Laying out" not in result.output


def test_earlier_demo_is_replaced_and_nothing_else(invoke, refused, tmp_path, monkeypatch):
    monkeypatch.setattr("fastqmri.cli.run.map_dataset", lambda *_: True)
    (tmp_path / "letter.txt").write_text("mine")
    for _ in range(2):
        assert invoke("demo", "--out", tmp_path).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"letter.txt", "bids"}
    (tmp_path / "bids" / "dataset_description.json").write_text('{"Name": "study"}')
    refused("FQ401", "demo", "--out", tmp_path)
    assert (tmp_path / "bids" / "sub-brain").exists()


def test_data_package_that_is_missing_is_named(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.metadata.files", lambda _: [])
    assert "fastqmri[demo]" in refused("FQ301", "demo", "--out", tmp_path / "new")


def test_pickles_of_anything_but_arrays_are_refused(tmp_path):
    """A data file must not be able to run code."""
    import io
    import pickle

    array = np.arange(6.0).reshape(2, 3)
    loaded = _ArraysOnly(io.BytesIO(pickle.dumps({"a": array}))).load()
    np.testing.assert_array_equal(loaded["a"], array)
    with pytest.raises(pickle.UnpicklingError, match="not an array"):
        _ArraysOnly(io.BytesIO(pickle.dumps(subprocess.Popen))).load()
