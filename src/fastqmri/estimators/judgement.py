"""What every estimator checks before it starts, and says of its numbers afterwards."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, Flag, Measurement, Parameter, UnknownNameError
from fastqmri.physics.signal import SignalModel

LEAST_PEAK_SNR = 3.0
MISFIT_FACTOR = 5.0
MISFIT_SHARE = 0.05
_EDGE = 1e-5


def check_belongs(measurement: Measurement, model: SignalModel) -> None:
    """Refuse a measurement that a model knows nothing of.

    Raises:
        AcquisitionError: the measurement was not made with this model's acquisition.
        UnknownNameError: a known map that the model does not have.
    """
    if measurement.acquisition != model.acquisition:
        raise AcquisitionError(
            f"a measurement made with {measurement.acquisition!r}",
            f"this estimator was built for {model.acquisition!r}.",
            "Build the estimator from the measurement's acquisition.",
        )
    allowed = {p.name for p in model.parameters if p.nominal is not None}
    unknown = set(measurement.known) - allowed
    if unknown:
        raise UnknownNameError(
            f"a map of {', '.join(sorted(unknown))}",
            f"{type(model).__name__} has no such known quantity.",
            f"It takes {', '.join(sorted(allowed)) or 'none'}.",
        )


def outputs_of(model: SignalModel) -> tuple[Parameter, ...]:
    """What the maps of a model hold: its estimated parameters, then the quantities derived from them."""
    return tuple(model.parameters[i] for i in model.estimated) + tuple(d.parameter for d in model.derived)


def at_bound(model: SignalModel, x: Tensor) -> Tensor:
    """(voxel) bool: a parameter of x (estimated, voxel) lies at a limit of its range."""
    hit = torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
    for row, i in zip(x, model.estimated, strict=True):
        low, high = model.parameters[i].bounds
        margin = _EDGE * min(high - low, max(abs(low), abs(high)), 1.0 if low == 0 else max(abs(low), 1e-300))
        if low == 0 and model.parameters[i].unit == "arbitrary":
            margin = 0.0  # amplitudes have no size of their own: images may come in any unit
        hit |= (row <= low + margin) | (row >= high - _EDGE * abs(high))
    return hit


def imprecise(outputs: tuple[Parameter, ...], value: Tensor, deviation: Tensor) -> Tensor:
    """(voxel) bool: a positive quantity whose standard deviation exceeds its value."""
    weak = torch.zeros(value.shape[1:], dtype=torch.bool, device=value.device)
    for row, parameter in enumerate(outputs):
        if parameter.bounds[0] >= 0 and parameter.unit not in ("1", "arbitrary"):
            weak |= deviation[row] > value[row].abs()
    return weak


def flagged(where: Tensor, flag: Flag) -> Tensor:
    """A flag where it holds, uint8."""
    return where.to(torch.uint8) * int(flag)
