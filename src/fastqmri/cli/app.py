"""The command tree, and what becomes of errors: their text, and an exit code that scripts can rely on."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fastqmri.cli import (
    demo,
    evaluate,
    fit,
    inspect,
    methods,
    phantom,
    qsm,
    recon,
    run,
    schedules,
    simulate,
    train,
)
from fastqmri.cli.console import console, errors, listen, show_bug, show_error
from fastqmri.cli.options import VariadicCommand
from fastqmri.core import FastqmriError

WRONG_INPUT = 2
BUG = 70
INTERRUPTED = 130


class Commands(TyperGroup):
    """The root of the tree: turns every error of its commands into a text and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Accept ``--debug`` anywhere: people add it to the end of a command that failed."""
        if "--debug" in args:
            args = ["--debug", *(word for word in args if word != "--debug")]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            errors.print("\nInterrupted. Every file at hand is whole; give the command again to continue.")
            raise typer.Exit(INTERRUPTED) from error
        except FastqmriError as error:
            self._show_traceback(ctx)
            show_error(error)
            raise typer.Exit(WRONG_INPUT) from error
        except Exception as error:
            # usage errors and exits bring their own code; a closed pipe (| head) is nobody's mistake
            if hasattr(error, "exit_code") or isinstance(error, typer.Abort | BrokenPipeError):
                raise
            self._show_traceback(ctx)
            show_bug(error)
            raise typer.Exit(BUG) from error

    def _show_traceback(self, ctx: Any) -> None:
        if ctx.params.get("debug"):
            errors.print_exception()


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Quantitative MR maps, with standard deviations, flags and a report.\n\n"
    "Start with `fastqmri demo`, then `fastqmri run BIDS_DIR OUT_DIR` on your own dataset, "
    "or `fastqmri fit MODEL --help` for plain NIfTI files.",
    epilog="Exit codes: 0 done (how far to trust the maps is in the report); 1 validate found errors; "
    "2 wrong input or usage; 3 some scans of a run could not be mapped; 70 a bug; 130 interrupted.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from fastqmri import __version__

        console.print(f"fastqmri {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and stop.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where in the code an error arose; may stand anywhere.")
    ] = False,
) -> None:
    listen()


app.command(cls=VariadicCommand)(run.run)
app.add_typer(fit.app, name="fit")
app.command(cls=VariadicCommand)(qsm.qsm)
app.command("recon", cls=VariadicCommand)(recon.command())
app.command()(inspect.validate)
app.command()(inspect.models)
app.command()(methods.methods)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(schedules.schedules)
app.add_typer(simulate.app, name="simulate")
app.command()(phantom.phantom)
app.add_typer(inspect.crlb_app, name="crlb")
app.command()(inspect.cite)
app.command()(demo.demo)
