"""Commands that only look: `models`, `crlb`, `cite`, `validate`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from fastqmri.cli.console import console, note, say
from fastqmri.cli.options import (
    VariadicCommand,
    acquisition_of,
    acquisition_records,
    check_choice,
    model_command,
    option,
    own_options,
    parameter_value,
)
from fastqmri.core import UnitError, UnknownNameError
from fastqmri.estimators import CATALOGUE, entry
from fastqmri.phantoms import typical_acquisition

if TYPE_CHECKING:
    from fastqmri.estimators import Entry
    from fastqmri.physics.signal import SignalModel

_ABREAST = 3
"""Quantities that fit beside each other in a terminal of 80 columns."""
crlb_app = typer.Typer(no_args_is_help=True, help="Cramér-Rao bound: the least standard deviation possible.")


def models(name: Annotated[str | None, typer.Argument(help="Show one model in detail.")] = None) -> None:
    """List the models, or show one in detail: equation, parameters, units, bounds, methods, citation.

    Examples:

        fastqmri models

        fastqmri models vfa
    """
    if name is None:
        table = Table(box=SIMPLE_HEAD)
        for column in ("model", "BIDS", "what", "maps"):
            table.add_column(column, no_wrap=column in ("model", "BIDS"), overflow="fold")
        for one in CATALOGUE.values():
            model = typical_model(one)
            maps = ", ".join(written_maps(one, model))
            table.add_row(one.name, one.suffix or "", model.title, maps)
        console.print(table)
        say("Details: fastqmri models NAME. fastqmri run uses the models with a BIDS suffix.")
        return
    _show(entry(name))


def typical_model(one: Entry) -> SignalModel:
    """The model with a typical acquisition, to look at."""
    return one.build(typical_acquisition(one.acquisition, one.name))


def written_maps(one: Entry, model: SignalModel) -> list[str]:
    """Maps that a model gives, the most important first."""
    held = {p.name for p in model.parameters} | {d.parameter.name for d in model.derived}
    return [name for name in one.outputs if name in held]


def _show(one: Entry) -> None:
    from fastqmri.core.references import citation

    model = typical_model(one)
    console.print(f"[bold]{one.name}[/]  {model.title}", highlight=False)
    say(f"  signal = {model.equation}\n")
    table = Table(box=SIMPLE_HEAD)
    for column in ("parameter", "unit", "bounds", "typical", "description"):
        table.add_column(column, no_wrap=column != "description")
    for p in model.parameters:
        known = "" if p.nominal is None else f" (known; {p.nominal:g} without a map)"
        table.add_row(p.name, p.unit, _range(p.bounds), _range(p.prior), p.description + known)
    for d in model.derived:
        table.add_row(d.parameter.name, d.parameter.unit, "", "", d.parameter.description)
    console.print(table)
    for option_name, choices in one.options.items():
        words = "" if choices == (False, True) else f" {', '.join(str(c) for c in choices)}."
        text = f" {one.option_help[option_name]}" if option_name in one.option_help else ""
        say(f"  option --{option_name}:{text}{words}")
    for name, setting in one.settings.items():
        say(f"  option --{name}: {setting.write(setting.default)}")
    for method in one.methods:
        say(f"  method {method.name}: {method.description}")
    keys = dict.fromkeys((*model.references, *(k for m in one.methods for k in m.references)))
    console.print("\nReferences")
    for key in keys:
        say(f"  {citation(key)}")


def _range(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.4g} … {bounds[1]:.4g}"


def cite(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models or learned methods; all if none is named.")
    ] = None,
) -> None:
    """Print the BibTeX of the models named and of their methods, or of learned methods.

    Example:

        fastqmri cite vfa dti > references.bib
    """
    from fastqmri.core.references import bibtex
    from fastqmri.methods import METHODS, is_learned, method

    keys: dict[str, None] = {}
    for name in names or (*CATALOGUE, *METHODS):
        if is_learned(name):
            keys |= dict.fromkeys(method(name).references)
            continue
        one = entry(name)
        keys |= dict.fromkeys(
            (*typical_model(one).references, *(k for m in one.methods for k in m.references))
        )
    typer.echo(bibtex(tuple(keys)))


def validate(bids_dir: Annotated[Path, typer.Argument(help="Root of the BIDS dataset.")]) -> None:
    """Say what would keep the scans of a BIDS dataset from being mapped. Exit code 1 if anything would.

    Example:

        fastqmri validate study
    """
    from fastqmri.io import validate as look

    findings = look(bids_dir)
    for finding in findings:
        style = "red" if finding.level == "error" else "yellow"
        console.print(f"[{style}]{finding.level}[/] {escape(finding.path)}", highlight=False, soft_wrap=True)
        say(f"  {finding.message}")
    wrong = sum(finding.level == "error" for finding in findings)
    console.print(f"{wrong} errors, {len(findings) - wrong} warnings")
    if wrong:
        raise typer.Exit(1)


def crlb(one: Entry, values: Mapping[str, Any]) -> None:
    """Print the bound for one acquisition and a few tissues."""
    from fastqmri.estimators import cramer_rao_bound

    check_choice("--noise-model", values["noise_model"], ("gaussian", "rician"))
    acquisition, notes = acquisition_of(one, values)
    typical = acquisition is None
    acquisition = acquisition or typical_acquisition(one.acquisition, one.name)
    model = one.build(acquisition, **own_options(one, values))
    known = [p.name for p in model.parameters if p.nominal is not None]
    for name in values["also_unknown"] or ():
        check_choice("--also-unknown", name, known)
    x = tissues(model, values["at"] or [])
    signal = model.forward(x)
    noise = values["noise_sd"] or signal.abs().amax(0) / values["snr"]
    names, bounds = cramer_rao_bound(
        model, x, noise, rician=values["noise_model"] == "rician", also_unknown=values["also_unknown"] or ()
    )
    settings = "; ".join(f"{name} {value}" for name, value in acquisition_records(one, acquisition))
    say(f"{model.title}: {settings}" + (" (typical)" if typical else ""))
    say(_noise_words(values))
    varied = [p for i, p in enumerate(model.parameters) if len(x[i].unique()) > 1] or list(
        model.parameters[1:2]
    )
    truth = _truth_of(model, x, names)
    shown = [k for k, name in enumerate(names) if name in (*one.outputs, *(values["also_unknown"] or ()))]
    tissue = [[f"{float(x[model.parameters.index(p), v]):.5g}" for p in varied] for v in range(x.shape[1])]
    found = [
        [
            (
                f"{float(bounds[k, v]):.3g}",
                f"{100 * float(bounds[k, v] / truth[k][v].abs()):.3g}" if float(truth[k][v]) else "",
            )
            for k in shown
        ]
        for v in range(x.shape[1])
    ]
    table = Table(box=SIMPLE_HEAD)
    for parameter in varied:
        table.add_column(escape(f"{parameter.name} [{parameter.unit}]"), justify="right")
    if len(shown) <= _ABREAST:
        for k in shown:
            table.add_column(f"sd {names[k]}", justify="right")
            table.add_column("%", justify="right")
        for place, row in zip(tissue, found, strict=True):
            table.add_row(*place, *(word for pair in row for word in pair))
    else:
        for name in ("of", "sd", "%"):
            table.add_column(name, justify="left" if name == "of" else "right")
        for place, row in zip(tissue, found, strict=True):
            for at, (k, pair) in enumerate(zip(shown, row, strict=True)):
                heading = place if at == 0 else [""] * len(place)
                table.add_row(*heading, f"sd {names[k]}", *pair, end_section=at == len(shown) - 1)
    console.print(table)
    for text in notes:
        note(text)


def tissues(model: SignalModel, settings: list[str]) -> Any:
    """(parameter, tissue) values from ``T1=0.8:0.2:2s`` settings; the middle of the priors otherwise.

    Raises:
        UnitError: a setting that can't be read.
        UnknownNameError: a parameter that the model does not have.
    """
    import torch

    names = [p.name for p in model.parameters]
    chosen: dict[str, list[float]] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in names:
            raise UnknownNameError(
                f"--at {setting}", "the model has no such parameter.", f"Use {', '.join(names)}."
            )
        if not text:
            raise UnitError(f"--at {setting}", "there is no value.", f"Write {name}=VALUE with its unit.")
        parameter = model.parameters[names.index(name)]
        chosen[name] = [parameter_value(parameter, part) for part in text.split("/")]
    columns = [torch.tensor(chosen.get(p.name, [_middle(p)]), dtype=torch.float64) for p in model.parameters]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*columns, indexing="ij")])


def _middle(parameter: Any) -> float:
    if parameter.nominal is not None:
        return float(parameter.nominal)
    low, high = parameter.prior
    return float((low * high) ** 0.5) if low > 0 and high / low > 5 else (low + high) / 2


def _truth_of(model: SignalModel, x: Any, names: tuple[str, ...]) -> list[Any]:
    values = {p.name: x[i] for i, p in enumerate(model.parameters)}
    values |= {d.parameter.name: d.evaluate(x)[0] for d in model.derived}
    return [values[name] for name in names]


def _noise_words(values: Mapping[str, Any]) -> str:
    kind = "Rician" if values["noise_model"] == "rician" else "Gaussian"
    if values["noise_sd"]:
        return f"{kind} noise, standard deviation {values['noise_sd']:g}"
    return f"{kind} noise, brightest sample / standard deviation = {values['snr']:g}"


_CRLB_OPTIONS: list[inspect.Parameter] = [
    option(
        "at",
        list[str] | None,
        None,
        "--at",
        help="True parameters, NAME=VALUE with a unit, several values between slashes: T1=0.8s/1.3s B1=1.",
    ),
    option(
        "snr", float, 50.0, "--snr", help="Brightest sample over the noise standard deviation.", least=0.1
    ),
    option("noise_sd", float | None, None, "--noise-sd", help="Noise standard deviation instead of --snr."),
    option("noise_model", str, "gaussian", "--noise-model", help="gaussian or rician."),
    option(
        "also_unknown",
        list[str] | None,
        None,
        "--also-unknown",
        help="Known parameters to estimate too: B1.",
    ),
]

for _entry in CATALOGUE.values():
    _text = (
        f"Least standard deviation of every parameter of {_entry.name}.\n\n"
        f"Example:\n\n    fastqmri crlb {_entry.name} --snr 50"
    )
    crlb_app.command(_entry.name, cls=VariadicCommand)(
        model_command(_entry, _CRLB_OPTIONS, crlb, _text, needed=False)
    )
