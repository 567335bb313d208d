"""Distributions of T2 by regularised non-negative least squares."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from fastqmri.core import AcquisitionError
from fastqmri.physics.signal import SignalModel, T2Distribution
from fastqmri.solvers import nonnegative
from fastqmri.solvers.solution import Solution

_STEP = 1 / 720  # of B1 in the table: a quarter of a degree
_SEARCH = (50 / 180, 1.0)  # refocusing angles beyond 180° look like those below
_NODES = 16
_EDGE = 1e-3


@dataclass(frozen=True)
class NonNegative:
    """A solver of `Voxelwise` for `T2Distribution`.

    The refocusing angle is that of the least misfit without regularisation, between 50° and 180°, or known.

    Attributes:
        rule: how the regularisation is chosen; see `nonnegative.solve`.
        level: see there.
    """

    rule: nonnegative.Rule = "factor"
    level: float = 1.02
    _tables: weakref.WeakKeyDictionary[SignalModel, nonnegative.Table] = field(
        default_factory=weakref.WeakKeyDictionary, compare=False, repr=False
    )
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    def __call__(
        self, model: SignalModel, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
    ) -> Solution:
        """Amplitudes, and the refocusing angle unless it is known, of data (contrast, voxel)."""
        if not isinstance(model, T2Distribution):
            raise AcquisitionError(
                type(model).__name__,
                "it has no distribution of T2.",
                "Build the estimator with T2Distribution.",
            )
        table = self.table(model)
        rows = np.ascontiguousarray(data.double().numpy().T)
        roots = None if weights is None else np.ascontiguousarray(weights.double().sqrt().numpy().T)
        estimated = model.parameters[-1].nominal is None
        places = np.full(len(rows), np.nan if estimated else 1.0)
        if "B1" in known:
            places = known["B1"].double().numpy()
        search = np.linspace(*_SEARCH, _NODES)
        found = nonnegative.solve(rows, table, places, search, self.rule, self.level, roots)
        return _Amplitudes.of(found, estimated)

    def table(self, model: T2Distribution) -> nonnegative.Table:
        """Echoes of all components over B1, and their derivatives."""
        with self._lock:
            if model not in self._tables:
                low, high = model.parameters[-1].bounds
                b1 = torch.linspace(low, high, round((high - low) / _STEP) + 1, dtype=torch.float64)
                with torch.no_grad():
                    value, slope = (part.permute(2, 0, 1).contiguous().numpy() for part in model.columns(b1))
                self._tables[model] = nonnegative.Table(value, slope, low, float(b1[1] - b1[0]))
            return self._tables[model]


class _Amplitudes(Solution):
    """A solution whose variances are computed where they are asked for: its full covariance would be very large."""

    amplitudes: nonnegative.Amplitudes
    diagonal: Tensor

    @classmethod
    def of(cls, found: nonnegative.Amplitudes, estimated: bool) -> _Amplitudes:
        """From the amplitudes; the angle is the last unknown where it was estimated."""
        columns = found.x.shape[1]
        x = torch.from_numpy(found.x.T.copy())
        diagonal = torch.from_numpy(found.variances(np.eye(columns)[:, :, None]))
        diagonal[x == 0] = 0.0
        at_bound = ~(x.sum(0) > 0)
        if estimated:
            place, curve = torch.from_numpy(found.place), torch.from_numpy(found.curve)
            at_bound |= place <= _SEARCH[0] + _EDGE
            x = torch.cat([x, place[None]])
            # half the second derivative of the misfit is what one unknown's normal equation would hold
            diagonal = torch.cat([diagonal, (2 / curve.clamp_min(0))[None]])
        solution = cls.__new__(cls)
        solution.__dict__.update(
            x=x,
            residual=torch.from_numpy(found.cost),
            converged=torch.isfinite(x).all(0),
            fixed=None,
            at_bound=at_bound,
            amplitudes=found,
            diagonal=diagonal,
        )
        return solution

    def entry(self, i: int, j: int) -> Tensor:
        """A variance, (voxel); covariances come with `variance`."""
        assert i == j
        return self.diagonal[i]

    def variance(self, gradient: Tensor) -> Tensor:
        """Variance (voxel) of a quantity of the amplitudes, of its gradient (unknown, voxel)."""
        columns = self.amplitudes.x.shape[1]
        return torch.from_numpy(self.amplitudes.variances(gradient[None, :columns].double().numpy())[0])
