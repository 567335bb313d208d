"""``recon``: maps from raw files, by options alone, near the truth of the phantom they were made from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fastqmri.core import MultiEchoSpinEcho
from fastqmri.io import read_image
from fastqmri.io.raw import RawScan, load_raw, write_mrd
from fastqmri.phantoms import acquire, ellipses
from fastqmri.physics.encoding import CartesianEncoding, synthetic_sensitivities, variable_density_lines
from fastqmri.physics.signal import ExponentialDecay

ECHOES = MultiEchoSpinEcho(echo_time=tuple(f"{t}ms" for t in (8, 20, 40, 70)))
MATRIX, COILS, SLICES = (40, 32), 3, 2


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """A raw file of two slices, twofold undersampled; the true T2 (x, y, z), NaN outside the object."""
    generator = torch.Generator().manual_seed(3)
    coils = synthetic_sensitivities(MATRIX, COILS, generator=generator)
    mask = variable_density_lines(MATRIX[0], ECHOES.contrasts, 2.0, generator=generator, centre=12)[..., None]
    kspace, truth = [], []
    for _ in range(SLICES):
        phantom = ellipses(MATRIX, generator=generator)
        encoding = CartesianEncoding(coils, mask)
        measured = acquire(phantom, ExponentialDecay(ECHOES), encoding, snr=80, generator=generator)
        kspace.append(measured.data)
        truth.append(torch.where(phantom.mask, phantom.maps["T2"], torch.nan).T)
    path = tmp_path_factory.mktemp("raw") / "scan.h5"
    raw = RawScan(
        torch.stack(kspace).to(torch.complex64),
        MATRIX,
        (0.2, 0.16),
        mask=mask.expand(-1, *MATRIX),
        noise=measured.noise * 2**0.5 * torch.randn(COILS, 4096, dtype=torch.complex64, generator=generator),
        echo_time=ECHOES.echo_time,
    )
    write_mrd(path, raw)
    return path, torch.stack(truth, -1).numpy(), np.asarray(mask)


def _error(folder: Path, truth: np.ndarray) -> float:
    """Median relative error of T2 over the voxels that both know."""
    found = np.asarray(read_image(folder / "T2map.nii.gz").data)
    assert found.shape == truth.shape
    both = np.isfinite(truth) & (found > 0)
    assert both.sum() > 0.8 * np.isfinite(truth).sum()
    return float(np.median(np.abs(found - truth)[both] / truth[both]))


@pytest.fixture(scope="module")
def zero_filled(scan, tmp_path_factory, invoke) -> Path:
    out = tmp_path_factory.mktemp("maps") / "zero-filled"
    result = invoke("recon", scan[0], "--model", "T2", "--method", "zero-filled", "--out", out)
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.parametrize("method", ["auto", "llr"])
def test_maps_come_from_the_file_alone(scan, zero_filled: Path, tmp_path: Path, invoke, method: str):
    result = invoke("recon", scan[0], "--model", "T2", "--method", method, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert _error(tmp_path, scan[1]) < 0.05
    assert _error(tmp_path, scan[1]) < 0.7 * _error(zero_filled, scan[1])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["kspace"]["acceleration"] == pytest.approx(2, abs=0.01)
    assert metrics["kspace"]["coils"] == COILS
    page = (tmp_path / "report.html").read_text()
    assert "of the measured k-space unexplained" in page
    assert "from k-space of 3 channels" in page
    assert not (tmp_path / ".planes").exists()
    if method == "auto":
        assert 0.8 < metrics["kspace"]["residual_over_noise"] < 1.5


def test_an_interrupted_run_goes_on(scan, zero_filled: Path, tmp_path: Path, invoke, monkeypatch):
    """The plane that was done is not done again, and the result is that of one go."""
    from fastqmri.estimators.reconstruction import volume

    done = []
    original = volume._map_plane

    def second_plane_fails(part, index, *rest):
        if index == 1 and "failed" not in done:
            done.append("failed")
            raise KeyboardInterrupt
        done.append(index)
        return original(part, index, *rest)

    monkeypatch.setattr(volume, "_map_plane", second_plane_fails)
    words = ("recon", scan[0], "--model", "mese", "--method", "zero-filled", "--out", tmp_path)
    assert invoke(*words).exit_code == 130
    assert not (tmp_path / "report.html").exists()
    assert invoke(*words).exit_code == 0
    assert done == [0, "failed", 1]
    for name in ("T2map.nii.gz", "T2map_sd.nii.gz", "flags.nii.gz"):
        ours, others = (np.asarray(read_image(folder / name).data) for folder in (tmp_path, zero_filled))
        assert np.array_equal(ours, others, equal_nan=True), name
    metrics = [json.loads((f / "metrics.json").read_text())["kspace"] for f in (tmp_path, zero_filled)]
    assert metrics[0] == metrics[1]


def test_a_3d_scan_is_taken_apart_along_its_readout(tmp_path: Path, invoke, generator: torch.Generator):
    matrix = (6, 24, 20)
    phantom = ellipses(matrix, generator=generator)
    coils = synthetic_sensitivities(matrix, 2, generator=generator)
    full = CartesianEncoding(coils, torch.ones(1, *matrix, dtype=torch.bool))
    data = acquire(phantom, ExponentialDecay(ECHOES), full, snr=150, generator=generator).data
    path, out = tmp_path / "volume.h5", tmp_path / "maps"
    mask = torch.ones(1, *matrix, dtype=torch.bool)
    write_mrd(
        path,
        RawScan(
            data[None].to(torch.complex64), matrix, (0.06, 0.24, 0.2), mask=mask, echo_time=ECHOES.echo_time
        ),
    )
    result = invoke("recon", path, "--model", "T2", "--coil-maps", "walsh", "--out", out)
    assert result.exit_code == 0, result.output
    truth = torch.where(phantom.mask, phantom.maps["T2"], torch.nan).permute(2, 1, 0).numpy()
    assert _error(out, truth) < 0.05


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--model", "T9"), "FQ501", "no such model"),
        (("--model", "T2", "--method", "magic"), "FQ501", "no such choice"),
        (("--model", "T2", "--echo-time", "10,20ms"), "FQ201", "4 contrasts of k-space, 2 values"),
        (("--model", "T2", "--echo-time", "8,20,40,70"), "FQ101", "unit"),
        (("--model", "T1"), "FQ103", "no flip angle in the header"),
        (("--model", "T2", "--weight", "-1"), "FQ102", "positive"),
        (("--model", "T2", "--method", "zero-filled", "--weight", "2"), "FQ501", "no such weight"),
    ],
)
def test_wrong_use_is_refused_and_nothing_written(scan, tmp_path: Path, refused, words, code: str, told: str):
    out = tmp_path / "maps"
    assert told in refused(code, "recon", scan[0], *words, "--out", out)
    assert not out.exists()


def test_a_cut_off_file_is_refused(scan, tmp_path: Path, refused):
    broken = tmp_path / "broken.h5"
    broken.write_bytes(scan[0].read_bytes()[:5000])
    refused("FQ301", "recon", broken, "--model", "T2", "--out", tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


@pytest.fixture(scope="module")
def without_calibration(scan, tmp_path_factory) -> Path:
    """Every third line, the same ones in all contrasts."""
    raw = load_raw(scan[0]).loaded()
    mask = torch.zeros(1, *MATRIX, dtype=torch.bool)
    mask[:, MATRIX[0] // 2 % 3 :: 3] = True
    path = tmp_path_factory.mktemp("raw") / "regular.h5"
    kspace = torch.randn(raw.kspace.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    write_mrd(path, dataclasses.replace(raw, kspace=(raw.kspace + 1e-3 * kspace) * mask, mask=mask))
    return path


def test_methods_without_coil_maps_ask_for_no_calibration_lines(
    without_calibration: Path, tmp_path: Path, invoke, refused
):
    words = ("recon", without_calibration, "--model", "T2", "--mask", "none")
    told = refused("FQ202", *words, "--method", "cg-sense", "--out", tmp_path / "sense")
    assert "calibration lines" in told
    assert not (tmp_path / "sense").exists()
    result = invoke(*words, "--method", "lasso", "--out", tmp_path / "lasso")
    assert result.exit_code == 0, result.output


@pytest.fixture
def unfold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A learned method from k-space that is model-based reconstruction in disguise; the SHA-256 of its weights."""
    from fastqmri.learning.recipe import TrainingSettings
    from fastqmri.methods import METHODS
    from recipes import UNFOLD, Unfold, train_decay

    recipe = Unfold()
    recipe.settings = TrainingSettings(steps=2, batch=8, learning_rate=0.01)  # type: ignore[misc]
    train_decay(tmp_path / "weights", recipe)
    monkeypatch.setitem(METHODS, "unfold", UNFOLD)
    monkeypatch.setenv("FASTQMRI_WEIGHTS", str(tmp_path / "weights"))
    return json.loads((tmp_path / "weights" / "unfold.json").read_text())["sha256"]


def test_learned_method_beside_the_classical_one(scan, unfold: str, tmp_path: Path, invoke, monkeypatch):
    """Both ways are one method here: no difference may remain, nor after an interruption."""
    from fastqmri.estimators.reconstruction import volume

    out = tmp_path / "maps"
    words = ("recon", scan[0], "--model", "T2", "--method", "unfold", "--out", out)
    original, done = volume._map_plane, []

    def killed(*arguments: object) -> object:
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(volume, "_map_plane", killed)
    assert invoke(*words).exit_code == 130
    monkeypatch.setattr(volume, "_map_plane", original)
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    numbers = json.loads((out / "metrics.json").read_text())["comparison"]
    assert (numbers["network"], numbers["classical"]) == ("unfold", "model-based")
    assert numbers["percent"]["T2"]["median"] == pytest.approx(0, abs=1e-4)
    assert numbers["percent"]["T2"]["beyond"] == 0
    assert 0 < numbers["voxels"] <= MATRIX[0] * MATRIX[1]
    assert json.loads((out / "T2map.json").read_text())["NetworkWeightsSHA256"] == unfold
    assert "Network against classical on this scan" in (out / "report.html").read_text()


def test_learned_method_warns_near_its_card(scan, unfold: str, tmp_path: Path, invoke):
    words = ("recon", scan[0], "--model", "T2", "--method", "unfold", "--out", tmp_path / "maps")
    result = invoke(*words, "--echo-time", "8.2,20.5,41,71.75ms")
    assert result.exit_code == 0, result.output
    assert "Note: unfold, near the edge of its card: echo_time 1 0.0082" in " ".join(result.output.split())


def test_learned_method_refuses_what_it_does_not_know(scan, unfold: str, tmp_path: Path, refused):
    out = tmp_path / "maps"
    words = ("recon", scan[0], "--model", "T2", "--method", "unfold", "--out", out)
    text = refused("FQ104", *words, "--echo-time", "8,20,40,80ms")
    assert "fastqmri recon --method model-based" in text
    assert "no such weight" in refused("FQ501", *words, "--weight", "2")
    assert "for learned methods only" in refused("FQ501", *words[:-3], "llr", "--out", out, "--finishing")
    assert not out.exists()
