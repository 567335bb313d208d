"""``fastqmri run``: every scan of a BIDS dataset that can be mapped, as a BIDS application."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.table import Table

from fastqmri.cli.console import console, errors, show_error, show_verdict, the_command
from fastqmri.core import DiffusionWeighted, FastqmriError, FileError, UnknownNameError

if TYPE_CHECKING:
    from fastqmri.estimators import Entry
    from fastqmri.io import Collection

_LEAST_DIRECTIONS = 6


def run(
    bids_dir: Annotated[Path, typer.Argument(help="Root of the BIDS dataset.")],
    out_dir: Annotated[Path, typer.Argument(help="Root of the derivative dataset; made if missing.")],
    level: Annotated[str, typer.Argument(help="participant (the only level there is).")] = "participant",
    participant_label: Annotated[
        Optional[list[str]], typer.Option("--participant-label", help="Only these subjects, without 'sub-'.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Map scans again that are done already.")] = False,
) -> None:
    """Map every VFA, IRT1, MESE, MEGRE and dwi scan of a BIDS dataset.

    Writes a BIDS derivative dataset (maps, standard deviations, flags) and a report a scan. A run that was
    interrupted continues where it stopped when the command is given again.

    Examples:

        fastqmri run study study/derivatives/fastqmri participant --dry-run

        fastqmri run study study/derivatives/fastqmri participant --participant-label 01 02
    """
    from fastqmri.io import find_collections

    if level != "participant":
        raise UnknownNameError(f"analysis level {level!r}", "maps are made subject by subject.", "Use participant.")
    collections = find_collections(bids_dir, participant_label)
    usable = [c for c in collections if c.problem is None]
    _print_plan(collections)
    if not usable:
        raise FileError(
            f"{bids_dir}: {len(collections)} scans found, none can be mapped",
            "the reasons are listed above." if collections else "there are no VFA, IRT1, MESE, MEGRE or dwi images.",
            "Run fastqmri validate on the dataset.",
        )
    if dry_run:
        return
    failures = sum(not _map(collection, out_dir, force) for collection in usable)
    _write_index(out_dir)
    if failures:
        console.print(f"{failures} of {len(usable)} scans failed; their errors are above. Run again to retry them.")
        raise typer.Exit(3)


def entry_for(collection: Collection) -> Entry:
    """Which model a scan gets."""
    from fastqmri.estimators import CATALOGUE, entry

    acquisition = collection.acquisition
    if isinstance(acquisition, DiffusionWeighted):
        weighted = [v for b, v in zip(acquisition.b_value, acquisition.b_vector or (), strict=False) if b > 50]
        return entry("dti" if len(set(weighted)) >= _LEAST_DIRECTIONS else "adc")
    return next(e for e in CATALOGUE.values() if e.suffix == collection.suffix)


def _print_plan(collections: Sequence[Collection]) -> None:
    table = Table(title="Scans", title_justify="left")
    for column in ("scan", "images", "model", "maps", "corrections and remarks"):
        table.add_column(column, overflow="fold")
    for collection in collections:
        if collection.problem is not None:
            table.add_row(collection.name, str(len(collection.files)), "[red]skipped[/]", "", collection.problem.read)
            continue
        chosen = entry_for(collection)
        assert collection.acquisition is not None
        model = chosen.build(collection.acquisition)
        remarks = [f"B1+ {collection.b1_map.name}"] if collection.b1_map else []
        remarks += [f"mask {collection.mask.name}"] if collection.mask else ["automatic mask"]
        table.add_row(
            collection.name,
            f"{len(collection.files)} files, {collection.acquisition.contrasts} contrasts",
            f"{chosen.name} ({chosen.methods[0].name})",
            ", ".join(n for n in chosen.outputs if n in _names(model) and not _is_element(n)),
            "; ".join([*remarks, *collection.warnings]),
        )
    console.print(table)
    for collection in collections:
        if collection.problem is not None:
            errors.print(f"{collection.name}:", markup=False, highlight=False)
            show_error(collection.problem)


def _names(model: Any) -> set[str]:
    return {p.name for p in model.parameters} | {d.parameter.name for d in model.derived}


def _is_element(name: str) -> bool:
    return len(name) == 3 and name[0] == "D"


def _map(collection: Collection, out_dir: Path, force: bool) -> bool:
    """Map one scan; whether it went well (or was done already)."""
    from fastqmri.io import write_json

    record = out_dir / "logs" / f"{collection.name}.json"
    print_of = _fingerprint(collection)
    if not force and _is_done(record, print_of, out_dir):
        console.print(f"{collection.name}: done already", markup=False, highlight=False)
        return True
    console.print(f"{collection.name}: mapping", markup=False, highlight=False)
    try:
        written, verdict = _process(collection, out_dir)
    except FastqmriError as error:
        show_error(error)
        return False
    relative = [str(path.relative_to(out_dir)) for path in written]
    write_json(record, {"fingerprint": print_of, "files": relative, "verdict": asdict(verdict), "command": the_command()})
    show_verdict(verdict.level, verdict.reasons)
    return True


def _process(collection: Collection, out_dir: Path) -> tuple[list[Path], Any]:
    from fastqmri.cli.job import Job, estimate, estimation, mask_foreground, report
    from fastqmri.io import begin_derivatives, write_derivatives

    chosen = entry_for(collection)
    begin_derivatives(out_dir, collection.root)
    job = Job(collection.name, chosen, collection.load(), the_command())
    job.inputs = _records(collection)
    job.warnings += collection.warnings
    if job.measurement.mask is None:
        mask_foreground(job)
    outcome = estimate(job)
    written = write_derivatives(
        out_dir, collection, outcome.maps, estimation(job, chosen.methods[0].name), names=outcome.names
    )
    path = out_dir / "reports" / f"{collection.name}_report.html"
    verdict = report(job, outcome, path)
    return [*written, path], verdict


def _records(collection: Collection) -> list[Any]:
    from fastqmri.report import InputRecord

    root = collection.root
    rows = [InputRecord(str(f.relative_to(root)), "image", "", "file name") for f in collection.files]
    rows += [InputRecord(r.file, r.quantity, r.value, r.source) for r in collection.provenance]
    for role, path in (("B1+ map", collection.b1_map), ("mask", collection.mask)):
        if path is not None:
            rows.append(InputRecord(path.name, role, "", "found in the dataset"))
    return rows


def _fingerprint(collection: Collection) -> str:
    """What the maps of a scan depend on: the images, their companions and acquisition, and this version."""
    from fastqmri import __version__

    files = [*collection.files, *(p for p in (collection.b1_map, collection.mask) if p is not None)]
    state = [(str(f.relative_to(collection.root)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    content = json.dumps([__version__, state, repr(collection.acquisition)])
    return hashlib.sha256(content.encode()).hexdigest()


def _is_done(record: Path, print_of: str, out_dir: Path) -> bool:
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return known.get("fingerprint") == print_of and all((out_dir / name).exists() for name in known.get("files", []))


def _write_index(out_dir: Path) -> None:
    from fastqmri.report import write_index

    path = out_dir / "reports" / "index.html"
    entries = sorted((out_dir / "reports").glob("*_report.html"))
    write_index(path, entries)
    console.print(f"Reports: {path}", markup=False, highlight=False, soft_wrap=True)
