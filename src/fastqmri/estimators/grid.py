"""The grid of tissue parameters that a dictionary is made on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, Parameter, PlausibilityError, UnknownNameError
from fastqmri.core.units import DIMENSIONS, parse_quantities
from fastqmri.physics.signal import SignalModel

ATOMS = 20_000
_MOST_ALONG_AN_AXIS = 1000
_LARGEST = 50_000_000
_LOGARITHMIC = 5.0
_EQUAL = 1e-9  # values this close are the same one, computed in two ways

Axis = int | str | Sequence[float] | Tensor
"""A number of values to spread over the prior; values in the parameter's unit; or text like ``20:10:1000ms``."""
Constraint = tuple[str, str]
"""(greater, smaller): names of two parameters of which the first must be the larger one."""


@dataclass(frozen=True)
class Grid:
    """Points in the space of a model's parameters.

    The first parameter is one everywhere: atoms are matched whatever their amplitude. Other amplitudes are given as
    fractions of it. A phase that turns all contrasts alike is left at zero for the same reason.

    Attributes:
        names: of all parameters of the model.
        axes: name -> values, ascending, (value); of parameters that vary.
        points: (parameter, atom).
        step: (parameter, atom) distance of neighbouring values, half of it below and half above; zero where a
            parameter has one value.
        edge: (atom) bool: at an end of an axis.
    """

    names: tuple[str, ...]
    axes: Mapping[str, Tensor]
    points: Tensor
    step: Tensor
    edge: Tensor

    @classmethod
    def of(
        cls,
        model: SignalModel,
        axes: Mapping[str, Axis] | None = None,
        constraints: Sequence[Constraint] | None = None,
        known: Mapping[str, float] | None = None,
    ) -> Grid:
        """A grid for a model.

        Args:
            model: whose parameters are gridded.
            axes: name -> values; parameters left out get as many as make a dictionary of moderate size.
            constraints: pairs that exclude points; None takes T1 > T2 where both vary.
            known: values of quantities that were measured elsewhere, instead of their nominal ones.

        Raises:
            UnknownNameError: an axis or a constraint of a parameter that does not vary.
            PlausibilityError: values outside a parameter's bounds, or no point left.
            UnitError: text without unit.
        """
        varying = [model.parameters[i] for i in gridded(model)]
        given = dict(axes or {})
        names = [p.name for p in varying]
        unknown = set(given) - set(names)
        if unknown:
            raise UnknownNameError(
                f"a grid of {', '.join(sorted(unknown))}",
                f"the dictionary of {type(model).__name__} varies {', '.join(names) or 'nothing'}.",
                "Give values for these; amplitudes and phases come out of the match.",
            )
        values = _spread(varying, given)
        size = math.prod(len(v) for v in values.values())
        if size > _LARGEST:
            raise PlausibilityError(
                f"a grid of {size:.3g} points over {len(names)} parameters of {type(model).__name__}",
                "no memory holds such a dictionary.",
                "Give fewer values for each parameter, or fit the model by least squares.",
            )
        mesh = torch.meshgrid(*(values[n] for n in names), indexing="ij")
        steps = torch.meshgrid(*(_steps(values[n]) for n in names), indexing="ij")
        edges = torch.meshgrid(*(_ends(values[n]) for n in names), indexing="ij")
        keep = torch.ones(mesh[0].shape, dtype=torch.bool) if mesh else torch.ones((), dtype=torch.bool)
        if constraints is None:
            constraints = [("T1", "T2")] if {"T1", "T2"} <= set(names) else []
        for greater, smaller in constraints:
            for name in (greater, smaller):
                if name not in names:
                    raise UnknownNameError(
                        f"the constraint {greater} > {smaller}",
                        f"{name} does not vary.",
                        f"Constrain {', '.join(names)}.",
                    )
            keep &= mesh[names.index(greater)] > mesh[names.index(smaller)] * (1 + _EQUAL)
        count = int(keep.sum())
        if not count:
            raise PlausibilityError(
                "a grid without points",
                "the constraints exclude all of them.",
                "Check the values and their units.",
            )
        points = torch.ones(len(model.parameters), count, dtype=torch.float64)
        step = torch.zeros_like(points)
        for i, parameter in enumerate(model.parameters):
            if parameter.name in names:
                axis = names.index(parameter.name)
                points[i], step[i] = mesh[axis][keep], steps[axis][keep]
            elif parameter.nominal is not None:
                points[i] = (known or {}).get(parameter.name, parameter.nominal)
            elif i:
                points[i] = 0.0  # the phase
        edge = torch.zeros(count, dtype=torch.bool)
        for ends in edges:
            edge |= ends[keep]
        return cls(tuple(p.name for p in model.parameters), values, points, step, edge)

    @property
    def count(self) -> int:
        """Number of atoms."""
        return self.points.shape[1]

    def describe(self) -> str:
        """One line for people: how many atoms, which values."""
        parts = [
            f"{name} {float(v[0]):.4g} to {float(v[-1]):.4g} ({len(v)} values)"
            for name, v in self.axes.items()
        ]
        return f"{self.count} atoms: {', '.join(parts)}"


def gridded(model: SignalModel) -> list[int]:
    """Indices of the parameters that a dictionary varies: not the first amplitude, not a common phase."""
    return [i for i in model.estimated if i and i != free_phase(model)]


def amplitudes(model: SignalModel) -> list[int]:
    """Indices of the parameters that the signal is proportional to together."""
    return [i for i, p in enumerate(model.parameters) if p.unit == "arbitrary" and p.nominal is None]


def free_phase(model: SignalModel) -> int | None:
    """Index of the phase that turns all contrasts alike, if the model has one: its prior has no width."""
    if not model.complex_valued:
        return None
    for i, parameter in enumerate(model.parameters):
        if parameter.unit == "rad" and parameter.prior[0] == parameter.prior[1]:
            return i
    return None


def _spread(parameters: Sequence[Parameter], given: Mapping[str, Axis]) -> dict[str, Tensor]:
    explicit = {p.name: _values(p, given[p.name]) for p in parameters if p.name in given}
    taken = math.prod(len(v) for v in explicit.values())
    left = [p for p in parameters if p.name not in explicit]
    share = max(ATOMS / taken, 1.0) ** (1 / max(len(left), 1))
    count = min(max(3, int(share)), _MOST_ALONG_AN_AXIS)
    return {p.name: explicit[p.name] if p.name in explicit else _values(p, count) for p in parameters}


def _values(parameter: Parameter, axis: Axis) -> Tensor:
    low, high = parameter.bounds
    if isinstance(axis, int):
        first, last = parameter.prior
        if axis < 2:
            values = torch.tensor([(first + last) / 2], dtype=torch.float64)
        elif first > 0 and last / first > _LOGARITHMIC:
            values = torch.logspace(math.log10(first), math.log10(last), axis, dtype=torch.float64)
        else:
            values = torch.linspace(first, last, axis, dtype=torch.float64)
        values = values.clamp(first, last)
    elif isinstance(axis, str):
        values = torch.tensor(_parsed(parameter, axis), dtype=torch.float64)
    else:
        values = torch.as_tensor(axis, dtype=torch.float64)
    values = values.unique()  # sorted
    if not len(values) or not bool(((values >= low) & (values <= high)).all()):
        raise PlausibilityError(
            f"a grid of {parameter.name} from {float(values.min()):.4g} to {float(values.max()):.4g}"
            if len(values)
            else f"an empty grid of {parameter.name}",
            f"{parameter.name} lies between {low:g} and {high:g} {parameter.unit}.",
            f"Give values in {parameter.unit}, or text with its unit.",
        )
    return values


def _parsed(parameter: Parameter, text: str) -> tuple[float, ...]:
    dimension = next((d for d in DIMENSIONS if d.unit == parameter.unit), None)
    if dimension is not None and parameter.unit != "1":
        return parse_quantities(text, dimension, name=parameter.name)
    values: list[float] = []
    try:
        for part in text.split(","):
            numbers = [float(piece) for piece in part.split(":")]
            if len(numbers) == 3:
                steps = round((numbers[2] - numbers[0]) / numbers[1])
                values += [numbers[0] + i * numbers[1] for i in range(steps + 1)]
            else:
                (number,) = numbers
                values.append(number)
    except (ValueError, ZeroDivisionError) as error:
        raise AcquisitionError(
            f"{parameter.name} = {text!r}",
            "it is not a list of numbers or of ranges start:step:stop.",
            f"Write it like 0.1,0.2 or 0.1:0.1:0.9 ({parameter.unit}).",
        ) from error
    return tuple(values)


def _steps(values: Tensor) -> Tensor:
    if len(values) < 2:
        return torch.zeros_like(values)
    gaps = values.diff()
    return (torch.cat([gaps[:1], gaps]) + torch.cat([gaps, gaps[-1:]])) / 2


def _ends(values: Tensor) -> Tensor:
    ends = torch.zeros(len(values), dtype=torch.bool)
    if len(values) > 1:
        ends[0] = ends[-1] = True
    return ends
