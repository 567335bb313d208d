"""The order in which echoes are unwrapped, for times whose gaps are equal but for their rounding."""

from __future__ import annotations

import itertools
import math

import torch

from fastqmri.core import MultiEchoGradientEcho
from fastqmri.physics.signal import PhaseEvolution
from fastqmri.physics.signal.echoes import closest_echoes, nearest_first


def test_of_equal_gaps_the_first_is_the_closest() -> None:
    for spacing in (0.0049, 0.0023, 1 / 300):
        times = [0.0031 + i * spacing for i in range(8)]
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert len(set(gaps)) > 1  # rounding does make them differ
        assert closest_echoes(times) == (0, 1)
        assert nearest_first(times, (3, 4)) == [2, 1, 0, 5, 6, 7]
    assert closest_echoes([0.02, 0.003, 0.012, 0.006]) == (1, 3)
    assert nearest_first([0.02, 0.003, 0.012, 0.006], (1, 3)) == [2, 0]


def test_late_echoes_without_signal_do_not_decide_the_field() -> None:
    """Evenly spaced: the first two echoes decide the first guess, not a pair deep in the noise."""
    times = tuple(0.0031 + i * 0.0049 for i in range(8))
    model = PhaseEvolution(MultiEchoGradientEcho(echo_time=times))
    b0 = torch.linspace(-95, 95, 39, dtype=torch.float64)
    te = torch.tensor(times, dtype=torch.float64)[:, None]
    data = torch.polar(torch.exp(-te / 0.002).expand(8, 39), 2 * math.pi * b0 * te)
    data[3:] = 1e-6 * torch.polar(torch.ones_like(data[3:].real), torch.arange(5.0)[:, None].double() ** 2)
    found, _ = model.line(data)
    assert float((found - b0).abs().max()) < 0.5
