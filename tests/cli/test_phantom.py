"""fastqmri phantom: its files are valid, replay, and hold what the truth says."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from fastqmri.io.raw import load_raw

pytest.importorskip("ismrmrd")


def read(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def words(command: str) -> list[str]:
    """A command as a shell splits it, patterns and all, without the program's name."""
    spread: list[str] = []
    for word in shlex.split(command)[1:]:
        found = sorted(Path("/").glob(word.lstrip("/"))) if "*" in word else [word]
        spread += [str(one) for one in found]
    return spread


@pytest.fixture(scope="module")
def flip_angles(tmp_path_factory, invoke):
    out = tmp_path_factory.mktemp("phantom") / "vfa"
    result = invoke(
        "phantom", "--model", "vfa", "--matrix", "40x33", "--snr", "200", "--seed", "5", "--out", out
    )
    assert result.exit_code == 0, result.output
    return out, result.output


def test_same_seed_same_bytes(flip_angles, invoke, tmp_path):
    first, _ = flip_angles
    options = ("--model", "vfa", "--matrix", "40x33", "--snr", "200", "--seed", "5")
    assert invoke("phantom", *options, "--out", tmp_path / "again").exit_code == 0
    names = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert names == sorted(
        p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file()
    )
    for name in names:
        if name.name == "phantom.json":  # holds the paths
            continue
        if name.suffix == ".h5":  # may hold the time
            one, two = (load_raw(folder / name) for folder in (first, tmp_path / "again"))
            assert torch.equal(one.kspace.tensor(), two.kspace.tensor())
            continue
        if name.suffixes[-2:] == [".nii", ".gz"]:  # compression notes its time
            assert np.array_equal(read(first / name), read(tmp_path / "again" / name)), name
            continue
        assert (first / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_printed_command_finds_the_truth(flip_angles, invoke, tmp_path):
    """Images of SNR 200: T1 to 5 % in the median voxel of one tissue."""
    out, text = flip_angles
    record = json.loads((out / "phantom.json").read_text())
    fit, recon = record["Commands"]
    assert fit in text and recon in text  # noqa: PT018
    assert recon.startswith("fastqmri recon ")
    fit_words = words(fit)
    fit_words[fit_words.index("--out") + 1] = str(tmp_path / "maps")
    result = invoke(*fit_words)
    assert result.exit_code == 0, result.output
    pure = read(out / "truth" / "pure.nii.gz") > 0
    truth, found = read(out / "truth" / "T1.nii.gz")[pure], read(tmp_path / "maps" / "T1map.nii.gz")[pure]
    assert pure.sum() > 300
    error = found / truth - 1
    assert abs(np.median(error)) < 0.01
    assert np.median(abs(error)) < 0.05


def test_kspace_is_of_the_truth_and_its_noise_of_the_size_that_is_stated(invoke, tmp_path):
    """Fully sampled: the root of the coils' squares is the image of the truth, voxel for voxel."""
    out = tmp_path / "p"
    options = ("--model", "mese", "--matrix", "37x30", "--acceleration", "1", "--snr", "300", "--coils", "3")
    assert invoke("phantom", *options, "--out", out).exit_code == 0
    scan = load_raw(out / "raw" / "scan.h5")
    kspace = scan.kspace.tensor()
    assert tuple(kspace.shape) == (1, 32, 3, 30, 37)
    assert scan.echo_time == pytest.approx(tuple(0.01 * i for i in range(1, 33)))
    axes = (-2, -1)
    images = torch.fft.fftshift(
        torch.fft.ifftn(torch.fft.ifftshift(kspace[0], axes), dim=axes, norm="ortho"), axes
    )
    combined = images.abs().square().sum(1).sqrt().numpy()
    pure = read(out / "truth" / "pure.nii.gz")[:, :, 0].T > 0
    m0, t2 = (read(out / "truth" / f"{name}.nii.gz")[:, :, 0].T for name in ("M0", "T2"))
    assert m0.shape == (30, 37)
    for echo in (0, 3):
        wanted = m0 * np.exp(-0.01 * (echo + 1) / np.maximum(t2, 1e-6))
        assert np.abs(combined[echo] - wanted)[pure].max() < 0.03
    sigma = json.loads((out / "phantom.json").read_text())["NoiseStandardDeviation"]
    noise = scan.noise
    assert float(noise.real.std()) == pytest.approx(sigma, rel=0.03)  # 3 x 2048 samples
    straight = nibabel.load(out / "truth" / "mask.nii.gz").affine
    # ISMRMRD keeps single precision
    assert np.allclose(scan.affine.numpy() @ [0, 7, 11, 1], straight @ [11, 7, 0, 1], atol=1e-3)


def test_kspace_is_accelerated_by_other_lines_in_every_contrast(flip_angles):
    scan = load_raw(flip_angles[0] / "raw" / "scan.h5")
    lines = scan.mask.expand(6, *scan.matrix).any(-1)
    assert lines.sum(1).tolist() == [round(33 / 4)] * 6
    assert len({tuple(row.tolist()) for row in lines}) > 3


@pytest.mark.parametrize("name", ["megre-complex", "irt1"])
def test_other_models_and_volumes(name, invoke, tmp_path):
    out = tmp_path / "p"
    matrix = "16x15x9" if name == "megre-complex" else "20x17"
    result = invoke("phantom", "--model", name, "--matrix", matrix, "--acceleration", "2", "--out", out)
    assert result.exit_code == 0, result.output
    scan = load_raw(out / "raw" / "scan.h5")
    assert scan.matrix == tuple(map(int, matrix.split("x")))[::-1]
    assert (out / "truth.png").read_bytes()[:4] == b"\x89PNG"


def test_a_brain(invoke, tmp_path):
    pytest.importorskip("nilearn")
    out = tmp_path / "p"
    result = invoke(
        "phantom", "--kind", "brain", "--model", "megre", "--matrix", "48x48", "--lesions", "3", "--out", out
    )
    assert result.exit_code == 0, result.output
    drawn = json.loads((out / "phantom.json").read_text())["Drawn"]
    assert drawn["subject"] == "mni152"
    assert drawn["split"] == "training"
    assert len(drawn["lesions"]) == 3


def test_phase_is_that_of_the_field(invoke, tmp_path):
    """Without wraps: the phase between two echoes over 2π ΔTE is B0, inside and where the signal is strong."""
    out = tmp_path / "p"
    options = ("--kind", "susceptibility", "--model", "megre-complex", "--matrix", "24x22x20", "--snr", "500")
    result = invoke("phantom", *options, "--acceleration", "1", "--out", out)
    assert result.exit_code == 0, result.output
    stem = out / "bids" / "sub-phantom" / "anat" / "sub-phantom_echo-0"
    one, two = (read(stem.with_name(f"{stem.name}{i}_part-phase_MEGRE.nii.gz")) for i in (1, 2))
    inside = read(out / "truth" / "mask.nii.gz") > 0
    frequency = (np.angle(np.exp(1j * (two - one))) / (2 * np.pi * 0.005))[inside]
    truth = read(out / "truth" / "B0.nii.gz")[inside]
    assert truth.std() > 1
    assert np.median(np.abs(frequency - truth)) < 0.2


def test_wrong_input_is_refused(refused, tmp_path):
    out = tmp_path / "p"
    assert "simulate" in refused("FQ501", "phantom", "--model", "dti", "--out", out)
    assert "64x64" in refused("FQ102", "phantom", "--model", "vfa", "--matrix", "64", "--out", out)
    assert "ellipses" in refused("FQ501", "phantom", "--kind", "cube", "--model", "vfa", "--out", out)
    assert "64x64x64" in refused(
        "FQ102", "phantom", "--kind", "susceptibility", "--model", "megre", "--out", out
    )
    refused("FQ501", "phantom", "--kind", "brain", "--subject", "me", "--model", "vfa", "--out", out)
    refused("FQ301", "phantom", "--kind", "brain", "--subject", "brainweb-04", "--model", "vfa", "--out", out)
    assert not out.exists()
    out.mkdir()
    (out / "letter.txt").write_text("mine")
    refused("FQ401", "phantom", "--model", "vfa", "--out", out)
