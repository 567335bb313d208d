"""What a case of a signal model is, and the checks that every model must pass.

The checks are plain functions that raise AssertionError, so that other tests can hand them a faulty model and expect
them to object.
"""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from fastqmri.physics.signal import SignalModel

VOXELS = (3, 1, 5)
"""Odd and unequal sides."""


Draw = Callable[[SignalModel, int, torch.Generator], Tensor]


def from_priors(model: SignalModel, voxels: int, generator: torch.Generator) -> Tensor:
    """(parameter, voxel), evenly over each prior, or over its logarithm where it spans more than fivefold.

    A prior without width, that of a phase, means any angle.
    """
    rows = []
    for parameter in model.parameters:
        u = torch.rand(voxels, dtype=torch.float64, generator=generator)
        low, high = parameter.prior
        if low == high:
            low, high = -math.pi, math.pi
        if low > 0 and high / low > 5:
            rows.append(low * (high / low) ** u)
        else:
            rows.append(low + (high - low) * u)
    return torch.stack(rows)


@dataclass(frozen=True)
class Case:
    """One signal model under test.

    Attributes:
        name: for the test's id.
        build: makes the model.
        symbols: name in the model's `equation` -> values of the acquisition, (contrast,) or a number; None
            where the formula is more than arithmetic.
        draw: plausible tissue parameters.
        theta: the non-linear unknown of `separable` as a function of the parameters.
        scales: known maps that the separable form needs, as a function of the parameters.
        schedule: fields of the acquisition by which the signal can be differentiated.
        ill_conditioned: whether tissue of its priors may lie in valleys that a fit creeps along, or ends a bound in.
        costly: whether a signal takes so long that solvers are tried on it only when asked for (``-m slow``).
    """

    name: str
    build: Callable[[], SignalModel]
    symbols: Mapping[str, np.ndarray | float] | None
    draw: Draw = from_priors
    theta: Callable[[Tensor], Tensor] | None = None
    scales: Callable[[Tensor], Mapping[str, Tensor]] = field(default=lambda x: {})
    schedule: tuple[str, ...] = ()
    ill_conditioned: bool = False
    costly: bool = False

    @property
    def determined(self) -> bool:
        """Whether there are at least as many samples as unknowns."""
        model = self.build()
        samples = model.acquisition.contrasts * (2 if model.complex_valued else 1)
        return samples >= len(model.estimated)

    def tissue(self, generator: torch.Generator, voxels: tuple[int, ...] = VOXELS) -> Tensor:
        """(parameter, *voxels) plausible tissue parameters, float64."""
        flat = self.draw(self.build(), math.prod(voxels), generator)
        return flat.reshape(-1, *voxels)


_FUNCTIONS = {"exp": np.exp, "sin": np.sin, "cos": np.cos, "abs": np.abs}
_OPERATORS = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}


def evaluate_equation(equation: str, names: Mapping[str, np.ndarray | float]) -> np.ndarray:
    """Evaluate arithmetic in numpy; anything but numbers, names, + - * / ^ and four functions is an error."""

    def value(node: ast.expr) -> np.ndarray:
        match node:
            case ast.Constant():
                return np.asarray(node.value)
            case ast.Name():
                return np.asarray(names[node.id])
            case ast.BinOp():
                return _OPERATORS[type(node.op)](value(node.left), value(node.right))
            case ast.UnaryOp(op=ast.USub()):
                return -value(node.operand)
            case ast.Call(func=ast.Name()):
                (argument,) = node.args
                return _FUNCTIONS[node.func.id](value(argument))
            case _:
                raise ValueError(f"not plain arithmetic: {ast.dump(node)}")

    return value(ast.parse(equation.replace("^", "**"), mode="eval").body)


def autograd_jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """∂function/∂x by forward-mode differentiation: (row, parameter, voxel) of x (parameter, voxel).

    Voxels don't depend on each other (`check_batch`), so that all of them take one tangent at a time.
    """
    tangents = torch.eye(len(x), dtype=x.dtype)[:, :, None].expand(-1, -1, x.shape[1])
    return torch.stack([torch.func.jvp(function, (x,), (tangent.clone(),))[1] for tangent in tangents], 1)


def assert_close(
    found: Tensor, wanted: Tensor, tolerance: float, what: str, over: tuple[int, ...] = (0,)
) -> None:
    """Compare relative to the largest magnitude along the axes ``over``."""
    assert found.shape == wanted.shape, f"{what}: shape {tuple(found.shape)}, wanted {tuple(wanted.shape)}"
    scale = wanted.abs().amax(over, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    worst = float(((found - wanted).abs() / scale).max())
    assert worst <= tolerance, f"{what}: relative difference {worst:.3g} exceeds {tolerance:g}"


def check_jacobian(model: SignalModel, x: Tensor) -> None:
    """The analytic Jacobian is that of automatic differentiation, of x (parameter, voxel) in float64."""
    assert_close(model.jacobian(x), autograd_jacobian(model.forward, x), 1e-9, "Jacobian")


def check_reverse(model: SignalModel, x: Tensor, generator: torch.Generator) -> None:
    """Gradients that training takes, backwards through `forward`, are the Jacobian's."""
    leaf = x.clone().requires_grad_()
    signal = model(leaf)
    weight = torch.randn(signal.shape, dtype=torch.float64, generator=generator).to(signal.dtype)
    if signal.is_complex():
        weight = weight * torch.exp(1j * torch.rand(signal.shape, dtype=torch.float64, generator=generator))
    (signal * weight.conj()).real.sum().backward()
    wanted = (model.jacobian(x) * weight.conj()[:, None]).real.sum(0)
    size = (model.jacobian(x).abs() * weight.abs()[:, None]).sum(0)
    worst = float(((leaf.grad - wanted).abs() / size.clamp_min(1e-300)).max())
    assert worst <= 1e-9, f"reverse mode: {worst:.3g}"


def check_schedule(
    model: SignalModel, x: Tensor, name: str, generator: torch.Generator, step: float = 1e-5
) -> None:
    """Derivatives by a field of the acquisition, forwards and backwards, are those of central differences.

    Along one random direction, a step of which is a share ``step`` of the field's size; relative to the largest.
    """
    acquisition = model.acquisition
    values = acquisition.tensor(name)
    size = values.abs().max().clamp_min(1e-12)
    direction = size * torch.randn(values.shape, dtype=torch.float64, generator=generator)

    def signal(live: Tensor) -> Tensor:
        moved = copy.copy(model)
        moved.acquisition = acquisition.differentiable(**{name: live})
        return moved(x)

    ahead, behind = (signal(values + k * step * direction) for k in (1, -1))
    further = [signal(values + k * step * direction) for k in (2, -2)]
    wanted = (8 * (ahead - behind) - (further[0] - further[1])) / (12 * step)
    assert float(wanted.abs().max()) > 0, f"the signal does not depend on {name}"
    forward = torch.func.jvp(signal, (values,), (direction,))[1]
    assert_close(forward, wanted, 1e-6, f"forward mode by {name}", over=tuple(range(wanted.ndim)))
    weight = torch.randn(wanted.shape, dtype=wanted.dtype, generator=generator)
    leaf = values.clone().requires_grad_()
    (signal(leaf) * weight.conj()).real.sum().backward()
    along = (leaf.grad * direction).sum()
    scale = (wanted * weight.conj()).abs().sum()
    worst = float((along - (wanted * weight.conj()).real.sum()).abs() / scale)
    assert worst <= 1e-6, f"reverse mode by {name}: {worst:.3g}"


def check_evaluate(model: SignalModel, x: Tensor) -> None:
    """`evaluate` is `forward` and `jacobian`."""
    signal, jacobian = model.evaluate(x)
    assert_close(signal, model(x), 1e-13, "signal of evaluate")
    assert_close(jacobian, model.jacobian(x), 1e-13, "Jacobian of evaluate")


def check_batch(model: SignalModel, x: Tensor) -> None:
    """All voxels at once, on any voxel axes, give what each voxel alone gives."""
    flat = x.reshape(len(x), -1)
    for kind, function in (("signal", model.forward), ("jacobian", model.jacobian)):
        together = function(x)
        assert together.shape[-(x.ndim - 1) :] == x.shape[1:]
        one_by_one = torch.stack([function(flat[:, v]) for v in range(flat.shape[1])], -1)
        leading = together.shape[: together.ndim - x.ndim + 1]
        assert_close(together.reshape(*leading, -1), one_by_one, 1e-13, f"{kind}: batch against loop")


def check_precision(model: SignalModel, x: Tensor) -> None:
    """Single precision agrees with double to 1e-5 of the strongest contrast.

    Derivatives, times their parameter, do so to 1e-4: some vanish, and some come from long recurrences.
    """
    single = model(x.float())
    assert single.dtype == (torch.complex64 if model.complex_valued else torch.float32)
    exact = model(x.float().double())
    assert_close(single.to(exact.dtype), exact, 1e-5, "float32 signal")
    derivatives = model.jacobian(x.float().double())
    difference = (model.jacobian(x.float()).to(derivatives.dtype) - derivatives).abs() * x.abs()
    size = torch.maximum(derivatives.abs() * x.abs(), exact.abs()[:, None]).amax(0)
    worst = float((difference / size).max())
    assert worst <= 1e-4, f"float32 Jacobian: relative difference {worst:.3g}"


def check_equation(model: SignalModel, x: Tensor, symbols: Mapping[str, np.ndarray | float]) -> None:
    """The formula shown to people is the one that is computed."""
    names: dict[str, np.ndarray | float] = {"pi": math.pi}
    for name, value in symbols.items():
        names[name] = value[:, None] if isinstance(value, np.ndarray) else value
    for parameter, row in zip(model.parameters, x, strict=True):
        assert parameter.name not in names
        names[parameter.name] = row.numpy()[None]
    written = torch.from_numpy(np.asarray(evaluate_equation(model.equation, names)))
    computed = model(x)
    assert_close(written.to(computed.dtype).expand_as(computed), computed, 1e-12, "equation")


def check_derived(model: SignalModel, x: Tensor) -> None:
    """Gradients of derived quantities are those of automatic differentiation."""
    for derived in model.derived:
        value, gradient = derived.evaluate(x)
        assert value.shape == x.shape[1:]
        wanted = autograd_jacobian(lambda z, derived=derived: derived.evaluate(z)[0][None], x)[0]
        assert_close(gradient, wanted, 1e-7, f"gradient of {derived.parameter.name}")


def check_separable(case: Case, model: SignalModel, x: Tensor) -> None:
    """The separable form reproduces the signal; its way to the parameters has the right Jacobian."""
    structure = model.separable()
    assert structure is not None
    assert case.theta is not None
    theta = case.theta(x)
    low, high = structure.bounds
    assert bool(((theta >= low) & (theta <= high)).all())
    if structure.kind == "exponential":
        phi = torch.exp(-theta * structure.abscissa[0][:, None])
    else:
        sine, cosine = structure.abscissa[:, :, None]
        if structure.scale is not None:
            assert structure.angles is not None
            angle = structure.angles[:, None] * case.scales(x)[structure.scale]
            sine, cosine = torch.sin(angle), torch.cos(angle)
        phi = sine / (1 - theta * cosine)
    signed = model.signed() or model
    signal = signed(x)
    basis = torch.stack([torch.ones_like(phi), phi] if structure.constant else [phi], 1)
    linear = torch.linalg.lstsq(basis.permute(2, 0, 1), signal.T[:, :, None]).solution[:, :, 0].T
    assert_close((basis * linear[None]).sum(1), signal, 1e-9, "separable form")
    z = torch.cat([linear, theta[None]])
    found, jacobian = structure.to_parameters(z)
    estimated = x[list(model.estimated)]
    # a short decay at long echoes leaves little to tell the parts apart by
    assert_close(found, estimated, 1e-5, "parameters from the separable form", over=())
    wanted = autograd_jacobian(lambda column: structure.to_parameters(column)[0], z)
    assert_close(jacobian, wanted, 1e-9, "Jacobian of to_parameters")


def check_log_linear(model: SignalModel, x: Tensor) -> None:
    """The logarithm's line reproduces the signal; its way to the parameters has the right Jacobian."""
    known = {p.name: row for p, row in zip(model.parameters, x, strict=True) if p.nominal is not None}
    structure = model.log_linear(known)
    assert structure is not None
    beta = torch.linalg.lstsq(structure.design, model(x).log()).solution
    assert_close(torch.exp(structure.design @ beta), model(x), 1e-9, "log-linear form")
    found, jacobian = structure.to_parameters(beta)
    assert_close(found, x[list(model.estimated)], 1e-9, "parameters from the log-linear form", over=(1,))
    wanted = autograd_jacobian(lambda column: structure.to_parameters(column)[0], beta)
    assert_close(jacobian, wanted, 1e-9, "Jacobian of to_parameters")


def check_ranges(model: SignalModel) -> None:
    """Priors lie inside bounds, nominal values inside priors, and the amplitude comes first."""
    for parameter in (*model.parameters, *(d.parameter for d in model.derived)):
        (low, high), (least, most) = parameter.bounds, parameter.prior
        assert low <= least <= most <= high, parameter.name
        assert low < high
        if parameter.nominal is not None:
            assert least <= parameter.nominal <= most
    assert model.parameters[0].unit == "arbitrary"
    names = [p.name for p in model.parameters] + [d.parameter.name for d in model.derived]
    assert len(set(names)) == len(names)
