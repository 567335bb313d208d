"""Ordinary acquisitions to simulate with when nobody asks for a special one."""

from __future__ import annotations

import math

from fastqmri.core import (
    Acquisition,
    ActualFlipAngle,
    BalancedMagnetizationTransfer,
    DiffusionWeighted,
    DoubleAngle,
    Fingerprinting,
    InversionRecovery,
    LookLocker,
    MagnetizationTransferRatio,
    MagnetizationTransferSaturation,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    MultiParameterMapping,
    PulsedGradient,
    QuantitativeMagnetizationTransfer,
    RefocusingTrain,
    SaturationTransfer,
    UnknownNameError,
    VariableFlipAngle,
    ZSpectrum,
)
from fastqmri.physics.spins import PulseSequence, schedule

_PDW, _T1W = math.radians(6), math.radians(21)
_SIDE = (0.2, 0.4, 0.6, 1.0, *(1.5 + 0.5 * i for i in range(18)), 20.0, 30.0, 40.0, 50.0, 100.0)
_TYPICAL: dict[type[Acquisition], Acquisition] = {
    VariableFlipAngle: VariableFlipAngle(
        flip_angle=tuple(math.radians(angle) for angle in (3, 6, 9, 13, 18, 25)), repetition_time=0.015
    ),
    InversionRecovery: InversionRecovery(
        inversion_time=(0.05, 0.15, 0.3, 0.6, 1.0, 1.6, 2.4, 4.0), repetition_time=10.0
    ),
    LookLocker: LookLocker(inversion_time=tuple(0.05 + 0.15 * i for i in range(20))),
    MultiEchoSpinEcho: MultiEchoSpinEcho(echo_time=tuple(0.01 * i for i in range(1, 33))),
    MultiEchoGradientEcho: MultiEchoGradientEcho(echo_time=tuple(0.005 * i for i in range(1, 9))),
    Fingerprinting: schedule("drone-25"),
    RefocusingTrain: schedule("refocusing-16"),
    PulseSequence: schedule("prepared-16"),
    PulsedGradient: PulsedGradient(
        gradient_amplitude=(0.0, 0.1, 0.2, 0.3, 0.4) * 3,
        pulse_duration=(0.004,) * 5 + (0.01,) * 10,
        pulse_separation=(0.015,) * 5 + (0.02,) * 5 + (0.05,) * 5,
    ),
    SaturationTransfer: SaturationTransfer(
        offset=tuple(
            sign * ppm for ppm in (40.0, 20.0, *(5 - 0.25 * i for i in range(18))) for sign in (-1, 1)
        ),
        saturation_b1=(1.5,) * 40,
        pulse_duration=(2.0,) * 40,
        recovery_time=(3.0,) * 40,
        field_strength=3.0,
    ),
    QuantitativeMagnetizationTransfer: QuantitativeMagnetizationTransfer(
        saturation_angle=tuple(math.radians(angle) for angle in (0, *(142,) * 6, *(426,) * 6)),
        offset=(10e3, *(443.0, 1088.0, 1850.0, 2732.0, 6862.0, 17235.0) * 2),
        pulse_duration=0.0102,
        repetition_time=0.025,
        flip_angle=math.radians(7),
    ),
    ZSpectrum: ZSpectrum(
        offset=(*(-d for d in _SIDE[::-1]), 0.0, *_SIDE),
        saturation_b1=0.9,
        field_strength=3.0,
    ),
    BalancedMagnetizationTransfer: BalancedMagnetizationTransfer(
        flip_angle=tuple(math.radians(angle) for angle in (5, 10, 15, 20, 25, 30, 35, *(35,) * 5)),
        pulse_duration=(0.00027,) * 7 + (0.0004, 0.0006, 0.0009, 0.0014, 0.0021),
        repetition_time=(0.00297,) * 7 + (0.0031, 0.0033, 0.0036, 0.0041, 0.0048),
    ),
    MagnetizationTransferRatio: MagnetizationTransferRatio(mt_state=(False, True)),
    MagnetizationTransferSaturation: MagnetizationTransferSaturation(
        mt_state=(True, False, False),
        flip_angle=(_PDW, _PDW, _T1W),
        repetition_time=(0.025, 0.025, 0.025),
    ),
    MultiParameterMapping: MultiParameterMapping(
        echo_time=(*(tuple(0.0023 * i for i in range(1, 9)) * 2), *(0.0023 * i for i in range(1, 7))),
        flip_angle=(_PDW,) * 8 + (_T1W,) * 8 + (_PDW,) * 6,
        repetition_time=(0.025,) * 22,
        mt_state=(False,) * 16 + (True,) * 6,
    ),
    ActualFlipAngle: ActualFlipAngle(repetition_time=(0.02, 0.1), flip_angle=math.radians(60)),
    DoubleAngle: DoubleAngle(flip_angle=(math.radians(60), math.radians(120))),
}
_Z_SPECTRA = {
    "wassr": ZSpectrum(offset=tuple(0.1 * i for i in range(-10, 11)), saturation_b1=0.1),
    "wasabi": ZSpectrum(
        offset=(-300.0, *(-2 + 0.125 * i for i in range(33))),
        saturation_b1=3.7,
        saturation_time=0.005,
        field_strength=3.0,
    ),
    "glucest": ZSpectrum(
        offset=(-100.0, -20.0, *(s * (1.8 + 0.2 * i) for s in (-1, 1) for i in range(13)), 20.0, 100.0),
        saturation_b1=3.0,
        field_strength=7.0,
    ),
}
_SATURATION = {"mtc-mrf": "mtc-mrf-40", "cest-mrf": "cest-mrf-arginine"}
_IVIM_B_VALUES = (0, 10, 20, 30, 50, 80, 120, 200, 300, 400, 500, 600, 800, 1000)


def typical_acquisition(kind: type[Acquisition], model: str = "") -> Acquisition:
    """A typical acquisition of a family.

    Args:
        kind: class of the acquisition.
        model: name in the catalogue, where a family serves several (``dti``, ``adc``, ``ivim``; ``wasabi``).

    Raises:
        UnknownNameError: no such family.
    """
    if kind is DiffusionWeighted:
        if model == "dti":
            directions = spiral_directions(32)
            return DiffusionWeighted(
                b_value=(0.0,) * 4 + (1000.0,) * 32, b_vector=((0.0, 0.0, 0.0),) * 4 + directions
            )
        return DiffusionWeighted(b_value=_IVIM_B_VALUES if model == "ivim" else (0, 200, 500, 800, 1200))
    if model == "b0":
        return MultiEchoGradientEcho(echo_time=(0.00492, 0.00738))
    if kind is ZSpectrum and model in _Z_SPECTRA:
        return _Z_SPECTRA[model]
    if kind is SaturationTransfer and model in _SATURATION:
        return schedule(_SATURATION[model])
    if kind not in _TYPICAL:
        raise UnknownNameError(
            f"acquisition {kind.__name__}", "it has no typical protocol.", "Give its values yourself."
        )
    return _TYPICAL[kind]


def spiral_directions(count: int) -> tuple[tuple[float, float, float], ...]:
    """Unit vectors spread evenly over half a sphere along a spiral of golden angles."""
    golden = math.pi * (1 + math.sqrt(5))
    directions = []
    for i in range(count):
        z = 1 - (i + 0.5) / count
        radius = math.sqrt(1 - z * z)
        directions.append((radius * math.cos(golden * i), radius * math.sin(golden * i), z))
    return tuple(directions)
