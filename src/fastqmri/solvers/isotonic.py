"""Least-squares fit of a sequence that never rises, batched."""

from __future__ import annotations

import functools
import logging
from types import ModuleType

import torch
from torch import Tensor

_LOG = logging.getLogger(__name__)
_SHORT = 6


def non_increasing(values: Tensor) -> Tensor:
    """argmin_z Σ (z_i - v_i)² with z_1 >= z_2 >= …, along the last axis.

    Pool adjacent violators, compiled; long rows on other devices, or whose gradient is wanted, take memory of the
    length squared.

    Source: Best 1990.

    Args:
        values: (..., element), real.
    """
    compiled = None
    if values.device.type == "cpu" and not values.requires_grad and values.shape[-1] > _SHORT:
        compiled = _kernels()
    if compiled is None:
        return _min_max(values)
    rows = values.reshape(-1, values.shape[-1]).contiguous()
    out = torch.empty_like(rows)
    compiled.non_increasing(rows.numpy(), out.numpy())
    return out.view(values.shape)


def _min_max(values: Tensor) -> Tensor:
    """z_i = min over j <= i of the max over k >= i of the mean of v_j … v_k."""
    count = values.shape[-1]
    sums = torch.nn.functional.pad(values.cumsum(-1), (1, 0))
    place = torch.arange(count, device=values.device)
    length = (place[None] - place[:, None] + 1).clamp_min(1).to(values)
    means = (sums[..., None, 1:] - sums[..., :-1, None]) / length  # (..., j, k)
    means = torch.where(place[None] >= place[:, None], means, -torch.inf)
    from_here = means.flip(-1).cummax(-1).values.flip(-1)  # (..., j, i): max over k >= i
    from_here = torch.where(place[None] >= place[:, None], from_here, torch.inf)
    return from_here.amin(-2)


@functools.cache
def _kernels() -> ModuleType | None:
    try:
        from fastqmri.solvers import compiled_isotonic
    except (ImportError, RuntimeError) as error:
        _LOG.warning("compiled pooling is unavailable (%s): a slower form does it", error)
        return None
    return compiled_isotonic
