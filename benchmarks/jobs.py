"""The jobs: simulated voxels of known truth, and what is asked of everyone about them.

Every contender gets the same float32 samples. Magnitudes carry Rician noise, so that no sample is negative;
inversion recovery is signed and carries Gaussian noise. The noise of a voxel is its largest signal over the
signal-to-noise ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SNR = 50.0
REPETITION_TIME = 0.015
FLIP_ANGLES = np.deg2rad([3.0, 6.0, 9.0, 13.0, 18.0, 25.0])
SPIN_ECHOES = 0.010 * np.arange(1, 33)
GRADIENT_ECHOES = 0.005 * np.arange(1, 9)
INVERSION_TIMES = np.array([0.05, 0.15, 0.3, 0.6, 1.0, 1.6, 2.4, 4.0])
B_VALUE = 1000.0
UNWEIGHTED, DIRECTIONS = 6, 64


@dataclass(frozen=True)
class Job:
    """One mapping task.

    Attributes:
        name: for ``--jobs``.
        title: for tables.
        quantity: what is judged against the truth.
        relative: errors in percent of the truth, else in its own unit.
        signal: (amplitude, times) -> signal (voxel, contrast).
        range: of the true quantity, drawn uniformly.
        start: samples (voxel, contrast) -> starting point (voxel, parameter) for those who need one; the
            quantity comes last.
    """

    name: str
    title: str
    quantity: str
    signal: Callable[[Array, Array], Array]
    range: tuple[float, float]
    start: Callable[[Array], Array]
    magnitude: bool = True
    relative: bool = True


@dataclass(frozen=True)
class Simulated:
    """Samples and truth of a job.

    Attributes:
        samples: (voxel, contrast), float32.
        truth: name -> (voxel).
    """

    samples: NDArray[np.float32]
    truth: dict[str, Array] = field(default_factory=dict)


def simulate(job: Job, voxels: int, seed: int = 0) -> Simulated:
    """Voxels of a relaxometry job."""
    random = np.random.default_rng(seed)
    amplitude = random.uniform(0.5, 1.5, voxels)
    times = random.uniform(*job.range, voxels)
    signal = job.signal(amplitude, times)
    sigma = np.abs(signal).max(axis=1, keepdims=True) / SNR
    return Simulated(_with_noise(random, signal, sigma, job.magnitude), {job.quantity: times})


def simulate_tensors(voxels: int, seed: int = 0) -> Simulated:
    """Voxels with one diffusion tensor each, turned at random; noise relative to the unweighted signal."""
    random = np.random.default_rng(seed)
    turns, _ = np.linalg.qr(random.standard_normal((voxels, 3, 3)))
    long = random.uniform(0.8e-3, 1.8e-3, (voxels, 1))
    values = np.concatenate([long, random.uniform(0.2e-3, 0.8e-3, (voxels, 2))], axis=1)
    tensors = np.einsum("vij,vj,vkj->vik", turns, values, turns)
    b, vectors = gradients()
    unweighted = random.uniform(500.0, 1500.0, (voxels, 1))
    signal = unweighted * np.exp(-b * np.einsum("ci,vij,cj->vc", vectors, tensors, vectors))
    samples = _with_noise(random, signal, unweighted / SNR, magnitude=True)
    return Simulated(samples, measures(values))


def gradients() -> tuple[Array, Array]:
    """b-values, and unit vectors on a spiral over half a sphere."""
    place = (np.arange(DIRECTIONS) + 0.5) / DIRECTIONS
    polar, azimuth = np.arccos(1 - place), math.pi * (1 + math.sqrt(5)) * place * DIRECTIONS
    directions = [np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)]
    vectors = np.concatenate([np.zeros((UNWEIGHTED, 3)), np.stack(directions, axis=1)])
    return B_VALUE * (np.arange(len(vectors)) >= UNWEIGHTED), vectors


def measures(values: Array) -> dict[str, Array]:
    """FA and MD of eigenvalues (voxel, 3)."""
    mean = values.mean(axis=1)
    spread = ((values - mean[:, None]) ** 2).sum(axis=1)
    return {"FA": np.sqrt(1.5 * spread / (values**2).sum(axis=1)), "MD": mean}


def _with_noise(
    random: np.random.Generator, signal: Array, sigma: Array, magnitude: bool
) -> NDArray[np.float32]:
    noisy = signal + sigma * random.standard_normal(signal.shape)
    if magnitude:
        noisy = np.hypot(noisy, sigma * random.standard_normal(signal.shape))
    return noisy.astype(np.float32)


def _spoiled(amplitude: Array, t1: Array) -> Array:
    e = np.exp(-REPETITION_TIME / t1)[:, None]
    return amplitude[:, None] * np.sin(FLIP_ANGLES) * (1 - e) / (1 - e * np.cos(FLIP_ANGLES))


def _decay(echoes: Array) -> Callable[[Array, Array], Array]:
    return lambda amplitude, t2: amplitude[:, None] * np.exp(-echoes / t2[:, None])


def _recovery(amplitude: Array, t1: Array) -> Array:
    return amplitude[:, None] * (1 - 2 * np.exp(-INVERSION_TIMES / t1[:, None]))


def _straight_line(x: Array, y: Array, weights: Array) -> tuple[Array, Array]:
    total = weights.sum(axis=1)
    mean_x, mean_y = (weights * x).sum(axis=1) / total, (weights * y).sum(axis=1) / total
    dx = x - mean_x[:, None]
    slope = (weights * dx * (y - mean_y[:, None])).sum(axis=1) / (weights * dx**2).sum(axis=1)
    return slope, mean_y - slope * mean_x


def _start_spoiled(samples: Array) -> Array:
    """The linearised fit of the variable flip angle signal."""
    slope, offset = _straight_line(
        samples / np.tan(FLIP_ANGLES), samples / np.sin(FLIP_ANGLES), np.ones_like(samples)
    )
    slope = np.clip(slope, 0.9, 0.9999)
    return np.stack([np.maximum(offset / (1 - slope), 1e-3), -REPETITION_TIME / np.log(slope)], axis=1)


def _start_decay(echoes: Array) -> Callable[[Array], Array]:
    """A line through the logarithms, weighted by the squared samples."""

    def start(samples: Array) -> Array:
        safe = np.maximum(samples, 1e-6)
        slope, offset = _straight_line(np.broadcast_to(echoes, safe.shape), np.log(safe), safe**2)
        return np.stack([np.exp(offset), np.clip(-1 / np.minimum(slope, -1e-3), 1e-3, 5.0)], axis=1)

    return start


def _start_recovery(samples: Array) -> Array:
    """T1 from the sample nearest the zero crossing, M0 from the last one; c + a exp(-TI/T1)."""
    null = INVERSION_TIMES[np.abs(samples).argmin(axis=1)]
    last = samples[:, -1]
    return np.stack([last, -2 * last, np.clip(null / math.log(2), 0.1, 4.0)], axis=1)


RELAXOMETRY = {
    job.name: job
    for job in (
        Job("vfa", "T1 of 6 flip angles", "T1", _spoiled, (0.5, 3.0), _start_spoiled),
        Job("t2", "T2 of 32 echoes", "T2", _decay(SPIN_ECHOES), (0.03, 0.2), _start_decay(SPIN_ECHOES)),
        Job(
            "t2star",
            "T2* of 8 echoes",
            "T2star",
            _decay(GRADIENT_ECHOES),
            (0.01, 0.08),
            _start_decay(GRADIENT_ECHOES),
        ),
        Job(
            "ir",
            "T1 of 8 inversion times, 3 parameters",
            "T1",
            _recovery,
            (0.5, 3.0),
            _start_recovery,
            magnitude=False,
        ),
    )
}
ABSCISSA = {"vfa": FLIP_ANGLES, "t2": SPIN_ECHOES, "t2star": GRADIENT_ECHOES, "ir": INVERSION_TIMES}
TENSORS = "dti"
EVERY = (*RELAXOMETRY, TENSORS)
