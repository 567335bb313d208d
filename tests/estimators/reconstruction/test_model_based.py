"""Maps straight from k-space: gradients against autograd, maps against the truth, spread against repetition."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from estimators.reconstruction.undersampled import decay, error, flip_angles, scan
from fastqmri.core import (
    AcquisitionError,
    DataError,
    DiffusionWeighted,
    Flag,
    InversionRecovery,
    LookLocker,
    Measurement,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    UnknownNameError,
)
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.reconstruction import ModelBased, TwoStep, ZeroFilled
from fastqmri.estimators.reconstruction.model_data import ModelData, pulled_back, pushed_forward
from fastqmri.estimators.reconstruction.penalty import Penalty
from fastqmri.estimators.reconstruction.unknowns import Unknowns, unscaled
from fastqmri.physics.encoding import (
    CartesianEncoding,
    FiniteDifferences,
    LinearOperator,
    Wavelets,
    synthetic_sensitivities,
)
from fastqmri.physics.signal import (
    ComplexGradientEcho,
    DiffusionTensor,
    ExponentialDecay,
    InversionRecoverySignal,
    LookLockerSignal,
    SignalModel,
)

_SIDES = (5, 6)
_B = (0.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 2000.0)
_S = 0.5**0.5
_DIRECTIONS = (
    (0.0, 0.0, 0.0),
    (1.0, 0.0, 0.0),
    (0.0, 1.0, 0.0),
    (0.0, 0.0, 1.0),
    (_S, _S, 0.0),
    (_S, 0.0, _S),
    (0.0, _S, _S),
    (_S, -_S, 0.0),
)


def _tensor() -> SignalModel:
    return DiffusionTensor(DiffusionWeighted(b_value=_B, b_vector=_DIRECTIONS))


def _inversion(signal: str) -> SignalModel:
    return InversionRecoverySignal(InversionRecovery(inversion_time=(0.05, 0.4, 1.1, 2.5)), signal)


def _look_locker() -> SignalModel:
    return LookLockerSignal(LookLocker(inversion_time=tuple(0.05 + 0.25 * i for i in range(12))))


def _gradient_echo() -> SignalModel:
    return ComplexGradientEcho(MultiEchoGradientEcho(echo_time=(0.003, 0.006, 0.01, 0.015, 0.02)))


MODELS = {
    "t1": flip_angles,
    "t2": decay,
    "offset": lambda: ExponentialDecay(MultiEchoSpinEcho(echo_time=(0.01, 0.03, 0.06, 0.1)), offset=True),
    "t2star": lambda: ExponentialDecay(MultiEchoGradientEcho(echo_time=(0.003, 0.01, 0.02))),
    "complex": _gradient_echo,
    "inversion": lambda: _inversion("magnitude"),
    "inversion-complex": lambda: _inversion("complex"),
    "look-locker": _look_locker,
    "tensor": _tensor,
}


def _drawn(model: SignalModel, g: torch.Generator) -> tuple[Unknowns, torch.Tensor]:
    """Unknowns of random scale and value, the parameters inside their priors."""
    known = {
        p.name: 0.8 + 0.4 * torch.rand(_SIDES, dtype=torch.float64, generator=g)
        for p in model.parameters
        if p.nominal is not None
    }
    unknowns = unscaled(model, known)
    rows = []
    for index in model.estimated:
        low, high = model.parameters[index].prior
        drawn = torch.rand(_SIDES, dtype=torch.float64, generator=g)
        rows.append(low + (0.1 + 0.8 * drawn) * (high - low))
    z = torch.randn(_SIDES, dtype=torch.complex128, generator=g)
    scale = 0.5 + torch.rand(len(unknowns.scale), dtype=torch.float64, generator=g)
    scale[1] = scale[0]
    unknowns = dataclasses.replace(unknowns, scale=scale)
    return unknowns, unknowns.pack(z, torch.stack(rows))


def _encoding(contrasts: int, g: torch.Generator) -> LinearOperator:
    maps = synthetic_sensitivities(_SIDES, 3, generator=g).to(torch.complex128)
    return CartesianEncoding(maps, torch.rand(contrasts, 1, _SIDES[1], generator=g) < 0.6)


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_of_the_data_term_is_that_of_autograd(name: str, generator: torch.Generator) -> None:
    model = MODELS[name]()
    unknowns, v = _drawn(model, generator)
    encoding = _encoding(model.acquisition.contrasts, generator)
    y = torch.randn(encoding(unknowns.basis(v).images.to(torch.complex128)).shape, dtype=torch.complex128)
    y = encoding.sampling(y)  # type: ignore[operator]
    data = ModelData.of(encoding, y, generator)
    state = data.state(unknowns, v)

    def direct(u: torch.Tensor) -> torch.Tensor:
        """From v to k-space in the open, the model's own forward in the middle."""
        x, scale = [], unknowns.scale
        amplitude = torch.complex(u[0], u[1]) / scale[0]
        row = 2
        for index in unknowns.model.estimated:
            parameter = unknowns.model.parameters[index]
            if index == 0:
                x.append(torch.ones_like(u[0]))
            elif parameter.name == "phase":
                x.append(torch.zeros_like(u[0]))
            else:
                value = u[row] / scale[row]
                logarithmic = parameter.unit == "s" or parameter.name == "ADC"
                x.append(value.exp() if logarithmic else value)
                row += 1
        known = [unknowns.known[p.name] for p in unknowns.model.parameters if p.nominal is not None]
        images = amplitude * unknowns.model.forward(torch.stack([*x, *known]))
        return 0.5 * (encoding(images) - y).abs().square().sum()

    u = v.clone().requires_grad_()
    value = direct(u)
    (wanted,) = torch.autograd.grad(value, u)
    assert state.value == pytest.approx(float(value.detach()), rel=1e-10)
    got = data.gradient(unknowns, state)
    assert float((got - wanted).norm() / wanted.norm()) < 1e-10


@pytest.mark.parametrize("name", MODELS)
def test_the_linearised_model_and_its_adjoint_belong_together(name: str, generator: torch.Generator) -> None:
    model = MODELS[name]()
    unknowns, v = _drawn(model, generator)
    basis = unknowns.basis(v)
    step = torch.randn(v.shape, dtype=v.dtype, generator=generator) * unknowns.typical(v)
    images = torch.randn(basis.images.shape, dtype=torch.complex128, generator=generator)
    forward = pushed_forward(unknowns, basis, step)
    back = pulled_back(unknowns, basis, images)
    left, right = (images.conj() * forward).real.sum(), (back * step).sum()
    assert float(left) == pytest.approx(float(right), rel=1e-10)
    h = 1e-6
    difference = (unknowns.basis(v + h * step).images - unknowns.basis(v - h * step).images) / (2 * h)
    assert float((difference - forward).norm() / forward.norm()) < 1e-6
    changes = (unknowns.parameters(v + h * step) - unknowns.parameters(v - h * step)) / (2 * h)
    assert torch.allclose(unknowns.changes(v, step), changes, rtol=1e-5, atol=1e-6)


def test_a_voxel_block_is_the_curvature_where_everything_is_sampled(generator: torch.Generator) -> None:
    model = flip_angles()
    unknowns, v = _drawn(model, generator)
    maps = synthetic_sensitivities(_SIDES, 3, generator=generator).to(torch.complex128)
    encoding = CartesianEncoding(maps, torch.ones(1, 1, 1, dtype=torch.bool))
    basis = unknowns.basis(v)
    data = ModelData.of(encoding, encoding(basis.images.to(torch.complex128)), generator)
    blocks = data.blocks(unknowns, basis)
    for row in range(len(v)):
        unit = torch.zeros_like(v)
        unit[row] = 1
        image = data.curvature(unknowns, basis, unit)
        assert torch.allclose(image, blocks[:, row], rtol=0.2, atol=0.05 * float(blocks.abs().max()))


@pytest.mark.parametrize("edge", [math.inf, 0.5])
@pytest.mark.parametrize("transform", [FiniteDifferences(2), Wavelets((8, 8), "haar")])
def test_the_penalty_s_gradient_is_that_of_autograd(
    transform: FiniteDifferences | Wavelets, edge: float, generator: torch.Generator
) -> None:
    penalty = Penalty(transform, ((0, 1), (2,)), (0.7, 1.3), edge)

    def bent(height: torch.Tensor) -> torch.Tensor:
        return height if edge == math.inf else edge * (1 + height / edge).log()

    v = torch.randn(3, 8, 8, dtype=torch.float64, generator=generator)
    u = v.clone().requires_grad_()
    total = 0.0
    for group, weight in (((0, 1), 0.7), ((2,), 1.3)):
        squares = transform(u[list(group)]).square().sum(0)
        if isinstance(transform, FiniteDifferences):
            total = total + weight * bent((squares.sum(0) + 0.01).sqrt() - 0.1).sum()
        else:
            fine = torch.ones(8, 8, dtype=torch.bool)
            fine[tuple(slice(side) for side in transform.coarse)] = False
            total = total + weight * bent((squares + 0.01).sqrt() - 0.1)[fine].sum()
    (wanted,) = torch.autograd.grad(total, u)
    assert penalty.value(v, 0.1) == pytest.approx(float(total.detach()), rel=1e-10)
    stiffness = penalty.stiffness(v, 0.1)
    assert torch.allclose(penalty.apply(stiffness, v), wanted, rtol=1e-9, atol=1e-12)


def test_the_diagonal_of_total_variation_is_exact(generator: torch.Generator) -> None:
    penalty = Penalty(FiniteDifferences(2), ((0,),), (1.0,))
    v = torch.randn(1, 4, 5, dtype=torch.float64, generator=generator)
    stiffness = penalty.stiffness(v, 0.1)
    units = torch.eye(20, dtype=torch.float64).view(20, 1, 4, 5)
    wanted = penalty.apply(stiffness, units).flatten(1).diagonal().view(1, 4, 5)
    assert torch.allclose(penalty.diagonal(stiffness, v), wanted)


@pytest.mark.parametrize(
    ("build", "name", "limits"),
    [(decay, "T2", {5.0: 5.0, 8.0: 8.0}), (flip_angles, "T1", {5.0: 6.0, 7.0: 8.0})],
)
def test_it_beats_two_steps_by_far(build: object, name: str, limits: dict[float, float]) -> None:
    """2 phantoms of 64² at each acceleration; limits of the methods' notes for T2, near them for T1."""
    model = build()  # type: ignore[operator]
    for acceleration, limit in limits.items():
        ours, two = [], []
        for seed in (11, 12):
            phantom, measurement = scan(model, acceleration, seed)
            ours.append(error(ModelBased(model, draws=0).estimate(measurement)[name].value, phantom, name))
            fit = TwoStep(ZeroFilled(), least_squares(model)).estimate(measurement)
            two.append(error(torch.nan_to_num(fit[name].value), phantom, name))
        assert sum(ours) / 2 < limit
        assert sum(ours) < 0.5 * sum(two)


def test_both_solvers_find_the_same_maps() -> None:
    phantom, measurement = scan(decay(), 4, 3, side=32)
    newton = ModelBased(decay(), draws=0, iterations=20).estimate(measurement)["T2"].value
    adam = ModelBased(decay(), draws=0, solver="adam", iterations=600).estimate(measurement)["T2"].value
    inside = phantom.mask
    assert float((newton - adam)[inside].norm() / newton[inside].norm()) < 0.02


def test_the_unit_of_the_data_does_not_matter() -> None:
    phantom, measurement = scan(decay(), 4, 5, side=32)
    factor = 2.0**20
    scaled = dataclasses.replace(
        measurement, data=measurement.data * factor, noise=(measurement.noise or 0) * factor
    )
    one, other = (ModelBased(decay()).estimate(m) for m in (measurement, scaled))
    inside = phantom.mask
    assert torch.allclose(one["T2"].value[inside], other["T2"].value[inside], rtol=1e-3)
    ratio = other["T2"].standard_deviation[inside] / one["T2"].standard_deviation[inside]
    assert float((ratio - 1).abs().median()) < 1e-3


def test_noise_is_found_where_it_is_not_given() -> None:
    phantom, measurement = scan(decay(), 5, 6)
    given = error(ModelBased(decay(), draws=0).estimate(measurement)["T2"].value, phantom, "T2")
    blind = ModelBased(decay(), draws=0).estimate(dataclasses.replace(measurement, noise=None))
    assert error(blind["T2"].value, phantom, "T2") < 1.15 * given + 0.3


def test_the_same_input_gives_the_same_bytes() -> None:
    _, measurement = scan(decay(), 4, 7, side=32)
    one, other = (ModelBased(decay()).estimate(measurement) for _ in range(2))
    assert torch.equal(one.value.nan_to_num(), other.value.nan_to_num())
    assert torch.equal(one.standard_deviation.nan_to_num(), other.standard_deviation.nan_to_num())


def test_standard_deviations_cover_repeated_scans_and_the_truth() -> None:
    """16 draws of the noise, 32²: scatter below the standard deviation, which includes what smoothing hides."""
    model = decay()
    phantom, measurement = scan(model, 4, 9, side=32)
    g = torch.Generator().manual_seed(1)
    clean = measurement.encoding(phantom.signal(model).to(torch.complex64))  # type: ignore[misc]
    values, deviations = [], []
    for _ in range(16):
        white = torch.randn(clean.shape, dtype=clean.dtype, generator=g) * 2**0.5 * measurement.noise
        noisy = clean + measurement.encoding.sampling(white)  # type: ignore[union-attr]
        maps = ModelBased(model).estimate(dataclasses.replace(measurement, data=noisy))
        values.append(maps["T2"].value)
        deviations.append(maps["T2"].standard_deviation)
    inside = phantom.mask
    scatter = torch.stack(values).std(0)[inside]
    stated = torch.stack(deviations).square().mean(0).sqrt()[inside]
    assert 0.3 < float((scatter / stated).median()) < 1.1
    score = ((torch.stack(values) - phantom.maps["T2"]) / torch.stack(deviations))[:, inside]
    assert 0.7 < float(score.square().mean().sqrt()) < 1.5


def test_flags_and_refusals() -> None:
    model = flip_angles()
    phantom, measurement = scan(model, 4, 4, side=32)
    known = {"B1": measurement.known["B1"].clone()}
    where = tuple(int(i) for i in phantom.mask.nonzero()[40])
    known["B1"][where] = math.nan
    maps = ModelBased(model, draws=0).estimate(dataclasses.replace(measurement, known=known))
    assert int(maps.flags[where]) & int(Flag.INVALID_INPUT)
    assert bool(torch.isnan(maps["T1"].value[where]))
    assert bool((maps.flags[~phantom.mask] == int(Flag.MASKED)).all())
    assert bool(torch.isnan(maps.value[:, ~phantom.mask]).all())
    assert float(maps.trusted[phantom.mask].float().mean()) > 0.95
    with pytest.raises(UnknownNameError):
        ModelBased(decay()).estimate(
            dataclasses.replace(scan(decay(), 4, 4, side=32)[1], known={"B1": known["B1"]})
        )
    with pytest.raises(AcquisitionError):
        ModelBased(decay()).estimate(measurement)
    spoiled = measurement.data.clone()
    spoiled[0, 0, 3, 3] = math.nan
    with pytest.raises(DataError, match="NaN"):
        ModelBased(model).estimate(dataclasses.replace(measurement, data=spoiled))
    with pytest.raises(DataError, match="k-space"):
        ModelBased(model).estimate(
            Measurement(torch.ones(6, 4, 4), model.acquisition, known={"B1": torch.ones(4, 4)})
        )


def test_a_signal_that_does_not_fit_is_flagged() -> None:
    model = decay()
    phantom, measurement = scan(model, 1, 4, side=32, snr=200)
    images = phantom.signal(model)
    odd = torch.zeros_like(phantom.mask)
    odd[14:18, 14:18] = True
    images[4, odd] *= 3  # one echo alone is bright: no decay does that
    data = measurement.encoding(images.to(torch.complex64))  # type: ignore[misc]
    maps = ModelBased(model, draws=0).estimate(dataclasses.replace(measurement, data=data))
    misfit = (maps.flags & int(Flag.MODEL_MISFIT)) != 0
    assert float(misfit[odd].float().mean()) > 0.9
    assert float(misfit[phantom.mask & ~odd].float().mean()) < 0.02


@pytest.mark.parametrize("name", ["t2star", "complex", "inversion", "inversion-complex", "look-locker"])
def test_other_models_come_out_right(name: str) -> None:
    """A disc with a box in it, 24², two thirds of the lines: the parameter of interest within 3 % in the median."""
    model = MODELS[name]()
    g = torch.Generator().manual_seed(2)
    sides = (24, 24)
    grid = torch.stack(torch.meshgrid(*[torch.arange(n) - n / 2 for n in sides], indexing="ij"))
    body = grid.square().sum(0) < 10**2
    box = (grid.abs() < 4).all(0)
    values = {
        "M0": torch.where(box, 0.8, 1.0) * body,
        "T1": torch.where(box, 0.7, 1.3),
        "T1star": torch.where(box, 0.5, 0.9),
        "T2star": torch.where(box, 0.012, 0.03),
        "B0": 20 + 0.5 * grid[0],
        "phase": 0.05 * grid[1],
        "inversion_factor": torch.full(sides, 1.9),
    }
    x = torch.stack([values[p.name].double() for p in model.parameters])
    images = (model.signed() or model)(x)
    maps = synthetic_sensitivities(sides, 4, generator=g)
    mask = torch.rand(model.acquisition.contrasts, 1, sides[1], generator=g) < 0.5
    mask[..., 10:14] = True
    encoding = CartesianEncoding(maps, mask)
    clean = encoding(images.to(torch.complex64))
    noisy = clean + encoding.sampling(0.007 * torch.randn(clean.shape, dtype=clean.dtype, generator=g))
    measurement = Measurement(noisy, model.acquisition, mask=body, noise=0.005, encoding=encoding)
    result = ModelBased(model, draws=1).estimate(measurement)
    for wanted in set(result.names) & {"T1", "T2star", "B0"}:
        relative = (result[wanted].value - values[wanted])[body].abs() / values[wanted][body].abs()
        assert float(relative.median()) < 0.03, wanted
    assert float(result.trusted[body].float().mean()) > 0.9
