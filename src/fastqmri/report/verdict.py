"""One line for the reader in a hurry: can these maps be used as they are?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fastqmri.core import Flag
from fastqmri.report.quantities import count, display_unit, flag_name, percent
from fastqmri.report.statistics import WHOLE, Numbers

Level = Literal["ok", "check", "fail"]


@dataclass(frozen=True)
class Verdict:
    """Whether maps can be used as they are.

    Attributes:
        level: ``ok``, ``check`` (look at the reasons first) or ``fail`` (do not use).
        reasons: sentences with numbers and what to do; for ``ok``, what speaks for the maps.
    """

    level: Level
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Limit:
    """Shares of the mask from which a flag asks for a look, or spoils the maps; and what to do about it."""

    check: float
    fail: float
    remedy: str


# The shares are judgement, not literature: a tenth is what a mask drawn generously brings along by itself.
_LIMITS = {
    Flag.AT_BOUND: _Limit(0.05, 0.5, "Look at where they lie: fluid or air in the mask, or wrong units."),
    Flag.LOW_SNR: _Limit(0.10, 0.7, "Tighten the mask, or average more."),
    Flag.NOT_CONVERGED: _Limit(0.02, 0.3, "Look at the fitted curves below and try another method."),
    Flag.MODEL_MISFIT: _Limit(
        0.10, 0.5, "Look at the residuals below: motion, partial volume, or a model that is too simple."
    ),
    Flag.OUTSIDE_TRAINING_RANGE: _Limit(0.05, 0.5, "Use a least-squares method for these voxels."),
    Flag.INVALID_INPUT: _Limit(0.05, 0.5, "Check the conversion of the images, and the mask."),
    Flag.SATURATED: _Limit(0.05, 0.5, "Lower the receiver gain in the next scan."),
}
_TRUSTED_CHECK, _TRUSTED_FAIL = 0.7, 0.1

# Medians outside say that a unit or an acquisition value is wrong, or that this is no tissue.
_PLAUSIBLE = {
    "T1": (0.1, 6.0),
    "T2": (0.005, 3.0),
    "T2star": (0.001, 0.5),
    "ADC": (5e-5, 4e-3),
    "MD": (5e-5, 4e-3),
    "D": (5e-5, 4e-3),
    "B1": (0.4, 1.8),
    "inversion_factor": (1.0, 2.2),
}


def judge(numbers: Numbers, *, warnings: Sequence[str] = (), guessed: Sequence[str] = ()) -> Verdict:
    """Judge maps by their flags, medians, noise, and by what was guessed on the way.

    Args:
        numbers: the maps; voxels outside the mask don't count.
        warnings: sentences that the reader must see.
        guessed: names of inputs that no file and no user stated.
    """
    total = int(numbers.inside.sum())
    if not total:
        return Verdict("fail", ("There is no voxel inside the mask. Check the mask.",))
    findings = [
        *_trust_findings(numbers, total),
        *_flag_findings(numbers, total),
        *_plausibility_findings(numbers),
        *_uncertainty_findings(numbers),
        *_guess_findings(guessed),
        *(("check", warning) for warning in warnings),
    ]
    if not findings:
        trusted = percent(numbers.flag_counts(numbers.whole)[Flag.OK], total)
        return Verdict("ok", (f"{trusted} of {count(total)} carry no flag; medians are plausible.",))
    worst: Level = "fail" if any(level == "fail" for level, _ in findings) else "check"
    ordered = sorted(findings, key=lambda finding: finding[0] != "fail")
    return Verdict(worst, tuple(sentence for _, sentence in ordered))


def _trust_findings(numbers: Numbers, total: int) -> list[tuple[Level, str]]:
    trusted = int((numbers.trusted & numbers.inside).sum())
    if not trusted:
        return [("fail", f"None of {count(total)} can be trusted. See the flags below for why.")]
    if trusted >= _TRUSTED_CHECK * total:
        return []
    sentence = f"Only {percent(trusted, total)} of {count(total)} carry no flag."
    level: Level = "fail" if trusted < _TRUSTED_FAIL * total else "check"
    return [(level, f"{sentence} Use the flag map as a mask, or mend the commonest cause.")]


def _flag_findings(numbers: Numbers, total: int) -> list[tuple[Level, str]]:
    findings: list[tuple[Level, str]] = []
    for flag, voxels in numbers.flag_counts(numbers.whole).items():
        limit = _LIMITS.get(flag)
        if limit is None or voxels < max(limit.check * total, 1):
            continue
        level: Level = "fail" if voxels >= limit.fail * total else "check"
        name = flag_name(flag)
        sentence = f"{name[0].upper()}{name[1:]}: {percent(voxels, total)} of the mask ({count(voxels)})."
        findings.append((level, f"{sentence} {limit.remedy}"))
    return findings


def _plausibility_findings(numbers: Numbers) -> list[tuple[Level, str]]:
    findings: list[tuple[Level, str]] = []
    for name, (low, high) in _PLAUSIBLE.items():
        if name not in numbers.maps:
            continue
        summary, unit = numbers.summaries[name, WHOLE], display_unit(numbers.maps[name].parameter)
        if summary.trusted and not low <= summary.median <= high:
            sentence = f"Median {name} is {unit.show(summary.median)}; tissue lies between {unit.show(low)}"
            remedy = "Check the units of the acquisition values in the table below."
            findings.append(("check", f"{sentence} and {unit.show(high)}. {remedy}"))
    return findings


def _uncertainty_findings(numbers: Numbers) -> list[tuple[Level, str]]:
    if numbers.noise is None:
        return [
            (
                "check",
                "The noise level is unknown, so there are no standard deviations and no test of the fit. "
                "Give the noise standard deviation of the images.",
            )
        ]
    whole = [numbers.summaries[name, WHOLE] for name in numbers.maps.names]
    if all(summary.trusted and math.isnan(summary.mean_sd) for summary in whole):
        return [("check", "This method gives no standard deviations. Compare with one that does.")]
    return []


def _guess_findings(guessed: Sequence[str]) -> list[tuple[Level, str]]:
    if not guessed:
        return []
    subject = "1 input was" if len(guessed) == 1 else f"{len(guessed)} inputs were"
    remedy = "Confirm the shaded rows of the input table."
    return [("check", f"{subject} guessed ({', '.join(guessed)}). {remedy}")]
