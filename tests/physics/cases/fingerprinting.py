"""Trains of extended phase graphs."""

from __future__ import annotations

import math

from fastqmri.core import Fingerprinting, RefocusingTrain
from fastqmri.physics.spins import FingerprintingSignal, RefocusedEchoes
from physics.checks import Case

_ANGLES = tuple(math.radians(24 + 17 * math.sin(0.5 * n) + 5 * math.cos(2.3 * n)) for n in range(40))
_TIMES = tuple(0.012 + 0.003 * math.sin(0.7 * n) for n in range(40))
_ECHOES = tuple(0.004 + 0.001 * math.sin(1.3 * n) for n in range(40))
_TIMING = {"flip_angle": _ANGLES, "repetition_time": _TIMES, "echo_time": _ECHOES}
TRAIN = Fingerprinting(**_TIMING, inversion_time=0.02)
SPOILED = Fingerprinting(
    **_TIMING,
    spoiling="rf",
    phase_increment=math.radians(50),
    rf_phase=tuple(0.2 * math.sin(0.9 * n) for n in range(40)),
)
BALANCED = Fingerprinting(
    **_TIMING, spoiling="balanced", rf_phase=tuple(math.pi * (n % 2) for n in range(40)), inversion_time=0.02
)
HEARTBEATS = Fingerprinting(
    **_TIMING,
    segment_length=(7, 9, 12, 6, 6),
    preparation=("inversion", "none", "t2prep", "t2prep", "inversion"),
    preparation_time=(0.021, 0.0, 0.03, 0.08, 0.1),
    rr_interval=(0.9, 0.7, 1.3, 0.55, 0.8),
)
REFOCUSED = RefocusingTrain(
    refocusing_angle=tuple(math.radians(150 + 25 * math.cos(0.8 * n)) for n in range(11)), echo_spacing=0.0097
)
_FIELDS = ("flip_angle", "repetition_time", "echo_time")

CASES = (
    Case(
        "fingerprinting",
        lambda: FingerprintingSignal(TRAIN),
        None,
        schedule=(*_FIELDS, "inversion_time"),
    ),
    Case("fingerprinting-signed", lambda: FingerprintingSignal(TRAIN, "real"), None, schedule=_FIELDS),
    Case(
        "fingerprinting-profile",
        lambda: FingerprintingSignal(TRAIN, "real", "gaussian", 12),
        None,
        schedule=("flip_angle",),
    ),
    Case(
        "fingerprinting-rf-spoiled",
        lambda: FingerprintingSignal(SPOILED, "complex"),
        None,
        schedule=(*_FIELDS, "rf_phase", "phase_increment"),
    ),
    Case(
        "fingerprinting-balanced",
        lambda: FingerprintingSignal(BALANCED, "real"),
        None,
        schedule=(*_FIELDS, "inversion_time"),
    ),
    Case(
        "fingerprinting-heartbeats",
        lambda: FingerprintingSignal(HEARTBEATS, "real"),
        None,
        schedule=(*_FIELDS, "preparation_time", "rr_interval"),
    ),
    *(
        Case(
            "refocusing-train" if profile == "ideal" else f"refocusing-train-{profile}",
            lambda profile=profile: RefocusedEchoes(REFOCUSED, profile),
            None,
            schedule=("refocusing_angle", "echo_spacing", "excitation_angle"),
        )
        for profile in RefocusedEchoes.PROFILES
    ),
)
