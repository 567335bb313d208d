"""Scans of a dataset one after the other: what is done stays, whatever becomes of the others."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fastqmri.cli.console import say, show_bug, show_error, show_verdict, the_command
from fastqmri.core import FastqmriError

if TYPE_CHECKING:
    from fastqmri.io import Collection
    from fastqmri.report import Verdict


def once(
    name: str,
    fingerprint: str,
    out_dir: Path,
    process: Callable[[], tuple[list[Path], Verdict]],
    *,
    force: bool,
) -> str:
    """Process one scan unless it has been with the same fingerprint; how it went, in a word or two.

    Args:
        name: of the scan, for people and for the record.
        fingerprint: of all that its results depend on.
        out_dir: root of the derivative dataset.
        process: writes everything; the files, and the verdict.
        force: process it in any case.
    """
    from fastqmri.io import write_json

    record = out_dir / "logs" / f"{name}.json"
    if not force and _is_done(record, fingerprint, out_dir):
        say(f"{name}: done already")
        return "done already"
    say(f"{name}: mapping")
    try:
        written, verdict = process()
        # last of all, as the sign that all is there
        content = {
            "fingerprint": fingerprint,
            "files": [path.relative_to(out_dir).as_posix() for path in written],
            "verdict": asdict(verdict),
            "command": the_command(),
        }
        write_json(record, content)
    except FastqmriError as error:
        show_error(error)
        return "failed"
    except Exception as error:
        show_bug(error)
        return "failed"
    show_verdict(verdict.level, verdict.reasons)
    return "mapped"


def fingerprint(collection: Collection, settings: str = "") -> str:
    """What the maps of a scan depend on: the images, their companions, the acquisition, and this version."""
    from fastqmri import __version__

    companions = [path for path in (collection.b1_map, collection.mask) if path is not None]
    files = dict.fromkeys(
        [*collection.files, *collection.phase_files, *collection.imaginary_files, *companions]
    )
    state = [(os.path.relpath(f, collection.root), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    content = json.dumps(
        [__version__, state, repr(collection.acquisition), *([settings] if settings else [])]
    )
    return hashlib.sha256(content.encode()).hexdigest()


def _is_done(record: Path, fingerprint: str, out_dir: Path) -> bool:
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    files = known.get("files", [])
    return known.get("fingerprint") == fingerprint and all((out_dir / name).exists() for name in files)


def write_index_of(out_dir: Path) -> None:
    """Write the page that lists all reports of a derivative dataset, if there are any."""
    from fastqmri.report import write_index

    reports = sorted((out_dir / "reports").glob("*_report.html"))
    if reports:
        path = out_dir / "reports" / "index.html"
        write_index(path, reports)
        say(f"Open the reports in a browser: {path.resolve()}")
