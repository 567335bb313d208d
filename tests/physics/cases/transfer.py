"""Magnetisation transfer: ratio, saturation, multi-parameter mapping."""

from __future__ import annotations

import math

import numpy as np

from fastqmri.core import MagnetizationTransferRatio, MagnetizationTransferSaturation, MultiParameterMapping
from fastqmri.physics.signal import MultiParameter, TransferRatio, TransferSaturation
from fastqmri.physics.signal.transfer import CORRECTIONS
from physics.checks import Case

RATIO = MagnetizationTransferRatio(mt_state=(True, False, True, False))
SATURATION = MagnetizationTransferSaturation(
    mt_state=(True, False, False),
    flip_angle=(math.radians(6), math.radians(5), math.radians(20)),
    repetition_time=(0.028, 0.027, 0.018),
)


def weighted(*weightings: tuple[int, float, float, bool]) -> MultiParameterMapping:
    """Echoes of several weightings: (number of echoes, flip angle in deg, repetition time in s, MT state)."""
    images = [(0.0023 * (i + 1), math.radians(a), tr, on) for n, a, tr, on in weightings for i in range(n)]
    te, angle, repetition, state = zip(*images, strict=True)
    return MultiParameterMapping(echo_time=te, flip_angle=angle, repetition_time=repetition, mt_state=state)


THREE = weighted((6, 6, 0.0247, True), (8, 6, 0.0247, False), (5, 21, 0.0187, False))
TWO = weighted((8, 21, 0.0187, False), (8, 6, 0.0247, False))
FOUR = weighted((4, 6, 0.025, True), (4, 4, 0.025, False), (4, 6, 0.025, False), (4, 25, 0.025, False))


def _symbols(
    acquisition: MagnetizationTransferSaturation | MultiParameterMapping,
) -> dict[str, np.ndarray | float]:
    symbols: dict[str, np.ndarray | float] = {
        "MT": np.array(acquisition.mt_state, float),
        "FA": np.array(acquisition.flip_angle),
        "TR": np.array(acquisition.repetition_time),
    }
    if isinstance(acquisition, MultiParameterMapping):
        symbols["TE"] = np.array(acquisition.echo_time)
    return symbols


def _ending(choice: str, choices: tuple[str, ...]) -> str:
    """What follows a model's name; nothing for its default."""
    return "" if choice == choices[0] else f"-{choice}"


CASES = (
    Case("mtr", lambda: TransferRatio(RATIO), {"MT": np.array(RATIO.mt_state, float)}),
    *(
        Case(
            f"mtsat{_ending(correction, CORRECTIONS)}",
            lambda correction=correction: TransferSaturation(SATURATION, correction),
            _symbols(SATURATION),
            schedule=("flip_angle", "repetition_time"),
        )
        for correction in CORRECTIONS
    ),
    *(
        Case(
            f"mpm{_ending(correction, CORRECTIONS)}",
            lambda correction=correction: MultiParameter(THREE, correction),
            _symbols(THREE),
            schedule=("flip_angle", "repetition_time", "echo_time"),
        )
        for correction in CORRECTIONS
    ),
    Case(
        "mpm-without-transfer",
        lambda: MultiParameter(TWO),
        _symbols(TWO),
    ),
    Case("mpm-four-weightings", lambda: MultiParameter(FOUR), _symbols(FOUR)),
)
