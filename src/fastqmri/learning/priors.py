"""What tissue may be: priors that voxels are drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, final

import torch
from torch import Tensor

from fastqmri.core import PlausibilityError, ShapeError, UnknownNameError
from fastqmri.phantoms import tissue_properties
from fastqmri.physics.signal import SignalModel

Below = tuple[tuple[str, str], ...]
"""Pairs of names, of which the first is to stay below the second in every voxel: (("T2", "T1"),)."""

_ROUNDS = 200


class Prior(Protocol):
    """A distribution over the tissue of voxels."""

    @property
    def names(self) -> tuple[str, ...]:
        """What is drawn, in order."""
        ...

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Name -> (count,) float32, in the parameter's own unit."""
        ...


@final
@dataclass(frozen=True)
class Uniform:
    """Every parameter evenly between its limits, independent but for what has to stay below what.

    Attributes:
        ranges: name -> lowest and highest value.
        below: voxels that break it are drawn again, so that the rest keeps its distribution.

    Raises:
        PlausibilityError: limits that are not finite or not in order, or that leave no room for ``below``.
        UnknownNameError: ``below`` names what is not drawn.
    """

    ranges: Mapping[str, tuple[float, float]]
    below: Below = ()

    def __post_init__(self) -> None:
        _check(self.ranges, self.below)

    @classmethod
    def of(cls, model: SignalModel, below: Below = (), **ranges: tuple[float, float]) -> Uniform:
        """Over the prior ranges of what a fit of the model estimates; those given here come in their place."""
        return cls({**_ranges_of(model), **ranges}, below)

    @property
    def names(self) -> tuple[str, ...]:
        """What is drawn, in order."""
        return tuple(self.ranges)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Name -> (count,)."""
        limits = torch.tensor(list(self.ranges.values()))[:, :, None]

        def fresh(size: int) -> Tensor:
            share = torch.rand((len(limits), size), generator=generator)
            return torch.lerp(limits[:, 0], limits[:, 1], share)

        return _named(self.names, _obeying(fresh, count, self.names, self.below))


@final
@dataclass(frozen=True)
class LogUniform:
    """The logarithm of every parameter evenly between its limits, independent but for what has to stay below what.

    Attributes:
        ranges: name -> lowest and highest value, both positive.
        below: voxels that break it are drawn again, so that the rest keeps its distribution.

    Raises:
        PlausibilityError: limits not positive, not finite or not in order, or no room for ``below``.
        UnknownNameError: ``below`` names what is not drawn.
    """

    ranges: Mapping[str, tuple[float, float]]
    below: Below = ()

    def __post_init__(self) -> None:
        _check(self.ranges, self.below)
        for name, (low, high) in self.ranges.items():
            if low <= 0:
                raise PlausibilityError(
                    f"{name} from {low:g} to {high:g}",
                    "only positive numbers have a logarithm.",
                    "Start above zero, or draw it evenly with Uniform.",
                )

    @classmethod
    def of(cls, model: SignalModel, below: Below = (), **ranges: tuple[float, float]) -> LogUniform:
        """Over the prior ranges of what a fit of the model estimates; those given here come in their place."""
        return cls({**_ranges_of(model), **ranges}, below)

    @property
    def names(self) -> tuple[str, ...]:
        """What is drawn, in order."""
        return tuple(self.ranges)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Name -> (count,)."""
        limits = torch.tensor(list(self.ranges.values()))[:, :, None]
        logarithms = limits.log()

        def fresh(size: int) -> Tensor:
            share = torch.rand((len(limits), size), generator=generator)
            value = torch.lerp(logarithms[:, 0], logarithms[:, 1], share).exp()
            return value.clamp(limits[:, 0], limits[:, 1])  # the exponential rounds

        return _named(self.names, _obeying(fresh, count, self.names, self.below))


@final
@dataclass(frozen=True)
class Independent:
    """Several priors side by side: T1 and T2 by their logarithms, M0 and B1 evenly.

    Attributes:
        parts: priors of different parameters.
        below: across parts; voxels that break it are drawn again as a whole.

    Raises:
        UnknownNameError: a parameter in two parts, or ``below`` names what is not drawn.
    """

    parts: tuple[Prior, ...]
    below: Below = ()

    def __post_init__(self) -> None:
        names = self.names
        for name in names:
            if names.count(name) > 1:
                raise UnknownNameError(
                    f"{name} in two priors", "it would be drawn twice.", "Leave it out of one of them."
                )
        _check_names(names, self.below)

    @property
    def names(self) -> tuple[str, ...]:
        """What is drawn, in order."""
        return tuple(name for part in self.parts for name in part.names)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Name -> (count,)."""

        def fresh(size: int) -> Tensor:
            drawn = [part.draw(size, generator) for part in self.parts]
            return torch.stack([value for part in drawn for value in part.values()])

        return _named(self.names, _obeying(fresh, count, self.names, self.below))


@final
@dataclass(frozen=True)
class TissueClasses:
    """Voxels of tissues: each one's values vary round its means, together if so told; some voxels hold two tissues.

    A value is the mean times a log-normal factor of mean one, so signs stay and means and relative standard deviations
    are those given. In a voxel of two tissues, each fills a share drawn evenly from 0 to 1, and the parameters are
    their means; all but M0 are weighted with M0, where that is drawn, as in `fastqmri.phantoms.Phantom`.

    Attributes:
        tissues: tissue -> name -> mean, the same names for all.
        spread: relative standard deviation within a tissue, of all or name -> its own.
        weights: how often each tissue is met, in the order of ``tissues``; alike if empty.
        correlation: pairs of names -> correlation of the logarithms within a tissue.
        mixed: share of the voxels that hold two tissues.

    Raises:
        PlausibilityError: a negative spread, weights that are none, correlations that can't hold together, or a share
            outside 0 to 1.
        ShapeError: weights of another number of tissues.
        UnknownNameError: tissues of different names, or a spread or correlation of what is not drawn.
    """

    tissues: Mapping[str, Mapping[str, float]]
    spread: float | Mapping[str, float] = 0.05
    weights: tuple[float, ...] = ()
    correlation: Mapping[tuple[str, str], float] = field(default_factory=dict)
    mixed: float = 0.0

    def __post_init__(self) -> None:
        for tissue, means in self.tissues.items():
            if set(means) != set(self.names):
                raise UnknownNameError(
                    f"{tissue} with {', '.join(means)}",
                    f"the first tissue has {', '.join(self.names)}.",
                    "Give every tissue a mean of the same names.",
                )
        spreads = self.spread if isinstance(self.spread, Mapping) else {}
        for name in [*spreads, *(name for pair in self.correlation for name in pair)]:
            _known_name(name, self.names)
        if min(self._spreads().tolist(), default=0.0) < 0:
            raise PlausibilityError(
                f"a spread of {self.spread}", "standard deviations are not negative.", "Give 0.02 to 0.2."
            )
        _check_weights(self.weights, len(self.tissues), self.mixed)
        self._factor()

    @classmethod
    def brain(
        cls,
        names: tuple[str, ...],
        *,
        tissues: tuple[str, ...] = ("grey matter", "white matter", "cerebrospinal fluid"),
        field_strength: float = 3.0,
        spread: float | Mapping[str, float] = 0.05,
        weights: tuple[float, ...] = (),
        correlation: Mapping[tuple[str, str], float] | None = None,
        mixed: float = 0.0,
    ) -> TissueClasses:
        """Tissues with the means of `fastqmri.phantoms.tissue_properties`.

        Args:
            names: properties, of those it lists.
            tissues: of those it knows.
            field_strength: 1.5 or 3 T.
            spread: see the class, as for all that follow.
            weights: of the tissues.
            correlation: within a tissue.
            mixed: share of the voxels that hold two tissues.
        """
        table = {tissue: tissue_properties(tissue, field_strength) for tissue in tissues}
        for name in names:
            _known_name(name, tuple(table[tissues[0]]))
        means = {tissue: {name: row[name] for name in names} for tissue, row in table.items()}
        return cls(means, spread, weights, correlation or {}, mixed)

    @property
    def names(self) -> tuple[str, ...]:
        """What is drawn, in order."""
        return tuple(next(iter(self.tissues.values())))

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Name -> (count,)."""
        means = torch.tensor([[row[name] for name in self.names] for row in self.tissues.values()]).T
        sigma = self._spreads().square().log1p().sqrt()
        factor = (sigma[:, None] * self._factor()).float()
        shift = (sigma.square() / 2).float()[:, None]

        def fresh() -> Tensor:
            tissue = _chosen(self.weights, len(self.tissues), count, generator)
            normal = torch.randn((len(self.names), count), generator=generator)
            return means[:, tissue] * (factor @ normal - shift).exp()

        return _named(self.names, _blended(fresh, count, self.mixed, self.names, generator))

    def _spreads(self) -> Tensor:
        """(name,) float64."""
        if isinstance(self.spread, Mapping):
            return torch.tensor([self.spread.get(name, 0.0) for name in self.names], dtype=torch.float64)
        return torch.full((len(self.names),), self.spread, dtype=torch.float64)

    def _factor(self) -> Tensor:
        """Cholesky factor of the correlations, (name, name) float64."""
        matrix = torch.eye(len(self.names), dtype=torch.float64)
        for (one, other), value in self.correlation.items():
            i, j = self.names.index(one), self.names.index(other)
            matrix[i, j] = matrix[j, i] = value
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if int(failed) or any(one == other for one, other in self.correlation):
            raise PlausibilityError(
                f"correlations {dict(self.correlation)}",
                "no numbers are correlated like that.",
                "Give values between -1 and 1 that do not contradict each other.",
            )
        return factor


@final
@dataclass(frozen=True)
class Mixture:
    """Each voxel from one of several priors, or a blend of two of its draws.

    Attributes:
        parts: priors of the same parameters.
        weights: how often each is taken; alike if empty.
        mixed: share of the voxels that hold two draws, see `TissueClasses`.

    Raises:
        PlausibilityError: weights that are none, or a share outside 0 to 1.
        ShapeError: weights of another number of priors.
        UnknownNameError: priors of different parameters.
    """

    parts: tuple[Prior, ...]
    weights: tuple[float, ...] = ()
    mixed: float = 0.0

    def __post_init__(self) -> None:
        for part in self.parts[1:]:
            if set(part.names) != set(self.names):
                raise UnknownNameError(
                    f"a mixture of {', '.join(self.names)} and {', '.join(part.names)}",
                    "a voxel would lack what one of them draws.",
                    "Give all parts the same parameters.",
                )
        _check_weights(self.weights, len(self.parts), self.mixed)

    @property
    def names(self) -> tuple[str, ...]:
        """What is drawn, in order."""
        return self.parts[0].names

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Name -> (count,)."""

        def fresh() -> Tensor:
            part = _chosen(self.weights, len(self.parts), count, generator)
            value = torch.empty(len(self.names), count)
            for i, prior in enumerate(self.parts):
                here = part == i
                drawn = prior.draw(int(here.sum()), generator)
                value[:, here] = torch.stack([drawn[name] for name in self.names])
            return value

        return _named(self.names, _blended(fresh, count, self.mixed, self.names, generator))


def _ranges_of(model: SignalModel) -> dict[str, tuple[float, float]]:
    """Name -> prior range of what a fit estimates."""
    return {p.name: p.prior for p in model.parameters if p.nominal is None}


def _named(names: tuple[str, ...], rows: Tensor) -> dict[str, Tensor]:
    return dict(zip(names, rows.unbind(), strict=True))


def _obeying(fresh: Callable[[int], Tensor], count: int, names: tuple[str, ...], below: Below) -> Tensor:
    """(name, count) of ``fresh(size)``, voxels that break ``below`` drawn again."""
    value = fresh(count)
    pairs = [(names.index(one), names.index(other)) for one, other in below]
    bad = torch.zeros(count, dtype=torch.bool)
    for _ in range(_ROUNDS):
        bad = torch.zeros(count, dtype=torch.bool)
        for one, other in pairs:
            bad |= value[one] >= value[other]
        missing = int(bad.sum())
        if not missing:
            return value
        value[:, bad] = fresh(missing)
    raise PlausibilityError(
        f"{int(bad.sum())} of {count} voxels after {_ROUNDS} rounds",
        f"the ranges hardly ever keep {' and '.join(f'{a} below {b}' for a, b in below)}.",
        "Choose ranges that overlap less.",
    )


def _chosen(weights: tuple[float, ...], parts: int, count: int, generator: torch.Generator) -> Tensor:
    """(count,) numbers of parts, as often as weighted."""
    if not weights:
        return torch.randint(parts, (count,), generator=generator)
    edges = torch.tensor(weights, dtype=torch.float64).cumsum(0)
    place = torch.rand(count, dtype=torch.float64, generator=generator) * edges[-1]
    return torch.searchsorted(edges, place, right=True).clamp_max(parts - 1)


def _blended(
    fresh: Callable[[], Tensor], count: int, mixed: float, names: tuple[str, ...], generator: torch.Generator
) -> Tensor:
    """(name, count): some voxels hold two draws, whose means they take, weighted with M0 where it is drawn."""
    value = fresh()
    if not mixed:
        return value
    other = fresh()
    share = torch.rand(count, generator=generator)
    share = torch.where(torch.rand(count, generator=generator) < mixed, share, 0.0)
    if "M0" not in names:
        return torch.lerp(value, other, share)
    row = names.index("M0")
    density = torch.lerp(value[row], other[row], share)
    blend = torch.lerp(value, other, share * other[row] / density.clamp_min(1e-30))
    blend[row] = density
    return blend


def _check(ranges: Mapping[str, tuple[float, float]], below: Below) -> None:
    for name, (low, high) in ranges.items():
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise PlausibilityError(
                f"{name} from {low:g} to {high:g}",
                "a range has finite limits, the lower one first.",
                "Check the order and the unit.",
            )
    _check_names(tuple(ranges), below)
    for one, other in below:
        if ranges[one][0] >= ranges[other][1]:
            raise PlausibilityError(
                f"{one} from {ranges[one][0]:g}, {other} up to {ranges[other][1]:g}",
                f"{one} can never be below {other}.",
                "Check both ranges.",
            )


def _check_names(names: tuple[str, ...], below: Below) -> None:
    for pair in below:
        for name in pair:
            _known_name(name, names)


def _known_name(name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise UnknownNameError(
            f"parameter {name!r}", "it is not drawn here.", f"Use one of {', '.join(names)}."
        )


def _check_weights(weights: tuple[float, ...], parts: int, mixed: float) -> None:
    if weights and len(weights) != parts:
        raise ShapeError(
            f"{len(weights)} weights for {parts} parts", "each part has one.", "Give one weight a part."
        )
    if weights and (min(weights) < 0 or not 0 < sum(weights) < math.inf):
        raise PlausibilityError(
            f"weights {weights}", "they are not negative and not all zero.", "Give relative frequencies."
        )
    if not 0 <= mixed <= 1:
        raise PlausibilityError(f"a share of mixed voxels of {mixed:g}", "it is a fraction.", "Give 0 to 1.")
