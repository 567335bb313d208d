"""Files that are whole or absent: written beside their destination, then moved over it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastqmri.core import OutputError

_MARK = ".unfinished"
_DAY = 86_400.0


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write a file so that a reader, or a crash, never meets half of it.

    Yields a temporary path in the same folder, with the same ending. When the block ends well, that file is
    flushed to the disk and moved to ``path``; when it raises, nothing changes at ``path``. Missing folders
    are made. What killed runs left in the folder is removed.

    Args:
        path: where the file shall be.

    Raises:
        OutputError: the folder can't be made or written to, the disk is full, or a folder lies at ``path``.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        temporary = path.with_name(f"{_MARK}-{socket.gethostname()}-{os.getpid()}-{path.name}")
        try:
            yield temporary
            _flush(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: {error.strerror or error}",
            f"{_reason(path)}.",
            "Choose another output folder, or make room and give yourself the right to write there.",
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; errors as `atomic`."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object atomically, in the order given, without NaN; errors as `atomic`."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of runs that are over from ``folder``."""
    for leftover in folder.glob(f"{_MARK}-*"):
        if _is_over(leftover):
            leftover.unlink(missing_ok=True)


def _is_over(leftover: Path) -> bool:
    """Whether the run that began this file has ended; where that can't be asked, whether a day has passed."""
    here = f"{_MARK}-{socket.gethostname()}-"
    process = leftover.name.removeprefix(here).partition("-")[0]
    if os.name == "posix" and leftover.name.startswith(here) and process.isdigit():
        return not _is_running(int(process))
    try:
        return time.time() - leftover.stat().st_mtime > _DAY
    except FileNotFoundError:
        return False


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _reason(path: Path) -> str:
    if path.is_dir():
        return "a folder lies where the file shall be"
    existing = next(parent for parent in path.parents if parent.exists() or parent == parent.parent)
    if not existing.is_dir():
        return f"{existing} is a file, not a folder"
    if not os.access(existing, os.W_OK):
        return f"{existing} is read-only for this user"
    return "the system refused to write there"
