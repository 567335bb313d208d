"""The closed form of stimulated echoes against an extended phase graph and another group's vectors."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fastqmri.core import AcquisitionError, MultiEchoSpinEcho
from fastqmri.physics.signal import ExponentialDecay, SpinEchoTrain

ECHOES = 21
SPACING = 0.0087
TRAIN = MultiEchoSpinEcho(echo_time=tuple(SPACING * (i + 1) for i in range(ECHOES)))


def phase_graph(t1: float, t2: float, refocusing: float) -> np.ndarray:
    """Echoes of a train of pulses of one angle (rad, about y), states followed one by one."""
    relax = np.exp(-SPACING / 2 / np.array([t2, t2, t1]))
    c, s = math.cos(refocusing / 2) ** 2, math.sin(refocusing / 2) ** 2
    sine = math.sin(refocusing)
    pulse = np.array([[c, s, sine], [s, c, -sine], [-sine / 2, sine / 2, math.cos(refocusing)]])
    plus, minus, along = np.zeros((3, 2 * ECHOES + 3))
    plus[0] = minus[0] = 1.0  # transverse magnetisation along the pulses' axis
    echoes = []
    for _ in range(ECHOES):
        for half in range(2):
            plus, minus, along = plus * relax[0], minus * relax[1], along * relax[2]
            plus, minus = np.roll(plus, 1), np.roll(minus, -1)
            minus[-1], plus[0] = 0.0, minus[0]
            if half == 0:
                plus, minus, along = pulse @ np.stack([plus, minus, along])
        echoes.append(plus[0])
    return np.array(echoes)


def signal(t1: float, t2: float, b1: float) -> np.ndarray:
    x = torch.tensor([1.0, t2, b1, t1], dtype=torch.float64)
    return SpinEchoTrain(TRAIN, "ideal")(x).numpy()


@pytest.mark.parametrize("b1", [0.4, 0.55, 0.8, 0.95, 1.0, 1.1, 1.3])
@pytest.mark.parametrize(("t1", "t2"), [(1.0, 0.08), (0.3, 0.25), (3.0, 0.015), (0.05, 0.04)])
def test_against_the_phase_graph(t1: float, t2: float, b1: float) -> None:
    excited = math.sin(b1 * math.pi / 2)
    wanted = excited * phase_graph(t1, t2, b1 * math.pi)
    np.testing.assert_allclose(signal(t1, t2, b1), wanted, rtol=0, atol=1e-12)


def test_perfect_refocusing_is_a_mono_exponential_decay() -> None:
    x = torch.tensor([[1.2, 0.9], [0.07, 0.3]], dtype=torch.float64)
    full = torch.cat([x, torch.tensor([[1.0, 1.0], [0.8, 2.0]], dtype=torch.float64)])
    found, wanted = SpinEchoTrain(TRAIN, "ideal")(full), ExponentialDecay(TRAIN)(x)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)


def test_slice_profile_is_an_average_over_places() -> None:
    # the places' own signals, weighted as an excitation across the slice leaves them
    t2, t1, b1 = 0.08, 1.0, 0.9
    places = np.exp2(-(np.linspace(0, 1.6, 9) ** 2))
    excited = np.sin(np.pi / 2 * places)
    wanted = sum(signal(t1, t2, b1 * place) for place in places) / excited.sum()
    x = torch.tensor([1.0, t2, b1, t1], dtype=torch.float64)
    np.testing.assert_allclose(SpinEchoTrain(TRAIN, "gaussian")(x).numpy(), wanted, rtol=1e-12)


@pytest.mark.parametrize("times", [(0.01, 0.02, 0.04), (0.02, 0.03, 0.04)])
def test_refuses_uneven_trains(times: tuple[float, ...]) -> None:
    with pytest.raises(AcquisitionError, match="equally spaced"):
        SpinEchoTrain(MultiEchoSpinEcho(echo_time=times))


def test_against_published_vectors(test_data: Callable[[str], Path]) -> None:
    # Weigel's phase graph, 32 echoes 10 ms apart, T2 = 80 ms, T1 = 1 s, excitation of 90° throughout
    rows = list(csv.DictReader((test_data("epg_decaes_reference_vectors") / "weigel_reference.csv").open()))
    model = SpinEchoTrain(MultiEchoSpinEcho(echo_time=tuple(0.01 * (i + 1) for i in range(32))), "ideal")
    for b1 in (0.8, 0.9, 1.0):
        wanted = [float(row["value"]) for row in rows if row["test"] == f"cpmg_b1_{b1}"]
        x = torch.tensor([1.0, 0.08, b1, 1.0], dtype=torch.float64)
        found = model(x) / math.sin(b1 * math.pi / 2)
        torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-10)
