"""``fastqmri train METHOD``: weights and card of a learned method, made again or made one's own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastqmri.cli.console import note, progress_bar, say, training_bar
from fastqmri.cli.methods import card_of
from fastqmri.core import FileError, OutputError, PlausibilityError

if TYPE_CHECKING:
    from fastqmri.learning.cards import Card, Finishing
    from fastqmri.learning.evaluation import Result
    from fastqmri.learning.recipe import Recipe, TrainingSettings
    from fastqmri.methods import LearnedMethod, RecipeEntry

DATA = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of digital brains; default: what FASTQMRI_TEST_DATA names."),
]
_FORMER = "(of the weights before these)"
_SHORT = ("seed", "steps", "batch", "learning_rate")


def train(
    name: Annotated[str, typer.Argument(metavar="METHOD", help="A learned method, or one of its recipes.")],
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Only this network of the method. Default: all.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for weights and cards; default: FASTQMRI_WEIGHTS, or ./weights."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="JSON of training settings, or a card whose settings are taken."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of first weights and all draws.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Of the optimiser.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Samples a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="The highest.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint.")] = False,
    evaluate: Annotated[
        bool, typer.Option("--evaluate/--no-evaluate", help="Compare with classical methods afterwards.")
    ] = True,
    seeds: Annotated[int, typer.Option("--seeds", help="Of the evaluation.", min=1)] = 3,
    data: DATA = None,
    device: Annotated[
        str, typer.Option("--device", help="cpu, cuda, or auto: a GPU if there is one.")
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Overwrite weights, and start anew.")] = False,
    threads: Annotated[int, typer.Option("--threads", help="Processor threads; 0 takes all.", min=0)] = 0,
) -> None:
    """Train a learned method: weights, a card that says what they may be used for, and a curve of the loss.

    A checkpoint at most a minute old survives a kill; --resume goes on from it and ends with the same bytes.
    Use the weights by FASTQMRI_WEIGHTS=FOLDER. With several processes:
    torchrun --nproc-per-node 2 --no-python fastqmri train METHOD.

    Examples:

        fastqmri train drone --recipe drone-25 --out weights

        fastqmri train drone-25 --config weights/drone-25.json --seed 1 --out mine
    """
    from fastqmri.cli.job import use_threads
    from fastqmri.methods import method

    one = method(name)
    wanted = recipe or name
    entries = [entry for entry in one.recipes if wanted in (one.name, entry.name)]
    if not entries:
        from fastqmri.core import UnknownNameError

        names = ", ".join(entry.name for entry in one.recipes)
        raise UnknownNameError(
            f"--recipe {wanted}", f"{one.name} has no such recipe.", f"Use one of {names}."
        )
    given = {"seed": seed, "steps": steps, "batch": batch, "learning_rate": learning_rate}
    folder = out or Path(os.environ.get("FASTQMRI_WEIGHTS") or "weights")
    use_data(data)
    use_threads(threads)
    with _processes(device) as (chosen, first):
        for entry in entries:
            _train(one, entry, folder, config, given, resume, seeds if evaluate else 0, chosen, first, force)


def use_data(folder: Path | None) -> None:
    """Let recipes find digital brains.

    Raises:
        FileError: no such folder.
    """
    if folder is None:
        return
    if not folder.is_dir():
        raise FileError(f"--data {folder}", "there is no such folder.", "Give the folder of the data sets.")
    os.environ["FASTQMRI_TEST_DATA"] = str(folder.resolve())


def require_data(entry: RecipeEntry) -> None:
    """Refuse what can't be done without digital brains.

    Raises:
        FileError: no data folder.
    """
    folder = os.environ.get("FASTQMRI_TEST_DATA")
    if entry.needs_data and not (folder and Path(folder).is_dir()):
        raise FileError(
            f"{entry.name} without digital brains",
            "it draws its samples from them.",
            "Give their folder by --data or FASTQMRI_TEST_DATA; it holds brainweb/ and mni152/ "
            "(docs/how-to/use-learned-methods.md says where they come from).",
        )


def _train(
    one: LearnedMethod,
    entry: RecipeEntry,
    folder: Path,
    config: Path | None,
    given: Mapping[str, Any],
    resume: bool,
    seeds: int,
    device: str,
    first: bool,
    force: bool,
) -> None:
    from fastqmri.learning import training
    from fastqmri.learning.weights import paths, write_card, write_weights
    from fastqmri.report.learning_figures import loss_curve

    require_data(entry)
    recipe, former = entry.make(), card_of(entry)
    settings = settings_of(recipe, config, given)
    unfinished = folder / f"{entry.name}.training"
    _require_free(folder, entry.name, unfinished, resume=resume, force=force)
    with training_bar(entry.name) as (progress, scored):
        trained = training.train(
            recipe,
            unfinished,
            settings,
            resume=resume,
            device=device,
            progress=progress if first else None,
            scored=scored if first else None,
        )
    if not first:
        return
    network = trained.network.to("cpu")
    sha256 = write_weights(folder, network, entry.name)

    def card(results: list[Result]) -> Card:
        return training.make_card(
            recipe,
            trained,
            settings,
            method=one.name,
            command=command_text(one, recipe, settings),
            sha256=sha256,
            classical=one.classical,
            references=one.references,
            finishing=_finishing(former),
            results=results,
            notes=() if former is None else former.notes,
        )

    made = card([])
    write_card(folder, made)
    if trained.history:
        _write_bytes(folder / f"{entry.name}.png", loss_curve(trained.history, recipe.title))
    if seeds:
        with progress_bar(f"Evaluating {entry.name}") as progress:
            results = recipe.evaluate(network.requires_grad_(False), made, seeds=seeds, progress=progress)
        write_card(folder, card(results))
        show_results(results, entry.name)
    shutil.rmtree(unfinished, ignore_errors=True)
    weights, beside = paths(folder, entry.name)
    say(f"{weights} and {beside}: {trained.stopped} steps in {trained.seconds:.0f} s.")
    say(f"Use them: FASTQMRI_WEIGHTS={folder} fastqmri {one.stage} ... --method {entry.name}")


def _finishing(former: Card | None) -> Finishing | None:
    """As in the card of the weights at hand, whose gain it is."""
    if former is None or former.finishing is None:
        return None
    own = former.finishing
    gain = own.gain if own.gain.endswith(_FORMER) else f"{own.gain} {_FORMER}"
    return own.model_copy(update={"gain": gain})


def show_results(results: list[Result], name: str) -> None:
    """Print the table, and by how much the network wins or loses."""
    from fastqmri.learning.evaluation import as_text, standings

    say(as_text(results))
    for standing in standings(results, name):
        say(f"  {standing.text}")


def settings_of(recipe: Recipe, config: Path | None, given: Mapping[str, Any]) -> TrainingSettings:
    """The recipe's settings with those of a file and of options in their place.

    Raises:
        FileError: a file that can't be read, or with a field that is unknown or impossible.
        PlausibilityError: an impossible option.
    """
    from pydantic import ValidationError

    settings = recipe.settings
    if config is not None:
        fields = _read_config(config)
        try:
            settings = type(settings).model_validate({**settings.model_dump(), **fields})
        except ValidationError as error:
            where, why = _first(error)
            known = ", ".join(type(settings).model_fields)
            raise FileError(f"{config}: {where}", why, f"Correct it; the fields are {known}.") from error
    options = {name: value for name, value in given.items() if value is not None}
    try:
        return type(settings).model_validate({**settings.model_dump(), **options})
    except ValidationError as error:
        where, why = _first(error)
        flag = f"--{where.replace('_', '-')} {options.get(where, '')}"
        raise PlausibilityError(flag.strip(), why, "Give a value that a training can have.") from error


def _read_config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(
            f"{path}: {error.strerror or error}", "it holds the settings.", "Check --config."
        ) from error
    except ValueError as error:
        raise FileError(f"{path}: {error}", "it is no JSON.", "Correct it at that place.") from error
    if isinstance(found, dict) and "sha256" in found and isinstance(found.get("settings"), dict):
        found = found["settings"]
    if not isinstance(found, dict):
        raise FileError(
            f"{path}: {type(found).__name__}", "settings are an object.", 'Write it like {"steps": 1000}.'
        )
    return found


def _first(error: Any) -> tuple[str, str]:
    first = error.errors()[0]
    return ".".join(map(str, first["loc"])) or "the file", f"{first['msg']}."


def command_text(one: LearnedMethod, recipe: Recipe, settings: TrainingSettings) -> str:
    """The command that trains these weights again, for anyone."""
    words = ["fastqmri", "train", one.name, "--recipe", recipe.name]
    usual, chosen = recipe.settings.model_dump(), settings.model_dump()
    different = [name for name in chosen if chosen[name] != usual[name]]
    if set(different) <= set(_SHORT):
        for name in different:
            words += [f"--{name.replace('_', '-')}", f"{chosen[name]}"]
    else:
        words += ["--config", f"{recipe.name}.json"]
    return " ".join(words)


def _require_free(folder: Path, name: str, unfinished: Path, *, resume: bool, force: bool) -> None:
    from fastqmri.learning.training import CHECKPOINT
    from fastqmri.learning.weights import paths

    if folder.exists() and not folder.is_dir():
        raise OutputError(f"--out {folder}", "it is a file, not a folder.", "Choose another --out.")
    if force or resume:
        return
    if (unfinished / CHECKPOINT).exists():
        raise OutputError(
            f"{unfinished} holds a training that was not finished",
            "it would be overwritten.",
            "Go on with it by --resume, or start anew by --force.",
        )
    weights, _ = paths(folder, name)
    if weights.exists():
        raise OutputError(
            f"{folder} holds {weights.name} already",
            "it would be overwritten.",
            "Choose another --out, or --force.",
        )


def _write_bytes(path: Path, content: bytes) -> None:
    from fastqmri.io import atomic

    with atomic(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def _processes(device: str) -> Iterator[tuple[str, bool]]:
    """The device of this process and whether it is the first; under torchrun, with all of them in touch."""
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise PlausibilityError(f"--device {device}", "there is no such choice.", "Use auto, cpu or cuda.")
    graphics = device != "cpu" and torch.cuda.is_available()
    if device == "cuda" and not graphics:
        raise PlausibilityError("--device cuda", "there is no GPU here.", "Use --device cpu.")
    chosen = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if graphics else "cpu"
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield chosen, True
        return
    if graphics:
        torch.cuda.set_device(chosen)
    torch.distributed.init_process_group("nccl" if graphics else "gloo")
    first = torch.distributed.get_rank() == 0
    if first:
        note(f"{torch.distributed.get_world_size()} processes share every batch.")
    try:
        yield chosen, first
    finally:
        torch.distributed.destroy_process_group()
