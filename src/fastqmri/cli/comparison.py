"""The classical method on a part of a scan that a network mapped."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastqmri.cli.console import progress_bar
from fastqmri.cli.methods import validity_lines

if TYPE_CHECKING:
    from fastqmri.cli.job import Job, Outcome
    from fastqmri.cli.learned import Network
    from fastqmri.core import ParameterMaps
    from fastqmri.report import MethodComparison

MOST_VOXELS = 20_000


def compare_fit(job: Job, outcome: Outcome) -> MethodComparison | None:
    """The entry's default method on the fullest slice; None where nothing was mapped."""
    assert job.network is not None
    part = compared_part(outcome.maps.estimated)
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


def compared_part(inside: Tensor) -> Tensor:
    """(*voxels) bool: the slice with most voxels, of it at most `MOST_VOXELS`, round its middle.

    Args:
        inside: (*voxels) bool, voxels that were mapped.
    """
    part = torch.zeros_like(inside)
    if inside.ndim > 2:
        fullest = int(inside.flatten(0, -2).sum(0).argmax())
        part[..., fullest] = inside[..., fullest]
    else:
        part |= inside
    rows = part.flatten(1).sum(1) if part.ndim > 1 else part.long()
    if int(rows.sum()) <= MOST_VOXELS:
        return part
    middle = int((rows * torch.arange(len(rows))).sum() // rows.sum())
    low = high = middle
    while int(rows[low : high + 1].sum()) < MOST_VOXELS:
        low, high = max(low - 1, 0), min(high + 1, len(rows) - 1)
    if int(rows[low : high + 1].sum()) > MOST_VOXELS and high > low:
        low += 1
    keep = torch.zeros_like(part)
    keep[low : high + 1] = part[low : high + 1]
    if int(keep.sum()) > MOST_VOXELS:  # a list of voxels, or slices of very long rows
        chosen = keep.flatten().nonzero()[:MOST_VOXELS, 0]
        keep = torch.zeros_like(keep).flatten().index_fill(0, chosen, True).view(keep.shape)
    return keep
