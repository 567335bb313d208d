"""Finished pieces of a long job, kept until the job is done, so that an interrupted one continues."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastqmri.core import Parameter, ParameterMaps
from fastqmri.io.atomic import atomic, write_text

_MAPS = ("value", "standard_deviation", "flags", "residual", "noise")


class FinishedPieces:
    """A folder of finished pieces, each a set of arrays, of one job.

    Pieces of another job found in the folder are removed.

    Args:
        folder: where; made with the first piece.
        identity: everything that the result depends on.

    Raises:
        OutputError: when a piece can't be written.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self._key = hashlib.sha256(identity.encode()).hexdigest()
        label = folder / "job.txt"
        if folder.is_dir() and (not label.is_file() or label.read_text(encoding="utf-8") != self._key):
            self.clear()

    def save(self, index: int, arrays: Mapping[str, Tensor]) -> None:
        """Keep a piece."""
        write_text(self.folder / "job.txt", self._key)
        with atomic(self._path(index)) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **{name: np.asarray(a) for name, a in arrays.items()})

    def load(self, index: int) -> dict[str, Tensor] | None:
        """A piece that was kept, or None."""
        path = self._path(index)
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: torch.from_numpy(file[name]) for name in file.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None

    def clear(self) -> None:
        """Remove all pieces."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:05d}.npz"


def maps_as_arrays(maps: ParameterMaps) -> dict[str, Tensor]:
    """Maps as arrays that `maps_of_arrays` reads; the affine and quantiles are left out."""
    words = {"parameters": [dataclasses.asdict(p) for p in maps.parameters], "notes": maps.notes}
    text = np.frombuffer(json.dumps(words).encode(), dtype=np.uint8).copy()
    present = {name: getattr(maps, name) for name in _MAPS if getattr(maps, name) is not None}
    return {**present, "words": torch.from_numpy(text)}


def maps_of_arrays(arrays: Mapping[str, Tensor]) -> ParameterMaps:
    """Maps of the arrays that `maps_as_arrays` made."""
    words = json.loads(arrays["words"].numpy().tobytes())
    parameters = tuple(
        Parameter(**{**p, "bounds": tuple(p["bounds"]), "prior": tuple(p["prior"])})
        for p in words["parameters"]
    )
    return ParameterMaps(
        parameters,
        arrays["value"],
        arrays["standard_deviation"],
        arrays["flags"],
        residual=arrays.get("residual"),
        noise=arrays.get("noise"),
        notes=tuple(words["notes"]),
    )
