"""``fastqmri methods``: the learned methods, what they were trained for, and how good they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from fastqmri.cli.console import console, say
from fastqmri.cli.inspect import typical_model
from fastqmri.cli.options import acquisition_records
from fastqmri.core import FastqmriError, FileError
from fastqmri.estimators import CATALOGUE

if TYPE_CHECKING:
    from fastqmri.learning.cards import Card
    from fastqmri.learning.validity import Validity
    from fastqmri.methods import LearnedMethod, RecipeEntry

_TYPES = {
    1: "a network in place of the fit",
    2: "networks in place of images and of their fit",
    3: "a network from k-space to maps, taught by the physics",
    4: "a network unrolled from an iterative solution",
}


def methods(
    name: Annotated[
        str | None, typer.Argument(help="Show one method, or one of its recipes, in detail.")
    ] = None,
) -> None:
    """List the learned methods, or show one in detail: citation, what it may be used for, training, results.

    Examples:

        fastqmri methods

        fastqmri methods drone
    """
    from fastqmri.methods import METHODS, method

    if name is not None:
        one = method(name)
        entries = [entry for entry in one.recipes if name in (one.name, entry.name)]
        _show(one, entries)
        return
    table = Table(box=SIMPLE_HEAD)
    for column in ("method", "type", "recipe", "maps", "for", "weights"):
        table.add_column(column, no_wrap=column in ("type", "recipe", "weights"), overflow="fold")
    for one in METHODS.values():
        for entry in one.recipes:
            card = card_of(entry)
            maps = ", ".join(entry.make().quantities)
            command = " ".join(word for word in (one.stage, entry.model) if word)
            use = "not trained yet" if card is None else _brief(card.validity)
            table.add_row(one.name, str(one.type), entry.name, f"{command}: {maps}", use, _size(entry))
    console.print(table)
    say("Details: fastqmri methods NAME. Run one: fastqmri fit|recon|qsm ... --method NAME.")
    say(f"Types: {'; '.join(f'{number} {text}' for number, text in _TYPES.items())}.")


def _brief(validity: Validity) -> str:
    """The trained protocol in a word or two."""
    fields = validity.acquisition
    if fields is None:
        return "any protocol"
    images = max((len(v) for v in fields.values() if isinstance(v, (list, tuple))), default=1)
    extra = (
        ""
        if validity.acceleration is None
        else f", R {validity.acceleration[0]:g} to {validity.acceleration[1]:g}"
    )
    return f"{images} images{extra}"


def _protocol(entry: RecipeEntry, validity: Validity) -> str:
    """The trained protocol with its units, where its fields are all there."""
    from fastqmri.learning.validity import protocol_text

    fields = dict(validity.acquisition or {})
    kind = fields.pop("class", None)
    if entry.model is None or kind != CATALOGUE[entry.model].acquisition.__name__:
        return protocol_text(validity)
    one = CATALOGUE[entry.model]
    try:
        acquisition = one.acquisition(**fields)
    except FastqmriError:
        return protocol_text(validity)
    return "; ".join(f"{name} {value}" for name, value in acquisition_records(one, acquisition))


def card_of(entry: RecipeEntry) -> Card | None:
    """The card, if there is one to read."""
    from fastqmri.learning.weights import read_card
    from fastqmri.methods import weights_folder

    try:
        return read_card(weights_folder(entry.name), entry.name)
    except FileError:
        return None


def _size(entry: RecipeEntry) -> str:
    from fastqmri.methods import weights_folder

    path = weights_folder(entry.name) / f"{entry.name}.safetensors"
    return f"{path.stat().st_size / 1e3:.0f} kB" if path.is_file() else "none"


def _show(one: LearnedMethod, entries: Iterable[RecipeEntry]) -> None:
    from fastqmri.core.references import citation
    from fastqmri.learning.weights import read_card
    from fastqmri.methods import has_weights, weights_folder

    console.print(f"[bold]{one.name}[/]  {one.title}", highlight=False)
    say(f"  type {one.type}: {_TYPES[one.type]}")
    say(f"  outside of what it was trained for: {one.classical}")
    for entry in entries:
        console.print(f"\n[bold]{entry.name}[/]  {entry.make().title}", highlight=False)
        if has_weights(entry.name):
            _show_card(entry, read_card(weights_folder(entry.name), entry.name))
        else:
            say(f"  no weights: fastqmri train {one.name} --recipe {entry.name}")
    console.print("\nReferences")
    for key in one.references:
        say(f"  {citation(key)}")


def _show_card(entry: RecipeEntry, card: Card) -> None:
    from fastqmri.learning.evaluation import as_text, standings

    for line in validity_lines(entry, card.validity):
        say(f"  {line}")
    say(f"  trained on {card.data}")
    say(f"  in {card.seconds:.0f} s on {card.machine}, seed {card.settings.get('seed')}: {card.command}")
    say(f"  {card.parameters} numbers, {_size(entry)}, SHA-256 {card.sha256[:12]}…")
    if card.finishing is not None:
        habit = "unless --no-finishing" if card.finishing.default else "with --finishing"
        say(f"  finishing: {card.finishing.steps} least-squares steps {habit}; {card.finishing.gain}")
    if card.expected_error:
        errors = ", ".join(f"{name} {100 * share:.2g} %" for name, share in card.expected_error.items())
        say(f"  expected error on held-out data: {errors}")
    for text in card.notes:
        say(f"  {text}")
    if card.results:
        say("")
        say(as_text(card.results))
        for standing in standings(card.results, card.name):
            say(f"  {standing.text}")


def validity_lines(entry: RecipeEntry, validity: Validity) -> list[str]:
    """What a network may be used for, a line a thing, with units."""
    units = dict[str, str]()
    if entry.model is not None:
        parameters = typical_model(CATALOGUE[entry.model]).parameters
        units = {p.name: f" {p.unit}" for p in parameters if p.unit not in ("1", "fraction", "arbitrary")}
    lines = [f"protocol: {_protocol(entry, validity)}"]
    lines += [
        f"{name}: {low:.4g} to {high:.4g}{units.get(name, '')}"
        for name, (low, high) in validity.tissue.items()
    ]
    for name, unit in (
        ("snr", ""),
        ("acceleration", ""),
        ("matrix", ""),
        ("coils", ""),
        ("voxel_size", " mm"),
        ("field_strength", " T"),
    ):
        limits = getattr(validity, name)
        if limits is not None:
            lines.append(f"{name.replace('_', ' ')}: {limits[0]:.4g} to {limits[1]:.4g}{unit}")
    lines += [
        f"{name}: {low:.4g} to {high:.4g}{units.get(name, '')}"
        for name, (low, high) in validity.known.items()
    ]
    return lines
