"""What people see in the terminal."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from traceback import extract_tb

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fastqmri.core import FastqmriError

console = Console()
errors = Console(stderr=True)

_STYLE = {"ok": "bold green", "check": "bold yellow", "fail": "bold red"}


def show_error(error: FastqmriError) -> None:
    """Print what was read, why it can't be right, and what to do."""
    errors.print(f"[bold red]Error {error.code}[/]", highlight=False)
    _rows({"Read": error.read, "Why this can't be right": error.why, "What to do": error.remedy})


def show_bug(error: Exception) -> None:
    """Say that it is not the user's fault, and what helps to mend it."""
    from fastqmri import __version__

    frame = extract_tb(error.__traceback__)[-1]
    errors.print("[bold red]This is a bug in fastqmri[/]", highlight=False)
    _rows(
        {
            "What happened": f"{type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})",
            "What to do": "Give the command again with --debug at its end, and report what it prints, "
            f"with the versions: fastqmri {__version__}, Python {sys.version.split()[0]}.",
        }
    )


def _rows(rows: Mapping[str, str]) -> None:
    for label, text in rows.items():
        errors.print(f"  [bold]{label}:[/] ", end="", highlight=False)
        errors.print(text, markup=False, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a line as it is: names of files may hold brackets, and must stay copyable."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Print something the user must know, apart from the results."""
    errors.print(f"Note: {text}", markup=False, highlight=False, soft_wrap=True)


def show_verdict(level: str, reasons: tuple[str, ...]) -> None:
    """Print a report's verdict."""
    console.print(f"[{_STYLE[level]}]{level.upper()}[/]", highlight=False)
    for reason in reasons:
        say(f"  • {reason}")


def the_command() -> str:
    """The command as it can be typed again."""
    return shlex.join(["fastqmri", *sys.argv[1:]])


def listen(level: int = logging.INFO) -> None:
    """Let the package's log messages through to the terminal."""
    handler = RichHandler(console=errors, show_time=False, show_level=False, show_path=False)
    logger = logging.getLogger("fastqmri")
    logger.handlers[:] = [handler]
    logger.setLevel(level)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that the estimators' progress callback moves; nothing where the output is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def training_bar(
    label: str,
) -> Iterator[tuple[Callable[[int, int], None], Callable[[Mapping[str, float]], None]]]:
    """A bar for the steps of a training, and what shows its scores; a line a score where it is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[shown]}"),
    )
    live = errors.is_terminal
    with Progress(*columns, console=errors, transient=True, disable=not live) as bar:
        task = bar.add_task(label, total=None, shown="")

        def scored(row: Mapping[str, float]) -> None:
            text = f"score {row['score']:.4g}, loss {row['loss']:.4g}"
            if live:
                bar.update(task, shown=text)
            else:
                errors.print(f"{label}: step {row['step']:.0f}: {text}", markup=False, highlight=False)

        yield lambda done, total: bar.update(task, completed=done, total=total), scored
