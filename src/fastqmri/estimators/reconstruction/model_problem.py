"""The objective of a model-based reconstruction, as its solvers see it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.estimators.reconstruction.model_data import DataState, ModelData
from fastqmri.estimators.reconstruction.penalty import Penalty
from fastqmri.estimators.reconstruction.unknowns import Basis, Unknowns
from fastqmri.solvers.gauss_newton import Linearised
from fastqmri.solvers.linear import inverse

_REACH = 1.0
"""Largest step of a parameter: a factor e, or this times the size of its prior."""


@dataclass(frozen=True)
class ModelProblem:
    """½||E A(v) - y||² + λ R(v), R sharpening from stage to stage.

    Attributes:
        data: the data term.
        unknowns: what v means.
        penalty: R.
        weight: λ, in units of the data.
        smoothing: ε of each stage, in units of the data; the last one holds for later stages.
        convex: stages of a convex R, before edges keep their height.
        noise: σ of one channel of k-space.
        share: of their standard deviations by which the last step may still move the unknowns.
    """

    data: ModelData
    unknowns: Unknowns
    penalty: Penalty
    weight: float
    smoothing: tuple[float, ...]
    convex: int
    noise: float
    share: float

    def state(self, x: Tensor) -> tuple[Tensor, DataState]:
        """v and the data term there."""
        return x, self.data.state(self.unknowns, x)

    def value(self, state: tuple[Tensor, DataState], stage: int) -> float:
        """The objective."""
        return state[1].value + self.weight * self._penalty(stage).value(state[0], self.epsilon(stage))

    def gradient(self, state: tuple[Tensor, DataState], stage: int) -> Tensor:
        """Of the objective by v."""
        stiffness = self.stiffness(state[0], stage)
        return self.data.gradient(self.unknowns, state[1]) + self.penalty.apply(stiffness, state[0])

    def stiffness(self, v: Tensor, stage: int) -> list[Tensor]:
        """Of the penalty, λ included."""
        return [self.weight * w for w in self._penalty(stage).stiffness(v, self.epsilon(stage))]

    def _penalty(self, stage: int) -> Penalty:
        """R of a stage, convex at first: edges must not be kept before they are known from aliases."""
        return self.penalty if stage >= self.convex else dataclasses.replace(self.penalty, edge=math.inf)

    def linearise(self, state: tuple[Tensor, DataState], stage: int) -> Linearised:
        """Gauss-Newton of the data term, and the quadratic that touches R from above."""
        v, data = state
        stiffness = self.stiffness(v, stage)
        blocks = inverse(self.blocks(data.basis, stiffness, v))
        return Linearised(
            self.data.gradient(self.unknowns, data) + self.penalty.apply(stiffness, v),
            lambda change: self.curvature(data.basis, stiffness, change),
            lambda right: multiply(blocks, right),
        )

    def curvature(self, basis: Basis, stiffness: list[Tensor], change: Tensor) -> Tensor:
        """(J^H E^H E J + λ D^T W D) applied to a change of v."""
        return self.data.curvature(self.unknowns, basis, change) + self.penalty.apply(stiffness, change)

    def blocks(self, basis: Basis, stiffness: list[Tensor], v: Tensor) -> Tensor:
        """Each voxel's own part of the curvature, (row, row, *voxels)."""
        blocks = self.data.blocks(self.unknowns, basis)
        diagonal = self.penalty.diagonal(stiffness, v)
        for row in range(len(v)):
            blocks[row, row] += diagonal[row]
        return blocks

    def moved(self, x: Tensor, step: Tensor) -> Tensor:
        """x + step inside the bounds, no parameter by more than its linearisation can bear."""
        reach = self.unknowns.reach(_REACH).to(x).view(-1, *(1,) * (x.ndim - 1))
        return self.unknowns.bounded(x + torch.minimum(torch.maximum(step, -reach), reach))

    def settled(self, gain: float, stage: int) -> bool:
        """Whether a step moved the unknowns by less than that share, the penalty at its sharpest.

        A step by so much of every standard deviation lowers the objective by ½ (share σ)² for each unknown.
        """
        unknowns = self.data.back[0].numel() * len(self.unknowns.scale)
        sharpest = stage >= self.convex or self.penalty.edge == math.inf
        return (
            sharpest
            and stage + 1 >= len(self.smoothing)
            and gain < 0.5 * (self.share * self.noise) ** 2 * unknowns
        )

    def epsilon(self, stage: int) -> float:
        """ε of a stage."""
        return self.smoothing[min(stage, len(self.smoothing) - 1)]


def multiply(blocks: Tensor, right: Tensor) -> Tensor:
    """Voxel by voxel, (row, row, *voxels) times (..., row, *voxels)."""
    axis = -(blocks.ndim - 2) - 1
    parts = right.unbind(axis)
    rows = []
    for row in blocks:
        total = row[0] * parts[0]
        for entry, part in zip(row[1:], parts[1:], strict=True):
            total = torch.addcmul(total, entry, part)
        rows.append(total)
    return torch.stack(rows, axis)
