"""The command tree."""

from __future__ import annotations

from typing import Annotated

import typer

from fastqmri.cli import demo, fit, inspect, run, simulate
from fastqmri.cli.console import console, listen
from fastqmri.cli.options import VariadicCommand

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    help="Quantitative MR maps, with standard deviations, flags and a report.\n\n"
    "Start with [bold]fastqmri demo[/], then [bold]fastqmri run BIDS_DIR OUT_DIR[/] on your own dataset, "
    "or [bold]fastqmri fit MODEL --help[/] for plain NIfTI files.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from fastqmri import __version__

        console.print(f"fastqmri {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and stop.")] = False,
    threads: Annotated[int, typer.Option("--threads", help="Processor threads; 0 takes all.")] = 0,
) -> None:
    listen()
    if threads > 0:
        import torch

        torch.set_num_threads(threads)


app.command(cls=VariadicCommand)(run.run)
app.add_typer(fit.app, name="fit")
app.command()(inspect.validate)
app.command()(inspect.models)
app.add_typer(simulate.app, name="simulate")
app.add_typer(inspect.crlb_app, name="crlb")
app.command()(inspect.cite)
app.command()(demo.demo)
