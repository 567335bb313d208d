"""MANTIS and RELAX: draws, features, losses, no label read, estimator."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fastqmri.core import DataError, Flag, Measurement, MultiEchoSpinEcho, ValidityError
from fastqmri.estimators.reconstruction import ModelBased
from fastqmri.learning.cards import Card
from fastqmri.learning.kspace_evaluation import judged_object, measured
from fastqmri.learning.kspace_recipe import KSpaceRecipe
from fastqmri.learning.networks.map_correction import saturating, synthesised, variation
from fastqmri.learning.sampling import divided
from fastqmri.learning.simulation import KSpaceBatch, Scans, lines_last
from fastqmri.learning.training import train
from fastqmri.methods.mantis import MantisT2
from fastqmri.methods.relax import RelaxT1, RelaxT2, sample_weights
from fastqmri.physics.encoding import BatchedEncoding, CartesianEncoding


def small(kind: type[KSpaceRecipe]) -> KSpaceRecipe:
    recipe = kind()
    recipe.ellipses, recipe.brains = 3, 0
    # one acceleration: throwing darts takes long
    recipe.study = dataclasses.replace(recipe.study, accelerations=(5.0,))  # type: ignore[misc]
    return recipe


@pytest.fixture(scope="module")
def mantis() -> KSpaceRecipe:
    return small(MantisT2)


def card_of(recipe: KSpaceRecipe) -> Card:
    return Card(
        name=recipe.name,
        method="test",
        title="",
        data="",
        settings={},
        command="",
        seconds=0.0,
        machine="",
        versions={},
        parameters=0,
        sha256="",
        validity=type(recipe)().validity(),
        classical="--method model-based",
        expected_error={recipe.quantities[1]: 0.1},
    )


def scans_of(recipe: KSpaceRecipe, count: int, snr: float, seed: int = 0) -> KSpaceBatch:
    draws = dataclasses.replace(recipe.training, snr=(snr, snr))
    return lines_last(draws.draw(count, torch.Generator().manual_seed(seed)))


def test_every_contrast_has_its_own_lines_along_the_last_axis(mantis: KSpaceRecipe) -> None:
    scans = mantis.draw(torch.Generator().manual_seed(0), 2)
    assert scans.sampling.shape == (2, 8, 1, 64)
    assert bool((scans.sampling.flatten(2).sum(2) == 13).all())
    assert not torch.equal(scans.sampling[0, 0], scans.sampling[0, 1])
    assert not torch.equal(scans.sampling[0], scans.sampling[1])


def test_components_solve_their_equations() -> None:
    """Against a dense solution of the damped normal equations of a small slice."""
    recipe = MantisT2()
    maker = recipe.maker
    g = torch.Generator().manual_seed(1)
    coils = torch.randn(1, 2, 4, 6, dtype=torch.complex64, generator=g)
    coils = coils / coils.abs().square().sum(1, keepdim=True).sqrt()
    mask = torch.rand(1, 8, 1, 6, generator=g) < 0.6
    samples = torch.randn(1, 8, 2, 4, 6, dtype=torch.complex64, generator=g) * mask[:, :, None]
    maker.iterations = 200
    found, _ = maker.images(Scans(samples, coils, mask, torch.tensor([0.3]), {}, torch.tensor([1.6])))
    units = torch.eye(3 * 24, dtype=torch.complex64).view(72, 3, 4, 6)
    images = torch.einsum("ti,bi...->bt...", maker.basis.to(torch.complex64), units)
    columns = (
        torch.cat([BatchedEncoding(coils, mask)(i[None]) for i in images]).flatten(1).T.to(torch.complex128)
    )
    right = columns.mH @ samples.flatten().to(torch.complex128)
    back = CartesianEncoding(coils[0], mask[0]).adjoint(samples[0])
    energy = float(back.abs().square().mean((1, 2)).sum() / mask.float().mean() ** 2)
    k = (
        torch.stack(torch.meshgrid(torch.fft.fftfreq(4) * 4, torch.fft.fftfreq(6) * 6, indexing="ij"))
        .square()
        .sum(0)
    )
    power = (1 + k / 2.5**2) ** -2
    power = power / power.mean()
    damping = (2 * 0.3**2 / (0.002 * maker.shares.view(3, 1, 1) * energy * power)).clamp_max(10)
    smooth = torch.fft.ifft2(damping * torch.fft.fft2(units)).flatten(1).T.to(torch.complex128)
    expected = torch.linalg.solve(columns.mH @ columns + smooth, right).view(3, 4, 6)
    torch.testing.assert_close(found[0].to(torch.complex128), expected, atol=1e-4, rtol=1e-3)


def test_true_maps_leave_no_residual(mantis: KSpaceRecipe) -> None:
    scans = scans_of(mantis, 2, 1e9, 5)
    features = mantis.maker(scans)
    amplitude, value = scans.x.unbind(1)
    scaled = amplitude / features.scale.view(-1, 1, 1) * features.phase.conj()
    images = synthesised(mantis.study.model, scaled, value, features, {})
    difference = scans.encoding(images) - scans.kspace
    assert float(difference.norm() / scans.kspace.norm()) < 1e-5


def test_unit_and_phase_of_the_data_do_not_matter(mantis: KSpaceRecipe) -> None:
    scans = scans_of(mantis, 1, 60, 6)
    other = dataclasses.replace(scans, kspace=3j * scans.kspace, noise=3 * scans.noise)
    a, b = mantis.maker(scans), mantis.maker(other)
    inside = scans.mask[0]
    torch.testing.assert_close(a.channels[0, :, inside], b.channels[0, :, inside], atol=5e-3, rtol=5e-3)
    torch.testing.assert_close(b.phase[0, inside], 1j * a.phase[0, inside], atol=1e-3, rtol=0)


def test_held_out_samples_are_some_and_never_the_middle() -> None:
    mask = torch.ones(1, 4, 16, 40, dtype=torch.bool)
    stays = divided(mask, 0.4, torch.Generator().manual_seed(0))
    assert bool(stays[..., 6:10, 18:22].all())
    assert 0.55 < float(stays.float().mean()) < 0.66
    assert not bool((divided(mask & (torch.rand(mask.shape) < 0.5), 0.4, torch.Generator()) & ~mask).any())


def test_weights_undo_the_density() -> None:
    g = torch.Generator().manual_seed(0)
    mask = torch.rand(2, 400, 1, 60, generator=g) < torch.linspace(0.2, 0.9, 60)
    weights = sample_weights(mask, mask)
    torch.testing.assert_close(weights.sum((1, 2, 3)), mask.float().sum((1, 2, 3)))
    effective = weights.mean((0, 1, 2))[3:-3]
    assert float(effective.max() / effective.min()) < 1.15


def test_variation_of_a_step() -> None:
    value = torch.full((1, 11, 21), 0.05)
    value[..., 10:] = 0.1
    height = float(saturating(torch.tensor(0.1), 0.3) - saturating(torch.tensor(0.05), 0.3))
    found = float(variation(torch.zeros(1, 11, 21, dtype=torch.complex64), value, 0.3, torch.ones(1)))
    assert found == pytest.approx(height * 10 / (11 * 21), rel=0.01)


@pytest.mark.parametrize("kind", [RelaxT2, RelaxT1])
def test_relax_reads_no_label(kind: type[KSpaceRecipe], tmp_path: Path) -> None:
    """Bit-identical weights whatever the labels are; and the check bites where labels are read."""

    def weights(of: type[KSpaceRecipe], spoilt: bool) -> list[Tensor]:
        recipe = small(of)
        drawn = recipe.draw

        def draw(generator: torch.Generator, count: int) -> KSpaceBatch:
            scans = drawn(generator, count)
            lost = {name: torch.full_like(getattr(scans, name), math.nan) for name in ("x", "images")}
            return dataclasses.replace(scans, mask=~scans.mask, **lost) if spoilt else scans

        recipe.draw = draw  # type: ignore[method-assign]
        recipe.score = lambda network: 0.0  # type: ignore[method-assign]
        settings = recipe.settings.model_copy(update={"steps": 2, "batch": 1, "validate_every": 2, "seed": 4})
        return list(train(recipe, tmp_path, settings).network.state_dict().values())

    clean, spoilt = weights(kind, False), weights(kind, True)
    assert all(torch.equal(a, b) for a, b in zip(clean, spoilt, strict=True))
    if kind is RelaxT2:
        assert any(bool(torch.isnan(w).any()) for w in weights(MantisT2, True))


def test_relax_scores_without_labels() -> None:
    recipe = small(RelaxT2)
    network = recipe.network()
    scans = scans_of(recipe, 1, 60)
    scores = []
    for x in (scans.x, scans.x * math.nan):
        recipe.__dict__["tuning"] = [dataclasses.replace(scans, x=x, images=scans.images * math.nan)]
        with torch.no_grad():
            scores.append(recipe.score(network))
    assert scores[0] == scores[1] > 0


def scan(recipe: KSpaceRecipe, acceleration: float = 5.0) -> Measurement:
    return measured(judged_object("ellipses", 0), recipe.study.model, acceleration, 9)


@pytest.mark.parametrize("kind", [MantisT2, RelaxT1])
def test_maps_carry_deviations_and_flags(kind: type[KSpaceRecipe]) -> None:
    recipe = small(kind)
    measurement = scan(recipe)
    maps = recipe.build(recipe.network(), card_of(recipe), steps=0, finish=0).estimate(measurement)
    again = recipe.build(recipe.network(), card_of(recipe), steps=0, finish=0).estimate(measurement)
    assert measurement.mask is not None
    inside = measurement.mask
    name = recipe.quantities[1]
    assert torch.equal(maps.value.nan_to_num(), again.value.nan_to_num())
    torch.testing.assert_close(maps[name].standard_deviation[inside], 0.1 * maps[name].value[inside])
    assert bool((maps.flags[~inside] == int(Flag.MASKED)).all())
    assert bool(torch.isfinite(maps.value[:, inside]).all())
    assert bool(torch.isnan(maps.value[:, ~inside]).all())


def test_a_sample_that_no_maps_explain_is_flagged(mantis: KSpaceRecipe) -> None:
    measurement = scan(mantis)
    data = measurement.data.clone()
    data[3] *= 3
    spoilt = dataclasses.replace(measurement, data=data)
    build = mantis.build(mantis.network(), card_of(mantis), steps=0, finish=0)
    share = [
        float(((build.estimate(m).flags & int(Flag.MODEL_MISFIT)) > 0)[m.mask].float().mean())
        for m in (measurement, spoilt)
    ]
    assert share[1] > max(0.9, share[0])


def test_refinement_lowers_the_residual_of_unseen_samples(mantis: KSpaceRecipe) -> None:
    measurement = scan(mantis, acceleration=8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = mantis.network()
    build = mantis.build(network, card_of(mantis), steps=30, finish=0, learning_rate=3e-3, tv=0.0)
    note = next(n for n in build.estimate(measurement).notes if "refinement" in n)
    before, after = (float(x.split()[0]) for x in note.split("samples ")[1].split(" -> "))
    assert after < before


def test_wrong_use_is_refused(mantis: KSpaceRecipe) -> None:
    build = mantis.build(mantis.network(), card_of(mantis), steps=0, finish=0)
    good = scan(mantis)
    other = MultiEchoSpinEcho(echo_time=tuple(1.5 * t for t in good.acquisition.echo_time))  # type: ignore[attr-defined]
    with pytest.raises(ValidityError, match="echo_time"):
        build.estimate(dataclasses.replace(good, acquisition=other))
    fewer = MultiEchoSpinEcho(echo_time=good.acquisition.echo_time[:5])  # type: ignore[attr-defined]
    first = CartesianEncoding(good.encoding.sensitivities, good.encoding.mask[:5])  # type: ignore[union-attr]
    with pytest.raises(ValidityError, match="number of values of echo_time 5"):
        build.estimate(dataclasses.replace(good, acquisition=fewer, data=good.data[:5], encoding=first))
    with pytest.raises(DataError):
        build.estimate(Measurement(good.data[:, 0].abs(), good.acquisition))
    spoilt = good.data.clone()
    spoilt[0, 0, 0, 0] = torch.nan
    with pytest.raises(DataError, match="NaN"):
        build.estimate(dataclasses.replace(good, data=spoilt))
    encoding = good.encoding
    assert isinstance(encoding, CartesianEncoding)
    sparse = CartesianEncoding(encoding.sensitivities, encoding.mask & (torch.arange(64) % 3 == 0))
    with pytest.raises(ValidityError, match="acceleration"):
        build.estimate(dataclasses.replace(good, encoding=sparse, data=sparse.sampling(good.data)))


def test_finishing_ends_where_the_model_based_reconstruction_does(mantis: KSpaceRecipe) -> None:
    measurement = scan(mantis)
    finished = mantis.build(mantis.network(), card_of(mantis), steps=0, finish=12).estimate(measurement)
    classical = ModelBased(mantis.study.model).estimate(measurement)
    assert measurement.mask is not None
    a, b = (m["T2"].value[measurement.mask] for m in (finished, classical))
    assert float(((a - b).abs() / b).median()) < 0.02
    assert float(finished["T2"].standard_deviation[measurement.mask].median()) > 0
