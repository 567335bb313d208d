"""Dictionary matching: 500 repetitions, about 110 000 atoms, voxels off the grid at peak SNR 50; and myelin water.

The dictionary: T1 0.1 to 4 s, T2 0.01 to 0.5 s, both logarithmic, T2 <= T1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from contests import Contest, Place, Runner
from jobs_epg import INVERSION, REPETITION, STATES, flip_angles
from numpy.typing import NDArray
from torch import Tensor

from fastqmri.core import Fingerprinting, MultiEchoSpinEcho
from fastqmri.estimators.atoms import Everything, Grouped, Nearest, Searcher
from fastqmri.estimators.t2_distribution import NonNegative
from fastqmri.physics.signal import T2Distribution
from fastqmri.physics.spins import FingerprintingSignal
from fastqmri.solvers import nearest, nonnegative, subspace

PULSES, SIDE, SNR = 500, 363, 50
VOXELS, SLOW = 20_000, 1000
OURS = "fastqmri, exact"


@dataclass(frozen=True)
class Job:
    """Atoms (atom, sample) and signals (voxel, sample), both of unit norm, in double precision."""

    atoms: Tensor
    signals: Tensor


@functools.cache
def _job(voxels: int) -> Job:
    model = FingerprintingSignal(
        Fingerprinting(
            flip_angle=tuple(flip_angles()[:PULSES]),
            repetition_time=(REPETITION,) * PULSES,
            echo_time=(0.0,) * PULSES,
            inversion_time=INVERSION,
        ),
        "real",
        states=STATES,
    )
    t1, t2 = np.meshgrid(np.geomspace(0.1, 4.0, SIDE), np.geomspace(0.01, 0.5, SIDE), indexing="ij")
    drawn = np.random.default_rng(1)
    tissue = 0.3 * 10 ** drawn.uniform(size=voxels), 0.02 * 10 ** drawn.uniform(size=voxels)

    def signals(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float32]:
        x = torch.ones(len(model.parameters), len(first))
        x[1], x[2] = torch.from_numpy(first), torch.from_numpy(second)
        return model(x).T.numpy()

    atoms, clean = signals(t1[t2 <= t1], t2[t2 <= t1]), signals(*tissue)
    noise = drawn.standard_normal(clean.shape) * np.abs(clean).max(1, keepdims=True) / SNR
    wide = [rows.astype(np.float64) for rows in (atoms, clean + noise)]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in wide]
    return Job(*(torch.from_numpy(rows) for rows in unit))


def _likeness(job: Job, name: str) -> Callable[[Any], NDArray[np.float64]]:
    """Inner products with the chosen atoms; and says how many voxels have the best atom of all."""

    def read(found: Any) -> NDArray[np.float64]:
        chosen = torch.as_tensor(np.asarray(found))
        some = min(len(chosen), SLOW)
        best = Everything(job.atoms).find(job.signals[:some])
        print(
            f"  {name}: the best of all atoms in {100 * float((chosen[:some] == best).double().mean()):.1f} %"
        )
        return (job.atoms[chosen] * job.signals[: len(chosen)]).sum(1).numpy()

    return read


def _matching(place: Place) -> Sequence[Runner]:
    from scipy.spatial import cKDTree

    voxels = place.amount or VOXELS
    job = _job(voxels)
    directions, _ = subspace.principal(job.atoms)

    def ours(name: str, searcher: Searcher, count: int = voxels, rival: str | None = None) -> Runner:
        signals = job.signals[:count]
        return Runner(name, count, lambda: searcher.find(signals), _likeness(job, name), rival)

    def projected(rank: int) -> tuple[NDArray[Any], NDArray[Any]]:
        kept = directions[:, :rank].contiguous()
        pair = [subspace.coordinates(rows, kept) for rows in (job.atoms, job.signals)]
        atoms, signals = (np.ascontiguousarray((p / p.norm(dim=1, keepdim=True)).numpy()) for p in pair)
        return atoms, signals

    exact = Nearest.of(job.atoms)
    runners = [
        ours(OURS, exact),
        ours("fastqmri, groups", Grouped.of(job.atoms)),
        ours("fastqmri, compressed", Everything.compressed(job.atoms), min(voxels, 10 * SLOW)),
        ours("fastqmri, full", Everything(job.atoms), min(voxels, SLOW)),
    ]
    for rank in (10, exact.directions.shape[1]):
        atoms, signals = projected(rank)
        tree, own = cKDTree(atoms), nearest.Tree.of(atoms)
        name = f"fastqmri's tree, {rank} vectors, projected"
        runners.append(
            Runner(
                name,
                voxels,
                lambda own=own, signals=signals: own.nearest(signals, np.zeros(len(signals)))[0][:, 0],  # type: ignore[misc]
                _likeness(job, name),
            )
        )
        peer = f"scipy cKDTree, {rank} vectors, projected"
        runners.append(
            Runner(
                peer,
                voxels,
                lambda tree=tree, signals=signals: tree.query(signals, workers=place.threads)[1],  # type: ignore[misc]
                _likeness(job, peer),
                name,
            )
        )
    return [
        *runners,
        *place.peer(
            "faiss, flat",
            "peer_faiss.py",
            min(voxels, SLOW),
            OURS,
            _likeness(job, "faiss, flat"),
            needs="faiss",
            atoms=job.atoms.float().numpy(),
            signals=job.signals[:SLOW].float().numpy(),
        ),
    ]


def _nonnegative(place: Place) -> Sequence[Runner]:
    from scipy.optimize import nnls

    voxels = place.amount or VOXELS // 10
    model = T2Distribution(MultiEchoSpinEcho(echo_time=tuple(0.01 * i for i in range(1, 33))))
    table = NonNegative().table(model)
    drawn = np.random.default_rng(2)
    b1 = drawn.uniform(0.75, 1.0, voxels)
    columns = model.columns(torch.from_numpy(b1))[0].permute(2, 0, 1).contiguous().numpy()
    myelin = drawn.uniform(0.05, 0.2, voxels)
    x = np.zeros((voxels, columns.shape[2]))
    x[:, 5], x[:, 15] = myelin, 1 - myelin
    data = np.einsum("vsc,vc->vs", columns, x) + drawn.standard_normal((voxels, 32)) / 200
    nodes = np.linspace(50 / 180, 1, 16)
    unknown = np.full(voxels, np.nan)

    def ours(name: str, places: NDArray[Any], *rule: Any) -> Runner:
        return Runner(
            name,
            voxels,
            lambda: nonnegative.solve(data, table, places, nodes, *rule),
            lambda found: found.x.sum(1),
        )

    return [
        ours("fastqmri, angle known", b1),
        ours("fastqmri, angle found", unknown),
        ours("fastqmri, angle found, chi2", unknown, "factor", 1.02),
        ours("fastqmri, angle found, gcv", unknown, "generalised"),
        Runner(
            "scipy nnls, angle known, matrices given",
            voxels,
            lambda: np.array([nnls(matrix, row)[0].sum() for matrix, row in zip(columns, data, strict=True)]),
            rival="fastqmri, angle known",
        ),
    ]


CONTESTS = (
    Contest(
        "matching",
        "Matching of 500-TR fingerprints with about 110 000 atoms",
        "voxels",
        _matching,
        "Projecting the signals on singular vectors is part of fastqmri's first four, and not of the trees'. "
        "Differences are those of the inner products with the chosen atoms.",
    ),
    Contest(
        "nnls",
        "Distributions of 40 T2 from 32 echoes, SNR 200",
        "voxels",
        _nonnegative,
        "Differences are those of the sums of the amplitudes.",
    ),
)
