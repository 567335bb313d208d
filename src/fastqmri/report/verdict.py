"""One line for the reader in a hurry: can these maps be used as they are?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fastqmri.core import Flag, ParameterMaps
from fastqmri.report.quantities import count, display_unit, flag_name, percent
from fastqmri.report.statistics import WHOLE, Region, array, flag_counts, inside, noise_level, summarise

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
_LEAST_TRUSTED = {"check": 0.7, "fail": 0.1}

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


def judge(maps: ParameterMaps, *, warnings: Sequence[str] = (), guessed: Iterable[str] = ()) -> Verdict:
    """Judge maps by their flags, medians, noise, and by what was guessed on the way.

    Args:
        maps: voxels outside the mask don't count.
        warnings: sentences that the reader must see.
        guessed: names of inputs that no file and no user stated.
    """
    mask = Region(WHOLE, inside(maps))
    total = int(mask.voxels.sum())
    if not total:
        return Verdict("fail", ("There is no voxel inside the mask. Check the mask.",))
    findings = [
        *_trust_findings(maps, mask, total),
        *_flag_findings(maps, mask, total),
        *_plausibility_findings(maps, mask),
        *_uncertainty_findings(maps),
        *_guess_findings(list(guessed)),
        *(("check", warning) for warning in warnings),
    ]
    reasons = tuple(sentence for level in ("fail", "check") for at, sentence in findings if at == level)
    if not findings:
        trusted = flag_counts(maps, mask)[Flag.OK]
        return Verdict(
            "ok", (f"{percent(trusted, total)} of {count(total)} carry no flag; medians are plausible.",)
        )
    return Verdict("fail" if any(at == "fail" for at, _ in findings) else "check", reasons)


def _trust_findings(maps: ParameterMaps, mask: Region, total: int) -> list[tuple[Level, str]]:
    trusted = int((np.asarray(maps.trusted.cpu()) & mask.voxels).sum())
    if not trusted:
        return [("fail", f"None of {count(total)} can be trusted. See the flags below for why.")]
    for level in ("fail", "check"):
        if trusted < _LEAST_TRUSTED[level] * total:
            sentence = (
                f"Only {percent(trusted, total)} of {count(total)} carry no flag. "
                "Use the flag map as a mask, or mend its commonest cause."
            )
            return [("fail" if level == "fail" else "check", sentence)]
    return []


def _flag_findings(maps: ParameterMaps, mask: Region, total: int) -> list[tuple[Level, str]]:
    findings: list[tuple[Level, str]] = []
    for flag, voxels in flag_counts(maps, mask).items():
        if flag not in _LIMITS or voxels < _LIMITS[flag].check * total or not voxels:
            continue
        limit, name = _LIMITS[flag], flag_name(flag)
        level: Level = "fail" if voxels >= limit.fail * total else "check"
        sentence = f"{name[0].upper()}{name[1:]}: {percent(voxels, total)} of the mask ({count(voxels)})."
        findings.append((level, f"{sentence} {limit.remedy}"))
    return findings


def _plausibility_findings(maps: ParameterMaps, mask: Region) -> list[tuple[Level, str]]:
    findings: list[tuple[Level, str]] = []
    for name, (low, high) in _PLAUSIBLE.items():
        if name not in maps:
            continue
        summary = summarise(maps, name, mask)
        if summary.trusted and not low <= summary.median <= high:
            unit = display_unit(summary.unit, high)
            findings.append(
                (
                    "check",
                    f"Median {name} is {unit.show(summary.median)}; tissue lies between {unit.show(low)} "
                    f"and {unit.show(high)}. Check the units of the acquisition values in the table below.",
                )
            )
    return findings


def _uncertainty_findings(maps: ParameterMaps) -> list[tuple[Level, str]]:
    if noise_level(maps) is None:
        return [
            (
                "check",
                "The noise level is unknown, so there are no standard deviations and no test of the fit. "
                "Give the noise standard deviation of the images.",
            )
        ]
    trusted = np.asarray(maps.trusted.cpu())
    if trusted.any() and not np.isfinite(array(maps.standard_deviation)[:, trusted]).any():
        return [("check", "This method gives no standard deviations. Compare with one that does.")]
    return []


def _guess_findings(guessed: list[str]) -> list[tuple[Level, str]]:
    if not guessed:
        return []
    subject = "1 input was" if len(guessed) == 1 else f"{len(guessed)} inputs were"
    return [("check", f"{subject} guessed ({', '.join(guessed)}). Confirm the marked rows of the input table.")]
