"""``fastqmri run``: every scan of a BIDS dataset that can be mapped, as a BIDS application."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from fastqmri.cli.console import console, errors, say, show_error, the_command
from fastqmri.cli.inspect import written_maps
from fastqmri.cli.resume import fingerprint, once, write_index_of
from fastqmri.core import DiffusionWeighted, FileError, UnknownNameError

if TYPE_CHECKING:
    from fastqmri.estimators import Entry
    from fastqmri.io import Collection
    from fastqmri.report import InputRecord, Verdict

SOME_FAILED = 3
_TRANSMIT = ("TB1AFI", "TB1DAM")
"""Scans whose maps correct the others."""
_LEAST_DIRECTIONS = 6


def run(
    bids_dir: Annotated[Path, typer.Argument(help="Root of the BIDS dataset.")],
    out_dir: Annotated[Path, typer.Argument(help="Root of the derivative dataset; made if missing.")],
    level: Annotated[str, typer.Argument(help="participant (the only level there is).")] = "participant",
    participant_label: Annotated[
        list[str] | None, typer.Option("--participant-label", help="Only these subjects, without 'sub-'.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Map scans again that are done already.")] = False,
    threads: Annotated[int, typer.Option("--threads", help="Processor threads; 0 takes all.", min=0)] = 0,
) -> None:
    """Map every VFA, IRT1, MESE, MEGRE, MTR, MTS, MPM, TB1AFI, TB1DAM, dwi and B0 scan of a BIDS dataset.

    Writes a BIDS derivative dataset (maps, standard deviations, flags) and a report a scan.
    A run that was interrupted continues where it stopped when the command is given again.

    Examples:

        fastqmri run study study/derivatives/fastqmri participant --dry-run

        fastqmri run study maps --participant-label 01 02
    """
    from fastqmri.cli.job import use_threads

    if level != "participant":
        raise UnknownNameError(
            f"analysis level {level!r}", "maps are made subject by subject.", "Use participant."
        )
    use_threads(threads)
    if not map_dataset(bids_dir, out_dir, participant_label, dry_run=dry_run, force=force):
        raise typer.Exit(SOME_FAILED)


def map_dataset(
    root: Path,
    out_dir: Path,
    participants: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    force: bool = False,
) -> bool:
    """Say what each scan of a dataset gets, and map it; whether all scans went well.

    Raises:
        FileError: no dataset, or none of its scans can be mapped.
        OutputError: the output folder can't be written to, or holds another dataset.
    """
    from fastqmri.io import begin_derivatives, find_collections

    collections = find_collections(root, participants)
    usable = [c for c in collections if c.problem is None]
    _print_plan(collections)
    if not usable:
        why = "there are none of the families that fastqmri models lists under BIDS."
        raise FileError(
            f"{root}: {len(collections)} scans found, none can be mapped",
            "the reasons are listed above." if collections else why,
            "Run fastqmri validate on the dataset.",
        )
    if dry_run:
        return True
    begin_derivatives(out_dir, root)
    usable.sort(key=lambda collection: collection.suffix not in _TRANSMIT)  # others may want their maps
    results = Counter(_map(collection, out_dir, force) for collection in usable)
    results["skipped"] = len(collections) - len(usable)
    console.rule()
    say(", ".join(f"{count} {result}" for result, count in results.items() if count))
    write_index_of(out_dir)
    if results["failed"]:
        say("The errors are above. Give the command again to retry what failed; what is done stays.")
    return not (results["failed"] or results["skipped"])


def entry_for(collection: Collection) -> Entry:
    """Which model a scan gets."""
    from fastqmri.estimators import CATALOGUE, entry

    acquisition = collection.acquisition
    if isinstance(acquisition, DiffusionWeighted):
        directions = zip(acquisition.b_value, acquisition.b_vector or (), strict=False)
        weighted = {direction for b, direction in directions if b > 50}
        return entry("dti" if len(weighted) >= _LEAST_DIRECTIONS else "adc")
    entries = [e for e in CATALOGUE.values() if e.suffix is not None and type(acquisition) is e.acquisition]
    return next((e for e in entries if e.suffix == collection.suffix), entries[0])


def _print_plan(collections: Sequence[Collection]) -> None:
    """One line a scan with its model, then what else the user should know; and why scans are skipped."""
    for collection in collections:
        name = f"[bold]{escape(collection.name)}[/]"
        if collection.problem is not None:
            console.print(f"{name}: [red]skipped[/], see below", highlight=False, soft_wrap=True)
            continue
        assert collection.acquisition is not None
        chosen = entry_for(collection)
        maps = written_maps(chosen, chosen.build(collection.acquisition))
        shown = ", ".join(name for name in maps if not _is_element(name))
        what = f"{collection.acquisition.contrasts} images, {chosen.name} ({chosen.methods[0].name})"
        console.print(f"{name}: {what} → {shown}", highlight=False, soft_wrap=True)
        remarks = [f"B1+ map: {collection.b1_map.name}"] if collection.b1_map else []
        remarks.append(f"mask: {collection.mask.name if collection.mask else 'automatic'}")
        for remark in [*remarks, *collection.warnings]:
            say(f"  {remark}")
    for collection in collections:
        if collection.problem is not None:
            errors.print(f"\n{collection.name}:", markup=False, highlight=False, soft_wrap=True)
            show_error(collection.problem)


def _is_element(name: str) -> bool:
    """Whether it is an element of the diffusion tensor."""
    return len(name) == 3 and name[0] == "D"


def _map(collection: Collection, out_dir: Path, force: bool) -> str:
    """Map one scan, whatever became of those before it; how it went, in a word or two."""
    from fastqmri.io import take_b1_map

    for text in take_b1_map(collection, out_dir):
        say(f"{collection.name}: {text}")
    return once(
        collection.name, fingerprint(collection), out_dir, lambda: _process(collection, out_dir), force=force
    )


def _process(collection: Collection, out_dir: Path) -> tuple[list[Path], Verdict]:
    """Compute everything, then write it."""
    from fastqmri.cli.job import Job, estimate, estimation, mask_foreground, report
    from fastqmri.io import write_derivatives, write_text

    chosen = entry_for(collection)
    job = Job(collection.name, chosen, collection.load(), the_command())
    job.inputs = input_records(collection)
    job.warnings += collection.warnings
    if job.measurement.mask is None:
        mask_foreground(job)
    outcome = estimate(job)
    path = out_dir / "reports" / f"{collection.name}_report.html"
    verdict, pages = report(job, outcome, path)
    label = estimation(job, chosen.methods[0].name)
    written = write_derivatives(out_dir, collection, outcome.maps, label, names=outcome.names)
    for page, text in pages.items():
        write_text(page, text)
    return [*written, *pages], verdict


def input_records(collection: Collection) -> list[InputRecord]:
    """Rows of a report's table: the images of a scan, and where every number of it was read."""
    from fastqmri.report import InputRecord

    root = collection.root
    images = dict.fromkeys([*collection.files, *collection.phase_files])
    rows = [InputRecord(str(f.relative_to(root)), "image", "", "file name") for f in images]
    rows += [InputRecord(r.file, r.quantity, r.value, r.source) for r in collection.provenance]
    for role, path in (("B1+ map", collection.b1_map), ("mask", collection.mask)):
        if path is not None:
            rows.append(InputRecord(path.name, role, "", "found in the dataset"))
    return rows
