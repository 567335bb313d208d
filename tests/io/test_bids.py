from __future__ import annotations

import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from tests import builders
from tests.builders import SHAPE, Dataset, truth

from fastqmri.core import (
    AcquisitionError,
    DiffusionWeighted,
    FileError,
    InversionRecovery,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    PlausibilityError,
    ShapeError,
    SidecarError,
    VariableFlipAngle,
)
from fastqmri.io import Collection, find_collections


def only(dataset: Dataset) -> Collection:
    """The dataset's one collection."""
    (collection,) = find_collections(dataset.root)
    return collection


# --- what is found --------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [True, False])
def test_every_family_is_found(tmp_path: Path, compressed: bool):
    builders.build(tmp_path, compressed=compressed)
    found = {c.suffix: c for c in find_collections(tmp_path)}
    assert all(c.problem is None and not c.warnings for c in found.values())
    assert found["VFA"].acquisition == VariableFlipAngle(
        flip_angle=tuple(math.radians(a) for a in builders.FLIP_ANGLES), repetition_time=0.015
    )
    assert found["IRT1"].acquisition == InversionRecovery(
        inversion_time=builders.INVERSION_TIMES, repetition_time=6.0
    )
    assert found["MESE"].acquisition == MultiEchoSpinEcho(echo_time=builders.SPIN_ECHOES)
    assert found["MEGRE"].acquisition == MultiEchoGradientEcho(echo_time=builders.GRADIENT_ECHOES)
    assert isinstance(found["dwi"].acquisition, DiffusionWeighted)
    assert found["dwi"].acquisition.b_value == builders.B_VALUES
    assert {c.name for c in found.values()} == {f"sub-01_{suffix}" for suffix in found}
    for collection in found.values():
        measurement = collection.load()
        assert measurement.voxels == SHAPE
        assert not measurement.data.is_complex()


def test_provenance_names_image_value_and_source(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset)
    lines = {(r.file, r.quantity, r.value, r.source) for r in only(dataset).provenance}
    stem = "sub-01/anat/sub-01_flip-2_VFA"
    assert (f"{stem}.nii.gz", "FlipAngle", "10 deg", f"{stem}.json") in lines
    assert (f"{stem}.nii.gz", "RepetitionTimeExcitation", "15 ms", "VFA.json") in lines
    assert len(lines) == 6


def test_order_is_that_of_the_index_whatever_its_width(tmp_path: Path):
    """echo-10 comes after echo-9, and the values go with their files."""
    dataset = Dataset(tmp_path)
    times = [0.01 * (i + 1) for i in range(11)]
    for i, time in enumerate(times):
        width = 1 if i % 2 else 3
        name = f"sub-01/anat/sub-01_echo-{i + 1:0{width}d}_MESE"
        dataset.image(name, np.full(SHAPE, time, np.float32), {"EchoTime": time})
    collection = only(dataset)
    assert collection.acquisition.echo_time == tuple(times)
    np.testing.assert_allclose(collection.load().data[:, 0, 0, 0], times, rtol=1e-6)


def test_scans_are_told_apart_by_their_other_entities(tmp_path: Path):
    dataset = Dataset(tmp_path)
    for subject, session in (("01", "1"), ("01", "2"), ("02", None)):
        builders.add_vfa(dataset, subject, session)
    for run in (1, 2):
        for echo in (1, 2):
            name = f"sub-02/anat/sub-02_acq-x_run-{run}_echo-{echo}_MESE"
            dataset.image(name, np.ones(SHAPE, np.float32), {"EchoTime": 0.01 * echo})
    found = find_collections(tmp_path)
    assert [c.name for c in found] == [
        "sub-01_ses-1_VFA",
        "sub-01_ses-2_VFA",
        "sub-02_acq-x_run-1_MESE",
        "sub-02_acq-x_run-2_MESE",
        "sub-02_VFA",
    ]
    assert [(c.subject, c.session) for c in found][:3] == [("01", "1"), ("01", "2"), ("02", None)]
    assert all(c.problem is None for c in found)


def test_participants(tmp_path: Path):
    dataset = Dataset(tmp_path)
    for subject in ("01", "02"):
        builders.add_mese(dataset, subject)
    assert [c.subject for c in find_collections(tmp_path, ["sub-02"])] == ["02"]
    assert [c.subject for c in find_collections(tmp_path, ["02", "01"])] == ["02", "01"]
    with pytest.raises(FileError, match="no folder sub-03") as error:
        find_collections(tmp_path, ["03"])
    assert "01, 02" in error.value.remedy


def test_files_of_other_kinds_are_passed_over(tmp_path: Path):
    dataset = Dataset(tmp_path)
    dataset.image("sub-01/anat/sub-01_T1w", np.ones(SHAPE, np.float32), {})
    dataset.text("sub-01/anat/notes.txt", "")
    dataset.text("sub-01/anat/.unfinished-sub-01_echo-1_MESE.nii.gz", "")
    assert find_collections(tmp_path) == []


def test_not_a_dataset(tmp_path: Path):
    with pytest.raises(FileError, match=r"no dataset_description\.json") as error:
        find_collections(tmp_path)
    assert "sub-01/anat" in error.value.why
    with pytest.raises(FileError, match="not a folder"):
        find_collections(tmp_path / "missing")


# --- stacks ---------------------------------------------------------------------------------------------


def test_a_stack_with_lists(tmp_path: Path):
    separate, stacked = Dataset(tmp_path / "a"), Dataset(tmp_path / "b")
    builders.add_vfa(separate, b1=None)
    builders.add_mese(separate)
    files = {c.suffix: c.load() for c in find_collections(separate.root)}
    stacked.json("VFA.json", {"PulseSequenceType": "SPGR", "RepetitionTimeExcitation": 0.015})
    for suffix, fields in (
        ("VFA", {"FlipAngle": list(builders.FLIP_ANGLES)}),
        ("MESE", {"EchoTime": list(builders.SPIN_ECHOES)}),
    ):
        volumes = files[suffix].data.movedim(0, -1)
        stacked.image(f"sub-01/anat/sub-01_{suffix}", volumes, fields)
    for collection in find_collections(stacked.root):
        assert collection.problem is None
        measurement = collection.load()
        assert measurement.acquisition == files[collection.suffix].acquisition
        assert torch.equal(measurement.data, files[collection.suffix].data)


def test_a_stack_with_too_few_values(tmp_path: Path):
    dataset = Dataset(tmp_path)
    dataset.image(
        "sub-01/anat/sub-01_MESE", np.ones((*SHAPE, 4), np.float32), {"EchoTime": [0.01, 0.02, 0.03]}
    )
    with pytest.raises(ShapeError, match=r"4 volumes.*3 echo times"):
        only(dataset).load()


# --- what goes wrong stays with its scan ----------------------------------------------------------------


def test_a_problem_doesn_t_hide_the_others(tmp_path: Path):
    dataset = builders.build(tmp_path)
    dataset.json("sub-01/anat/sub-01_echo-02_MESE.json", {})
    found = {c.suffix: c for c in find_collections(tmp_path)}
    assert isinstance(found["MESE"].problem, SidecarError)
    assert "EchoTime" in found["MESE"].problem.read
    assert found["MESE"].acquisition is None
    assert len(found["MESE"].files) == 4
    with pytest.raises(SidecarError):
        found["MESE"].load()
    assert all(c.problem is None for suffix, c in found.items() if suffix != "MESE")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("RepetitionTimeExcitation", 15, "reads like ms"),
        ("RepetitionTimeExcitation", 7300, "reads like milliseconds"),
        ("PulseSequenceType", "bSSFP", "DESPOT2"),
        ("MagneticFieldStrength", 3000, "scanners have"),
    ],
)
def test_unusable_protocols(tmp_path: Path, field: str, value: object, words: str):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset)
    dataset.json("VFA.json", {"PulseSequenceType": "SPGR", "RepetitionTimeExcitation": 0.015, field: value})
    problem = only(dataset).problem
    assert problem is not None
    assert words in str(problem)
    assert "VFA.json" in problem.read


def test_repetition_time_stands_in_with_a_warning(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset)
    dataset.json("VFA.json", {"PulseSequenceType": "SPGR", "RepetitionTime": 0.015})
    collection = only(dataset)
    assert collection.acquisition.repetition_time == 0.015
    assert any(
        "no RepetitionTimeExcitation; RepetitionTime was read instead" in w for w in collection.warnings
    )


def test_no_repetition_time_at_all(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset)
    dataset.json("VFA.json", {"PulseSequenceType": "SPGR"})
    problem = only(dataset).problem
    assert isinstance(problem, SidecarError)
    assert "RepetitionTimeExcitation" in problem.read


def test_repetition_times_that_differ(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset)
    dataset.json("sub-01/anat/sub-01_flip-2_VFA.json", {"FlipAngle": 10, "RepetitionTimeExcitation": 0.02})
    problem = only(dataset).problem
    assert isinstance(problem, AcquisitionError)
    assert "15 ms for sub-01_flip-1_VFA.nii.gz, 20 ms for sub-01_flip-2_VFA.nii.gz" in problem.read


def test_inversion_recovery_without_repetition_time(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_irt1(dataset)
    dataset.json("IRT1.json", {})
    collection = only(dataset)
    assert collection.problem is None
    assert collection.acquisition.repetition_time is None


@pytest.mark.parametrize(("repetition", "kept"), [(2.55, 2.55), (0.006, None)])
def test_repetition_time_of_the_readout_is_not_that_of_the_inversions(
    tmp_path: Path, repetition: float, kept: float | None
):
    """RepetitionTimeExcitation holds the one or the other, as datasets are written."""
    dataset = Dataset(tmp_path)
    builders.add_irt1(dataset)
    dataset.json("IRT1.json", {"RepetitionTimeExcitation": repetition})
    collection = only(dataset)
    assert collection.acquisition.repetition_time == kept
    assert any("RepetitionTimeExcitation" in w for w in collection.warnings)


def test_numbers_written_as_text_throughout(tmp_path: Path):
    """As older official examples are."""
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset)
    common = {"PulseSequenceType": "SPGR", "RepetitionTime": "0.0150", "MagneticFieldStrength": "3"}
    dataset.json("VFA.json", common)
    for i, angle in enumerate(builders.FLIP_ANGLES):
        dataset.json(f"sub-01/anat/sub-01_flip-{i + 1}_VFA.json", {"FlipAngle": f"{angle:g}"})
    collection = only(dataset)
    assert collection.problem is None
    assert collection.acquisition.repetition_time == 0.015
    assert collection.constants == {
        "PulseSequenceType": "SPGR",
        "MagneticFieldStrength": 3,
        "RepetitionTime": 0.015,
    }
    assert sum("is text" in w for w in collection.warnings) == 6


def test_one_image_is_not_enough(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset, flip_angles=(3.0, 20.0))
    (tmp_path / "sub-01/anat/sub-01_flip-2_VFA.nii.gz").unlink()
    assert isinstance(only(dataset).problem, AcquisitionError)


def test_gaps_and_repetitions_are_mentioned(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_mese(dataset)
    (tmp_path / "sub-01/anat/sub-01_echo-02_MESE.nii.gz").unlink()
    dataset.json("sub-01/anat/sub-01_echo-04_MESE.json", {"EchoTime": 0.04})
    warnings = " ".join(only(dataset).warnings)
    assert "no echo-2" in warnings
    assert "3 images share 2 values of echo time" in warnings


def test_the_same_image_twice(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_mese(dataset)
    path = tmp_path / "sub-01/anat/sub-01_echo-01_MESE.nii.gz"
    nibabel.save(nibabel.load(path), path.with_suffix(""))
    problem = only(dataset).problem
    assert isinstance(problem, FileError)
    assert "sub-01_echo-01_MESE.nii and sub-01_echo-01_MESE.nii.gz" in problem.read


def test_phase_alone_is_not_enough(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_megre(dataset)
    for path in tmp_path.glob("sub-01/anat/*_part-mag_*"):
        path.unlink()
    assert "only part-phase" in str(only(dataset).problem)


# --- diffusion ------------------------------------------------------------------------------------------


def test_gradient_files_are_inherited(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_dwi(dataset)
    for end in (".bval", ".bvec"):
        (tmp_path / f"sub-01/dwi/sub-01_dwi{end}").rename(tmp_path / f"dwi{end}")
    collection = only(dataset)
    assert collection.acquisition.b_value == builders.B_VALUES
    (record,) = collection.provenance
    assert (record.value, record.source) == ("0, 1000 s/mm2 in 7 volumes", "dwi.bval")


def test_missing_gradient_files(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_dwi(dataset)
    (tmp_path / "sub-01/dwi/sub-01_dwi.bvec").unlink()
    collection = only(dataset)
    assert collection.acquisition.b_vector is None
    assert "only models without directions" in collection.warnings[0]
    (tmp_path / "sub-01/dwi/sub-01_dwi.bval").unlink()
    problem = only(dataset).problem
    assert isinstance(problem, SidecarError)
    assert "sub-01_dwi.bval" in problem.remedy


def test_counts_of_volumes_and_b_values(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_dwi(dataset)
    dataset.text("sub-01/dwi/sub-01_dwi.bval", "0 1000 1000")
    assert isinstance(only(dataset).problem, ShapeError)


# --- complex images -------------------------------------------------------------------------------------


def test_magnitude_and_phase(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_megre(dataset)
    collection = only(dataset)
    assert collection.has_complex
    assert len(collection.phase_files) == 3
    magnitude = collection.load().data
    data = collection.load(complex=True).data
    assert data.dtype == torch.complex64
    torch.testing.assert_close(data.abs(), magnitude)
    expected = truth(["phase"])[0] + 2 * math.pi * truth(["B0"])[0] * builders.GRADIENT_ECHOES[1]
    turn = torch.exp(1j * (data[1].angle() - expected)).angle()
    assert float(turn.flatten()[1:-1].abs().max()) < math.pi / 4096
    assert any("rescaled to radians" in w for w in collection.warnings)
    assert collection.load(complex=True) is not None
    assert len(collection.warnings) == 1
    assert collection.used == [*collection.files, *collection.phase_files]


def test_real_and_imaginary(tmp_path: Path):
    dataset = Dataset(tmp_path)
    real, imaginary = torch.full(SHAPE, 3.0), torch.full(SHAPE, -4.0)
    for i, time in enumerate(builders.INVERSION_TIMES):
        for part, image in (("real", real), ("imag", imaginary)):
            name = f"sub-01/anat/sub-01_inv-{i + 1}_part-{part}_IRT1"
            dataset.image(name, image, {"InversionTime": time})
    collection = only(dataset)
    assert collection.has_complex
    assert collection.load(complex=True).data[0, 0, 0, 0] == 3 - 4j
    assert collection.load().data[0, 0, 0, 0] == 5
    for path in tmp_path.glob("sub-01/anat/*_part-imag_*.nii.gz"):
        path.unlink()
    assert only(dataset).load().data[0, 0, 0, 0] == 3


def test_complex_images_that_are_not_there(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_megre(dataset, phase=False)
    with pytest.raises(FileError, match="neither phase nor imaginary"):
        only(dataset).load(complex=True)


def test_incomplete_phase_is_left_out(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_megre(dataset)
    (tmp_path / "sub-01/anat/sub-01_echo-2_part-phase_MEGRE.nii.gz").unlink()
    collection = only(dataset)
    assert not collection.has_complex
    assert "2 part-phase images for 3 others: not used" in collection.warnings[0]


# --- B1+ ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1.0, 100.0])
def test_b1_in_either_unit(tmp_path: Path, unit: float):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset, b1=unit)
    collection = only(dataset)
    measurement = collection.load()
    torch.testing.assert_close(measurement.known["B1"], truth(["B1"])[0].float())
    assert any("read as percent" in w for w in collection.warnings) == (unit == 100)
    assert collection.b1_map in collection.used


def test_b1_in_no_unit(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset, b1=7.0)
    with pytest.raises(PlausibilityError, match="TB1map"):
        only(dataset).load()


def test_b1_belongs_to_session_and_vfa_only(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset, session="1")
    builders.add_vfa(dataset, session="2", b1=None)
    builders.add_mese(dataset, session="1")
    found = {c.name: c.b1_map for c in find_collections(tmp_path)}
    assert found["sub-01_ses-1_VFA"] is not None
    assert found["sub-01_ses-2_VFA"] is None
    assert found["sub-01_ses-1_MESE"] is None


def test_b1_among_the_derivatives(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset, b1=None)
    path = dataset.image(
        "derivatives/b1tool/sub-01/fmap/sub-01_desc-x_TB1map", np.ones(SHAPE, np.float32), {}
    )
    assert only(dataset).b1_map == path


@pytest.mark.parametrize(
    "target",
    [
        "bids::sub-01/anat/sub-01_flip-1_VFA.nii.gz",
        ["anat/sub-01_flip-1_VFA.nii.gz", "anat/sub-01_flip-2_VFA.nii.gz"],
        ["bids:raw:sub-01/anat/sub-01_flip-3_VFA.nii.gz"],
    ],
)
def test_intended_for_decides(tmp_path: Path, target: object):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset)
    ones = np.ones(SHAPE, np.float32)
    meant = dataset.image("sub-01/fmap/sub-01_run-2_TB1map", ones, {"IntendedFor": target})
    dataset.image("sub-01/fmap/sub-01_run-3_TB1map", ones, {"IntendedFor": "anat/sub-01_flip-1_other.nii.gz"})
    collection = only(dataset)
    assert collection.b1_map == meant
    assert not collection.warnings


def test_b1_meant_for_another_scan_is_not_taken(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset)
    dataset.json("sub-01/fmap/sub-01_TB1map.json", {"IntendedFor": ["bids::sub-01/anat/sub-01_T1w.nii.gz"]})
    dataset.image("sub-01/anat/sub-01_T1w", np.ones(SHAPE, np.float32), {})
    assert only(dataset).b1_map is None


def test_b1_meant_for_the_map_to_be_made_is_taken(tmp_path: Path):
    """As BIDS's own qMRI example has it."""
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset)
    dataset.json("sub-01/fmap/sub-01_TB1map.json", {"IntendedFor": ["bids::sub-01/anat/sub-01_T1map.nii.gz"]})
    assert only(dataset).b1_map is not None


def test_several_b1_maps_are_mentioned(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_vfa(dataset)
    dataset.image("sub-01/fmap/sub-01_run-2_TB1map", np.ones(SHAPE, np.float32), {})
    assert any("2 B1+ maps fit" in w for w in only(dataset).warnings)


# --- masks ----------------------------------------------------------------------------------------------


def test_brain_mask(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_mese(dataset)
    values = np.zeros(SHAPE, np.uint8)
    values[1:3] = 1
    path = dataset.image("derivatives/tool/sub-01/anat/sub-01_desc-brain_mask", values)
    dataset.image("derivatives/tool/sub-02/anat/sub-02_desc-brain_mask", values)
    collection = only(dataset)
    assert collection.mask == path
    measurement = collection.load()
    assert torch.equal(measurement.mask, torch.from_numpy(values == 1))
    other = dataset.image("other", 1 - values)
    assert torch.equal(collection.load(mask=other).mask, torch.from_numpy(values == 0))


def test_mask_on_other_voxels_is_left_out(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_mese(dataset)
    dataset.image("derivatives/tool/sub-01/anat/sub-01_desc-brain_mask", np.ones((9, 9, 9), np.uint8))
    collection = only(dataset)
    assert collection.mask is None
    assert "other voxels" in collection.warnings[0]


# --- images that don't belong together ------------------------------------------------------------------


def test_shapes_that_differ(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_mese(dataset)
    dataset.image("sub-01/anat/sub-01_echo-03_MESE", np.ones((5, 4, 2), np.float32))
    with pytest.raises(ShapeError, match="echo-03"):
        only(dataset).load()


def test_phase_on_other_voxels(tmp_path: Path):
    dataset = Dataset(tmp_path)
    builders.add_megre(dataset)
    for echo in (1, 2, 3):
        dataset.image(f"sub-01/anat/sub-01_echo-{echo}_part-phase_MEGRE", np.ones((5, 4, 2), np.float32))
    with pytest.raises(ShapeError, match="part-phase"):
        only(dataset).load(complex=True)
