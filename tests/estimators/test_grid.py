"""Grids: values from priors, numbers and text; what they refuse."""

from __future__ import annotations

import pytest
import torch

from fastqmri.core import PlausibilityError, UnitError, UnknownNameError
from fastqmri.core.errors import AcquisitionError
from fastqmri.estimators.grid import ATOMS, Grid, free_phase, gridded
from physics.checks import Case
from physics.registry import BY_NAME, CASES

MOST = 6  # parameters that a dictionary can vary in earnest
TRAIN = BY_NAME["mese-stimulated-gaussian"].build()


@pytest.mark.parametrize(
    "case", [case for case in CASES if len(gridded(case.build())) <= MOST], ids=lambda case: case.name
)
def test_every_model_has_a_grid_of_moderate_size_inside_its_priors(case: Case) -> None:
    model = case.build()
    grid = Grid.of(model)
    assert 2 < grid.count <= ATOMS
    for i in gridded(model):
        low, high = model.parameters[i].prior
        assert float(grid.points[i].min()) == pytest.approx(low)
        assert float(grid.points[i].max()) == pytest.approx(high)
    fixed = [i for i, p in enumerate(model.parameters) if i and i not in gridded(model)]
    for i in fixed:
        wanted = 0.0 if i == free_phase(model) else model.parameters[i].nominal
        assert bool((grid.points[i] == wanted).all())


def test_text_carries_its_unit() -> None:
    grid = Grid.of(TRAIN, {"T2": "10:10:50ms,100ms", "B1": "0.8:0.1:1,1.2"})
    assert grid.axes["T2"].tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05, 0.1])
    assert grid.axes["B1"].tolist() == pytest.approx([0.8, 0.9, 1.0, 1.2])
    assert grid.count == 24
    steps = grid.step[1].reshape(6, 4)
    assert steps[:, 0].tolist() == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.03, 0.05])
    ends = (
        (grid.points[1] < 0.011) | (grid.points[1] > 0.09) | (grid.points[2] < 0.81) | (grid.points[2] > 1.1)
    )
    assert torch.equal(grid.edge, ends)


def test_a_single_value_has_no_edge() -> None:
    grid = Grid.of(TRAIN, {"T2": [0.05], "B1": [0.8, 0.9, 1.0]})
    assert grid.edge.tolist() == [True, False, True]
    assert float(grid.step[1].max()) == 0.0


@pytest.mark.parametrize(
    ("axes", "constraints", "error"),
    [
        ({"T2": "10:10:50"}, None, UnitError),
        ({"T2": [10.0, 20.0]}, None, PlausibilityError),
        ({"T2": []}, None, PlausibilityError),
        ({"T2": [float("nan")]}, None, PlausibilityError),
        ({"B1": "much"}, None, AcquisitionError),
        ({"B1": "0.8:0:1"}, None, AcquisitionError),
        ({"M0": [1.0]}, None, UnknownNameError),
        ({"T1": [1.0]}, None, UnknownNameError),
        ({}, [("T1", "T2")], UnknownNameError),
        ({"T2": [0.02], "B1": [0.01]}, None, PlausibilityError),
        ({"T2": [2.0], "B1": [1.0]}, [("B1", "T2")], PlausibilityError),
    ],
)
def test_impossible_grids_are_refused(axes: dict, constraints: list | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        Grid.of(TRAIN, axes, constraints)


def test_more_parameters_than_a_dictionary_can_vary_are_refused() -> None:
    case = max(CASES, key=lambda case: len(gridded(case.build())))
    with pytest.raises(PlausibilityError, match="parameters"):
        Grid.of(case.build())
