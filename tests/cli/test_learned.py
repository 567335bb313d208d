"""`methods`, `train`, `evaluate`, and maps by a network, with a network that is trained in a second."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fastqmri.learning.weights import read_card

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
        "protocol: MultiEchoSpinEcho: echo time 0.01, 0.03, 0.06, 0.1",
        "T2: 0.02 to 0.3",
        "matrix: 4 to 64",
        "fastqmri train decay --recipe decay-4",
        "fit mese --method nlls",
        "with --finishing; nRMSE of T2 3 to 1 %",
        "Cohen et al.",
    ):
        assert part in text, part
    assert "0.02, 0.06" not in text  # of the other recipe


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
    assert re.search(r"decay-4 (better|worse|no difference).*T2 nRMSE .* nlls", result.output)
    rows = list(csv.DictReader((out / "decay-4.csv").open()))
    assert {row["method"] for row in rows} == {"decay-4", "nlls"}
    assert all(row["samples"] == "3" for row in rows)
    assert (out / "decay-4.png").read_bytes()[:4] == b"\x89PNG"
    card = read_card(decay, "decay-4")
    assert [r.value for r in card.results] == pytest.approx([float(row["value"]) for row in rows])
    assert card.sha256 == json.loads((decay / "decay-4.json").read_text())["sha256"]
