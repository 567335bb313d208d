"""What this machine can do at best: memory bandwidth, exponentials, multiply-adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from timing import timed

_REPEATS = 7


@dataclass(frozen=True)
class Limits:
    """Rates of one core, per second of its time.

    Attributes:
        copy: bytes a second, read and written, of an array that fits no cache.
        exponentials: float64 exponentials a second, in cache.
        flops: float64 operations a second in a matrix product, where a multiply-add counts as two.
    """

    copy: float
    exponentials: float
    flops: float


def measure() -> Limits:
    """Measure on one thread; by CPU time, so that other work on the machine disturbs least."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measure()
    finally:
        torch.set_num_threads(threads)


def _measure() -> Limits:
    source = torch.ones(1 << 25, dtype=torch.float64)
    target = torch.empty_like(source)
    some = -torch.rand(1 << 17, dtype=torch.float64)
    result = torch.empty_like(some)
    square = torch.rand(1536, 1536, dtype=torch.float64)

    def exponentials() -> None:
        for _ in range(50):
            torch.exp(some, out=result)

    return Limits(
        copy=2 * source.nbytes / _least(lambda: target.copy_(source)),
        exponentials=50 * len(some) / _least(exponentials),
        flops=2 * 1536**3 / _least(lambda: square @ square),
    )


def _least(work: Callable[[], object]) -> float:
    return min(timed(work).cpu for _ in range(_REPEATS))
