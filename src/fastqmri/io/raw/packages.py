"""The packages that raw data need, imported when they are."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from fastqmri.core import FileError


def needed(name: str, path: Path) -> ModuleType:
    """A package of the extra ``raw``.

    Raises:
        FileError: it isn't installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FileError(
            f"{path}: raw data",
            f"reading and writing it needs {name.partition('.')[0]}, which is not installed.",
            "pip install fastqmri[raw]",
        ) from error
