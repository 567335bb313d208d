"""Dictionary matching: grid points come back, forms agree, uncertainties and flags tell what they should."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from estimators.scans import same_bytes
from fastqmri.core import Flag, Measurement, MultiEchoSpinEcho, ParameterMaps
from fastqmri.estimators.atoms import Everything, Grouped, Nearest
from fastqmri.estimators.dictionary import Dictionary, build
from fastqmri.estimators.grid import Grid, gridded
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.matching import Matcher, Matching, dictionary_matching
from fastqmri.physics.signal import SignalModel, SpinEchoTrain
from physics.checks import Case
from physics.registry import BY_NAME, CASES

ECHOES = MultiEchoSpinEcho(echo_time=tuple(0.01 * i for i in range(1, 33)))
TRAIN = SpinEchoTrain(ECHOES)
AXES = {"T2": 150, "B1": "0.7:0.01:0.98"}
SEARCHES = ("exact", "full", "compressed", "grouped")


def _matcher(model: SignalModel, search: str, count: int = 300) -> tuple[Matcher, Tensor]:
    """A matcher on a grid of about ``count`` atoms, and the atoms' signals."""
    axes = {model.parameters[i].name: max(2, int(count ** (1 / len(gridded(model))))) for i in gridded(model)}
    matcher = Matching(search, axes=axes).matcher(model, {})  # type: ignore[arg-type]
    return matcher, model(matcher.dictionary.grid.points)


def _recovered(matcher: Matcher, signals: Tensor) -> float:
    """Share of atoms that are found, or another that is the same but for rounding."""
    atoms = matcher.dictionary.atoms
    product = (atoms[matcher.find(signals)].conj() * atoms).sum(1)
    likeness = product.abs() if matcher.phase is not None else product.real
    return float((likeness > 1 - 1e-13).double().mean())


@pytest.mark.parametrize(
    "case", [case for case in CASES if len(gridded(case.build())) <= 6], ids=lambda case: case.name
)
@pytest.mark.parametrize("search", ["exact", "grouped"])
def test_every_atom_of_every_model_is_found(case: Case, search: str) -> None:
    matcher, signals = _matcher(case.build(), search)
    share = _recovered(matcher, 3.7 * signals)
    assert share == 1.0 if search in ("exact", "full") else share >= 0.95, f"{share:.4f} of the atoms"


def test_shuffled_atoms_are_not_found() -> None:
    matcher, signals = _matcher(TRAIN, "exact")
    assert _recovered(matcher, signals.roll(1, 1)) < 0.05


def _noisy(
    model: SignalModel, voxels: int, snr: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, float]:
    x = torch.ones(len(model.parameters), voxels, dtype=torch.float64)
    x[1] = 0.02 * 10 ** torch.rand(voxels, dtype=torch.float64, generator=generator)
    x[2] = 0.75 + 0.2 * torch.rand(voxels, dtype=torch.float64, generator=generator)
    signal = model(x)
    sigma = float(signal.abs().amax()) / snr
    return x, signal + sigma * torch.randn(signal.shape, dtype=torch.float64, generator=generator), sigma


def test_forms_agree_at_snr_50(generator: torch.Generator) -> None:
    """4000 voxels, seed of the fixture; the exact forms in all voxels, the approximate ones in nearly as good atoms.

    A train of echoes says so little of B1 that many atoms are equally good; that they are the same ones is asked of
    fingerprints.
    """
    _, data, _ = _noisy(TRAIN, 4000, 50, generator)
    found = {search: Matching(search, axes=AXES).matcher(TRAIN, {}).find(data) for search in SEARCHES}  # type: ignore[arg-type]
    atoms = Matching("full", axes=AXES).matcher(TRAIN, {}).dictionary.atoms
    score = {search: (atoms[found[search]].T * data).sum(0) / data.norm(dim=0) for search in SEARCHES}
    assert torch.equal(found["exact"], found["full"])
    for search in SEARCHES:
        deficit = score["full"] - score[search]
        print(search, float((found[search] == found["full"]).double().mean()), float(deficit.max()))
        assert float(deficit.max()) < 1e-5


def test_a_loss_that_is_understated_is_noticed(generator: torch.Generator) -> None:
    """The proof of exactness needs the true loss: with few directions and none admitted, atoms are missed."""
    _, data, _ = _noisy(TRAIN, 2000, 50, generator)
    matcher = Matching("full", axes=AXES).matcher(TRAIN, {})
    rows = data.T / data.norm(dim=0)[:, None]
    wanted = matcher.searcher.find(rows)
    honest = Nearest.of(matcher.rows, loss=3e-2)
    assert honest.directions.shape[1] < 10
    assert torch.equal(honest.find(rows), wanted)
    assert not torch.equal(dataclasses.replace(honest, loss=0.0).find(rows), wanted)


def test_complex_atoms_are_compared_with_their_phase(generator: torch.Generator) -> None:
    atoms = torch.randn(500, 8, dtype=torch.complex128, generator=generator)
    atoms = atoms / atoms.norm(dim=1, keepdim=True)
    data = torch.randn(300, 8, dtype=torch.complex128, generator=generator)
    data = data / data.norm(dim=1, keepdim=True)
    real = [torch.view_as_real(rows).flatten(1) for rows in (atoms, data)]
    assert torch.equal(Nearest.of(real[0]).find(real[1]), (data @ atoms.mH).real.argmax(1))
    assert torch.equal(Everything(atoms).find(data), (data @ atoms.mH).abs().argmax(1))


def _measurement(data: Tensor, sigma: float) -> Measurement:
    return Measurement(data, ECHOES, noise=sigma, saturation=math.inf)


def _matched(data: Tensor, sigma: float, **options: object) -> ParameterMaps:
    return dictionary_matching(TRAIN, AXES, **options).estimate(_measurement(data, sigma))  # type: ignore[arg-type]


def test_standard_deviations_cover_noise_and_grid(generator: torch.Generator) -> None:
    """z of T2 has unit spread where the grid is finer than noise, and where it is much coarser (4000 voxels)."""
    for axes, snr in ((AXES, 60), ({"T2": "20:8:220ms", "B1": "0.7:0.02:0.98"}, 400)):
        x, data, sigma = _noisy(TRAIN, 4000, snr, generator)
        maps = dictionary_matching(TRAIN, axes).estimate(_measurement(data, sigma))
        kept = (maps.flags & int(Flag.AT_BOUND)) == 0
        for name in ("T2", "M0"):
            if name == "M0" and snr > 100:
                continue  # the grid's step moves the amplitude too, and that is not in its deviation
            row = {"M0": 0, "T2": 1}[name]
            z = ((maps[name].value - x[row]) / maps[name].standard_deviation)[kept]
            spread = float(z.square().mean().sqrt())
            print(name, snr, f"spread of z {spread:.3f}")
            assert 0.75 < spread < 1.25
    coarse = maps["T2"].standard_deviation[kept]
    assert float(coarse.min()) >= 0.008 / math.sqrt(12) * 0.999


def test_ends_of_the_grid_are_flagged() -> None:
    x = torch.tensor([[1.0, 1, 1], [0.05, 2.4, 0.0056], [0.9, 0.9, 0.9], [1, 1, 1]], dtype=torch.float64)
    maps = dictionary_matching(TRAIN, {"T2": "10:5:100ms", "B1": "0.8:0.05:0.95"}).estimate(
        _measurement(TRAIN(x), 1e-3)
    )
    assert ((maps.flags & int(Flag.AT_BOUND)) != 0).tolist() == [False, True, True]
    assert maps["T2"].value.tolist() == pytest.approx([0.05, 0.1, 0.01])


@pytest.mark.parametrize("refine", [False, True])
def test_missing_samples_are_left_out(refine: bool) -> None:
    grid = Grid.of(TRAIN, AXES)
    numbers = torch.arange(40, grid.count, 97)
    data = 5 * TRAIN(grid.points[:, numbers])
    data[3] = torch.nan
    data[7, ::2] = -1.0
    maps = _matched(data, 1e-4, refine=refine)
    assert torch.allclose(maps["T2"].value.double(), grid.points[1, numbers], rtol=1e-6)
    assert torch.allclose(maps["B1"].value.double(), grid.points[2, numbers], rtol=1e-6)
    assert torch.allclose(maps["M0"].value.double(), torch.tensor(5.0, dtype=torch.float64), rtol=1e-6)
    full = _matched(5 * TRAIN(grid.points[:, numbers]), 1e-4, refine=refine)
    assert bool((maps["T2"].standard_deviation >= full["T2"].standard_deviation).all())


def test_refinement_is_least_squares(generator: torch.Generator) -> None:
    """500 voxels: never a worse fit than least squares find, and but for second minima of B1 the same one."""
    _, data, sigma = _noisy(TRAIN, 500, 200, generator)
    measurement = _measurement(data, sigma)
    refined = dictionary_matching(TRAIN, {"T2": 150, "B1": "0.6:0.02:1.2"}, refine=True).estimate(measurement)
    fitted = least_squares(TRAIN).estimate(measurement)
    both = ((refined.flags | fitted.flags) & int(Flag.AT_BOUND | Flag.NOT_CONVERGED)) == 0
    assert float(both.double().mean()) > 0.9
    assert refined.residual is not None
    assert fitted.residual is not None
    worse = both & (refined.residual > fitted.residual * 1.0001)
    assert float(worse.double().mean()) < 0.005
    for name in ("T2", "M0", "B1"):
        gap = (refined[name].value - fitted[name].value).abs() / fitted[name].standard_deviation
        same = both & (gap < 0.05)
        assert float(same[both].double().mean()) > 0.95, name
        ratio = refined[name].standard_deviation / fitted[name].standard_deviation
        assert float((ratio - 1).abs()[same].max()) < 0.05, name


def test_known_maps_get_dictionaries_of_their_own(generator: torch.Generator) -> None:
    model = BY_NAME["vfa"].build()
    grid = Grid.of(model, {"T1": 200})
    x = grid.points[:, 20:180].clone()
    bins = torch.tensor([0.85, 1.0, 1.15], dtype=torch.float64)[torch.arange(160) % 3]
    x[2] = bins
    measurement = Measurement(
        2 * model(x), model.acquisition, known={"B1": bins.float()}, noise=1e-4, saturation=math.inf
    )
    estimator = dictionary_matching(model, {"T1": 200})
    maps = estimator.estimate(measurement)
    assert torch.allclose(maps["T1"].value.double(), x[1], rtol=1e-6)
    assert any("3 dictionaries, for B1 in bins" in note for note in maps.notes)
    unaware = estimator.estimate(dataclasses.replace(measurement, known={}))
    assert float(((unaware["T1"].value - x[1]) / x[1]).abs().max()) > 0.1
    assert maps.noise is not None


def test_results_do_not_depend_on_chunks_or_company(generator: torch.Generator) -> None:
    _, data, sigma = _noisy(TRAIN, 1500, 80, generator)
    whole = _matched(data, sigma)
    assert same_bytes(whole, _matched(data, sigma, chunk=193))
    assert same_bytes(whole, _matched(data, sigma))


def test_single_precision_atoms_serve_as_well(generator: torch.Generator) -> None:
    _, data, sigma = _noisy(TRAIN, 2000, 80, generator)
    single, double = _matched(data, sigma, dtype=torch.float32), _matched(data, sigma)
    assert float((single["T2"].value == double["T2"].value).double().mean()) > 0.999


def test_without_compiled_code_every_atom_is_compared(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data, sigma = _noisy(TRAIN, 200, 80, generator)
    wanted = _matched(data, sigma)
    monkeypatch.setattr("fastqmri.solvers.nearest.kernels", lambda: None)
    monkeypatch.setattr("fastqmri.estimators.matching._RECENT", {})
    assert torch.equal(_matched(data, sigma)["T2"].value, wanted["T2"].value)


def test_dictionaries_go_with_their_models() -> None:
    solve = Matching(axes={"T2": 20, "B1": 3})
    model = SpinEchoTrain(ECHOES)
    solve.prepare(model)
    assert len(solve._built) == 1
    assert "Dictionary of 60 atoms" in solve.notes(model)[0]
    del model
    assert len(solve._built) == 0
    assert solve.notes(TRAIN) == ()


def test_the_group_form_says_what_it_gives_up(generator: torch.Generator) -> None:
    """Looking into one group alone misses more: the kept number is what buys the agreement."""
    _, data, _ = _noisy(TRAIN, 2000, 50, generator)
    made: Dictionary = build(TRAIN, Grid.of(TRAIN, AXES))
    rows = data.T / data.norm(dim=0)[:, None]
    full = Everything(made.atoms).find(rows)
    share = [float((Grouped.of(made.atoms, keep=keep).find(rows) == full).double().mean()) for keep in (1, 4)]
    print(share)
    assert share[0] < share[1]
