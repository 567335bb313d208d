"""``fastqmri schedules``: the published schedules, one in detail, or one as a file to change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from fastqmri.cli.console import console, say
from fastqmri.core import OutputError
from fastqmri.physics.spins import SCHEDULES, schedule


def schedules(
    name: Annotated[str | None, typer.Argument(help="Show one schedule in detail.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the schedule to this JSON file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """List the published schedules, show one, or write one to a JSON file that you can change.

    Wherever a command takes --schedule, it takes one of these names or such a file.

    Examples:

        fastqmri schedules

        fastqmri schedules irfisp-1000 --out mine.json
    """
    from fastqmri.core.references import citation
    from fastqmri.io import write_schedule

    if name is None:
        table = Table(box=SIMPLE_HEAD)
        for column in ("schedule", "contrasts", "what"):
            table.add_column(column, no_wrap=column != "what", overflow="fold")
        for published in SCHEDULES.values():
            table.add_row(published.name, str(published.build().contrasts), published.description)
        console.print(table)
        say("Details: fastqmri schedules NAME. A copy to change: fastqmri schedules NAME --out FILE.json.")
        return
    acquisition = schedule(name)
    if out is not None:
        if out.exists() and not force:
            raise OutputError(
                f"{out} exists", "it would be overwritten.", "Choose another --out, or --force."
            )
        write_schedule(out, acquisition)
        say(f"{name} written to {out}")
        return
    one = SCHEDULES[name]
    console.print(f"[bold]{name}[/]  {one.description}", highlight=False)
    say(f"  {type(acquisition).__name__}: {acquisition.summary()}")
    for key in one.references:
        say(f"  {citation(key)}")
