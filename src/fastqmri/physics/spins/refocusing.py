"""Spin-echo trains with any refocusing angles, by extended phase graphs."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from fastqmri.core import Parameter, RefocusingTrain
from fastqmri.physics.signal.model import SignalModel, inverse_of
from fastqmri.physics.signal.relaxometry import M0
from fastqmri.physics.spins import epg, graphs
from fastqmri.physics.spins.epg import Train

_HALF_WIDTHS = 1.6
_POSITIONS = 9
_PERFECT = 0.02
T1 = Parameter(
    "T1", "s", (0.02, 10.0), (0.2, 3.0), "longitudinal relaxation time (matters little)", nominal=1.0
)
T2 = Parameter("T2", "s", (0.001, 5.0), (0.01, 0.5), "transverse relaxation time")
B1 = Parameter("B1", "fraction", (0.4, 1.5), (0.7, 1.1), "fraction of the nominal angles")


@final
class RefocusedEchoes(SignalModel):
    """Echoes of a train whose refocusing angles may all differ, stimulated echoes included, by extended phase graphs.

    Echoes and pulses lie on a grid of half the echo spacing, the gradient steps once from each to the next. B1 scales
    all pulses, and so does the place in the slice with a profile, as in `SpinEchoTrain`.

    Source: Weigel 2015.

    Args:
        acquisition: the train.
        profile: ``ideal``, or ``gaussian``: angles fall off across the slice as a Gaussian does, to 17 % at the edge
            (our choice; 9 places from the middle outwards).
        compiled: allow compiled kernels; without them the same numbers come more slowly.
    """

    title = "Spin-echo train with any refocusing angles"
    equation = "M0 * sin(B1*excitation) * F_0 of the extended phase graph at every echo"
    references = ("weigel2015",)
    acquisition: RefocusingTrain
    PROFILES: ClassVar = ("ideal", "gaussian")

    def __init__(
        self,
        acquisition: RefocusingTrain,
        profile: Literal["ideal", "gaussian"] = "ideal",
        *,
        compiled: bool = True,
    ) -> None:
        super().__init__(acquisition, (M0, T2, B1, T1))
        self._compiled = compiled
        place = torch.linspace(0, _HALF_WIDTHS, _POSITIONS, dtype=torch.float64)
        self._fractions = (
            torch.exp2(-(place**2)) if profile == "gaussian" else torch.ones(1, dtype=torch.float64)
        )
        self.non_negative = False
        self.derived = (inverse_of("R2", "1/s", 1, 4, "transverse relaxation rate, 1/T2"),)

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """Dictionary match, kept off the perfect pulse: the derivative by B1 can vanish there and would hold a fit."""
        x = super().start(data, weights)
        x[2] = torch.where((x[2] - 1).abs() < _PERFECT, 1 - _PERFECT, x[2])
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (M0, T2, B1, T1)."""
        echoes = graphs.echoes(self._train(), *self._places(x), self._states, compiled=self._compiled)
        return x[0] * self._sum(x, echoes[2::2])

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0, T2, B1, T1)."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian in one pass."""
        echoes, (by_t2, by_b1, by_t1) = graphs.echoes_with_slopes(
            self._train(), *self._places(x), self._states, ("t2", "b1", "t1"), compiled=self._compiled
        )
        fraction = self._fractions.to(x).view(-1, *(1,) * (x.ndim - 1))
        angle = self.acquisition.tensor("excitation_angle", x) * fraction
        unit = self._sum(x, echoes[2::2])
        by_angle = self._weighted(angle * torch.cos(angle * x[2]), echoes[2::2])
        slopes = [
            self._sum(x, by_t2[2::2]),
            self._sum(x, fraction * by_b1[2::2]) + by_angle,
            self._sum(x, by_t1[2::2]),
        ]
        return x[0] * unit, torch.stack([unit, *(x[0] * slope for slope in slopes)], 1)

    @property
    def _states(self) -> int:
        return self.acquisition.contrasts + 1

    def _sum(self, x: Tensor, echoes: Tensor) -> Tensor:
        """Average over the slice, each place with what its excitation left it."""
        fraction = self._fractions.to(x).view(-1, *(1,) * (x.ndim - 1))
        angle = self.acquisition.tensor("excitation_angle", x) * fraction
        return self._weighted(torch.sin(angle * x[2]), echoes)

    def _weighted(self, excited: Tensor, echoes: Tensor) -> Tensor:
        """Per what a right angle would excite."""
        return (excited * echoes).sum(1) / float(torch.sin(math.pi / 2 * self._fractions).sum())

    def _places(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        shape = (len(self._fractions), *x.shape[1:])
        fraction = self._fractions.to(x).view(-1, *(1,) * (x.ndim - 1))
        t1, t2 = x[3].expand(shape), x[1].expand(shape)
        return t1, t2, x[2] * fraction, torch.ones_like(t1)

    def _train(self) -> Train:
        """Excitation, pulse, echo, pulse, echo, …; nothing turns at echoes and the excitation, which is a factor."""
        angles = self.acquisition.tensor("refocusing_angle")
        nothing = torch.zeros_like(angles)
        flip = torch.cat([nothing[:1], torch.stack([angles, nothing], 1).flatten()])
        interval = self.acquisition.tensor("echo_spacing") / 2 * torch.ones_like(flip)
        zero = torch.zeros_like(flip)
        return Train(
            flip, None, None, zero, interval, (epg.NONE,) * len(flip), zero, zero, shifts=True, crossed=True
        )
