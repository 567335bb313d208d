"""Spin-echo trains of water in many surroundings: a distribution of T2, stimulated echoes included."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from fastqmri.core import MultiEchoSpinEcho, Parameter, PlausibilityError
from fastqmri.physics.signal.model import Derived, SignalModel
from fastqmri.physics.signal.spin_echo_train import SpinEchoTrain

_AMPLITUDES = (0.0, 1e12)
_BLOCK = 1 << 16
_INDEPENDENT = 6


@final
class T2Distribution(SignalModel):
    """Echoes of a train of equal refocusing pulses from amplitudes on a logarithmic grid of T2.

    Each component decays as in `SpinEchoTrain`, all with the same refocusing angle. Water between the layers of
    myelin has the shortest T2: its share is the myelin water fraction.

    Source: Whittall 1989; MacKay 1994; stimulated echoes as in Prasloski 2012.

    Args:
        acquisition: equally spaced echoes, the first one spacing after the excitation.
        components: ``signed`` echoes of every component, as spins have them; or their ``absolute`` values, as some
            programs take (it matters where T2 is below the spacing and the angle far from 180°).
        profile: of the slice, as in `SpinEchoTrain`; ``ideal`` for pulses that are not selective.
        refocusing: whether the angle is ``estimated``, or ``known`` from a map of B1.
        count: of T2 values.
        shortest: T2 in s.
        longest: T2 in s.
        myelin: the longest T2 that counts as myelin water, in s.
        free: T2 above which water counts as free, in s.
        t1: T1 of all components in s (it matters little).

    Raises:
        AcquisitionError: echoes that are not equally spaced from zero.
        PlausibilityError: limits of T2 out of order.
    """

    title = "T2 distribution"
    equation = "sum over T2 of A(T2) * spin-echo train (T2, B1)"
    references = ("mackay1994", "whittall1989", "prasloski2012")
    acquisition: MultiEchoSpinEcho
    PROFILES: ClassVar = ("ideal", "gaussian")
    COMPONENTS: ClassVar = ("signed", "absolute")
    REFOCUSING: ClassVar = ("estimated", "known")

    def __init__(
        self,
        acquisition: MultiEchoSpinEcho,
        components: Literal["signed", "absolute"] = "signed",
        profile: Literal["ideal", "gaussian"] = "ideal",
        refocusing: Literal["estimated", "known"] = "estimated",
        *,
        count: int = 40,
        shortest: float = 0.01,
        longest: float = 2.0,
        myelin: float = 0.04,
        free: float = 0.2,
        t1: float = 1.0,
    ) -> None:
        if not (count > 1 and 0 < shortest < myelin < free < longest):
            raise PlausibilityError(
                f"{count} T2 values from {shortest:g} to {longest:g} s, "
                f"myelin below {myelin:g} s, free water above {free:g} s",
                "these limits must ascend, with values on both sides of each.",
                "Give them in seconds.",
            )
        t2 = torch.logspace(math.log10(shortest), math.log10(longest), count, dtype=torch.float64)
        amplitudes = tuple(
            Parameter(
                f"A{i + 1}",
                "arbitrary",
                _AMPLITUDES,
                (0.0, 2 / count),
                f"water with T2 = {1e3 * float(v):.4g} ms",
            )
            for i, v in enumerate(t2)
        )
        b1 = Parameter(
            "B1",
            "fraction",
            (0.25, 1.3),
            (0.8, 1.0),
            "refocusing angle, fraction of 180°",
            nominal=None if refocusing == "estimated" else 1.0,
        )
        super().__init__(acquisition, (*amplitudes, b1))
        self.train_of_one = SpinEchoTrain(acquisition, profile)
        self.absolute = components == "absolute"
        self.times = t2
        self.t1 = t1
        self.short, self.middle = t2 <= myelin, (t2 > myelin) & (t2 <= free)
        of = [
            ("MWF", "%", (0.0, 100.0), f"myelin water: share of T2 up to {1e3 * myelin:g} ms"),
            (
                "T2ie",
                "s",
                (0.0, longest),
                f"geometric mean T2 of intra- and extracellular water, up to {1e3 * free:g} ms",
            ),
            ("T2gm", "s", (0.0, longest), "geometric mean T2 of all water"),
            ("M0", "arbitrary", _AMPLITUDES, "all water"),
        ]
        self.derived = tuple(
            Derived(Parameter(name, unit, bounds, bounds, text), functools.partial(self._derived, i))
            for i, (name, unit, bounds, text) in enumerate(of)
        )

    @property
    def unknowns(self) -> int:
        """Amplitudes that can't be negative are few where noise allows any: our choice, for degrees of freedom."""
        return _INDEPENDENT

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """Water of all T2 alike, as much as the strongest echo shows."""
        x = torch.empty(len(self.parameters), data.shape[1], dtype=data.dtype, device=data.device)
        x[:-1] = data.amax(0) / len(self.times)
        x[-1] = 0.9
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (A1, …, B1)."""
        return self._over(x, lambda part: self._evaluate(part)[0])

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(A1, …, B1)."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        both = self._over(x, lambda part: torch.cat([(p := self._evaluate(part))[0][:, None], p[1]], 1))
        return both[:, 0], both[:, 1:]

    def columns(self, b1: Tensor) -> tuple[Tensor, Tensor]:
        """Echoes (contrast, component, *voxels) of unit amplitudes, and their derivatives by B1."""
        count = len(self.times)
        shape = (count, *b1.shape)
        t2 = self.times.to(b1).view(-1, *(1,) * b1.ndim).expand(shape)
        one = torch.ones(shape, dtype=b1.dtype, device=b1.device)
        value, jacobian = self.train_of_one.evaluate(torch.stack([one, t2, b1.expand(shape), self.t1 * one]))
        slope = jacobian[:, 2]
        if self.absolute:
            sign = torch.where(value < 0, -1.0, 1.0).to(value)
            value, slope = value * sign, slope * sign
        return value, slope

    def derive(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """MWF, T2 of the middle and of all water, and M0, with their gradients."""
        amplitudes = x[:-1]
        extra = torch.zeros_like(x[-1:])
        logs = self.times.log().to(x).view(-1, *(1,) * (x.ndim - 1))
        short, middle = (part.to(x).view(logs.shape) for part in (self.short, self.middle))
        total = amplitudes.sum(0)
        safe = total.clamp_min(torch.finfo(x.dtype).tiny)
        share = (amplitudes * short).sum(0) / safe
        results = [(100 * share, torch.cat([100 * (short - share) / safe, extra]))]
        for inside in (middle, torch.ones_like(middle)):
            water = (amplitudes * inside).sum(0)
            some = water > 0
            held = torch.where(some, water, torch.ones_like(water))
            mean = (amplitudes * inside * logs).sum(0) / held
            value = torch.where(some, mean.exp(), torch.zeros_like(mean))
            results.append((value, torch.cat([value * inside * (logs - mean) / held * some, extra])))
        results.append((total, torch.cat([torch.ones_like(amplitudes), extra])))
        return results

    def _derived(self, i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.derive(x)[i]

    def _evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = self.columns(x[-1])
        return (value * x[:-1]).sum(1), torch.cat([value, (slope * x[:-1]).sum(1, keepdim=True)], 1)

    def _over(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply a function of x to blocks of voxels: every voxel has as many trains as there are components."""
        flat = x.reshape(len(x), -1)
        size = max(1, _BLOCK // len(self.times))
        parts = [function(part) for part in flat.split(size, 1)]
        whole = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        return whole.reshape(*whole.shape[:-1], *x.shape[1:])
