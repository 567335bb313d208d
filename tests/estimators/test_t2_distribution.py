"""T2 distributions: another program's vectors, simulated myelin water, and a brain."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, Flag, Measurement, MultiEchoSpinEcho, PlausibilityError
from fastqmri.estimators.catalogue import CATALOGUE
from fastqmri.estimators.t2_distribution import NonNegative
from fastqmri.estimators.voxelwise import Voxelwise
from fastqmri.physics.signal import ExponentialDecay, T2Distribution
from fastqmri.solvers import nonnegative

ECHOES = MultiEchoSpinEcho(echo_time=tuple(0.01 * i for i in range(1, 33)))
MODEL = T2Distribution(ECHOES)
ENTRY = CATALOGUE["myelin-water"]


class Vectors:
    """Results of another program for one decay of 16 echoes, stored in full precision."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        times = self.read("echotimes")
        self.model = T2Distribution(
            MultiEchoSpinEcho(echo_time=tuple(times.tolist())),
            "absolute",
            count=30,
            shortest=0.01,
            longest=2.0,
        )
        assert np.allclose(self.model.times.numpy(), self.read("t2times"), rtol=1e-12)
        self.table = NonNegative().table(self.model)

    def read(self, name: str) -> np.ndarray:
        return np.atleast_1d(np.loadtxt(self.folder / f"decaes_ref_{name}.csv".replace("ref_2", "ref2")))

    def solve(self, rule: nonnegative.Rule, level: float, alpha: float = math.nan) -> nonnegative.Amplitudes:
        nodes = np.linspace(50 / 180, 1, 16)
        return nonnegative.solve(
            self.read("signal")[None], self.table, np.array([alpha / 180]), nodes, rule, level
        )


@pytest.fixture(scope="module")
def vectors(test_data: Callable[[str], Path]) -> Vectors:
    return Vectors(test_data("epg_decaes_reference_vectors"))


def test_distribution_of_perfect_refocusing(vectors: Vectors) -> None:
    found = vectors.solve("none", 0.0, 180.0)
    assert float(np.abs(found.x[0] - vectors.read("dist")).max()) < 1e-12


def test_the_angle_is_theirs(vectors: Vectors) -> None:
    """Both minimise the same misfit; theirs stops 0.002° before ours."""
    found = 180 * vectors.solve("none", 0.0).place[0]
    wanted = float(vectors.read("2_alpha")[0])
    print(f"refocusing angle {found:.5f}°, theirs {wanted:.5f}°")
    assert abs(found - wanted) < 0.003


@pytest.mark.parametrize("name", ["2", "chi2", "lcurve", "mdp"])
def test_distributions_at_their_angle_and_regularisation(vectors: Vectors, name: str) -> None:
    """The forward model and the solver alone: their μ and angle put in."""
    alpha, mu = (float(vectors.read(f"{name}_{part}")[0]) for part in ("alpha", "mu"))
    with torch.no_grad():
        matrix = vectors.model.columns(torch.tensor([alpha / 180], dtype=torch.float64))[0][..., 0].numpy()
    x, signal = vectors.read(f"{name}_dist"), vectors.read("signal")
    slope = matrix.T @ (signal - matrix @ x) - mu**2 * x
    assert float(np.abs(slope[x > 0]).max()) < 1e-12
    assert float(slope.max()) < 1e-12
    if name != "2":
        least = vectors.solve("none", 0.0, alpha).cost[0]
        factor = float(((signal - matrix @ x) ** 2).sum()) / least
        assert factor == pytest.approx(float(vectors.read(f"{name}_chi2factor")[0]), rel=1e-8)


@pytest.mark.parametrize(
    ("name", "rule", "level", "apart", "away"),
    [
        ("chi2", "factor", 1.020000261170284, 1e-7, 1e-7),  # the factor that theirs reached
        ("2", "generalised", 0.0, 1e-5, 1e-6),
        ("mdp", "discrepancy", 0.0008107761712968389, 3e-3, 1e-3),  # theirs is 1e-4 short of that residual
        ("lcurve", "corner", 0.0, 0.08, 0.02),  # a corner by another definition
    ],
)
def test_regularisation_is_theirs(
    vectors: Vectors, name: str, rule: nonnegative.Rule, level: float, apart: float, away: float
) -> None:
    found = vectors.solve(rule, level, float(vectors.read(f"{name}_alpha")[0]))
    mu, wanted = math.sqrt(found.ridge[0]), float(vectors.read(f"{name}_mu")[0])
    distance = float(np.abs(found.x[0] - vectors.read(f"{name}_dist")).max())
    print(
        f"{rule}: μ {mu:.7f}, theirs {wanted:.7f} ({mu / wanted - 1:+.1e}); amplitudes within {distance:.1e}"
    )
    assert abs(mu / wanted - 1) < apart
    assert distance < away


def test_the_table_is_fine_enough() -> None:
    solve = NonNegative()
    table = solve.table(MODEL)
    places = torch.tensor([0.3011, 0.5, 0.7777, 0.9134, 0.9993, 1.0], dtype=torch.float64)
    exact, _ = MODEL.columns(places)
    found = np.empty((len(places), 32, len(MODEL.times)))
    for place, matrix in zip(places.tolist(), found, strict=True):
        nonnegative.kernels()._matrix(table.values, table.slopes, table.step, table.first, place, matrix)
    worst = float(np.abs(found - exact.permute(2, 0, 1).numpy()).max())
    print(f"largest error of an interpolated echo: {worst:.1e}")
    assert worst < 1e-7
    assert solve.table(MODEL) is table


def _brain(voxels: int, snr: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Measurement]:
    """White matter: 5 to 20 % of T2 = 20 ms, the rest 75 ms; and the measured echoes."""
    fraction = 0.05 + 0.15 * torch.rand(voxels, dtype=torch.float64, generator=generator)
    b1 = 0.75 + 0.23 * torch.rand(voxels, dtype=torch.float64, generator=generator)
    one = torch.ones_like(b1)
    echoes = [MODEL.train_of_one(torch.stack([one, t2 * one, b1, one])) for t2 in (0.02, 0.075)]
    clean = 1000 * (fraction * echoes[0] + (1 - fraction) * echoes[1])
    noise = [
        torch.randn(clean.shape, dtype=torch.float64, generator=generator) * 1000 / snr for _ in range(2)
    ]
    measured = torch.hypot(clean + noise[0], noise[1])
    return fraction, b1, Measurement(measured, ECHOES, saturation=math.inf)


@pytest.mark.parametrize("method", [method.name for method in ENTRY.methods])
def test_myelin_water_is_found(method: str, generator: torch.Generator) -> None:
    """300 voxels at SNR 1000 (of M0): noise is little there, and the angle is found with the fractions."""
    fraction, b1, measurement = _brain(300, 1000, generator)
    maps = ENTRY.estimator(MODEL, method).estimate(measurement)
    assert float(maps.estimated.double().mean()) == 1.0
    error = maps["MWF"].value - 100 * fraction
    print(
        f"{method}: MWF bias {error.mean():+.2f} %, spread {error.std():.2f} %;"
        f" T2ie {1e3 * maps['T2ie'].value.median():.1f} ms;"
        f" B1 spread {(maps['B1'].value - b1).std():.4f}; M0 {maps['M0'].value.median():.1f}"
    )
    assert abs(float(error.mean())) < (
        3.0 if method == "nnls-lcurve" else 2.0
    )  # what is smoothed moves into the gap
    assert float(error.std()) < 2.5
    assert float((maps["T2ie"].value - 0.075).abs().median()) < 0.003
    assert float((maps["B1"].value - b1).abs().median()) < 0.01
    assert float((maps["M0"].value / 1000 - 1).abs().median()) < 0.03
    assert maps.noise is not None
    assert 0.6 < float(maps.noise.median()) < 1.6  # of 1: from residuals that regularisation raised a little


def test_uncertainty_is_of_the_right_size(generator: torch.Generator) -> None:
    """SNR 200, no regularisation: the deviation of M0 is that of its error within a factor (400 voxels)."""
    _, _, measurement = _brain(400, 200, generator)
    maps = ENTRY.estimator(MODEL, "nnls").estimate(measurement)
    error = maps["M0"].value / 1000 - 1
    claimed = maps["M0"].standard_deviation / 1000
    ratio = float(error.std() / claimed.median())
    print(f"M0: error {100 * error.std():.2f} %, claimed {100 * claimed.median():.2f} %")
    assert 0.5 < ratio < 3.0  # the angle's own uncertainty is not in it
    b1 = maps["B1"].standard_deviation
    assert bool(torch.isfinite(b1).any())


def test_known_angles_are_used(generator: torch.Generator) -> None:
    _, b1, measurement = _brain(50, 1000, generator)
    model = T2Distribution(ECHOES, refocusing="known")
    known = Measurement(measurement.data, ECHOES, known={"B1": b1.float()}, saturation=math.inf)
    maps = Voxelwise(model, NonNegative(), "nnls-chi2").estimate(known)
    assert "B1" not in maps
    assert float((maps["M0"].value / 1000 - 1).abs().median()) < 0.01
    wrong = Measurement(measurement.data, ECHOES, known={"B1": (0.9 * b1).float()}, saturation=math.inf)
    worse = Voxelwise(model, NonNegative(), "nnls-chi2").estimate(wrong)
    assert maps.residual is not None
    assert worse.residual is not None
    assert float((worse.residual / maps.residual).median()) > 2


def test_missing_echoes_are_left_out(generator: torch.Generator) -> None:
    fraction, _, measurement = _brain(60, 1000, generator)
    data = measurement.data.clone()
    data[5, ::2] = math.nan
    data[9, ::3] = -1.0
    maps = ENTRY.estimator(MODEL).estimate(Measurement(data, ECHOES, saturation=math.inf))
    assert float((maps["MWF"].value - 100 * fraction).abs().median()) < 3.0
    assert float(((maps.flags & int(Flag.INVALID_INPUT)) != 0).double().mean()) > 0.4


def test_only_its_own_model(generator: torch.Generator) -> None:
    data = torch.rand(32, 4, generator=generator, dtype=torch.float64)
    with pytest.raises(AcquisitionError, match="distribution"):
        NonNegative()(ExponentialDecay(ECHOES), data, None, {})


@pytest.mark.parametrize("limits", [{"shortest": 0.05}, {"longest": 0.1}, {"count": 1}, {"myelin": 0.3}])
def test_limits_out_of_order_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(PlausibilityError):
        T2Distribution(ECHOES, **limits)  # type: ignore[arg-type]


def test_a_brain(test_data: Callable[[str], Path]) -> None:
    """A slice of 30 echoes whose pulses were selective: T2 of the water is anatomy.

    It holds no myelin water to speak of: the first echoes are those of a slice profile (the second is the
    strongest), and the last of a noise floor. What is asserted is what the data carry.
    """
    import nibabel

    folder = test_data("brain_mse_t2_qmrlab")
    images = nibabel.load(folder / "mono_t2.nii.gz").get_fdata()[:, :, 0]
    mask = nibabel.load(folder / "mono_t2_mask.nii.gz").get_fdata()[:, :, 0] > 0
    acquisition = MultiEchoSpinEcho(echo_time=tuple(0.0128 * (i + 1) for i in range(30)))
    measurement = Measurement(
        torch.from_numpy(images).movedim(-1, 0), acquisition, mask=torch.from_numpy(mask)
    )
    for profile in ("ideal", "gaussian"):
        maps = ENTRY.estimator(T2Distribution(acquisition, profile=profile)).estimate(measurement)  # type: ignore[arg-type]
        good = maps.trusted
        quartiles = torch.tensor([0.25, 0.5, 0.75])
        print(
            profile,
            int(good.sum()),
            "of",
            int(mask.sum()),
            *(
                f"{n} {[round(float(v), 3) for v in maps[n].value[good].quantile(quartiles)]}"
                for n in ENTRY.outputs
            ),
        )
        assert float(good.double().sum()) > 0.7 * mask.sum()
        assert 0.07 < float(maps["T2ie"].value[good].median()) < 0.1
        assert 0.5 < float(maps["B1"].value[good].median()) < 1.0
