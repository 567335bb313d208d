"""Where dictionaries are kept: whole or absent, checked when read, never able to run code."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from fastqmri.io.atomic import atomic, write_json

_LOG = logging.getLogger(__name__)
_BLOCK = 1 << 24
Span = tuple[int, int]
"""First atom, and the one after the last."""
Piece = tuple[np.ndarray, np.ndarray]
"""Atoms (atom, contrast) and their norms (atom)."""


def folder() -> Path:
    """The user's folder for dictionaries.

    ``FASTQMRI_CACHE`` names it; else it is where the system keeps what can be made again.
    """
    chosen = os.environ.get("FASTQMRI_CACHE")
    if chosen:
        return Path(chosen).expanduser() / "dictionaries"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "fastqmri" / "dictionaries"


class Store:
    """Files of one dictionary.

    Two arrays (``<key>.atoms.npy``, ``<key>.norms.npy``) and ``<key>.json`` with their checksums, which is written
    last: without it they do not count. While a dictionary is being built, its pieces lie in ``<key>.pieces``.

    Args:
        base: folder of all dictionaries.
        key: of this one.
    """

    def __init__(self, base: Path, key: str) -> None:
        self.atoms = base / f"{key}.atoms.npy"
        self.norms = base / f"{key}.norms.npy"
        self.card = base / f"{key}.json"
        self._pieces = base / f"{key}.pieces"

    def load(self, count: int, contrasts: int) -> Piece | None:
        """Atoms (mapped into memory, not read) and norms; None where there are none, or they are damaged."""
        if not self.card.is_file():
            return None
        try:
            card = json.loads(self.card.read_text())
            for path in (self.atoms, self.norms):
                if _checksum(path) != card["checksums"][_part(path)]:
                    raise ValueError(f"{path.name} has another checksum than it was written with")
            atoms = np.load(self.atoms, mmap_mode="c", allow_pickle=False)
            norms = np.load(self.norms, allow_pickle=False)
            if atoms.shape != (count, contrasts) or norms.shape != (count,):
                raise ValueError(f"{self.atoms.name} has the shape {atoms.shape}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            _LOG.warning("the dictionary kept at %s is damaged (%s): building it again", self.atoms, error)
            self.discard()
            return None
        return atoms, norms

    def discard(self) -> None:
        """Remove the dictionary."""
        for path in (self.card, self.atoms, self.norms):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def pieces(self) -> dict[Span, Path]:
        """Pieces that an interrupted build left, by their span of atoms."""
        found = {}
        for path in self._pieces.glob("*.npz") if self._pieces.is_dir() else ():
            begin, _, end = path.stem.partition("-")
            if begin.isdigit() and end.isdigit():
                found[int(begin), int(end)] = path
        return found

    def read_piece(self, path: Path) -> Piece | None:
        """Atoms and norms of a piece; None if it is damaged."""
        try:
            with np.load(path, allow_pickle=False) as piece:  # a zip archive checks its own sums
                return piece["atoms"], piece["norms"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def write_piece(self, span: Span, atoms: np.ndarray, norms: np.ndarray) -> None:
        """Keep a piece.

        Raises:
            OutputError: the folder can't be written to.
        """
        path = self._pieces / f"{span[0]}-{span[1]}.npz"
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(file, atoms=atoms, norms=norms)

    def write(self, atoms: np.ndarray, norms: np.ndarray, described: Mapping[str, str]) -> None:
        """Keep the dictionary, and remove its pieces.

        Raises:
            OutputError: the folder can't be written to.
        """
        for path, array in ((self.atoms, atoms), (self.norms, norms)):
            with atomic(path) as temporary, temporary.open("wb") as file:
                np.save(file, array)
        sums = {_part(path): _checksum(path) for path in (self.atoms, self.norms)}
        write_json(self.card, {**described, "checksums": sums})
        shutil.rmtree(self._pieces, ignore_errors=True)


def _part(path: Path) -> str:
    """``atoms`` of ``<key>.atoms.npy``."""
    return path.name.split(".")[-2]


def _checksum(path: Path) -> str:
    value = 0
    for block in _blocks(path):
        value = zlib.crc32(block, value)
    return f"{path.stat().st_size}-{value:08x}"


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block
