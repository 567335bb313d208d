"""Bad input: a text that says what was read, why it can't be right and what to do; no half-written output."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests import builders
from tests.builders import AFFINE, FLIP_ANGLES, SHAPE, write_nifti

from fastqmri.io import read_image

VFA = ("--flip-angle", "3,10,20deg", "--repetition-time", "15ms")


@pytest.fixture
def scan(tmp_path) -> Path:
    """Three images of different flip angles with a B1+ map, a mask, and a diffusion series, in one folder."""
    dataset = builders.Dataset(tmp_path / "bids")
    builders.add_vfa(dataset)
    builders.add_dwi(dataset)
    folder = tmp_path / "scan"
    folder.mkdir()
    for path in (tmp_path / "bids" / "sub-01").rglob("sub-01_*"):
        shutil.copyfile(path, folder / path.name.removeprefix("sub-01_"))
    write_nifti(folder / "mask.nii.gz", np.ones(SHAPE, np.uint8))
    shutil.rmtree(tmp_path / "bids")
    return folder


@pytest.fixture
def fit_refused(refused, scan) -> Iterator[Callable[..., str]]:
    """Runs ``fit vfa`` on the scan with further options, which must be refused and leave no output folder."""
    out = scan / "out"

    def run(code: str, *words: object, model: str = "vfa", common: tuple[object, ...] = VFA) -> str:
        given = {str(word) for word in words}
        images = () if "--images" in given else ("--images", *images_of(scan))
        return refused(code, "fit", model, *images, *common, *words, "--out", out)

    yield run
    assert not out.exists()


def images_of(scan: Path) -> list[Path]:
    return [scan / f"flip-{i}_VFA.nii.gz" for i in (1, 2, 3)]


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray = AFFINE) -> None:
    write_nifti(path, change(read_image(path).data.numpy()), affine)


# --- images ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_truncated_image(fit_refused, scan, share):
    path = images_of(scan)[1]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert path.name in fit_refused("FQ301")


def test_missing_image(fit_refused, scan):
    images_of(scan)[1].unlink()
    assert "flip-2_VFA.nii.gz does not exist" in fit_refused("FQ301")


def test_shapes_that_differ(fit_refused, scan):
    rewrite(images_of(scan)[2], lambda data: data[:-1])
    text = fit_refused("FQ201")
    assert "flip-3_VFA" in text
    assert "4 × 4 × 3" in text
    assert "5 × 4 × 3" in text


def test_affines_that_differ(fit_refused, scan):
    moved = AFFINE.copy()
    moved[0, 3] += 1
    rewrite(images_of(scan)[2], lambda data: data, moved)
    text = fit_refused("FQ201")
    assert "flip-3_VFA" in text
    assert "1 mm" in text


def test_images_without_a_number(fit_refused, scan):
    for path in images_of(scan):
        rewrite(path, lambda data: np.full_like(data, np.nan))
    assert "NaN" in fit_refused("FQ202")


def test_wrong_number_of_flip_angles(fit_refused, scan):
    text = fit_refused("FQ201", common=("--flip-angle", "3,20deg", "--repetition-time", "15ms"))
    assert "3 image files, but 2 flip angles" in text


def test_phase_of_another_shape(fit_refused, scan):
    small = write_nifti(scan / "small.nii.gz", np.linspace(-3.1, 3.1, 36).reshape(3, 4, 3))
    echoes = ("--echo-time", "4,8,12ms")
    fit_refused("FQ201", "--phase", small, small, small, model="megre-complex", common=echoes)
    phase = write_nifti(scan / "phase.nii.gz", np.linspace(-3.1, 3.1, 60).reshape(SHAPE))
    text = fit_refused("FQ201", "--phase", phase, phase, model="megre-complex", common=echoes)
    assert "2 phase images for 3" in text.replace("1 phase", "2 phase")
    assert "--phase" in fit_refused("FQ301", model="megre-complex", common=echoes)


# --- numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("common", "readings"),
    [
        (("--flip-angle", "3,10,20", "--repetition-time", "15ms"), ("3 deg", "3 rad")),
        (("--flip-angle", "3,10,20deg", "--repetition-time", "15"), ("15 ms", "15 s")),
    ],
)
def test_bare_number_is_refused_with_both_readings(fit_refused, common, readings):
    text = fit_refused("FQ101", common=common)
    assert all(reading in text for reading in readings)


def test_unit_of_another_kind(fit_refused):
    assert "'ms' is not a unit of angle" in fit_refused(
        "FQ101", common=("--flip-angle", "3,10,20ms", "--repetition-time", "15ms")
    )


@pytest.mark.parametrize(
    ("model", "common"),
    [
        ("mese", ("--echo-time", "10,20,40s")),
        ("irt1", ("--inversion-time", "50,400,1100s")),
        ("vfa", ("--flip-angle", "3,10,20deg", "--repetition-time", "15s")),
        ("vfa", ("--flip-angle", "3,10,20rad", "--repetition-time", "15ms")),
    ],
)
def test_value_no_scanner_was_told(fit_refused, model, common):
    assert "reads like" in fit_refused("FQ102", model=model, common=common)


@pytest.mark.parametrize("text", ["10:5", "abc", "", "10ms,,x"])
def test_list_that_can_t_be_read(fit_refused, text):
    fit_refused("FQ101", model="mese", common=("--echo-time", text))


@pytest.mark.parametrize("option", ["--noise-sd", "--saturation"])
@pytest.mark.parametrize("level", ["0", "-1", "nan"])
def test_level_must_be_positive(fit_refused, option, level):
    assert f"{option} {level}" in fit_refused("FQ102", option, level)


@pytest.mark.parametrize(
    ("flag", "value"), [("--method", "magic"), ("--noise-model", "poisson"), ("--signal", "sum")]
)
def test_choice_there_is_not(fit_refused, flag, value):
    times = ("--inversion-time", "50,400,1100ms")
    assert value in fit_refused("FQ501", flag, value, model="irt1", common=times)


# --- maps beside the images -----------------------------------------------------------------------------


def test_b1_in_percent_is_taken_with_a_note(invoke, scan):
    maps = {}
    for unit, factor in (("fraction", 1), ("percent", 100)):
        b1 = write_nifti(scan / f"{unit}.nii.gz", factor * read_image(scan / "TB1map.nii.gz").data.numpy())
        out = scan / unit
        result = invoke("fit", "vfa", "--images", *images_of(scan), *VFA, "--b1", b1, "--out", out)
        assert result.exit_code == 0, result.output
        assert ("Note: percent.nii.gz has a median of" in result.output) == (unit == "percent")
        assert ("read as percent" in (out / "report.html").read_text()) == (unit == "percent")
        maps[unit] = read_image(out / "T1map.nii.gz").data
    np.testing.assert_allclose(maps["percent"], maps["fraction"], rtol=1e-5)
    np.testing.assert_allclose(maps["percent"], builders.truth(["T1"])[0], rtol=2e-3)


@pytest.mark.parametrize("factor", [0, 10, 1000])
def test_b1_of_no_known_unit(fit_refused, scan, factor):
    rewrite(scan / "TB1map.nii.gz", lambda data: factor * data)
    assert "TB1map.nii.gz" in fit_refused("FQ102", "--b1", scan / "TB1map.nii.gz")


def test_b1_elsewhere(fit_refused, scan):
    moved = AFFINE.copy()
    moved[2, 3] += 500
    rewrite(scan / "TB1map.nii.gz", lambda data: data, moved)
    assert "covers 0 %" in fit_refused("FQ201", "--b1", scan / "TB1map.nii.gz")


def test_t1_in_milliseconds(refused, scan):
    """The known map of the stimulated-echo model."""
    t1 = write_nifti(scan / "T1.nii.gz", np.full(SHAPE, 1200.0))
    out = scan / "out"
    words = ("--images", *images_of(scan), "--echo-time", "10,20,30ms", "--t1", t1, "--out", out)
    assert "median of 1200" in refused("FQ102", "fit", "mese-stimulated", *words)
    assert not out.exists()


def test_empty_mask(fit_refused, scan):
    rewrite(scan / "mask.nii.gz", np.zeros_like)
    assert "mask.nii.gz has no voxel" in fit_refused("FQ202", "--mask", scan / "mask.nii.gz")


def test_mask_and_regions_of_another_shape(fit_refused, scan):
    rewrite(scan / "mask.nii.gz", lambda data: data[:, :-1])
    for option in ("--mask", "--regions"):
        assert "mask.nii.gz has 5 × 3 × 3" in fit_refused("FQ201", option, scan / "mask.nii.gz")


# --- gradients ------------------------------------------------------------------------------------------


def diffusion(scan: Path) -> tuple[object, ...]:
    return ("--bval", scan / "dwi.bval", "--bvec", scan / "dwi.bvec")


def test_too_few_gradient_directions(fit_refused, scan):
    rows = np.loadtxt(scan / "dwi.bvec")
    np.savetxt(scan / "dwi.bvec", rows[:, :-1])
    text = fit_refused("FQ201", "--images", scan / "dwi.nii.gz", model="dti", common=diffusion(scan))
    assert "7 b-values" in text
    assert "6 b-vectors" in text


def test_gradients_of_another_series(fit_refused, scan):
    rows, values = np.loadtxt(scan / "dwi.bvec"), np.loadtxt(scan / "dwi.bval")
    np.savetxt(scan / "dwi.bvec", rows[:, :-1])
    np.savetxt(scan / "dwi.bval", values[None, :-1])
    text = fit_refused("FQ201", "--images", scan / "dwi.nii.gz", model="dti", common=diffusion(scan))
    assert "7 volumes" in text
    # one file a volume
    fit_refused("FQ201", model="dti", common=diffusion(scan))


def test_gradients_not_given(fit_refused, scan):
    image = ("--images", scan / "dwi.nii.gz")
    assert "--bval" in fit_refused("FQ103", *image, model="dti", common=())
    text = fit_refused("FQ103", *image, model="dti", common=("--bvec", scan / "dwi.bvec"))
    assert "without --bval" in text
    both = ("--bval", scan / "dwi.bval", "--b-value", "0,1000s/mm2")
    assert "Give one of them" in fit_refused("FQ103", *image, model="adc", common=both)


def test_tensor_without_directions(fit_refused, scan):
    text = fit_refused(
        "FQ103", "--images", scan / "dwi.nii.gz", model="dti", common=("--bval", scan / "dwi.bval")
    )
    assert "direction" in text or "b-vector" in text


# --- output ---------------------------------------------------------------------------------------------


def test_output_below_a_file(refused, scan):
    (scan / "file").write_text("")
    for out in (scan / "file", scan / "file" / "deep"):
        text = refused("FQ401", "fit", "vfa", "--images", *images_of(scan), *VFA, "--out", out)
        assert str(scan / "file") in text
    assert (scan / "file").read_text() == ""


def test_output_that_may_not_be_written(program, scan, tmp_path):
    """For ``fit`` and ``run``, a folder without the right to write."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    dataset = builders.Dataset(tmp_path / "raw")
    builders.add_mese(dataset)
    for words in (
        ("fit", "vfa", "--images", *images_of(scan), *VFA, "--out", closed / "maps"),
        ("run", dataset.root, closed / "maps"),
    ):
        command = [*_without_root_s_rights(), program, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 2, done.stderr
        assert "Error FQ401" in done.stderr
        assert f"{closed} is read-only for this user" in done.stderr
        assert not any(closed.iterdir())


def _without_root_s_rights() -> tuple[str, ...]:
    """What to put before a command so that file permissions hold for root too."""
    if os.getuid() != 0:
        return ()
    rights = "-dac_override,-dac_read_search"
    prefix = ("setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}")
    if shutil.which("setpriv") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("running as root, whom permissions do not bind, and setpriv can't change that")
    return prefix


# --- the same in a dataset ------------------------------------------------------------------------------


def run_refused(invoke, tmp_path: Path, code: str) -> str:
    """The error text of a run on a dataset of one bad scan; no maps may come of it."""
    result = invoke("run", tmp_path / "raw", tmp_path / "maps")
    assert result.exit_code in (2, 3)
    assert f"Error {code}" in result.output
    assert not list((tmp_path / "maps").rglob("*.nii.gz"))
    assert not list((tmp_path / "maps").rglob("*report*"))
    return " ".join(result.output.split())


def edit(path: Path, **fields: object) -> None:
    content = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_sidecar_without_a_field(invoke, tmp_path):
    builders.add_vfa(builders.Dataset(tmp_path / "raw"))
    edit(tmp_path / "raw" / "sub-01" / "anat" / "sub-01_flip-2_VFA.json", FlipAngle=None)
    text = run_refused(invoke, tmp_path, "FQ302")
    assert "FlipAngle of" in text
    assert "sub-01_flip-2_VFA.json" in text


@pytest.mark.parametrize(
    ("add", "file", "fields"),
    [
        (builders.add_vfa, "VFA.json", {"RepetitionTimeExcitation": 15}),
        (builders.add_irt1, "sub-01/anat/sub-01_inv-3_IRT1.json", {"InversionTime": 1100}),
        (builders.add_mese, "sub-01/anat/sub-01_echo-02_MESE.json", {"EchoTime": 20}),
        (builders.add_megre, "sub-01/anat/sub-01_echo-2_part-mag_MEGRE.json", {"EchoTime": 8}),
    ],
    ids=["VFA", "IRT1", "MESE", "MEGRE"],
)
def test_milliseconds_in_a_sidecar(invoke, tmp_path, add, file, fields):
    add(builders.Dataset(tmp_path / "raw"))
    edit(tmp_path / "raw" / file, **fields)
    text = run_refused(invoke, tmp_path, "FQ102")
    assert "milliseconds" in text
    assert Path(file).name in text


def test_flip_angles_are_not_guessed_from_radians(invoke, tmp_path):
    """Flip angles in radians are legal as tiny angles in degrees; the estimates must not pass unremarked."""
    dataset = builders.Dataset(tmp_path / "raw")
    builders.add_vfa(dataset, b1=None)
    for i, angle in enumerate(FLIP_ANGLES):
        edit(tmp_path / f"raw/sub-01/anat/sub-01_flip-{i + 1}_VFA.json", FlipAngle=float(np.deg2rad(angle)))
    result = invoke("run", tmp_path / "raw", tmp_path / "maps")
    if result.exit_code == 0:
        metrics = json.loads((tmp_path / "maps/reports/sub-01_VFA_metrics.json").read_text())
        assert metrics["verdict"]["level"] != "ok"
