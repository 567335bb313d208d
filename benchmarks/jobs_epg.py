"""Extended phase graphs: the train of 1000 repetitions after an inversion, 20 states, alone and with derivatives.

Perfect inversion, 20 ms, then every 12 ms a pulse, whose signal is sampled at once, and one step of the gradient.
Everybody keeps 20 states. Derivatives: of all signals by T1 and T2, and of a scalar loss by all flip angles.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from contests import Contest, Place, Runner
from numpy.typing import NDArray
from torch import Tensor

from fastqmri.core import Fingerprinting
from fastqmri.physics.spins import FingerprintingSignal

REPETITION, INVERSION, STATES, PULSES = 0.012, 0.02, 20, 1000
ATOMS = 2048
OURS = "fastqmri, float32"


def flip_angles() -> NDArray[np.float64]:
    """In rad."""
    return np.deg2rad(10 + 50 * np.abs(np.sin(np.pi * np.arange(PULSES) / 200)))


def atoms(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """T1 and T2 in s; the first ones do not depend on how many."""
    drawn = np.random.default_rng(0).uniform(size=(count, 2))
    t1 = 0.1 * 40.0 ** drawn[:, 0]
    return t1, np.minimum(0.01 * 50.0 ** drawn[:, 1], t1)


@functools.cache
def _model() -> FingerprintingSignal:
    return FingerprintingSignal(
        Fingerprinting(
            flip_angle=tuple(flip_angles()),
            repetition_time=(REPETITION,) * PULSES,
            echo_time=(0.0,) * PULSES,
            inversion_time=INVERSION,
        ),
        "real",
        states=STATES,
    )


def _parameters(count: int, dtype: torch.dtype) -> Tensor:
    t1, t2 = atoms(count)
    x = torch.ones(len(_model().parameters), count, dtype=dtype)
    x[1], x[2] = torch.from_numpy(t1), torch.from_numpy(t2)
    return x


def _signals(place: Place) -> Sequence[Runner]:
    model, count = _model(), place.amount or ATOMS

    def ours(dtype: torch.dtype) -> Runner:
        x = _parameters(count, dtype)
        return Runner(f"fastqmri, {str(dtype)[6:]}", count, lambda: model(x), Tensor.numpy)

    return [ours(torch.float32), ours(torch.float64), *_numba(count), *_blochsim(place, "signal", count)]


def _jacobians(place: Place) -> Sequence[Runner]:
    model, count = _model(), place.amount or ATOMS

    def ours(dtype: torch.dtype) -> Runner:
        x = _parameters(count, dtype)
        return Runner(
            f"fastqmri, {str(dtype)[6:]}",
            count,
            lambda: model.tissue_derivatives(x, ("T1", "T2")),
            lambda found: found[1].movedim(1, 0).numpy(),
        )

    return [ours(torch.float32), ours(torch.float64), *_blochsim(place, "jacobian", min(count, 1000))]


def _gradients(place: Place) -> Sequence[Runner]:
    model, count = _model(), place.amount or ATOMS

    def ours(dtype: torch.dtype) -> Runner:
        x = _parameters(count, dtype)

        def run() -> Tensor:
            angles = model.acquisition.tensor("flip_angle", x).clone().requires_grad_()
            loss = (model.with_schedule(flip_angle=angles)(x) ** 2).sum()
            return torch.autograd.grad(loss, angles)[0] / count

        return Runner(f"fastqmri, {str(dtype)[6:]}", count, run, _column)

    return [
        ours(torch.float32),
        ours(torch.float64),
        *_torch(count),
        *_blochsim(place, "gradient", count, _column),
    ]


def _column(gradient: Any) -> NDArray[Any]:
    """A gradient is one item: it must be of the same atoms to be compared."""
    return np.asarray(gradient)[:, None]


def _blochsim(place: Place, kind: str, count: int, read: Any = np.asarray) -> list[Runner]:
    t1, t2 = atoms(count)
    return place.peer(
        "blochsim",
        "peer_blochsim.py",
        count,
        OURS,
        read,
        needs="blochsim",
        kind=kind,
        t1=t1,
        t2=t2,
        flip=flip_angles(),
        repetition=REPETITION,
        inversion=INVERSION,
        states=STATES,
    )


def _numba(count: int) -> list[Runner]:
    from loops_epg import signals

    t1, t2 = (part.astype(np.float32) for part in atoms(count))
    flip = flip_angles().astype(np.float32)
    times = np.float32(REPETITION), np.float32(INVERSION)
    return [
        Runner("own loop, numba, float32", count, lambda: signals(flip, t1, t2, *times, STATES), rival=OURS)
    ]


def _torch(count: int) -> list[Runner]:
    from loops_epg import torch_signals

    t1, t2 = (torch.from_numpy(part.astype(np.float32)) for part in atoms(count))

    def run() -> Tensor:
        angles = torch.from_numpy(flip_angles().astype(np.float32)).requires_grad_()
        loss = (torch_signals(angles, t1, t2, REPETITION, INVERSION, STATES) ** 2).sum()
        return torch.autograd.grad(loss, angles)[0] / count

    return [Runner("own loop, torch autograd, float32", count, run, _column, rival=OURS)]


_NOTE = "1000 repetitions, 20 states; blochsim returns single precision."
CONTESTS = (
    Contest("epg", "Extended phase graph, signals", "atoms", _signals, _NOTE),
    Contest("epg-jacobian", "Extended phase graph, signals with ∂/∂T1 and ∂/∂T2", "atoms", _jacobians, _NOTE),
    Contest("epg-schedule", "Extended phase graph, gradient by all flip angles", "atoms", _gradients, _NOTE),
)
