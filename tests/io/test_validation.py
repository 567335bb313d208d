from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import builders
from tests.builders import Dataset

from fastqmri.core import FileError
from fastqmri.io import validate


def test_nothing_to_find(tmp_path: Path):
    builders.build(tmp_path)
    assert validate(tmp_path) == []


def test_no_scan_at_all(tmp_path: Path):
    Dataset(tmp_path)
    (finding,) = validate(tmp_path)
    assert finding.level == "error"
    assert "sub-01_flip-1_VFA" in finding.message


def test_not_a_dataset(tmp_path: Path):
    with pytest.raises(FileError):
        validate(tmp_path)


def test_all_faults_at_once(tmp_path: Path):
    dataset = builders.build(tmp_path)
    whole = (tmp_path / "sub-01/anat/sub-01_flip-2_VFA.nii.gz").read_bytes()
    (tmp_path / "sub-01/anat/sub-01_flip-2_VFA.nii.gz").write_bytes(whole[:-50])
    dataset.json("sub-01/anat/sub-01_echo-02_MESE.json", {"EchoTime": 20})
    dataset.image("sub-01/anat/sub-01_echo-3_part-phase_MEGRE", np.ones((5, 4, 2), np.float32))
    dataset.json("sub-01/anat/sub-01_inv-2_IRT1.json", {"InversionTime": "0.4"})
    found = {(f.level, f.path): f.message for f in validate(tmp_path)}
    assert found.keys() == {
        ("error", "sub-01/anat/sub-01_flip-2_VFA.nii.gz"),
        ("error", "sub-01/anat/sub-01_echo-01_MESE.nii.gz"),
        ("error", "sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz"),
        ("warning", "sub-01/anat/sub-01_inv-1_IRT1.nii.gz"),
    }
    messages = " ".join(found.values())
    for words in ("ends early", "EchoTime = 20", "echo-3_part-phase", "'0.4' is text"):
        assert words in messages


def test_stack_with_too_few_values(tmp_path: Path):
    dataset = Dataset(tmp_path)
    dataset.image("sub-01/anat/sub-01_MESE", np.ones((5, 4, 3, 4), np.float32), {"EchoTime": [0.01, 0.02]})
    (finding,) = validate(tmp_path)
    assert "4 volumes" in finding.message
    assert "2 expected" in finding.message


def test_broken_b1_map(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset)
    (tmp_path / "sub-01/fmap/sub-01_TB1map.nii.gz").write_bytes(b"")
    (finding,) = validate(tmp_path)
    assert finding.path == "sub-01/fmap/sub-01_TB1map.nii.gz"


def test_same_image_twice(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_mese(dataset)
    builders.write_nifti(tmp_path / "sub-01/anat/sub-01_echo-1_MESE.nii.gz", np.ones((5, 4, 3), np.float32))
    (finding,) = validate(tmp_path)
    assert "both claim to be the same image" in finding.message
