"""The way back from y to x: one call, whatever is behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from fastqmri.core.measurement import Measurement
from fastqmri.core.parameters import ParameterMaps

Progress = Callable[[int, int], None]
"""Called with (done, in all) while long work goes on."""


@runtime_checkable
class Estimator(Protocol):
    """Anything that turns a `Measurement` into `ParameterMaps`."""

    def estimate(self, measurement: Measurement) -> ParameterMaps:
        """Estimate the parameters of every voxel, with standard deviations and flags."""
        ...
