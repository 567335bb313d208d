"""Bloch-McConnell Z-spectra, and the closed form of two-pool magnetisation transfer.

Spectra: 33 offsets in -4 … 4 ppm and one at -300 ppm at 3 T, magnetisation reset before each; a train of 36 sinc pulses
of 50 ms of 100 samples, mean 1.78 µT, with gaps of 5 ms, or 2 s of 2 µT. Water and 1 or 4 further pools, each with
transverse magnetisation; water's T1 and the first exchange rate vary from spectrum to spectrum. bmctool takes the train
through its own sequence object. The C++ core of pulseq-cest has no wheel: its figures on this protocol are those of the
peers' list (train: 5.3 and 0.39 spectra/s with 2 and 5 pools; continuous: 8300 with 2), not of this run.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from contests import Contest, Place, Runner
from torch import Tensor

from fastqmri.core import SaturationTransfer
from fastqmri.physics.spins import TwoPoolTransfer, bloch_mcconnell, schedule
from fastqmri.physics.spins.bloch_mcconnell import Pools, saturation_signal

OFFSETS = (-300.0, *np.linspace(-4, 4, 33).tolist())
SOLUTES = (
    {"f": 0.0009009, "t1": 1.0, "t2": 0.1, "k": 50.0, "dw": 3.5},
    {"f": 0.0009009, "t1": 1.0, "t2": 0.1, "k": 1000.0, "dw": 2.0},
    {"f": 0.0045, "t1": 1.3, "t2": 0.005, "k": 20.0, "dw": -3.0},
    {"f": 0.1351, "t1": 1.0, "t2": 4e-5, "k": 30.0, "dw": -3.0},
)
OURS = "fastqmri"


def pulse() -> np.ndarray:
    """Samples of mean one."""
    u = (np.arange(100) + 0.5) / 100 - 0.5
    shape = (0.85 + 0.15 * np.cos(2 * np.pi * u)) * np.sinc(2 * u)
    return shape / shape.mean()


@functools.cache
def acquisition(protocol: str) -> SaturationTransfer:
    fixed = {"offset": OFFSETS, "recovery_time": 0.0, "field_strength": 3.0, "spoil_time": 0.0065}
    if protocol == "continuous":
        return SaturationTransfer(**fixed, saturation_b1=2.0, pulse_duration=2.0)
    return SaturationTransfer(
        **fixed,
        saturation_b1=1.78,
        pulse_duration=0.05,
        pulses=36,
        pulse_delay=0.005,
        pulse_shape=tuple(pulse()),
    )


def varying(count: int) -> tuple[np.ndarray, np.ndarray]:
    """T1 of water in s and the first exchange rate in 1/s; the first ones do not depend on how many."""
    drawn = np.random.default_rng(0).uniform(size=(count, 2))
    return 0.8 + 1.2 * drawn[:, 0], 20 + 180 * drawn[:, 1]


def pools(count: int, kinds: int) -> Pools:
    t1, k = (torch.from_numpy(part) for part in varying(count))
    held = SOLUTES[: kinds - 1]
    one = torch.ones_like(t1)
    return Pools(
        [1 / t1, *(one / p["t1"] for p in held)],
        [one / 0.04, *(one / p["t2"] for p in held)],
        [one * p["f"] for p in held],
        [k, *(one * p["k"] for p in held[1:])],
        [one * p["dw"] for p in held],
    )


def _run(protocol: str, kinds: int, count: int, compiled: bool) -> Tensor:
    zero = torch.zeros(count, dtype=torch.float64)
    return saturation_signal(acquisition(protocol), pools(count, kinds), zero, zero + 1, compiled=compiled)


def _spectra(protocol: str, kinds: int, amounts: tuple[int, int, int], place: Place) -> Sequence[Runner]:
    ours, exact, peer = amounts
    ours = place.amount or ours
    return [
        Runner(OURS, ours, lambda: _run(protocol, kinds, ours, True), Tensor.numpy),
        Runner(
            "torch matrix_exp, float64",
            exact,
            lambda: _run(protocol, kinds, exact, False),
            Tensor.numpy,
            OURS,
        ),
        *_bmctool(protocol, kinds, peer, place),
    ]


def _bmctool(protocol: str, kinds: int, count: int, place: Place) -> list[Runner]:
    t1, k = varying(count)
    return place.peer(
        "bmctool",
        "peer_bmctool.py",
        count,
        OURS,
        needs="bmctool",
        protocol=protocol,
        offsets=np.array(OFFSETS),
        pulse=pulse(),
        t1=t1,
        k=k,
        pools=np.array([[p[name] for name in ("f", "t1", "t2", "k", "dw")] for p in SOLUTES[: kinds - 1]]),
    )


def _derivatives(place: Place) -> Sequence[Runner]:
    """Gradients of the sum of all squared signals by every tissue and schedule number."""
    count = place.amount or 8

    def run(compiled: bool, amount: int) -> Tensor:
        zero = torch.zeros(amount, dtype=torch.float64)
        inputs, start, shape, order = bloch_mcconnell._rows(
            acquisition("train"), pools(amount, 2), zero, zero + 1
        )
        leaf = inputs.reshape(len(inputs), 1, -1).requires_grad_()
        simulate = bloch_mcconnell._Simulate.apply if compiled else bloch_mcconnell.reference
        signal = simulate(leaf, start.reshape(len(start), 1, -1), shape, order)
        (gradient,) = torch.autograd.grad((signal**2).sum(), leaf)
        return gradient.reshape(len(inputs) * len(OFFSETS), amount)

    return [
        Runner(OURS, count, lambda: run(True, count), Tensor.numpy),
        Runner("torch matrix_exp, autograd", 1, lambda: run(False, 1), Tensor.numpy, OURS),
    ]


def _transfer(place: Place) -> Sequence[Runner]:
    count = place.amount or 2048
    told = schedule("mtc-mrf-40")
    closed, exact = TwoPoolTransfer(told), TwoPoolTransfer(told, "exact")

    def tissue(amount: int) -> Tensor:
        u = torch.from_numpy(np.random.default_rng(0).uniform(size=(amount, 4))).T
        one = torch.ones(amount, dtype=torch.float64)
        t1 = 0.2 + 2.8 * u[3]
        rows = [one, 5 + 95 * u[0], 0.02 + 0.15 * u[1], 1e-6 + 99e-6 * u[2], t1, t1 / 20, 0 * one, one]
        return torch.stack(rows)

    few, fewer = max(1, count // 4), max(1, count // 20)

    def exponential() -> Tensor:
        with_reference = bloch_mcconnell.usable
        bloch_mcconnell.usable = lambda inputs: False  # type: ignore[assignment]
        try:
            return exact(tissue(fewer))
        finally:
            bloch_mcconnell.usable = with_reference

    return [
        Runner("fastqmri, closed form", count, lambda: closed(tissue(count)), Tensor.numpy),
        Runner("fastqmri, exact", few, lambda: exact(tissue(few)), Tensor.numpy, "fastqmri, closed form"),
        Runner("torch matrix_exp", fewer, exponential, Tensor.numpy, "fastqmri, closed form"),
    ]


def _job(name: str, title: str, protocol: str, kinds: int, amounts: tuple[int, int, int]) -> Contest:
    return Contest(name, title, "spectra", functools.partial(_spectra, protocol, kinds, amounts))


CONTESTS = (
    _job("cest-train-2", "Z-spectra by a pulse train, 2 pools", "train", 2, (64, 2, 1)),
    _job("cest-train-5", "Z-spectra by a pulse train, 5 pools", "train", 5, (8, 1, 1)),
    _job("cest-continuous-2", "Z-spectra by continuous saturation, 2 pools", "continuous", 2, (2048, 64, 4)),
    Contest(
        "cest-gradient",
        "The same train, 2 pools: gradient by all tissue and schedule numbers",
        "spectra",
        _derivatives,
    ),
    Contest("mtc-closed", "Two-pool magnetisation transfer, 40 scans", "voxels", _transfer),
)
