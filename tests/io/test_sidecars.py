from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.builders import Dataset

from fastqmri.core import PlausibilityError, SidecarError
from fastqmri.io import Sidecar, SidecarReader, parse_name

IMAGE = "sub-01/ses-1/anat/sub-01_ses-1_run-01_flip-2_VFA.nii.gz"


def read(dataset: Dataset, image: str = IMAGE) -> Sidecar:
    dataset.path(image).touch()
    return SidecarReader(dataset.root).read(dataset.root / image)


# --- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("echo", ["1", "01", "001"])
def test_indices_have_no_width(echo: str):
    name = parse_name(f"sub-01_acq-fast+2_echo-{echo}_part-mag_MEGRE.nii.gz")
    assert name is not None
    assert name.entities == {"sub": "01", "acq": "fast+2", "echo": 1, "part": "mag"}
    assert (name.suffix, name.extension) == ("MEGRE", ".nii.gz")


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_echo-one_MEGRE.nii.gz",
        "sub-01_MEGRE_e1.nii_gz",
        "sub_01_VFA.nii",
        "sub-01_sub-02_VFA.nii",
        "VFA",
        "sub-01_.nii",
        ".sub-01_VFA",
    ],
)
def test_names_that_are_not_bids(name: str):
    assert parse_name(name) is None


# --- inheritance ----------------------------------------------------------------------------------------


def test_nearest_wins_and_is_remembered(tmp_path: Path):
    dataset = Dataset(tmp_path)
    fields = {"RepetitionTimeExcitation": 0.01, "EchoTime": 0.001, "FlipAngle": 1}
    dataset.json("VFA.json", fields)
    dataset.json("sub-01/sub-01_VFA.json", {"RepetitionTimeExcitation": 0.02})
    dataset.json("sub-01/ses-1/sub-01_ses-1_flip-2_VFA.json", {"FlipAngle": 20})
    dataset.json(IMAGE.replace(".nii.gz", ".json"), {"RepetitionTimeExcitation": 0.03})
    sidecar = read(dataset)
    assert sidecar.value("EchoTime") == 0.001
    assert sidecar.value("RepetitionTimeExcitation") == 0.03
    assert sidecar.value("FlipAngle") == pytest.approx(math.radians(20))
    assert [(r.quantity, r.value, r.source) for r in sidecar.records] == [
        ("EchoTime", "1 ms", "VFA.json"),
        ("RepetitionTimeExcitation", "30 ms", IMAGE.replace(".nii.gz", ".json")),
        ("FlipAngle", "20 deg", "sub-01/ses-1/sub-01_ses-1_flip-2_VFA.json"),
    ]
    assert {r.file for r in sidecar.records} == {IMAGE}


@pytest.mark.parametrize(
    "other",
    ["IRT1.json", "flip-1_VFA.json", "acq-fast_VFA.json", "sub-02_VFA.json", "sub-01/sub-01_run-2_VFA.json"],
)
def test_sidecars_of_other_images_don_t_apply(tmp_path: Path, other: str):
    dataset = Dataset(tmp_path)
    dataset.json(other, {"FlipAngle": 7})
    assert "FlipAngle" not in read(dataset)


def test_width_of_an_index_doesn_t_matter_for_inheritance(tmp_path: Path):
    dataset = Dataset(tmp_path)
    dataset.json("sub-01/ses-1/anat/sub-01_ses-1_run-1_flip-02_VFA.json", {"FlipAngle": 7})
    assert "FlipAngle" in read(dataset)


def test_the_more_specific_of_two_in_a_folder_wins(tmp_path: Path):
    dataset = Dataset(tmp_path)
    dataset.json("run-1_flip-2_VFA.json", {"FlipAngle": 7})
    dataset.json("VFA.json", {"FlipAngle": 1})
    assert read(dataset).value("FlipAngle") == pytest.approx(math.radians(7))


# --- values ---------------------------------------------------------------------------------------------


def test_text_that_holds_a_number_is_taken_with_a_warning(tmp_path: Path):
    dataset = Dataset(tmp_path)
    dataset.json("VFA.json", {"EchoTime": "0.05"})
    sidecar = read(dataset)
    assert sidecar.value("EchoTime") == 0.05
    assert len(sidecar.warnings) == 1
    assert "VFA.json: EchoTime = '0.05' is text" in sidecar.warnings[0]


@pytest.mark.parametrize("value", ["15 ms", True, None, {"a": 1}, [0.1, 0.2], "nan"])
def test_values_that_are_no_number(tmp_path: Path, value: object):
    dataset = Dataset(tmp_path)
    dataset.json("VFA.json", {"EchoTime": value})
    with pytest.raises(SidecarError, match=r"EchoTime = .* in .*VFA\.json"):
        read(dataset).value("EchoTime")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("EchoTime", 14.5, "reads like milliseconds"),
        ("InversionTime", 350, "reads like milliseconds"),
        ("RepetitionTimePreparation", 4500, "reads like milliseconds"),
        ("RepetitionTime", 0, "milliseconds"),
        ("FlipAngle", 400, "at most 360 degrees"),
        ("FlipAngle", -3, "at most 360 degrees"),
    ],
)
def test_implausible_values_name_field_value_and_file(tmp_path: Path, field: str, value: float, words: str):
    dataset = Dataset(tmp_path)
    dataset.json("VFA.json", {field: value})
    with pytest.raises(PlausibilityError, match=words) as error:
        read(dataset).value(field)
    assert f"{field} = {value:g} in" in error.value.read
    assert "VFA.json" in error.value.read
    assert f"BIDS wants {field} in" in error.value.remedy


def test_a_missing_field_says_where_it_was_looked_for(tmp_path: Path):
    dataset = Dataset(tmp_path)
    dataset.json("VFA.json", {"FlipAngle": 3})
    with pytest.raises(SidecarError, match="EchoTime") as error:
        read(dataset).value("EchoTime")
    assert "VFA.json" in error.value.read
    assert 'Write "EchoTime"' in error.value.remedy
    assert "sub-01_ses-1_run-01_flip-2_VFA.json" in error.value.remedy


def test_no_sidecar_at_all(tmp_path: Path):
    with pytest.raises(SidecarError, match="no JSON file"):
        read(Dataset(tmp_path)).value("EchoTime")


def test_lists(tmp_path: Path):
    dataset = Dataset(tmp_path)
    dataset.json("VFA.json", {"FlipAngle": [3, "20"], "EchoTime": [0.01]})
    sidecar = read(dataset)
    assert sidecar.series("FlipAngle") == pytest.approx((math.radians(3), math.radians(20)))
    assert sidecar.series("EchoTime") == (0.01,)
    assert sidecar.value("EchoTime") == 0.01


@pytest.mark.parametrize(
    ("content", "words"),
    [('{"EchoTime": 0.1,}', "line 1"), ("[1, 2]", "holds a list"), ('{"a": "\xff"}', "not UTF-8")],
)
def test_broken_json(tmp_path: Path, content: str, words: str):
    dataset = Dataset(tmp_path)
    dataset.path("VFA.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(SidecarError, match=words) as error:
        read(dataset)
    assert "VFA.json" in error.value.read


def test_byte_order_mark(tmp_path: Path):
    dataset = Dataset(tmp_path)
    dataset.path("VFA.json").write_text('\ufeff{"EchoTime": 0.1}', encoding="utf-8")
    assert read(dataset).value("EchoTime") == 0.1
