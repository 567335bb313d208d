"""Every learned method by its name: what it maps, its recipes, its weights.

A method's own file is read when one of its recipes is asked for, not before.
"""

from __future__ import annotations

import functools
import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fastqmri.core import UnknownNameError, ValidityError

if TYPE_CHECKING:
    from torch import nn

    from fastqmri.core import Acquisition
    from fastqmri.learning.cards import Card
    from fastqmri.learning.recipe import Recipe
    from fastqmri.learning.validity import Judgement

Stage = Literal["fit", "recon", "qsm"]
FOLDER_VARIABLE = "FASTQMRI_WEIGHTS"
DATA_VARIABLE = "FASTQMRI_TEST_DATA"


@dataclass(frozen=True)
class RecipeEntry:
    """One network of a method.

    Attributes:
        name: of the recipe, of its weights and for ``--method``.
        place: ``module:class`` of its `Recipe`.
        model: of the catalogue, whose parameters it maps; None for susceptibility.
        model_options: of that model, where the network wants them other than the images decide.
        needs_data: whether its training or evaluation reads digital brains from the data folder.
    """

    name: str
    place: str
    model: str | None = None
    model_options: tuple[tuple[str, object], ...] = ()
    needs_data: bool = False

    def make(self) -> Recipe:
        """A fresh recipe."""
        module, _, name = self.place.partition(":")
        recipe: Recipe = getattr(importlib.import_module(module), name)()
        return recipe


@dataclass(frozen=True)
class LearnedMethod:
    """A published method.

    Attributes:
        name: for ``--method``.
        title: a line for people.
        type: 1 to 4, how physics is in it (Zhu 2023).
        stage: the command that it serves.
        references: bibliography keys, the method's own paper last.
        recipes: its networks.
        classical: the command that maps what they were not trained for, ``fastqmri fit mese --method nlls``.
    """

    name: str
    title: str
    type: Literal[1, 2, 3, 4]
    stage: Stage
    references: tuple[str, ...]
    recipes: tuple[RecipeEntry, ...]
    classical: str

    @property
    def paper(self) -> tuple[str, ...]:
        """Bibliography key of the method's own paper."""
        return self.references[-1:]


@dataclass(frozen=True)
class Trained:
    """A network ready for use.

    Attributes:
        method: it belongs to.
        entry: of its recipe.
        recipe: that made it.
        network: with its weights, not to be trained on.
        card: of the weights.
    """

    method: LearnedMethod
    entry: RecipeEntry
    recipe: Recipe
    network: nn.Module
    card: Card


_AT = "fastqmri.methods"
_ALL: tuple[LearnedMethod, ...] = (
    LearnedMethod(
        "drone",
        "T1, T2 and M0 from fingerprints of 25 or 1000 images, by a perceptron in every voxel",
        1,
        "fit",
        ("ma2013", "jiang2015", "cohen2018"),
        (
            RecipeEntry("drone-25", f"{_AT}.drone:Drone25", "fingerprinting", (("signal", "magnitude"),)),
            RecipeEntry(
                "drone-irfisp",
                f"{_AT}.drone:DroneIrFisp",
                "fingerprinting",
                (("signal", "magnitude"),),
            ),
        ),
        "fastqmri fit fingerprinting --method matching-refined",
    ),
    LearnedMethod(
        "qmtnet",
        "qMTNet: pool size ratio and exchange rate from twelve saturated images, or from four",
        2,
        "fit",
        ("ramani2002", "luu2021"),
        tuple(
            RecipeEntry(
                name,
                f"{_AT}.qmtnet:{kind}",
                "qmt",
                (("normalised", True), ("water", water)),
                needs_data=True,
            )
            for name, kind, water in (
                ("qmtnet-fit", "QmtFit", "measured"),
                ("qmtnet-two-stage", "QmtTwoStage", "measured"),
                ("qmtnet-direct", "QmtDirect", "measured"),
                ("qmtnet-ten", "QmtTenPoints", "free"),
            )
        ),
        "fastqmri fit qmt --method nlls --normalised --water measured",
    ),
    LearnedMethod(
        "mantis",
        "MANTIS: T2 and M0 from undersampled k-space, by a network taught by maps and k-space",
        3,
        "recon",
        ("ronneberger2015", "zhu2023", "liu2019"),
        (RecipeEntry("mantis-t2", f"{_AT}.mantis:MantisT2", "mese", needs_data=True),),
        "fastqmri recon --method model-based",
    ),
    LearnedMethod(
        "relax",
        "RELAX: T2 or T1 from undersampled k-space, by a network taught by k-space alone",
        3,
        "recon",
        ("ronneberger2015", "yaman2020", "zhu2023", "liu2021"),
        (
            RecipeEntry("relax-t2", f"{_AT}.relax:RelaxT2", "mese", needs_data=True),
            RecipeEntry("relax-t1", f"{_AT}.relax:RelaxT1", "vfa", needs_data=True),
        ),
        "fastqmri recon --method model-based",
    ),
    LearnedMethod(
        "modl-qsm",
        "susceptibility along B0 and the off-diagonal field of one orientation, unrolled",
        4,
        "qsm",
        ("feng2021",),
        (RecipeEntry("modl-qsm", f"{_AT}.modl_qsm:ModlQsm"),),
        "fastqmri qsm --method tv",
    ),
    LearnedMethod(
        "dopamine",
        "DOPAMINE: T1 or T2 from undersampled k-space, by a network unrolled through model and encoding",
        4,
        "recon",
        ("zhu2023", "jun2021"),
        (
            RecipeEntry("dopamine-t1", f"{_AT}.dopamine:DopamineT1", "vfa", needs_data=True),
            RecipeEntry("dopamine-t2", f"{_AT}.dopamine:DopamineT2", "mese", needs_data=True),
        ),
        "fastqmri recon --method model-based",
    ),
)
METHODS: dict[str, LearnedMethod] = {one.name: one for one in _ALL}
"""Every method by its name."""


def method(name: str) -> LearnedMethod:
    """Look a method up, by its own name or by that of one of its recipes.

    Raises:
        UnknownNameError: no such method.
    """
    for one in METHODS.values():
        if name == one.name or any(name == entry.name for entry in one.recipes):
            return one
    raise UnknownNameError(
        f"learned method {name!r}", "there is no such method.", f"Use one of {', '.join(_names())}."
    )


def is_learned(name: str) -> bool:
    """Whether a name is that of a method or of one of its recipes."""
    return name in _names()


def recipe_entry(name: str) -> RecipeEntry:
    """Look a recipe up.

    Raises:
        UnknownNameError: no such recipe.
    """
    for one in METHODS.values():
        for entry in one.recipes:
            if entry.name == name:
                return entry
    known = [entry.name for one in METHODS.values() for entry in one.recipes]
    raise UnknownNameError(f"recipe {name!r}", "there is no such recipe.", f"Use one of {', '.join(known)}.")


def learned(stage: Stage, model: str | None = None) -> tuple[str, ...]:
    """Names for ``--method`` of a command, methods before their recipes.

    Args:
        stage: the command.
        model: of the catalogue, that they must be able to map; None for any.
    """
    names: list[str] = []
    for one in METHODS.values():
        fitting = [entry.name for entry in one.recipes if model is None or entry.model == model]
        if one.stage == stage and fitting:
            names += [one.name, *fitting]
    return tuple(dict.fromkeys(names))


def weights_folder(name: str | None = None) -> Path:
    """Where weights lie: those of the package, unless the user's own folder has that recipe's.

    Args:
        name: of a recipe; None for the package's folder.
    """
    own = os.environ.get(FOLDER_VARIABLE)
    if name is not None and own and (Path(own) / f"{name}.json").is_file():
        return Path(own)
    return Path(__file__).parent / "weights"


def has_weights(name: str) -> bool:
    """Whether there are weights of a recipe."""
    return (weights_folder(name) / f"{name}.safetensors").is_file()


def load(name: str) -> Trained:
    """A recipe's network with its weights and their card; read once, unless the files change.

    Raises:
        UnknownNameError: no such recipe.
        FileError: weights or card are missing, broken, or don't belong together.
    """
    from fastqmri.learning.weights import paths

    recipe_entry(name)
    folder = weights_folder(name)
    stamps = tuple(
        (file.stat().st_mtime_ns, file.stat().st_size) for file in paths(folder, name) if file.is_file()
    )
    return _load(name, folder, stamps)


@functools.lru_cache(maxsize=16)
def _load(name: str, folder: Path, stamps: tuple[tuple[int, int], ...]) -> Trained:
    from fastqmri.learning.weights import read_card, read_weights

    card = read_card(folder, name)
    entry = recipe_entry(name)
    recipe = entry.make()
    return Trained(method(name), entry, recipe, read_weights(folder, recipe.skeleton(), card), card)


def choose(name: str, acquisition: Acquisition, model: str | None = None) -> RecipeEntry:
    """The recipe of a method that was trained for an acquisition, or nearly.

    Args:
        name: of the method, or of a recipe, which is then the only choice.
        acquisition: what the scanner was told.
        model: of the catalogue, that it has to map; None for any.

    Raises:
        UnknownNameError: no such method, or none for that model.
        ValidityError: none of its recipes was trained for that; says what each was trained for.
        FileError: a card is missing or broken.
    """
    from fastqmri.learning.validity import judge_protocol, protocol_text
    from fastqmri.learning.weights import read_card

    one = method(name)
    named = [entry for entry in one.recipes if entry.name == name]
    # a method may be called as its only recipe
    candidates = named if named and name != one.name else list(one.recipes)
    mapped = dict.fromkeys(str(entry.model) for entry in candidates)
    candidates = [entry for entry in candidates if model is None or entry.model == model]
    if not candidates:
        raise UnknownNameError(
            f"--method {name} for {model}",
            f"it maps {', '.join(mapped)}.",
            f"Use one of {', '.join(learned(one.stage, model))}."
            if learned(one.stage, model)
            else f"Use {one.classical}.",
        )
    cards = [read_card(weights_folder(entry.name), entry.name) for entry in candidates]
    judged: list[tuple[Judgement, RecipeEntry]] = [
        (judge_protocol(card.validity, acquisition), entry)
        for card, entry in zip(cards, candidates, strict=True)
    ]
    judgement, entry = min(judged, key=lambda pair: (len(pair[0].refusals), len(pair[0].warnings)))
    if not judgement.refusals:
        return entry
    trained = "; ".join(
        f"{entry.name} for {protocol_text(card.validity)} ({judgement.refusals[0]})"
        for card, (judgement, entry) in zip(cards, judged, strict=True)
    )
    raise ValidityError(
        f"--method {name} for {type(acquisition).__name__} of {acquisition.contrasts} images",
        f"trained are: {trained}.",
        f"Use {one.classical}, or train the method for this protocol (fastqmri train).",
    )


def _names() -> list[str]:
    names: dict[str, None] = {}
    for one in METHODS.values():
        names |= dict.fromkeys((one.name, *(entry.name for entry in one.recipes)))
    return list(names)
