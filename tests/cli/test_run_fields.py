"""``run`` on scans of magnetisation transfer and of both fields: true maps, valid BIDS, B1+ made and used."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests import builders

MAPS = {
    "sub-01/anat/sub-01_desc-MTRratio_MTRmap": "MTR",
    "sub-01/anat/sub-01_desc-MTShelms_MTsat": "MTsat",
    "sub-01/anat/sub-01_desc-MTShelms_T1map": "T1",
    "sub-01/anat/sub-01_desc-MPMnlls_MTsat": "MTsat",
    "sub-01/anat/sub-01_desc-MPMnlls_T1map": "T1",
    "sub-01/anat/sub-01_desc-MPMnlls_PDmap": "PD",
    "sub-01/anat/sub-01_desc-MPMnlls_T2starmap": "T2star",
    "sub-01/anat/sub-01_desc-VFAnlls_T1map": "T1",
    "sub-01/fmap/sub-01_desc-TB1AFIratio_TB1map": "B1",
    "sub-02/fmap/sub-02_desc-TB1DAMratio_TB1map": "B1",
    "sub-01/fmap/sub-01_desc-phasediffunwrapped_fieldmap": "B0",
    "sub-01/fmap/sub-01_run-2_desc-phasediffunwrapped_fieldmap": "B0",
}


@pytest.fixture(scope="module")
def mapped(invoke, tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("fields")
    builders.build_fields(folder / "raw")
    result = invoke("run", folder / "raw", folder / "maps")
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_maps_are_the_truth(mapped):
    """The B1+ map made from TB1AFI serves the others: without it T1 would be 10 % off."""
    for stem, name in MAPS.items():
        image = nibabel.load(mapped[0] / "maps" / f"{stem}.nii.gz").get_fdata()
        wanted = builders.truth([name])[0].numpy()
        np.testing.assert_allclose(image, wanted, rtol=2e-3, atol=2e-3, err_msg=stem)


def test_the_transmit_field_made_is_used(mapped):
    folder, output = mapped
    for scan in ("VFA", "MTS", "MPM"):
        assert f"sub-01_{scan}: B1+ map: sub-01_desc-TB1AFIratio_TB1map.nii.gz" in output
    sidecar = json.loads((folder / "maps/sub-01/anat/sub-01_desc-VFAnlls_T1map.json").read_text())
    assert any("TB1map" in source for source in sidecar["Sources"])
    field = json.loads((folder / "maps/sub-01/fmap/sub-01_desc-TB1AFIratio_TB1map.json").read_text())
    assert field["Units"] == "fraction"
    assert "fraction of nominal" in field["Description"]


def test_a_second_run_does_nothing_again(invoke, mapped):
    result = invoke("run", mapped[0] / "raw", mapped[0] / "maps")
    assert result.exit_code == 0
    assert "8 done already" in result.output


def test_all_is_valid(mapped):
    validator = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    for name in ("raw", "maps"):
        command = [validator, mapped[0] / name, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        issues = json.loads(done.stdout)["issues"]["issues"]
        errors = [(i["code"], i.get("location")) for i in issues if i["severity"] == "error"]
        assert not errors
