"""Contenders of the relaxometry jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from contenders import Contender, Estimates
from jobs import ABSCISSA, REPETITION_TIME, Array, Job, Simulated
from torch import Tensor
from work import of_curve

from fastqmri import Acquisition, Measurement, ParameterMaps
from fastqmri.core import InversionRecovery, MultiEchoGradientEcho, MultiEchoSpinEcho, VariableFlipAngle
from fastqmri.estimators.catalogue import entry
from fastqmri.estimators.least_squares import solve_fast
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers import dispatch
from fastqmri.solvers.solution import Solution

RIVAL = "fastqmri estimate()"
_SUBSET = 2000
_STEPS = 20


def model_of(job: Job) -> tuple[str, SignalModel]:
    """fastqmri's name for the job, and its model."""
    x = tuple(ABSCISSA[job.name].tolist())
    acquisition: Acquisition
    if job.name == "vfa":
        acquisition = VariableFlipAngle(flip_angle=x, repetition_time=REPETITION_TIME)
        return "vfa", entry("vfa").build(acquisition)
    if job.name == "ir":
        return "irt1", entry("irt1").build(InversionRecovery(inversion_time=x), signal="real")
    if job.name == "t2":
        return "mese", entry("mese").build(MultiEchoSpinEcho(echo_time=x))
    return "megre", entry("megre").build(MultiEchoGradientEcho(echo_time=x))


def contenders(job: Job, simulated: Simulated) -> Iterator[Contender]:
    """Those that run in this process."""
    yield from fastqmri_contenders(job, simulated)
    yield torch_contender(job, simulated)
    yield from scipy_contender(job, simulated)


def fastqmri_contenders(job: Job, simulated: Simulated) -> Iterator[Contender]:
    """The whole estimate, and its solver alone."""
    name, model = model_of(job)
    data = torch.from_numpy(simulated.samples.T.copy())
    measurement = Measurement(data, model.acquisition)
    estimator = entry(name).estimator(model)
    row = [p.name for p in model.parameters].index(job.quantity)
    quantity, voxels = job.quantity, len(simulated.samples)

    def read_maps(maps: object) -> Estimates:
        assert isinstance(maps, ParameterMaps)
        return {quantity: maps[quantity].value.double().numpy()}

    def read_solution(solution: object) -> Estimates:
        assert isinstance(solution, Solution)
        return {quantity: solution.x[row].numpy()}

    def solve() -> Solution:
        with dispatch.own_threads():
            return solve_fast(model, data, None, {})

    work = of_curve(model, solve)
    yield Contender(RIVAL, voxels, lambda: estimator.estimate(measurement), read_maps, work=work)
    yield Contender("fastqmri, solver alone", voxels, solve, read_solution, work=work)


def torch_contender(job: Job, simulated: Simulated) -> Contender:
    """What one writes by hand in PyTorch: Levenberg-Marquardt on all voxels at once."""
    samples = torch.from_numpy(simulated.samples.astype(float))
    start = torch.from_numpy(job.start(simulated.samples.astype(float)))
    curve = _torch_curve(job)

    def run() -> Tensor:
        parts = zip(samples.split(50_000), start.split(50_000), strict=True)
        return torch.cat([_levenberg_marquardt(curve, y, x.clone()) for y, x in parts])

    def read(x: object) -> Estimates:
        return {job.quantity: np.asarray(x)[:, -1]}

    return Contender("PyTorch LM by hand", len(samples), run, read, rival=RIVAL)


def scipy_contender(job: Job, simulated: Simulated) -> Iterator[Contender]:
    """A loop over voxels around `curve_fit`."""
    try:
        from scipy.optimize import curve_fit
    except ImportError:
        return
    samples = simulated.samples[:_SUBSET].astype(float)
    start = job.start(samples)
    curve, abscissa = _numpy_curve(job), ABSCISSA[job.name]

    def run() -> Array:
        found = np.full_like(start, np.nan)
        for i, (y, x) in enumerate(zip(samples, start, strict=True)):
            try:
                found[i] = curve_fit(curve, abscissa, y, x)[0]
            except RuntimeError:  # no convergence
                continue
        return found

    def read(x: object) -> Estimates:
        return {job.quantity: np.asarray(x)[:, -1]}

    yield Contender("scipy curve_fit", len(samples), run, read, rival=RIVAL)


def _numpy_curve(job: Job) -> Callable[..., Array]:
    if job.name == "ir":
        return lambda t, c, a, t1: c + a * np.exp(-t / t1)
    if job.name == "vfa":

        def spoiled(angle: Array, m0: float, t1: float) -> Array:
            e = np.exp(-REPETITION_TIME / t1)
            return m0 * np.sin(angle) * (1 - e) / (1 - e * np.cos(angle))

        return spoiled
    return lambda t, m0, t2: m0 * np.exp(-t / t2)


def _torch_curve(job: Job) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Parameters (voxel, parameter) to signal and Jacobian (voxel, contrast[, parameter])."""
    t = torch.from_numpy(ABSCISSA[job.name])[None]
    if job.name == "vfa":
        sine, cosine = torch.sin(t), torch.cos(t)

        def spoiled(x: Tensor) -> tuple[Tensor, Tensor]:
            m0, t1 = x[:, :1], x[:, 1:]
            e = torch.exp(-REPETITION_TIME / t1)
            d = 1 / (1 - e * cosine)
            unit = sine * (1 - e) * d
            by_t1 = m0 * sine * (cosine - 1) * d * d * e * REPETITION_TIME / t1**2
            return m0 * unit, torch.stack([unit, by_t1], 2)

        return spoiled

    def decay(x: Tensor) -> tuple[Tensor, Tensor]:
        a, time = x[:, -2, None], x[:, -1, None]
        e = torch.exp(-t / time)
        columns = [e, a * e * t / time**2]
        if job.name == "ir":
            return x[:, :1] + a * e, torch.stack([torch.ones_like(e), *columns], 2)
        return a * e, torch.stack(columns, 2)

    return decay


def _levenberg_marquardt(
    curve: Callable[[Tensor], tuple[Tensor, Tensor]], samples: Tensor, x: Tensor
) -> Tensor:
    damp = x.new_full((len(x), 1), 1e-3)
    signal, jacobian = curve(x)
    cost = ((samples - signal) ** 2).sum(1)
    for _ in range(_STEPS):
        normal = jacobian.mT @ jacobian
        gradient = (jacobian.mT @ (samples - signal)[:, :, None])[:, :, 0]
        diagonal = normal.diagonal(dim1=1, dim2=2)
        step = torch.linalg.solve(normal + torch.diag_embed(damp * diagonal), gradient)
        trial = x + step
        trial[:, -1].clamp_(min=1e-3)
        trial_signal, trial_jacobian = curve(trial)
        trial_cost = ((samples - trial_signal) ** 2).sum(1)
        better = trial_cost < cost
        x = torch.where(better[:, None], trial, x)
        signal = torch.where(better[:, None], trial_signal, signal)
        jacobian = torch.where(better[:, None, None], trial_jacobian, jacobian)
        cost = torch.where(better, trial_cost, cost)
        damp = torch.where(better[:, None], damp / 10, damp * 10).clamp(1e-7, 1e7)
    return x
