"""`methods`, `train`, `evaluate`, and maps by a network, with a network that is trained in a second."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from fastqmri.learning.weights import read_card, write_weights

Invoke = Callable[..., object]


def plain(text: str) -> str:
    return " ".join(text.split())


# --- methods ----------------------------------------------------------------------------------------------


def test_methods_lists_what_there_is(invoke: Invoke, decay: Path) -> None:
    result = invoke("methods")
    assert result.exit_code == 0, result.output
    for word in ("decay", "decay-4", "decay-slow", "T2", "kB"):
        assert word in result.output


def test_one_method_in_detail(invoke: Invoke, decay: Path) -> None:
    text = plain(invoke("methods", "decay-4").output)
    for part in (
        "protocol: echo time 10 ms, 30 ms, 60 ms, 100 ms",
        "T2: 0.02 to 0.3 s",
        "matrix: 4 to 64",
        "fastqmri train decay --recipe decay-4",
        "fit mese --method nlls",
        "with --finishing; nRMSE of T2 3 to 1 %",
        "Cohen et al.",
    ):
        assert part in text, part
    assert "120" not in text  # of the other recipe


def test_unknown_method(refused: Callable[..., str]) -> None:
    assert "there is no such method" in refused("FQ501", "methods", "dronn")
    assert "there is no such method" in refused("FQ501", "train", "dronn")
    assert "there is no such method" in refused("FQ501", "evaluate", "dronn")


def test_citation_covers_methods(invoke: Invoke, decay: Path) -> None:
    text = invoke("cite", "decay").output
    assert "@article{cohen2018" in text
    assert "@article{zhu2023" in text
    assert "marquardt" not in text


# --- train ------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(invoke: Invoke, decay: Path, tmp_path: Path) -> Path:
    out = tmp_path / "mine"
    result = invoke(
        "train", "decay", "--recipe", "decay-4", "--steps", 40, "--seed", 7, "--no-evaluate", "-o", out
    )
    assert result.exit_code == 0, result.output
    assert "decay-4: step 40: score" in result.output
    return out


def test_train_writes_weights_card_and_curve(trained: Path, invoke: Invoke) -> None:
    assert sorted(p.name for p in trained.iterdir()) == [
        "decay-4.json",
        "decay-4.png",
        "decay-4.safetensors",
    ]
    card = read_card(trained, "decay-4")
    assert (card.settings["steps"], card.settings["seed"]) == (40, 7)
    assert card.command == "fastqmri train decay --recipe decay-4 --seed 7 --steps 40"
    assert card.classical == "fastqmri fit mese --method nlls"
    assert card.finishing is not None
    assert (trained / "decay-4.png").read_bytes()[:4] == b"\x89PNG"


def test_the_command_of_a_card_gives_the_same_bytes(trained: Path, invoke: Invoke, tmp_path: Path) -> None:
    words = read_card(trained, "decay-4").command.split()[1:]
    again = tmp_path / "again"
    assert invoke(*words, "--no-evaluate", "--out", again).exit_code == 0
    first, second = ((folder / "decay-4.safetensors").read_bytes() for folder in (trained, again))
    assert first == second
    by_card = tmp_path / "by-card"
    words = ["train", "decay-4", "--config", trained / "decay-4.json", "--no-evaluate", "-o", by_card]
    assert invoke(*words).exit_code == 0
    assert (by_card / "decay-4.safetensors").read_bytes() == first


def test_train_evaluates_into_the_card(invoke: Invoke, decay: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    result = invoke("train", "decay-4", "--steps", 20, "--seeds", 2, "--out", out)
    assert result.exit_code == 0, result.output
    assert "nlls" in result.output
    card = read_card(out, "decay-4")
    assert {r.method for r in card.results} == {"decay-4", "nlls"}
    assert card.expected_error["T2"] > 0


def test_nothing_is_overwritten(trained: Path, refused: Callable[..., str]) -> None:
    before = (trained / "decay-4.safetensors").read_bytes()
    text = refused("FQ401", "train", "decay-4", "--steps", 10, "--out", trained)
    assert "decay-4.safetensors already" in text
    assert (trained / "decay-4.safetensors").read_bytes() == before


def test_killed_training_goes_on(
    invoke: Invoke, refused: Callable[..., str], decay: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recipes import Decay

    out, words = (
        tmp_path / "mine",
        ("train", "decay-4", "--steps", 200, "--no-evaluate", "--out", tmp_path / "mine"),
    )
    draw = Decay.draw
    calls = []

    def killed(self: Decay, generator: object, count: int) -> object:
        calls.append(count)
        if len(calls) == 150:
            raise KeyboardInterrupt
        return draw(self, generator, count)  # type: ignore[arg-type]

    monkeypatch.setattr(Decay, "draw", killed)
    assert invoke(*words).exit_code == 130
    assert not (out / "decay-4.safetensors").exists()
    monkeypatch.setattr(Decay, "draw", draw)
    assert "--resume" in refused("FQ401", *words)
    assert invoke(*words, "--resume").exit_code == 0
    whole = tmp_path / "whole"
    assert invoke(*words[:-1], whole).exit_code == 0
    assert (whole / "decay-4.safetensors").read_bytes() == (out / "decay-4.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ('{"stepps": 3}', ("stepps", "learning_rate")),
        ('{"steps": -3}', ("steps", "greater than 0")),
        ('{"batch": "many"}', ("batch",)),
        ("{steps: 3}", ("no JSON",)),
        ("[3]", ("settings are an object",)),
    ],
)
def test_broken_settings_are_named(
    content: str, parts: tuple[str, ...], refused: Callable[..., str], decay: Path, tmp_path: Path
) -> None:
    config = tmp_path / "settings.json"
    config.write_text(content)
    out = tmp_path / "mine"
    text = refused("FQ301", "train", "decay-4", "--config", config, "--out", out)
    for part in parts:
        assert part in text
    assert not out.exists()


def test_impossible_options(refused: Callable[..., str], decay: Path, tmp_path: Path) -> None:
    assert "--learning-rate -1" in refused(
        "FQ102", "train", "decay-4", "--learning-rate", "-1", "-o", tmp_path / "x"
    )
    assert "no such recipe" in refused("FQ501", "train", "decay", "--recipe", "decay-5", "-o", tmp_path / "x")
    assert "--device" in refused("FQ102", "train", "decay-4", "--device", "tpu", "-o", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_data_that_is_missing(
    refused: Callable[..., str], decay: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from fastqmri.methods import METHODS

    one = METHODS["decay"]
    needy = tuple(dataclasses.replace(entry, needs_data=True) for entry in one.recipes)
    monkeypatch.setitem(METHODS, "decay", dataclasses.replace(one, recipes=needy))
    monkeypatch.delenv("FASTQMRI_TEST_DATA", raising=False)
    for command in ("train", "evaluate"):
        text = refused("FQ301", command, "decay-4", "--out", tmp_path / "x")
        assert "--data" in text
        assert "FASTQMRI_TEST_DATA" in text
    assert "no such folder" in refused("FQ301", "evaluate", "decay-4", "--data", tmp_path / "nowhere")


# --- evaluate ---------------------------------------------------------------------------------------------


def test_evaluate_prints_writes_and_updates(invoke: Invoke, decay: Path, tmp_path: Path) -> None:
    out = tmp_path / "comparison"
    result = invoke("evaluate", "decay-4", "--seeds", 3, "--out", out, "--update-card")
    assert result.exit_code == 0, result.output
    assert re.search(r"decay-4: (better|worse|no clear difference).*T2 nRMSE .* nlls", result.output)
    rows = list(csv.DictReader((out / "decay-4.csv").open()))
    assert {row["method"] for row in rows} == {"decay-4", "nlls"}
    assert all(row["samples"] == "3" for row in rows)
    assert (out / "decay-4.png").read_bytes()[:4] == b"\x89PNG"
    card = read_card(decay, "decay-4")
    assert [r.value for r in card.results] == pytest.approx([float(row["value"]) for row in rows])
    assert card.sha256 == json.loads((decay / "decay-4.json").read_text())["sha256"]


# --- fit --------------------------------------------------------------------------------------------------

TIMES = "10,30,60,100ms"


@pytest.fixture
def echoes(tmp_path: Path) -> Path:
    """Four echoes of T2 0.03 to 0.2 s, of two slices, 20 by 16 voxels."""
    generator = torch.Generator().manual_seed(3)
    t2 = torch.linspace(0.03, 0.2, 20)[:, None, None].expand(20, 16, 2)
    images = 100 * torch.exp(-torch.tensor([0.01, 0.03, 0.06, 0.1]) / t2[..., None])
    images = images + 0.3 * torch.randn(images.shape, generator=generator)
    path = tmp_path / "echoes.nii.gz"
    nib.save(nib.Nifti1Image(images.numpy(), np.diag([2.0, 2.0, 4.0, 1.0])), path)
    return path


def volume(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def fit_words(echoes: Path, out: Path, *more: object, times: str = TIMES) -> list[object]:
    return [
        "fit", "mese", "-i", echoes, "--echo-time", times, "--mask", "none", "--threads", 1, "-o", out, *more
    ]  # fmt: skip


def test_fit_by_a_network(invoke: Invoke, decay: Path, echoes: Path, tmp_path: Path) -> None:
    out = tmp_path / "maps"
    result = invoke(*fit_words(echoes, out, "--method", "decay"))
    assert result.exit_code == 0, result.output
    truth = np.linspace(0.03, 0.2, 20)[:, None, None]
    assert np.median(np.abs(volume(out / "T2map.nii.gz") / truth - 1)) < 0.1
    sidecar = json.loads((out / "T2map.json").read_text())
    card = read_card(decay, "decay-4")
    assert sidecar["NetworkWeightsSHA256"] == card.sha256
    assert sidecar["NetworkCard"]["validity"]["tissue"]["T2"] == [0.02, 0.3]
    assert "10.1002/mrm.27198" in json.dumps(sidecar)
    page = (out / "report.html").read_text()
    for part in ("Network against classical on this scan", "decay-4 minus nlls", "Trained for protocol"):
        assert part in page
    numbers = json.loads((out / "metrics.json").read_text())["comparison"]
    assert (numbers["network"], numbers["classical"], numbers["voxels"]) == ("decay-4", "nlls", 320)


def test_finishing_gives_the_classical_fit(invoke: Invoke, decay: Path, echoes: Path, tmp_path: Path) -> None:
    """Least squares has one answer, wherever it starts: with and without the network they must agree."""
    for name, more in (
        ("finished", ("--method", "decay-4", "--finishing")),
        ("raw", ("--method", "decay-4", "--no-finishing")),
        ("nlls", ("--method", "nlls")),
    ):
        result = invoke(*fit_words(echoes, tmp_path / name, *more))
        assert result.exit_code == 0, result.output
    finished, raw, nlls = (volume(tmp_path / n / "T2map.nii.gz") for n in ("finished", "raw", "nlls"))
    assert np.allclose(finished, nlls, rtol=2e-3)
    assert np.abs(raw / nlls - 1).max() > 0.01
    numbers = json.loads((tmp_path / "finished" / "metrics.json").read_text())["comparison"]["percent"]["T2"]
    assert abs(numbers["median"]) < 0.1
    assert numbers["beyond"] == 0
    # the numbers of the panel, made again from the files
    share = 100 * (raw - nlls) / nlls
    part = share[..., 0]
    numbers = json.loads((tmp_path / "raw" / "metrics.json").read_text())["comparison"]["percent"]["T2"]
    assert numbers["median"] == pytest.approx(np.median(part), rel=1e-3)
    assert numbers["low"] == pytest.approx(part.mean() - 1.96 * part.std(), rel=1e-3)
    deviation = volume(tmp_path / "nlls" / "T2map_sd.nii.gz")[..., 0]
    assert numbers["beyond"] == pytest.approx((np.abs(raw - nlls)[..., 0] > 3 * deviation).mean(), abs=0.01)


def test_near_protocol_is_warned_of(invoke: Invoke, decay: Path, echoes: Path, tmp_path: Path) -> None:
    out = tmp_path / "maps"
    result = invoke(*fit_words(echoes, out, "--method", "decay", times="10.3,30.9,61.8,103ms"))
    assert result.exit_code == 0, result.output
    assert "near the edge of its card: echo_time 1 0.0103" in plain(result.output)
    assert "near the edge of its card" in (out / "report.html").read_text()


WRONG = {
    "protocol": (TIMES.replace("60", "80"), (), "FQ104", ("decay-4 for", "nlls", "echo_time 3 0.08")),
    "contrasts": ("10,30,60ms", (), "FQ104", ("number of values of echo_time 3",)),
    "units": ("10,30,60,100s", (), "FQ102", ("EchoTime = 10 s",)),
    "no units": ("10,30,60,100", (), "FQ101", ("echo",)),
    "rician": (TIMES, ("--noise-model", "rician"), "FQ102", ("trained with",)),
    "model option": (TIMES, ("--offset",), "FQ102", ("trained with False",)),
    "noise": (TIMES, ("--noise-sd", "-1"), "FQ102", ("--noise-sd",)),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_ends_with_an_error_and_no_files(
    case: str, refused: Callable[..., str], decay: Path, echoes: Path, tmp_path: Path
) -> None:
    times, more, code, parts = WRONG[case]
    out = tmp_path / "maps"
    text = refused(code, *fit_words(echoes, out, "--method", "decay", *more, times=times))
    for part in parts:
        assert part in text
    assert not out.exists()


def test_another_matrix_is_refused(refused: Callable[..., str], decay: Path, tmp_path: Path) -> None:
    images = np.full((100, 5, 1, 4), 50.0, dtype=np.float32)
    path = tmp_path / "wide.nii.gz"
    nib.save(nib.Nifti1Image(images, np.eye(4)), path)
    out = tmp_path / "maps"
    text = refused("FQ104", *fit_words(path, out, "--method", "decay"))
    assert "matrix 100 lies above the trained range, 4 to 64" in text
    assert "fastqmri fit mese --method nlls" in text
    assert not out.exists()


def test_networks_of_other_models_and_commands(
    refused: Callable[..., str], decay: Path, echoes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "maps"
    words = [
        "fit",
        "vfa",
        "-i",
        echoes,
        "--flip-angle",
        "2,5,10,15deg",
        "--repetition-time",
        "15ms",
        "-o",
        out,
    ]
    assert "it maps mese" in refused("FQ501", *words, "--method", "decay")
    text = refused("FQ501", *fit_words(echoes, out, "--method", "dronn"))
    assert "decay-4" in text
    assert "nlls" in text
    qsm = ["qsm", "-i", echoes, "--echo-time", TIMES, "--field-strength", "3T", "-o", out]
    assert "it is a method of fastqmri fit" in refused("FQ501", *qsm, "--method", "decay")
    text = refused("FQ501", *fit_words(echoes, out, "--method", "nlls", "--finishing"))
    assert "for learned methods only" in text
    assert not out.exists()


def _card(folder: Path, **fields: object) -> None:
    path = folder / "decay-4.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def _spoil(folder: Path, kind: str) -> None:
    weights = folder / "decay-4.safetensors"
    if kind == "damaged weights":
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif kind == "cut weights":
        weights.write_bytes(weights.read_bytes()[:100])
    elif kind == "missing weights":
        weights.unlink()
    elif kind == "missing card":
        (folder / "decay-4.json").unlink()
    elif kind == "card of others":
        shutil.copy(folder / "decay-slow.json", folder / "decay-4.json")
    elif kind == "weights of others":
        _card(folder, sha256=hashlib.sha256((folder / "decay-slow.safetensors").read_bytes()).hexdigest())
    elif kind == "another network":
        small = torch.nn.Linear(2, 2)
        _card(folder, sha256=write_weights(folder, small, "decay-4"))
    elif kind == "broken field":
        _card(folder, validity={"snr": "high"})
    else:
        (folder / "decay-4.json").write_text("{")


SPOILED = {
    "damaged weights": "other bytes than decay-4.json describes",
    "cut weights": "other bytes than decay-4.json describes",
    "missing weights": "decay-4.safetensors: No such file",
    "missing card": "without its card nobody knows",
    "card of others": "the card of 'decay-slow'",
    "weights of others": "other bytes than decay-4.json describes",
    "another network": "do not fit the network of decay-4",
    "broken field": "validity.snr",
    "no JSON": "decay-4.json",
}


@pytest.mark.parametrize("kind", SPOILED)
def test_spoiled_weights_and_cards(
    kind: str, refused: Callable[..., str], decay: Path, echoes: Path, tmp_path: Path
) -> None:
    _spoil(decay, kind)
    out = tmp_path / "maps"
    assert SPOILED[kind] in refused("FQ301", *fit_words(echoes, out, "--method", "decay-4"))
    assert not out.exists()


# --- what is shipped --------------------------------------------------------------------------------------


def test_shipped_drone_maps_a_fingerprint(invoke: Invoke, tmp_path: Path) -> None:
    from fastqmri.physics.spins import FingerprintingSignal
    from fastqmri.physics.spins.schedules.fingerprinting import drone_25

    model = FingerprintingSignal(drone_25())
    generator = torch.Generator().manual_seed(5)
    t1 = 0.5 + 1.5 * torch.rand(100, generator=generator)
    t2 = 0.03 + 0.1 * torch.rand(100, generator=generator)
    known = {"M0": torch.full_like(t1, 100.0), "T1": t1, "T2": t2}
    rows = [known.get(p.name, torch.full_like(t1, p.nominal or 0.0)) for p in model.parameters]
    images = model(torch.stack(rows)).T.reshape(10, 10, 1, -1)
    path = tmp_path / "fingerprint.nii.gz"
    nib.save(nib.Nifti1Image(images.float().numpy(), np.diag([2.0, 2.0, 4.0, 1.0])), path)
    out = tmp_path / "maps"
    words = ["-i", path, "--schedule", "drone-25", "--mask", "none", "-o", out]
    result = invoke("fit", "fingerprinting", "--method", "drone", "--no-finishing", *words)
    assert result.exit_code == 0, result.output
    for name, truth in (("T1", t1), ("T2", t2)):
        found = volume(out / f"{name}map.nii.gz").reshape(-1)
        assert np.mean(np.abs(found / truth.numpy() - 1)) < 0.01


# --- the compared part ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(300, 200, 4), (300, 200), (50_000,), (2, 30_000), (20, 20, 3)])
def test_compared_part_is_within_one_slice_and_no_larger_than_may_be(shape: tuple[int, ...]) -> None:
    from fastqmri.cli.comparison import MOST_VOXELS, compared_part

    inside = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.8
    if len(shape) == 3:
        inside[..., 0] = False
    part = compared_part(inside)
    assert 0 < int(part.sum()) <= MOST_VOXELS
    assert bool((inside | ~part).all())
    if len(shape) == 3:
        assert int(part.flatten(0, 1).any(0).sum()) == 1
    fullest = int(inside.flatten(0, -2).sum(0).max()) if len(shape) == 3 else int(inside.sum())
    assert int(part.sum()) > 0.9 * min(MOST_VOXELS, fullest)


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    """Only the first writes, and both share the batch."""
    here = Path(__file__).parents[1]
    out = tmp_path / "mine"
    words = ["train", "decay-4", "--steps", "40", "--no-evaluate", "--threads", "1", "--out", str(out)]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0"]
    command += ["--standalone", str(here / "cli" / "with_decay.py"), *words]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(here), *sys.path]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 processes share every batch" in done.stderr
    assert done.stdout.count("Use them:") == 1
    assert read_card(out, "decay-4").settings["steps"] == 40
    assert not (out / "decay-4.training").exists()
