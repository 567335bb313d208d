"""Every signal model with an acquisition, plausible tissue, and the checks that each of them must pass.

A model joins all parametrised tests by one `Case` in `CASES`. The checks are plain functions that raise
AssertionError, so that other tests can hand them a faulty model and expect them to object.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from fastqmri.core import (
    DiffusionWeighted,
    InversionRecovery,
    LookLocker,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    VariableFlipAngle,
    WeightedGradientEcho,
)
from fastqmri.physics.signal import (
    ApparentDiffusion,
    BiexponentialDecay,
    ComplexGradientEcho,
    DiffusionTensor,
    ExponentialDecay,
    IntravoxelIncoherentMotion,
    InversionRecoverySignal,
    LookLockerSignal,
    SharedDecay,
    SignalModel,
    SpinEchoTrain,
    SpoiledGradientEcho,
)

VOXELS = (3, 1, 5)
"""Odd and unequal sides."""


def unit_vectors(count: int, seed: int = 3) -> tuple[tuple[float, float, float], ...]:
    """Directions spread at random over the sphere."""
    vectors = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x, y, z = (vectors / vectors.norm(dim=1, keepdim=True)).unbind(1)
    return tuple(zip(x.tolist(), y.tolist(), z.tolist(), strict=True))


FLIP_ANGLES = VariableFlipAngle(
    flip_angle=tuple(math.radians(a) for a in (2, 3, 5, 8, 11, 15, 20)), repetition_time=0.0052
)
INVERSIONS = InversionRecovery(inversion_time=(0.05, 0.12, 0.3, 0.7, 1.3, 2.2, 4.1), repetition_time=5.5)
READOUTS = LookLocker(inversion_time=tuple(0.03 + 0.17 * i for i in range(25)))
SPIN_ECHOES = MultiEchoSpinEcho(echo_time=tuple(0.0097 * (i + 1) for i in range(11)))
UNEVEN_ECHOES = MultiEchoSpinEcho(echo_time=(0.031, 0.008, 0.093, 0.017, 0.055, 0.007, 0.151))
GRADIENT_ECHOES = MultiEchoGradientEcho(echo_time=(0.0023, 0.0046, 0.0071, 0.0119, 0.0187))
WEIGHTINGS = WeightedGradientEcho(
    echo_time=(*GRADIENT_ECHOES.echo_time, *GRADIENT_ECHOES.echo_time[:3]),
    weighting=("PDw",) * 5 + ("T1w",) * 3,
)
SHELLS = DiffusionWeighted(
    b_value=(0.0, 0.0, *(700.0,) * 9, *(1500.0,) * 12),
    b_vector=((0.0, 0.0, 0.0),) * 2 + unit_vectors(21),
)
TRACE = DiffusionWeighted(b_value=(0.0, 150.0, 400.0, 800.0, 1300.0))
PERFUSION = DiffusionWeighted(b_value=(0.0, 5.0, 10.0, 20.0, 35.0, 60.0, 100.0, 200.0, 400.0, 600.0, 900.0))

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


def tissue_tensors(model: SignalModel, voxels: int, generator: torch.Generator) -> Tensor:
    """S0 and tensors with positive, well separated eigenvalues in every orientation."""
    frames, _ = torch.linalg.qr(torch.randn(voxels, 3, 3, dtype=torch.float64, generator=generator))
    low = torch.tensor([0.9e-3, 0.45e-3, 0.1e-3], dtype=torch.float64)
    high = torch.tensor([2.0e-3, 0.8e-3, 0.35e-3], dtype=torch.float64)
    values = low + (high - low) * torch.rand(voxels, 3, dtype=torch.float64, generator=generator)
    d = torch.einsum("vik,vk,vjk->ijv", frames, values, frames)
    s0 = 0.5 + torch.rand(voxels, dtype=torch.float64, generator=generator)
    return torch.stack([s0, d[0, 0], d[0, 1], d[0, 2], d[1, 1], d[1, 2], d[2, 2]])


def look_locker_tissue(model: SignalModel, voxels: int, generator: torch.Generator) -> Tensor:
    """The driven recovery is always faster than the free one: T1star < T1."""
    x = from_priors(model, voxels, generator)
    x[2] = x[1] * (0.4 + 0.55 * torch.rand(voxels, dtype=torch.float64, generator=generator))
    return x


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
    """

    name: str
    build: Callable[[], SignalModel]
    symbols: Mapping[str, np.ndarray | float] | None
    draw: Draw = from_priors
    theta: Callable[[Tensor], Tensor] | None = None
    scales: Callable[[Tensor], Mapping[str, Tensor]] = field(default=lambda x: {})

    def tissue(self, generator: torch.Generator, voxels: tuple[int, ...] = VOXELS) -> Tensor:
        """(parameter, *voxels) plausible tissue parameters, float64."""
        flat = self.draw(self.build(), math.prod(voxels), generator)
        return flat.reshape(-1, *voxels)


def _ti(acquisition: InversionRecovery | LookLocker) -> np.ndarray:
    return np.array(acquisition.inversion_time)


def _recovery(signal: str, inversion: str, repeat: float | None = 5.5) -> Case:
    acquisition = InversionRecovery(inversion_time=INVERSIONS.inversion_time, repetition_time=repeat)
    symbols: dict[str, np.ndarray | float] = {"TI": _ti(acquisition)}
    if repeat is not None:
        symbols["TR"] = repeat
    return Case(
        f"irt1-{signal}-{inversion}" + ("" if repeat is not None else "-long-TR"),
        lambda: InversionRecoverySignal(acquisition, signal, inversion),  # type: ignore[arg-type]
        symbols,
        theta=lambda x: 1 / x[1],
    )


def _echoes(name: str, acquisition: MultiEchoSpinEcho | MultiEchoGradientEcho, offset: bool = False) -> Case:
    return Case(
        name,
        lambda: ExponentialDecay(acquisition, offset),
        {"TE": np.array(acquisition.echo_time)},
        theta=lambda x: 1 / x[1],
    )


CASES = (
    Case(
        "vfa",
        lambda: SpoiledGradientEcho(FLIP_ANGLES),
        {"FA": np.array(FLIP_ANGLES.flip_angle), "TR": FLIP_ANGLES.repetition_time},
        theta=lambda x: torch.exp(-FLIP_ANGLES.repetition_time / x[1]),
        scales=lambda x: {"B1": x[2]},
    ),
    *(
        _recovery(signal, inversion)
        for signal in ("magnitude", "real", "complex")
        for inversion in ("free", "perfect")
    ),
    _recovery("real", "perfect", repeat=None),
    *(
        Case(
            f"looklocker-{signal}",
            lambda signal=signal: LookLockerSignal(READOUTS, signal),
            {"TI": _ti(READOUTS)},
            draw=look_locker_tissue,
            theta=lambda x: 1 / x[2],
        )
        for signal in ("magnitude", "real")
    ),
    _echoes("mese", SPIN_ECHOES),
    _echoes("mese-uneven", UNEVEN_ECHOES),
    _echoes("mese-offset", SPIN_ECHOES, offset=True),
    _echoes("megre", GRADIENT_ECHOES),
    Case(
        "biexponential",
        lambda: BiexponentialDecay(SPIN_ECHOES),
        {"TE": np.array(SPIN_ECHOES.echo_time)},
    ),
    *(
        Case(f"mese-stimulated-{profile}", lambda profile=profile: SpinEchoTrain(SPIN_ECHOES, profile), None)
        for profile in SpinEchoTrain.PROFILES
    ),
    Case("shared-decay", lambda: SharedDecay(WEIGHTINGS), None),
    Case(
        "megre-complex",
        lambda: ComplexGradientEcho(GRADIENT_ECHOES),
        {"TE": np.array(GRADIENT_ECHOES.echo_time)},
    ),
    Case(
        "dti",
        lambda: DiffusionTensor(SHELLS),
        {
            "b": np.array(SHELLS.b_value),
            **{f"g{axis}": np.array(SHELLS.b_vector)[:, i] for i, axis in enumerate("xyz")},
        },
        draw=tissue_tensors,
    ),
    Case(
        "adc",
        lambda: ApparentDiffusion(TRACE),
        {"b": np.array(TRACE.b_value)},
        theta=lambda x: x[1],
    ),
    Case(
        "ivim",
        lambda: IntravoxelIncoherentMotion(PERFUSION),
        {"b": np.array(PERFUSION.b_value)},
    ),
)
BY_NAME = {case.name: case for case in CASES}

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
    worst = float(((leaf.grad - wanted).abs() / size).max())
    assert worst <= 1e-9, f"reverse mode: {worst:.3g}"


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
    structure = model.log_linear()
    assert structure is not None
    beta = torch.linalg.lstsq(structure.design, model(x).log()).solution
    assert_close(torch.exp(structure.design @ beta), model(x), 1e-9, "log-linear form")
    found, jacobian = structure.to_parameters(beta)
    assert_close(found, x, 1e-9, "parameters from the log-linear form", over=(1,))
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
