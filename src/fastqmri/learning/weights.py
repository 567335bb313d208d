"""Weights on disk: safetensors, which can't run code, and a card in JSON."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError
from torch import nn

from fastqmri.core import FileError
from fastqmri.io import atomic, write_text
from fastqmri.learning.cards import Card


def paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Weights and card of a recipe in a folder."""
    return folder / f"{name}.safetensors", folder / f"{name}.json"


def write_weights(folder: Path, network: nn.Module, name: str) -> str:
    """Write the numbers of a network, atomically.

    Returns:
        The file's SHA-256, for its card.

    Raises:
        OutputError: as `atomic`.
    """
    from safetensors.torch import save

    content = save({key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()})
    path, _ = paths(folder, name)
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def write_card(folder: Path, card: Card) -> None:
    """Write a card, atomically; errors as `atomic`."""
    _, path = paths(folder, card.name)
    write_text(path, card.model_dump_json(indent=1) + "\n")


def read_card(folder: Path, name: str) -> Card:
    """The card of a recipe.

    Raises:
        FileError: it is missing, broken, or that of other weights.
    """
    _, path = paths(folder, name)
    try:
        card = Card.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(
            f"{path}: {error.strerror or error}",
            f"without its card nobody knows what {name} may be used for.",
            "Train it (fastqmri train), or put the card back beside the weights.",
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise FileError(
            f"{path}: {where}", f"{first['msg']}.", "Put the original card back, or train the method again."
        ) from error
    if card.name != name:
        raise FileError(
            f"{path}: the card of {card.name!r}",
            f"it lies where that of {name!r} belongs.",
            "Put the original card back.",
        )
    return card


def read_weights(folder: Path, network: nn.Module, card: Card) -> nn.Module:
    """Fill a network with its trained numbers, and make it ready for use.

    Raises:
        FileError: the file is missing, broken, not the one that the card describes, or made for another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path, beside = paths(folder, card.name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(
            f"{path}: {error.strerror or error}", "these are the weights.", "Train it (fastqmri train)."
        ) from error
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise FileError(
            f"{path}: other bytes than {beside.name} describes",
            "the file is damaged, or the card is that of other weights.",
            "Put both original files back, or train the method again.",
        )
    try:
        network.load_state_dict(load(content))
    except (SafetensorError, RuntimeError) as error:
        raise FileError(
            f"{path}: {str(error).splitlines()[0]}",
            f"the numbers do not fit the network of {card.name}.",
            "Use weights of this version of fastqmri, or train the method again.",
        ) from error
    return network.eval().requires_grad_(False)
