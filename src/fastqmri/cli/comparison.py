"""The classical method on a part of a scan that a network mapped."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastqmri.cli.console import progress_bar
from fastqmri.cli.methods import validity_lines
from fastqmri.io.finished_pieces import maps_as_arrays

if TYPE_CHECKING:
    from fastqmri.cli.job import Job, Outcome
    from fastqmri.cli.learned import Network
    from fastqmri.core import Measurement, ParameterMaps
    from fastqmri.estimators import Entry
    from fastqmri.estimators.reconstruction.volume import Plane, PlaneMethod
    from fastqmri.report import MethodComparison

MOST_VOXELS, _MOST_SAMPLES = 20_000, 500_000
"""What a panel may cost in time: long trains are slow to fit."""
MODEL_BASED = "model-based"
PREFIX = "classical_"
"""Begins the names of arrays that hold the classical maps of a plane."""


def compare_fit(job: Job, outcome: Outcome) -> MethodComparison | None:
    """The entry's default method on the fullest slice; None where nothing was mapped."""
    assert job.network is not None
    contrasts = job.measurement.acquisition.contrasts
    part = compared_part(outcome.maps.estimated, min(MOST_VOXELS, _MOST_SAMPLES // contrasts))
    if not bool(part.any()):
        return None
    method = job.entry.method()
    begin = time.perf_counter()
    with progress_bar(f"{method.name}, to compare") as progress:
        estimator = job.entry.estimator(outcome.model, method.name, progress=progress)
        maps = estimator.estimate(dataclasses.replace(job.measurement, mask=part))
    return comparison(
        job.network, method.name, outcome.maps, maps, outcome.seconds, time.perf_counter() - begin
    )


def comparison(
    network: Network,
    classical: str,
    own: ParameterMaps,
    other: ParameterMaps,
    seconds: float,
    other_seconds: float,
) -> MethodComparison:
    """What the report shows, with what the card says."""
    from fastqmri.report import MethodComparison

    card = network.trained.card
    says = [f"Trained for {'; '.join(validity_lines(network.trained.entry, card.validity))}."]
    if card.expected_error:
        errors = ", ".join(f"{name} {100 * share:.2g} %" for name, share in card.expected_error.items())
        says.append(f"Its largest error on held-out data inside that: {errors} (nRMSE).")
    if card.finishing is not None:
        habit = (
            f"{network.steps} least-squares steps followed"
            if network.steps
            else "No least-squares steps followed"
        )
        says.append(f"{habit}; measured gain: {card.finishing.gain}")
    return MethodComparison(network.name, classical, own, other, seconds, other_seconds, tuple(says))


def compared_part(inside: Tensor, most: int = MOST_VOXELS) -> Tensor:
    """(*voxels) bool: the slice with most voxels, of it at most ``most``, round its middle.

    Args:
        inside: (*voxels) bool, voxels that were mapped.
        most: voxels.
    """
    part = torch.zeros_like(inside)
    if inside.ndim > 2:
        fullest = int(inside.flatten(0, -2).sum(0).argmax())
        part[..., fullest] = inside[..., fullest]
    else:
        part |= inside
    rows = part.flatten(1).sum(1) if part.ndim > 1 else part.long()
    if int(rows.sum()) <= most:
        return part
    middle = int((rows * torch.arange(len(rows))).sum() // rows.sum())
    low = high = middle
    while int(rows[low : high + 1].sum()) < most:
        low, high = max(low - 1, 0), min(high + 1, len(rows) - 1)
    if int(rows[low : high + 1].sum()) > most and high > low:
        low += 1
    keep = torch.zeros_like(part)
    keep[low : high + 1] = part[low : high + 1]
    if int(keep.sum()) > most:  # a list of voxels, or slices of very long rows
        chosen = keep.flatten().nonzero()[:most, 0]
        keep = torch.zeros_like(keep).flatten().index_fill(0, chosen, True).view(keep.shape)
    return keep


class TimedPlanes:
    """A `PlaneMethod` that says how long its last plane took.

    Args:
        method: to be timed.
    """

    def __init__(self, method: PlaneMethod) -> None:
        self._method = method
        self.seconds, self.beside = 0.0, 0.0  # of the last plane; of all that was done to compare

    @property
    def needs_coils(self) -> bool:
        """As the method's."""
        return self._method.needs_coils

    def __call__(self, measurement: Measurement) -> tuple[ParameterMaps, Tensor, Tensor]:
        """As the method's."""
        begin = time.perf_counter()
        found = self._method(measurement)
        self.seconds = time.perf_counter() - begin
        return found


@dataclass(frozen=True)
class PlanePair:
    """A plane mapped by a network and by model-based reconstruction.

    Attributes:
        own: the network's maps.
        other: those of model-based reconstruction.
        seconds: the network took.
        other_seconds: model-based reconstruction took.
    """

    own: ParameterMaps
    other: ParameterMaps
    seconds: float
    other_seconds: float

    def arrays(self) -> dict[str, Tensor]:
        """All but the network's maps, to be kept with the plane."""
        arrays = {**maps_as_arrays(self.other), "seconds": torch.tensor([self.seconds, self.other_seconds])}
        return {f"{PREFIX}{name}": array for name, array in arrays.items()}


def compare_plane(plane: Plane, entry: Entry, timed: TimedPlanes) -> PlanePair:
    """Model-based reconstruction of a plane that a network mapped."""
    from fastqmri.estimators.reconstruction.model_based import ModelBased

    begin = time.perf_counter()
    with progress_bar(f"{MODEL_BASED}, to compare"):
        model = entry.build(plane.measurement.acquisition, **kspace_options(entry))
        maps = ModelBased(model).estimate(plane.measurement)
    seconds = time.perf_counter() - begin
    timed.beside += seconds
    return PlanePair(plane.maps, maps, timed.seconds, seconds)


def kspace_options(entry: Entry) -> dict[str, Any]:
    """Options of a model for k-space, which keeps the polarity that magnitude images lose."""
    return {"signal": "real"} if "real" in entry.options.get("signal", ()) else {}
