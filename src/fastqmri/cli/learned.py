"""Maps by a network: which one, whether it may, what the records say of it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastqmri.cli.options import option
from fastqmri.core import PlausibilityError, UnknownNameError

if TYPE_CHECKING:
    from fastqmri.core import Acquisition, Estimator, Measurement, ParameterMaps, Progress
    from fastqmri.estimators import Entry
    from fastqmri.methods import Trained
    from fastqmri.methods.registry import Stage


def finishing_option(group: str | None = None) -> inspect.Parameter:
    """``--finishing`` of commands that run networks."""
    return option(
        "finishing",
        bool | None,
        None,
        "--finishing/--no-finishing",
        help="Steps on the exact physics after a learned method; default: what its card says.",
        group=group,
    )


@dataclass(frozen=True)
class Network:
    """A trained network that a user asked for.

    Attributes:
        trained: with its card.
        finishing: steps after it; None for the card's own habit.
    """

    trained: Trained
    finishing: int | None

    @property
    def name(self) -> str:
        """Of the recipe."""
        return self.trained.entry.name

    @property
    def description(self) -> str:
        """For the records: name, a colon, a sentence."""
        card = self.trained.card
        steps = self.steps
        after = f", followed by at most {steps} least-squares steps" if steps else ""
        return f"{self.name}: network, {card.title}{after}"

    @property
    def steps(self) -> int:
        """Of finishing that are taken."""
        card = self.trained.card
        if self.finishing is not None:
            return self.finishing
        return card.finishing.steps if card.finishing is not None and card.finishing.default else 0

    @property
    def references(self) -> tuple[str, ...]:
        """Bibliography keys, the method's own paper last."""
        return self.trained.method.references

    @property
    def provenance(self) -> dict[str, Any]:
        """What sidecars say of the weights."""
        card = self.trained.card
        return {
            "Network": card.name,
            "NetworkWeightsSHA256": card.sha256,
            "NetworkCard": card.model_dump(mode="json", exclude={"results", "sha256", "name", "machine"}),
        }

    def build(self, **options: Any) -> Any:
        """What maps a measurement."""
        given = dict(options)
        if self.finishing is not None:
            given["finishing"] = self.finishing
        return self.trained.recipe.build(self.trained.network, self.trained.card, **given)

    def estimator(self, model: Any, progress: Progress | None = None) -> Estimator:
        """An estimator of images that holds the measurement against the card."""
        return _Checked(self, self.build(model=model, progress=progress))

    def remarked(self, maps: ParameterMaps) -> tuple[ParameterMaps, list[str]]:
        """Maps with the notes of the card, and what its warnings are."""
        from fastqmri.learning.validity import EDGE

        notes = tuple(dict.fromkeys((*maps.notes, *self.trained.card.notes)))
        return dataclasses.replace(maps, notes=notes), [text for text in notes if EDGE in text]

    def warnings(self, measurement: Measurement) -> tuple[str, ...]:
        """What lies at the edge of the card; SNR and what else only it can tell is the estimator's to judge.

        Raises:
            ValidityError: a measurement outside of it.
        """
        from fastqmri.learning.validity import judge, refuse_outside

        card = self.trained.card
        judgement = judge(card.validity, measurement)
        return refuse_outside(card.name, judgement, card.classical)


@dataclass(frozen=True)
class _Checked:
    """An estimator behind its network's card."""

    network: Network
    estimator: Estimator

    def estimate(self, measurement: Measurement) -> ParameterMaps:
        """Maps with what is to be said of the card in their notes."""
        warnings = self.network.warnings(measurement)
        maps = self.estimator.estimate(measurement)
        return self.network.remarked(dataclasses.replace(maps, notes=(*maps.notes, *warnings)))[0]


def find_network(
    name: str,
    stage: Stage,
    finishing: bool | None,
    *,
    entry: Entry | None = None,
    acquisition: Acquisition | None = None,
    options: Mapping[str, Any] | None = None,
) -> Network | None:
    """The network that ``--method`` names, or None where it names no learned method.

    Args:
        name: of a method or of a recipe.
        stage: the command.
        finishing: as asked for.
        entry: of the catalogue, that is to be mapped.
        acquisition: what the scanner was told; None where the network does not mind.
        options: of the entry, as the user gave them.

    Raises:
        UnknownNameError: a learned method for another command or model, or finishing that it does not have.
        ValidityError: it was not trained for the acquisition.
        PlausibilityError: options of a model that it was not trained with.
        FileError: weights or card are missing or broken.
    """
    from fastqmri.methods import choose, is_learned, learned, load, method

    if not is_learned(name):
        if finishing is not None:
            flag = "--finishing" if finishing else "--no-finishing"
            raise UnknownNameError(
                f"{flag} for --method {name}", "it is for learned methods only.", f"Leave {flag} out."
            )
        return None
    one = method(name)
    if one.stage != stage:
        others = learned(stage, entry.name if entry else None)
        raise UnknownNameError(
            f"--method {name} for fastqmri {stage}",
            f"it is a method of fastqmri {one.stage}.",
            f"Use fastqmri {one.stage}" + (f", or one of {', '.join(others)}." if others else "."),
        )
    if acquisition is None:
        found = next((e for e in one.recipes if e.name == name), one.recipes[0])
    else:
        found = choose(name, acquisition, entry.name if entry else None)
    required = dict(found.model_options)
    for option_name, value in (options or {}).items():
        usual = entry.options[option_name][0] if entry and option_name in entry.options else value
        wanted = required.get(option_name, usual)
        if value != wanted:
            write = f"--{option_name}" if wanted is True else f"--{option_name} {wanted}"
            raise PlausibilityError(
                f"--{option_name} {value} for {found.name}",
                f"the network was trained with {wanted}.",
                f"Give {write}, or use {one.classical}.",
            )
    trained = load(found.name)
    steps: int | None = None
    if finishing is not None:
        own = trained.card.finishing
        if finishing and own is None:
            raise UnknownNameError(
                f"--finishing for {found.name}", "no steps follow this network.", "Leave --finishing out."
            )
        steps = own.steps if finishing and own is not None else 0
        if own is None:
            steps = None
    return Network(trained, steps)


def words_for(stage: Stage, model: str | None = None) -> str:
    """Help on the learned methods of a command."""
    from fastqmri.methods import learned

    names = learned(stage, model)
    return f" Learned: {', '.join(names)} (fastqmri methods)." if names else ""
