"""``fastqmri evaluate METHOD``: a learned method beside classical ones, on data that it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastqmri.cli.console import progress_bar, say
from fastqmri.cli.train import DATA, require_data, show_results, use_data
from fastqmri.core import OutputError


def evaluate(
    name: Annotated[str, typer.Argument(metavar="METHOD", help="A learned method, or one of its recipes.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for a CSV file and a figure of every recipe.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Of noise and sampling.", min=1)] = 3,
    update_card: Annotated[
        bool, typer.Option("--update-card", help="Write the results into the card beside the weights.")
    ] = False,
    data: DATA = None,
    threads: Annotated[int, typer.Option("--threads", help="Processor threads; 0 takes all.", min=0)] = 0,
) -> None:
    """Compare a learned method with classical ones on held-out data, with intervals, and say who wins.

    Examples:

        fastqmri evaluate drone-25

        fastqmri evaluate relax --data data --seeds 5 --out comparison
    """
    from fastqmri.cli.job import use_threads
    from fastqmri.io import atomic, write_text
    from fastqmri.learning.evaluation import as_csv, expected_errors
    from fastqmri.learning.weights import write_card
    from fastqmri.methods import load, method, weights_folder
    from fastqmri.report.learning_figures import result_bars

    if out is not None and out.exists() and not out.is_dir():
        raise OutputError(f"--out {out}", "it is a file, not a folder.", "Choose another --out.")
    one = method(name)
    use_data(data)
    use_threads(threads)
    for entry in one.recipes:
        if name not in (one.name, entry.name):
            continue
        require_data(entry)
        trained = load(entry.name)
        with progress_bar(f"Evaluating {entry.name}") as progress:
            results = trained.recipe.evaluate(trained.network, trained.card, seeds=seeds, progress=progress)
        show_results(results, entry.name)
        if out is not None:
            write_text(out / f"{entry.name}.csv", as_csv(results))
            with atomic(out / f"{entry.name}.png") as temporary:
                temporary.write_bytes(result_bars(results, entry.name))
            say(f"Table and figure: {out / entry.name}.csv and .png")
        if update_card:
            update = {
                "results": tuple(results),
                "expected_error": expected_errors(results, entry.name),
            }
            folder = weights_folder(entry.name)
            write_card(folder, trained.card.model_copy(update=update))
            say(f"Card updated: {folder / entry.name}.json")
