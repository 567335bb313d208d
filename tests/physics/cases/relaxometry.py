"""T1, T2 and T2*."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fastqmri.core import (
    InversionRecovery,
    LookLocker,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    VariableFlipAngle,
    WeightedGradientEcho,
)
from fastqmri.physics.signal import (
    BiexponentialDecay,
    ComplexGradientEcho,
    ExponentialDecay,
    InversionRecoverySignal,
    LookLockerSignal,
    SharedDecay,
    SignalModel,
    SpinEchoTrain,
    SpoiledGradientEcho,
    T2Distribution,
)
from physics.checks import Case, from_priors

FLIP_ANGLES = VariableFlipAngle(
    flip_angle=tuple(math.radians(a) for a in (2, 3, 5, 8, 11, 15, 20)), repetition_time=0.0052
)
INVERSIONS = InversionRecovery(inversion_time=(0.05, 0.12, 0.3, 0.7, 1.3, 2.2, 4.1), repetition_time=5.5)
READOUTS = LookLocker(inversion_time=tuple(0.03 + 0.17 * i for i in range(25)))
SPIN_ECHOES = MultiEchoSpinEcho(echo_time=tuple(0.0097 * (i + 1) for i in range(11)))
UNEVEN_ECHOES = MultiEchoSpinEcho(echo_time=(0.031, 0.008, 0.093, 0.017, 0.055, 0.007, 0.151))
GRADIENT_ECHOES = MultiEchoGradientEcho(echo_time=(0.0023, 0.0046, 0.0071, 0.0119, 0.0187))
WEIGHTINGS = WeightedGradientEcho(
    echo_time=(*GRADIENT_ECHOES.echo_time, *GRADIENT_ECHOES.echo_time[:3]),
    weighting=("PDw",) * 5 + ("T1w",) * 3,
)


def look_locker_tissue(model: SignalModel, voxels: int, generator: torch.Generator) -> Tensor:
    """The driven recovery is always faster than the free one: T1star < T1."""
    x = from_priors(model, voxels, generator)
    x[2] = x[1] * (0.4 + 0.55 * torch.rand(voxels, dtype=torch.float64, generator=generator))
    return x


def _ti(acquisition: InversionRecovery | LookLocker) -> np.ndarray:
    return np.array(acquisition.inversion_time)


def _recovery(signal: str, inversion: str, repeat: float | None = 5.5) -> Case:
    acquisition = InversionRecovery(inversion_time=INVERSIONS.inversion_time, repetition_time=repeat)
    symbols: dict[str, np.ndarray | float] = {"TI": _ti(acquisition)}
    if repeat is not None:
        symbols["TR"] = repeat
    return Case(
        f"irt1-{signal}-{inversion}" + ("" if repeat is not None else "-long-TR"),
        lambda: InversionRecoverySignal(acquisition, signal, inversion),  # type: ignore[arg-type]
        symbols,
        theta=lambda x: 1 / x[1],
    )


def _echoes(name: str, acquisition: MultiEchoSpinEcho | MultiEchoGradientEcho, offset: bool = False) -> Case:
    return Case(
        name,
        lambda: ExponentialDecay(acquisition, offset),
        {"TE": np.array(acquisition.echo_time)},
        theta=lambda x: 1 / x[1],
        schedule=("echo_time",),
    )


CASES = (
    Case(
        "vfa",
        lambda: SpoiledGradientEcho(FLIP_ANGLES),
        {"FA": np.array(FLIP_ANGLES.flip_angle), "TR": FLIP_ANGLES.repetition_time},
        theta=lambda x: torch.exp(-FLIP_ANGLES.repetition_time / x[1]),
        scales=lambda x: {"B1": x[2]},
        schedule=("flip_angle",),
    ),
    *(
        _recovery(signal, inversion)
        for signal in ("magnitude", "real", "complex")
        for inversion in ("free", "perfect")
    ),
    _recovery("real", "perfect", repeat=None),
    *(
        Case(
            f"looklocker-{signal}",
            lambda signal=signal: LookLockerSignal(READOUTS, signal),
            {"TI": _ti(READOUTS)},
            draw=look_locker_tissue,
            theta=lambda x: 1 / x[2],
        )
        for signal in ("magnitude", "real")
    ),
    _echoes("mese", SPIN_ECHOES),
    _echoes("mese-uneven", UNEVEN_ECHOES),
    _echoes("mese-offset", SPIN_ECHOES, offset=True),
    _echoes("megre", GRADIENT_ECHOES),
    Case(
        "biexponential",
        lambda: BiexponentialDecay(SPIN_ECHOES),
        {"TE": np.array(SPIN_ECHOES.echo_time)},
        ill_conditioned=True,
    ),
    *(
        Case(f"mese-stimulated-{profile}", lambda profile=profile: SpinEchoTrain(SPIN_ECHOES, profile), None)
        for profile in SpinEchoTrain.PROFILES
    ),
    *(
        Case(
            f"myelin-water-{components}",
            lambda components=components: T2Distribution(SPIN_ECHOES, components, count=12),
            None,
        )
        for components in T2Distribution.COMPONENTS
    ),
    Case("shared-decay", lambda: SharedDecay(WEIGHTINGS), None),
    Case(
        "megre-complex",
        lambda: ComplexGradientEcho(GRADIENT_ECHOES),
        {"TE": np.array(GRADIENT_ECHOES.echo_time)},
    ),
)
