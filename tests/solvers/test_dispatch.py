"""What several threads may do at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from fastqmri.solvers import dispatch

THREADS = 4


def derivatives(jvp) -> list[torch.Tensor]:
    """Slopes of x³ by forward mode on several threads that all begin together."""
    x = torch.linspace(0, 1, 100, dtype=torch.float64)
    together = threading.Barrier(THREADS)

    def work(_: int) -> torch.Tensor:
        together.wait()
        for _ in range(100):
            slope = jvp(lambda x: x * x * x, x, torch.ones_like(x))[1]
        return slope

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(THREADS)))


def test_forward_mode_from_several_threads():
    x = torch.linspace(0, 1, 100, dtype=torch.float64)
    for slope in derivatives(dispatch.jvp):
        torch.testing.assert_close(slope, 3 * x**2)


def test_forward_mode_needs_the_lock():
    with pytest.raises(RuntimeError):
        derivatives(lambda function, x, direction: torch.func.jvp(function, (x,), (direction,)))
