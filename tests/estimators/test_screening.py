"""What the images say of themselves: the clipping level, the noise, the foreground."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fastqmri.core import Measurement, MultiEchoGradientEcho, MultiEchoSpinEcho
from fastqmri.estimators.screening import foreground, image_noise, saturation_level

ECHOES = MultiEchoSpinEcho(echo_time=(0.01, 0.03, 0.09))
SMOOTH = torch.linspace(10.3, 2000.7, 64 * 64).view(64, 64)


def images(generator: torch.Generator) -> Tensor:
    return torch.stack([SMOOTH, 0.8 * SMOOTH, 0.5 * SMOOTH]) + torch.rand(3, 64, 64, generator=generator)


@pytest.mark.parametrize("full_scale", [255, 1023, 4095, 32767, 65535])
def test_a_few_samples_at_full_scale_are_clipped(full_scale: int, generator: torch.Generator) -> None:
    data = images(generator)
    data *= 0.9 * full_scale / data.max()
    assert saturation_level(data) is None
    data[0, :3, 0] = full_scale
    assert saturation_level(data) is None, "three may be chance"
    data[1, 5, 5] = full_scale
    assert saturation_level(data) == full_scale
    data[2, 6, 6], data[2, 7, 7] = math.nan, math.inf
    assert saturation_level(data) == full_scale, "what is not finite does not count"


def test_a_plateau_elsewhere_must_be_large(generator: torch.Generator) -> None:
    data = images(generator)
    data[0, :40, 0] = 3000.5
    assert saturation_level(data) is None
    data[1, :40, 1] = 3000.5
    assert saturation_level(data) == 3000.5
    assert saturation_level(data.clamp(max=2500.25)) == 2500.25


def test_what_cannot_be_clipping(generator: torch.Generator) -> None:
    data = images(generator)
    assert saturation_level(data.to(torch.complex64)) is None
    assert saturation_level(-data) is None
    assert saturation_level(torch.zeros(3, 8, 8)) is None
    assert saturation_level(torch.full((3, 8, 8), math.nan)) is None
    assert saturation_level(torch.full((3, 64, 64), 4095.0)) is None, (
        "an image that is nothing but its maximum"
    )


def test_a_receiver_that_clips_is_noticed_by_the_fit(generator: torch.Generator) -> None:
    from fastqmri.core import Flag
    from fastqmri.estimators import CATALOGUE
    from fastqmri.physics.signal import ExponentialDecay

    model = ExponentialDecay(ECHOES)
    t2 = 0.02 + 0.2 * torch.rand(32, 32, generator=generator)
    data = 5000 * torch.exp(-torch.tensor(ECHOES.echo_time)[:, None, None] / t2)
    data = data.round()
    measurement = Measurement(data.clamp(max=4095), ECHOES)
    found = CATALOGUE["mese"].estimator(model).estimate(measurement)
    clipped = (data >= 4095).any(0)
    assert bool(clipped.any())
    assert torch.equal((found.flags & int(Flag.SATURATED)) != 0, clipped)
    enough = (data < 4095).sum(0) >= 2
    torch.testing.assert_close(found["T2"].value[enough], t2[enough], rtol=0.02, atol=0)


@pytest.mark.parametrize("sigma", [0.5, 20.0])
def test_noise_of_smooth_images(sigma: float, generator: torch.Generator) -> None:
    data = 1000 + torch.stack([SMOOTH, 0.8 * SMOOTH, 0.5 * SMOOTH])
    data = data + sigma * torch.randn(data.shape, generator=generator)
    assert image_noise(Measurement(data, ECHOES)) == pytest.approx(sigma, rel=0.05)


def test_noise_of_structured_images(generator: torch.Generator) -> None:
    # pieces with edges between them: most neighbours still differ by nothing but noise
    patches = torch.rand(12, 12, generator=generator).repeat_interleave(11, 0).repeat_interleave(11, 1)
    data = 1000 * torch.stack([patches, 0.7 * patches, 0.4 * patches]) + 500
    data = data + 8 * torch.randn(data.shape, generator=generator)
    assert image_noise(Measurement(data, ECHOES)) == pytest.approx(8, rel=0.05)


def test_noise_inside_a_mask_and_beside_holes(generator: torch.Generator) -> None:
    data = 1000 + torch.stack([SMOOTH] * 3) + 5 * torch.randn(3, 64, 64, generator=generator)
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[5:60, 7:61] = True
    data[:, ~mask] = 0
    data[1, 20:24, 30:33] = math.nan
    assert image_noise(Measurement(data, ECHOES)) == pytest.approx(5, rel=0.05)
    assert image_noise(Measurement(data, ECHOES, mask=mask)) == pytest.approx(5, rel=0.05)


def test_noise_of_volumes_and_of_complex_images(generator: torch.Generator) -> None:
    volume = 1000 + 5 * torch.randn(3, 24, 25, 9, generator=generator)
    assert image_noise(Measurement(volume, ECHOES)) == pytest.approx(5, rel=0.05)
    parts = 5 * torch.randn(2, 3, 64, 64, generator=generator)
    acquisition = MultiEchoGradientEcho(echo_time=ECHOES.echo_time)
    measurement = Measurement(torch.complex(700 + parts[0], 700 + parts[1]), acquisition)
    assert image_noise(measurement) == pytest.approx(5, rel=0.05)


@pytest.mark.parametrize(
    "data",
    [torch.rand(3), torch.rand(3, 4000), torch.rand(3, 4000, 1), torch.rand(3, 4, 4), torch.ones(3, 64, 64)],
)
def test_too_little_to_judge_noise_by(data: Tensor) -> None:
    assert image_noise(Measurement(data, ECHOES)) is None


def test_exact_fits_take_their_noise_from_the_images(generator: torch.Generator) -> None:
    # two echoes, two unknowns: no residual is left, yet standard deviations are reported
    from fastqmri.estimators import CATALOGUE
    from fastqmri.physics.signal import ExponentialDecay

    acquisition = MultiEchoSpinEcho(echo_time=(0.02, 0.06))
    model = ExponentialDecay(acquisition)
    signal = model(torch.tensor([[1000.0], [0.05]])).view(2, 1, 1)
    data = signal + 10 * torch.randn(2, 64, 65, generator=generator)
    found = CATALOGUE["mese"].estimator(model).estimate(Measurement(data, acquisition))
    assert float(found.noise.median()) == pytest.approx(10, rel=0.05)
    assert float(found["T2"].standard_deviation.median()) == pytest.approx(
        float(found["T2"].value.std()), rel=0.07
    )
    assert any("neighbouring pixels" in note for note in found.notes)
    alone = CATALOGUE["mese"].estimator(model).estimate(Measurement(data[:, :3, :3], acquisition))
    assert bool(torch.isnan(alone["T2"].standard_deviation).all())
    assert any("No standard deviations" in note for note in alone.notes)


def test_noise_from_the_residuals(generator: torch.Generator) -> None:
    from estimators.scans import scan

    made = scan("mese", (31, 29), 80, generator)
    blind = made.estimate(measurement=Measurement(made.measurement.data, made.model.acquisition))
    assert blind.noise is not None
    assert made.measurement.noise is not None
    assert float(blind.noise.median()) == pytest.approx(made.measurement.noise, rel=0.05)
    told = made.estimate()
    ratio = blind["T2"].standard_deviation.median() / told["T2"].standard_deviation.median()
    assert float(ratio) == pytest.approx(1, rel=0.05)


def test_foreground() -> None:
    data = torch.zeros(2, 10, 10)
    data[0, 2:8, 2:8] = 100
    data[1, 0, 0] = 11
    data[1, 9, 9] = 5
    data[0, 9, 0], data[0, 0, 9] = math.nan, math.inf
    found = foreground(data)
    wanted = torch.zeros(10, 10, dtype=torch.bool)
    wanted[2:8, 2:8] = True
    wanted[0, 0] = True
    assert torch.equal(found, wanted)
    assert not bool(foreground(torch.zeros(2, 5, 5)).any())
    assert torch.equal(foreground(data.to(torch.complex64).nan_to_num()), foreground(data.nan_to_num()))
