"""Weights and cards on disk: the same numbers again, or an error that names the file."""

import hashlib
from pathlib import Path

import pytest
import torch

from fastqmri.core import FileError
from fastqmri.learning.recipe import TrainingSettings
from fastqmri.learning.training import Trained, make_card
from fastqmri.learning.weights import paths, read_card, read_weights, write_card, write_weights
from recipes import Line

SETTINGS = TrainingSettings(steps=1, batch=1, learning_rate=0.1)


@pytest.fixture
def line(tmp_path: Path) -> torch.nn.Module:
    """A network, written with its card into the folder."""
    recipe = Line()
    network = recipe.network()
    sha256 = write_weights(tmp_path, network, "line")
    trained = Trained(network, [], 1.0, 1)
    write_card(
        tmp_path,
        make_card(
            recipe,
            trained,
            SETTINGS,
            method="line",
            command="fastqmri train line",
            sha256=sha256,
            classical="a ruler",
        ),
    )
    return network


def test_what_was_written_is_read(line: torch.nn.Module, tmp_path: Path) -> None:
    card = read_card(tmp_path, "line")
    weights, _ = paths(tmp_path, "line")
    assert card.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (card.parameters, card.settings["steps"], card.classical) == (2, 1, "a ruler")
    found = read_weights(tmp_path, Line().network(), card)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), line.parameters(), strict=True))
    assert not found.training
    assert not any(p.requires_grad for p in found.parameters())
    assert read_card(tmp_path, "line").model_dump() == card.model_dump()


def test_one_bit_is_noticed(line: torch.nn.Module, tmp_path: Path) -> None:
    card = read_card(tmp_path, "line")
    weights, _ = paths(tmp_path, "line")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(FileError, match="other bytes"):
        read_weights(tmp_path, Line().network(), card)


def test_numbers_of_another_shape(line: torch.nn.Module, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="do not fit"):
        read_weights(tmp_path, torch.nn.Linear(3, 1), read_card(tmp_path, "line"))


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"name": "line", "surprise": 1}'])
def test_cards_that_are_none(line: torch.nn.Module, tmp_path: Path, content: str) -> None:
    _, path = paths(tmp_path, "line")
    path.write_text(content)
    with pytest.raises(FileError, match=r"line\.json"):
        read_card(tmp_path, "line")


def test_unknown_fields_are_refused(line: torch.nn.Module, tmp_path: Path) -> None:
    """A card of a later version may say something that this one must not overlook."""
    _, path = paths(tmp_path, "line")
    path.write_text(path.read_text().replace('"snr": null', '"snr": null, "temperature": [1, 2]'))
    with pytest.raises(FileError, match=r"validity\.temperature"):
        read_card(tmp_path, "line")
