"""The methods paragraph, ready to paste into a paper."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from fastqmri.core import Measurement, ParameterMaps
from fastqmri.core.references import author_year
from fastqmri.physics.signal import SignalModel
from fastqmri.report.quantities import acquisition_phrases, grouped, number
from fastqmri.report.statistics import inside, noise_level


def versions() -> dict[str, str]:
    """What the numbers were computed with; nothing that tells one machine from another of its kind."""
    found = {"fastqmri": _version("fastqmri"), "PyTorch": _version("torch"), "numba": _version("numba")}
    return found | {"Python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}


def methods_text(
    maps: ParameterMaps,
    measurement: Measurement,
    model: SignalModel,
    method: str,
    shown: tuple[str, ...],
    references: tuple[str, ...],
) -> str:
    """One paragraph: what was measured, with which model and method, and what the numbers mean."""
    acquisition = "; ".join(acquisition_phrases(measurement.acquisition))
    cited = f" ({'; '.join(author_year(key) for key in references)})" if references else ""
    total, trusted = int(inside(maps).sum()), int(maps.trusted.sum())
    sentences = [
        f"{_names(shown)} {'was' if len(shown) == 1 else 'were'} estimated voxel by voxel from "
        f"{measurement.acquisition.contrasts} images ({acquisition}) with the model "
        f"“{model.title}”, S = {model.equation}, by {method}{cited}.",
        *(f"{name} was taken from a separate measurement." for name in measurement.known),
        _noise_sentence(maps),
        f"Of {grouped(total)} voxels inside the mask, {grouped(trusted)} carried no quality flag; "
        "only these enter medians and quartiles.",
        f"Software: fastqmri {_version('fastqmri')} (PyTorch {_version('torch')}).",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _noise_sentence(maps: ParameterMaps) -> str:
    level = noise_level(maps)
    if level is None:
        return ""
    source = next((note for note in maps.notes if note.startswith("Noise")), "")
    shown = source or f"Noise standard deviation: {number(level)} in units of the images."
    return f"Standard deviations follow from the noise of the images. {shown}"


def _names(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _version(package: str) -> str:
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        return "not installed"
