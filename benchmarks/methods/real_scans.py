"""Networks of k-space on maps of real brains, beside classical methods; THE K-SPACE IS SYNTHETIC.

    FASTQMRI_TEST_DATA=<data folder> python benchmarks/methods/real_scans.py --out FOLDER

No raw data of these protocols are to be had, and the networks' cards refuse the scans' own protocols (the refusals
are printed). So the images of two scans (`brain_mse_t2_qmrlab`, 30 echoes; `brain_vfa_b1_qmrlab`, 2 flip angles with a
B1+ map) are fitted classically, and the trained protocol is simulated from the maps. What stays of the measurement is
the anatomy, the values, the B1+ map and the level of the noise, in units of the images: what their corners say and,
where there are more images than unknowns, the fit's residual, which has the misfit of the model in it. Both scans hold
magnitudes, so there is no phase to keep. Four synthetic coils, sampling at R 5 as in the trainings, on the trained
matrix: a window of the scan's own voxels, or its nearest voxels where the brain is larger.

Errors are against the maps that were fitted to the full scan, in voxels of the brain whose fit was not flagged; values
above the longest of these maps count as that one, by all methods, or a few voxels of noise would hide all others.
Fingerprints of the NIST phantom are mapped by `drone_nist.py`, and the scan with magnetization transfer by
`qmtnet.py --scan`. One thread.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import torch
from torch import Tensor

from fastqmri.core import (
    Acquisition,
    Estimator,
    Measurement,
    MultiEchoSpinEcho,
    ValidityError,
    VariableFlipAngle,
)
from fastqmri.estimators import entry
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.reconstruction import LocallyLowRank, ModelBased, TwoStep, ZeroFilled
from fastqmri.learning.evaluation import Result, as_text, relative_error
from fastqmri.methods import load
from fastqmri.methods.dopamine import DopamineT1, DopamineT2
from fastqmri.phantoms import Phantom, acquire
from fastqmri.physics.encoding import (
    CartesianEncoding,
    poisson_disc,
    synthetic_sensitivities,
    variable_density_lines,
)
from fastqmri.physics.signal import SignalModel, SpoiledGradientEcho

SIDE = 64
ACCELERATION = 5.0
CORNER = 10


@dataclass(frozen=True)
class Scan:
    """One slice of a brain, and the networks that map its quantity."""

    quantity: str
    images: str
    mask: str
    acquisition: Acquisition
    catalogue: str
    trained: SignalModel
    networks: tuple[str, ...]
    limits: tuple[float, float]
    tissue_below: float
    b1: str | None = None


SCANS = {
    "T2": Scan(
        "T2",
        "brain_mse_t2_qmrlab/mono_t2.nii.gz",
        "brain_mse_t2_qmrlab/mono_t2_mask.nii.gz",
        MultiEchoSpinEcho(echo_time=tuple(0.0128 * i for i in range(1, 31))),
        "mese",
        DopamineT2.model,
        ("mantis-t2", "relax-t2", "dopamine-t2"),
        (0.01, 0.55),
        0.3,
    ),
    "T1": Scan(
        "T1",
        "brain_vfa_b1_qmrlab/vfa_t1.nii.gz",
        "brain_vfa_b1_qmrlab/vfa_t1_mask.nii.gz",
        VariableFlipAngle(flip_angle=("3deg", "20deg"), repetition_time="15ms"),
        "vfa",
        DopamineT1.model,
        ("relax-t1", "dopamine-t1"),
        (0.25, 5.4),
        3.0,
        "brain_vfa_b1_qmrlab/vfa_t1_B1map.nii.gz",
    ),
}


@dataclass(frozen=True)
class Subject:
    """A fitted scan on the trained matrix.

    Attributes:
        phantom: its maps.
        judged: (*voxels) bool, where the fit was not flagged.
        noise: of the scan's images, in their unit, by what it was read off.
        own: the scan's own model.
        scale: the scan's voxels along one of the matrix.
    """

    phantom: Phantom
    judged: Tensor
    noise: Mapping[str, float]
    own: SignalModel
    scale: float

    def kspace(
        self, model: SignalModel, seed: int, snr: float, acceleration: float = ACCELERATION
    ) -> Measurement:
        """Synthetic k-space of four coils: Poisson discs for flip angles, lines for echoes."""
        generator = torch.Generator().manual_seed(seed)
        coils = synthetic_sensitivities((SIDE, SIDE), 4, generator=generator)
        contrasts = model.acquisition.contrasts
        if acceleration == 1:
            mask = torch.ones(1, 1, SIDE, dtype=torch.bool)
        elif isinstance(model, SpoiledGradientEcho):
            mask = poisson_disc((SIDE, SIDE), contrasts, acceleration, generator=generator)
        else:
            mask = variable_density_lines(SIDE, contrasts, acceleration, generator=generator)[:, None]
        return acquire(self.phantom, model, CartesianEncoding(coils, mask), snr=snr, generator=generator)

    def snr(self, model: SignalModel, noise: float) -> float:
        """Of the first contrast."""
        return float(self.phantom.signal(model)[0, self.phantom.mask].abs().mean()) / noise


def subject(scan: Scan, data: Path) -> Subject:
    """Fit a scan, and put its maps on the trained matrix."""

    def read(name: str) -> Tensor:
        return torch.tensor(np.asarray(nibabel.load(data / name).dataobj, dtype=np.float32))[:, :, 0]  # type: ignore[attr-defined]

    images, mask = read(scan.images).movedim(-1, 0), read_mask(data / scan.mask)
    known = {"B1": read(scan.b1)} if scan.b1 else {}
    measurement = Measurement(images, scan.acquisition, mask=mask, known=known)
    chosen = entry(scan.catalogue)
    own = chosen.build(scan.acquisition, **chosen.options_for(measurement))
    maps = chosen.estimator(own).estimate(measurement)
    assert maps.residual is not None
    noise = {"corners": corner_noise(images)}
    if scan.acquisition.contrasts > len(maps.names):
        noise["residual"] = float(maps.residual[maps.trusted].median())
    good = mask & torch.isfinite(maps.value).all(0)
    layers = {
        "M0": torch.where(good, maps["M0"].value, 0.0),
        scan.quantity: torch.where(good, maps[scan.quantity].value.clamp(*scan.limits), 0.0),
    }
    if scan.b1:
        layers["B1"] = torch.where(good, known["B1"], 1.0)
    rows, columns, scale = window(good)
    placed = {name: value[rows][:, columns].double() for name, value in layers.items()}
    inside = good[rows][:, columns]
    phantom = Phantom(
        placed, inside, inside.to(torch.int16), ("outside", "brain"), (1.0, 1.0), torch.eye(4).double()
    )
    return Subject(phantom, maps.trusted[rows][:, columns] & inside, noise, own, scale)


def read_mask(path: Path) -> Tensor:
    return torch.tensor(np.asarray(nibabel.load(path).dataobj) > 0).squeeze()  # type: ignore[attr-defined]


def corner_noise(images: Tensor) -> float:
    """Of one channel, from the median of magnitudes without signal (Rayleigh)."""
    ends = (slice(0, CORNER), slice(-CORNER, None))
    corners = torch.cat([images[:, a, b].flatten() for a in ends for b in ends])
    return float(corners[corners > 0].median()) / 1.1774


def window(mask: Tensor) -> tuple[Tensor, Tensor, float]:
    """Rows and columns of the nearest voxels of a square round the object, no finer than the scan's own."""
    where = mask.nonzero()
    low, high = where.amin(0), where.amax(0) + 1
    side = max(SIDE, int((high - low).max()))
    axes = []
    for axis in (0, 1):
        start = int(low[axis] + high[axis] - side) // 2
        index = start + ((torch.arange(SIDE) + 0.5) * side / SIDE).long()
        axes.append(index.clamp(0, mask.shape[axis] - 1))
    return axes[0], axes[1], side / SIDE


def classical(model: SignalModel) -> dict[str, Estimator]:
    return {
        "zero-filled + fit": TwoStep(ZeroFilled(), least_squares(model)),
        "llr + fit": TwoStep(LocallyLowRank(), least_squares(model)),
        "model-based": ModelBased(model, draws=0),
    }


def network(name: str, finishing: int = 0) -> Estimator:
    trained = load(name)
    built = trained.recipe.build(trained.network, trained.card, finishing=finishing)
    assert isinstance(built, Estimator)
    return built


def learned(scan: Scan) -> dict[str, Estimator]:
    out = {}
    for name in scan.networks:
        out[name], out[f"{name}, finished"] = network(name), network(name, 6)
    return out


def refusal(name: str, brain: Subject) -> str:
    """What a network says to the scan's own protocol."""
    try:
        network(name).estimate(brain.kspace(brain.own, 0, 50.0))
    except ValidityError as error:
        return str(error)
    return "NOT REFUSED"


def compare(scan: Scan, brain: Subject, source: str, seeds: int) -> tuple[list[Result], dict[str, Tensor]]:
    """Errors over seeds of coils, sampling and noise; maps of the first."""
    snr = brain.snr(scan.trained, brain.noise[source])
    case = f"{scan.quantity} of a real brain, synthetic k-space, R {ACCELERATION:g}, SNR {snr:.0f} ({source})"
    truth = brain.phantom.maps[scan.quantity]
    tissue = brain.judged & (truth < scan.tissue_below)
    rows: list[Result] = []
    shown = {}
    fitted: dict[str, Estimator] = {"all samples + fit": TwoStep(ZeroFilled(), least_squares(scan.trained))}
    for name, method in (fitted | classical(scan.trained) | learned(scan)).items():
        numbers: dict[str, list[float]] = {
            n: [] for n in ("nRMSE", "median |error|", "nRMSE with fluid", "r")
        }
        seconds = []
        for seed in range(seeds):
            rate = 1.0 if name in fitted else ACCELERATION
            measurement = brain.kspace(scan.trained, seed, snr, rate)
            begin = time.process_time()
            found = method.estimate(measurement)[scan.quantity].value
            seconds.append(time.process_time() - begin)
            value = found.double().nan_to_num().clamp_max(scan.limits[1])
            away = 100 * ((value - truth) / truth)[tissue].abs()
            numbers["nRMSE"].append(relative_error(value, truth, tissue))
            numbers["median |error|"].append(float(away.median()))
            numbers["nRMSE with fluid"].append(relative_error(value, truth, brain.judged))
            numbers["r"].append(float(torch.corrcoef(torch.stack([value[tissue], truth[tissue]]))[0, 1]))
            shown.setdefault(name, value)
        for metric, values in numbers.items():
            unit = "" if metric == "r" else "%"
            rows.append(Result.over(case, name, scan.quantity, metric, unit, values))
        rows.append(Result.over(case, name, "time", "CPU", "s", seconds))
    return rows, shown


def picture(path: Path, brain: Subject, quantity: str, maps: Mapping[str, Tensor]) -> None:
    """Maps and errors of the first seed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    truth, inside = brain.phantom.maps[quantity], brain.phantom.mask
    top = 1.8 * float(truth[inside].median())
    figure, axes = plt.subplots(2, len(maps) + 1, figsize=(2.6 * len(maps) + 2.6, 5.6))
    columns = {"fitted to the scan": truth} | dict(maps)
    for axis, (label, value) in zip(axes.T, columns.items(), strict=True):
        shown = torch.where(inside, value, 0.0)
        axis[0].imshow(shown.mT.flip(0), vmin=0, vmax=top, cmap="viridis")
        axis[0].set_title(label, fontsize=9)
        axis[1].imshow((shown - truth).mT.flip(0), vmin=-0.3 * top, vmax=0.3 * top, cmap="RdBu")
        for a in axis:
            a.axis("off")
    figure.suptitle(
        f"{quantity}, 0 to {top:.3g} s; errors ± {0.3 * top:.2g} s. Synthetic k-space.", fontsize=10
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70, bbox_inches="tight")
    plt.close(figure)


def report(quantities: Sequence[str], seeds: int, data: Path, out: Path) -> None:
    print(
        "Maps of real brains. THE K-SPACE IS SYNTHETIC: simulated from maps that were fitted to the scans.\n"
    )
    for quantity in quantities:
        scan = SCANS[quantity]
        brain = subject(scan, data)
        voxels = (
            f"{int(brain.judged.sum())} voxels judged, {brain.scale:.3g} of the scan along one of the matrix"
        )
        print(f"{quantity}: {voxels}; tissue is below {scan.tissue_below:g} s. The scan's own protocol:")
        for name in scan.networks:
            print(f"  {refusal(name, brain)}")
        for source in brain.noise:
            rows, maps = compare(scan, brain, source, seeds)
            print("\n" + as_text(rows), flush=True)
            picture(out / f"{quantity}-noise-of-{source}.png", brain, quantity, maps)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quantity", nargs="*", choices=list(SCANS), default=list(SCANS))
    parser.add_argument("--seeds", type=int, default=3, help="of coils, sampling and noise (3)")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder of the pictures (figures)")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("FASTQMRI_TEST_DATA", "../shared/data"))
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report(arguments.quantity, arguments.seeds, arguments.data, arguments.out)


if __name__ == "__main__":
    main()
