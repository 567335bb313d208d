"""The methods paragraph, ready to paste into a paper."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from fastqmri.core.references import author_year
from fastqmri.report.content import ReportContent
from fastqmri.report.quantities import acquisition_phrases, count, grouped, number
from fastqmri.report.statistics import Numbers


def versions() -> dict[str, str]:
    """What the numbers were computed with; nothing that tells one machine from another of its kind."""
    return {
        "fastqmri": _version("fastqmri"),
        "PyTorch": _version("torch"),
        "numba": _version("numba"),
        "Python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def methods_text(content: ReportContent, numbers: Numbers) -> str:
    """One paragraph: what was measured, with which model and method, and what the numbers mean."""
    acquisition, model = content.measurement.acquisition, content.model
    cited = "; ".join(author_year(key) for key in dict.fromkeys(content.references))
    total, trusted = int(numbers.inside.sum()), int(numbers.trusted.sum())
    names = f"{_names(content.shown)} {'was' if len(content.shown) == 1 else 'were'}"
    made = content.procedure or (
        f"{names} estimated {_source(content)} ({'; '.join(acquisition_phrases(acquisition))}) with the model "
        f"“{model.title}”, S = {model.equation}, by {content.method}{f' ({cited})' if cited else ''}."
    )
    sentences = [
        made,
        *(f"{name} was measured separately and held fixed." for name in content.measurement.known),
        _noise_sentence(numbers),
        f"Of {count(total)} inside the mask, {grouped(trusted)} carried no quality flag; "
        "only these enter medians and quartiles.",
        f"Software: fastqmri {_version('fastqmri')}, PyTorch {_version('torch')}.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _source(content: ReportContent) -> str:
    kspace, contrasts = content.kspace, content.measurement.acquisition.contrasts
    if kspace is None:
        return f"voxel by voxel from {contrasts} images"
    channels = "one channel" if kspace.coils == 1 else f"{kspace.coils} channels"
    reduced = "" if kspace.acceleration is None else f", undersampled {number(kspace.acceleration)}-fold,"
    return f"from k-space of {channels}{reduced} in {contrasts} contrasts"


def _noise_sentence(numbers: Numbers) -> str:
    if numbers.noise is None:
        return ""
    level = f"{number(numbers.noise)} in units of the images"
    return f"Standard deviations follow from the noise of the images (standard deviation {level})."


def _names(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _version(package: str) -> str:
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        return "not installed"
