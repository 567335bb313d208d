"""qMTNet: pool size ratio and exchange rate from saturated images, all twelve of them or four.

Four networks of one physics: `QmtFit` maps twelve images, `QmtDirect` four, `QmtTwoStage` completes the four to twelve
and maps those, `QmtTenPoints` maps the ten of qMRLab's protocol with measured fields and free T2f. The published ones
give F and kf; here also T2r (and T2f), without which the signal could not be re-synthesised and judged.

Source: Luu 2021; architectures as in the authors' public weights, but for dropout, which unlimited samples don't need.
"""

from __future__ import annotations

import functools
import math
import os
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from fastqmri.core import Progress, QuantitativeMagnetizationTransfer
from fastqmri.learning.cards import Card
from fastqmri.learning.evaluation import Result
from fastqmri.learning.networks.completion import ContrastCompletion
from fastqmri.learning.recipe import Recipe, TrainingSettings
from fastqmri.learning.transfer_estimator import TransferEstimator, TwoStageEstimator
from fastqmri.learning.transfer_samples import (
    MAPS,
    NO_FIELDS,
    Fields,
    TransferSlices,
    lone_voxels,
    transfer_slices,
)
from fastqmri.learning.validity import Validity, described
from fastqmri.learning.voxelwise_inference import Scaled, VoxelNetwork
from fastqmri.learning.weights import paths, read_card, read_weights
from fastqmri.physics.signal import RamaniSignal

OFFSETS = (443.0, 1088.0, 1850.0, 2732.0, 6862.0, 17235.0)
"""Hz; those of qMRLab's default protocol and one more, since the paper's could not be found."""
MEASURED = (0, 5, 6, 11)
"""Of the twelve: the first and the last offset of each power, as published."""


def _protocol(pairs: list[tuple[float, float]]) -> QuantitativeMagnetizationTransfer:
    return QuantitativeMagnetizationTransfer(
        saturation_angle=tuple(math.radians(angle) for angle, _ in pairs),
        offset=tuple(offset for _, offset in pairs),
        pulse_duration=0.0102,
        repetition_time=0.025,
    )


_PAIRS = [(angle, offset) for angle in (142.0, 426.0) for offset in OFFSETS]
TWELVE = _protocol(_PAIRS)
FOUR = _protocol([_PAIRS[i] for i in MEASURED])
TEN = _protocol([(angle, offset) for offset in OFFSETS if offset != 1850 for angle in (142.0, 426.0)])
F = Scaled("F", 1e-4, 0.3)
KR = Scaled("kr", 4.0, 99.0, logarithmic=True)
T2R = Scaled("T2r", 5e-6, 1.8e-5)
T2F = Scaled("T2f", 0.01, 0.49, logarithmic=True)
R1 = Scaled("R1", 0.2, 2.2)
_TISSUE = {"F": (0.0005, 0.25), "kr": (8.0, 70.0), "T2r": (7e-6, 1.6e-5)}
_DATA = (
    "digital brains with two pools (brainweb-04, mni152; tissue classes with partial volume, lesions, smooth "
    "variation, odd tissue) and lone voxels, noise 0 to {} of the unsaturated signal"
)
_LONE = 150_000
_WEIGHTS = Path(__file__).parent / "weights"


class _TransferRecipe(Recipe):
    """What the four have in common: samples, losses, score."""

    quantities = ("F", "kf")
    protocol: ClassVar[QuantitativeMagnetizationTransfer]
    water: ClassVar[Literal["free", "measured"]] = "measured"
    fields: ClassVar[Fields] = NO_FIELDS
    usual_noise: ClassVar[float] = 0.002
    most_noise: ClassVar[float] = 0.01
    slices: ClassVar[int] = 96
    lesions: ClassVar[int] = 2
    """In the white matter of every second of four slices; few of them lie in the slice."""
    finished: ClassVar[dict[str, dict[str, Any]]] = {}
    """Other ways to run the network that the evaluation shows too: label -> options of `build`."""
    picked: ClassVar[tuple[int, ...]] = ()
    """Of the images that the evaluation draws, the measured ones; all if empty."""

    def __init__(self, data: Path | None = None) -> None:
        super().__init__()
        folder = os.environ.get("FASTQMRI_TEST_DATA")
        self._folder = data or (Path(folder) if folder else None)

    @property
    def model(self) -> RamaniSignal:
        """Of the images that are measured."""
        return RamaniSignal(self.protocol, normalised=True, water=self.water)

    @functools.cached_property
    def _slices(self) -> TransferSlices:
        generator = torch.Generator().manual_seed(1_000_000)
        return transfer_slices(
            self.drawn_model,
            "training",
            self.slices,
            generator=generator,
            data=self._folder,
            lesions=self.lesions,
            fields=self.fields,
        )

    @property
    def drawn_model(self) -> RamaniSignal:
        """Of the images that samples hold."""
        return self.model

    @property
    def evaluated_model(self) -> RamaniSignal:
        """Of the images that the evaluation draws."""
        return self.drawn_model

    @functools.cached_property
    def _tuning(self) -> TransferSlices:
        generator = torch.Generator().manual_seed(100)
        return transfer_slices(
            self.drawn_model,
            "tuning",
            3,
            generator=generator,
            data=self._folder,
            odd=(0.0,),
            fields=self.fields,
        )

    def _noisy(self, images: Tensor, generator: torch.Generator, axis: int) -> Tensor:
        """Half of the samples with the usual noise, half with any up to the most."""
        count = images.shape[axis]
        level = self.most_noise * torch.rand(count, generator=generator)
        level[torch.rand(count, generator=generator) < 0.5] = self.usual_noise
        shape = [1] * images.ndim
        shape[axis] = count
        return images + level.view(shape) * torch.randn(images.shape, generator=generator)

    def _terms(self, network: VoxelNetwork, unit: Tensor, maps: Tensor) -> dict[str, Tensor]:
        """Squares of the errors of maps (map, voxel), each in units of its usual spread."""
        found = {s.name: s.to_value(unit[:, i]) for i, s in enumerate(network.outputs)}
        truth = dict(zip(MAPS, maps, strict=True))
        there = truth["F"] / (truth["F"] + 0.01)  # an empty pool has no linewidth
        terms = {
            "F": ((found["F"] - truth["F"]) / 0.05).square().mean(),
            "kf": ((found["F"] * found["kr"] - truth["kf"]) / 1.5).square().mean(),
            "T2r": 0.1 * (there * (found["T2r"] - truth["T2r"]) / 2e-6).square().mean(),
        }
        if "T2f" in found:
            terms["T2f"] = 0.1 * (found["T2f"] / truth["T2f"]).log().square().mean()
        return terms

    def _score(self, found: dict[str, Tensor], maps: Tensor) -> float:
        truth = dict(zip(MAPS, maps, strict=True))
        kf = found["F"] * found["kr"]
        return sum(
            float((value - truth[name]).square().mean().sqrt() / truth[name].mean())
            for name, value in (("F", found["F"]), ("kf", kf))
        )

    def validity(self) -> Validity:
        """This protocol, tissue of these ranges."""
        known = {"R1": (0.23, 2.0)}
        known |= {"T2f": (0.015, 0.45)} if self.water == "measured" else {}
        known |= {
            name: ends if ends[0] < ends[1] else (ends[0] - 0.03, ends[0] + 0.03)
            for name, ends in self._ends()
        }
        return Validity(
            acquisition=described(self.protocol),
            tissue=_TISSUE,
            snr=(0.5 / self.most_noise, 1e9),
            known=known,
        )

    def _ends(self) -> list[tuple[str, tuple[float, float]]]:
        return [
            ("B1", self.fields["B1"]),
            ("B0", self.fields["B0"] if any(self.fields["B0"]) else (-10.0, 10.0)),
        ]

    def evaluate(
        self, network: nn.Module, card: Card, *, seeds: int = 3, progress: Progress | None = None
    ) -> list[Result]:
        """Beside non-linear least squares and the Cramér-Rao bound, on the held-out brain."""
        from fastqmri.learning.transfer_evaluation import evaluate_transfer

        return evaluate_transfer(self, network, card, self._folder, seeds=seeds, progress=progress)

    @abstractmethod
    def build(self, network: nn.Module, card: Card, **options: Any) -> Any:
        """An `Estimator`."""


class _VoxelRecipe(_TransferRecipe):
    """Of networks that map voxel by voxel."""

    widths: ClassVar[tuple[int, ...]]
    inputs: ClassVar[tuple[Scaled, ...]] = (R1, T2F)
    outputs: ClassVar[tuple[Scaled, ...]] = (F, KR, T2R)
    finishing: ClassVar[int] = 0
    finished: ClassVar[dict[str, dict[str, Any]]] = {"finished": {"finishing": 10}}

    def network(self) -> VoxelNetwork:
        """Known maps and images to scaled parameters."""
        images = self.protocol.contrasts
        return VoxelNetwork(
            torch.eye(images), self.outputs, self.widths, self.inputs, normalise=False, activation="silu"
        )

    @functools.cached_property
    def _voxels(self) -> tuple[Tensor, Tensor]:
        """Images (voxel, contrast) and maps (voxel, map) of voxels of brains, then of lone ones."""
        images, maps = self._slices.voxels()
        generator = torch.Generator().manual_seed(1_000_001)
        lone, their_maps = lone_voxels(self.model, _LONE, generator=generator, fields=self.fields)
        return torch.cat([images, lone], 1).T.contiguous(), torch.cat([maps, their_maps], 1).T.contiguous()

    def draw(self, generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Noisy images (voxel, contrast) and maps (map, voxel)."""
        images, maps = self._voxels
        chosen = torch.randint(len(images), (count,), generator=generator)
        return self._noisy(images[chosen], generator, 0), maps[chosen].T

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor], share: float) -> dict[str, Tensor]:
        """Squared errors of the maps."""
        assert isinstance(network, VoxelNetwork)
        images, maps = batch
        known = network.inputs(dict(zip(MAPS, maps, strict=True)))
        return self._terms(network, network(images, known), maps)

    def score(self, network: nn.Module) -> float:
        """nRMSE of F and of kf together, at the usual noise."""
        assert isinstance(network, VoxelNetwork)
        images, maps = self._tuning.voxels()
        generator = torch.Generator().manual_seed(7)
        noisy = images + self.usual_noise * torch.randn(images.shape, generator=generator)
        known = network.inputs(dict(zip(MAPS, maps, strict=True)))
        unit = network(noisy.T, known).clamp(-1, 1)
        return self._score({s.name: s.to_value(unit[:, i]) for i, s in enumerate(network.outputs)}, maps)

    def build(self, network: nn.Module, card: Card, **options: Any) -> TransferEstimator:
        """An `Estimator`; ``finishing`` steps follow, ``progress`` is reported; ``model`` is the recipe's own."""
        assert isinstance(network, VoxelNetwork)
        options.pop("model", None)
        return TransferEstimator(network, card, self.water, **{"finishing": self.finishing, **options})


@final
class QmtFit(_VoxelRecipe):
    """qMTNet-fit: T1, T2 and twelve images, four layers of 100."""

    name = "qmtnet-fit"
    title = "qMTNet-fit: F and kf from twelve saturated images, T1 and T2"
    settings = TrainingSettings(steps=14000, batch=1024, learning_rate=3e-3, validate_every=1000)
    data = _DATA.format("0.01")
    protocol = TWELVE
    widths = (100,) * 4


@final
class QmtDirect(_VoxelRecipe):
    """qMTNet-1: T1, T2 and four images, seven layers of 100."""

    name = "qmtnet-direct"
    title = "qMTNet-1: F and kf from four saturated images, T1 and T2"
    settings = TrainingSettings(steps=7000, batch=1024, learning_rate=2e-3, validate_every=1000)
    data = _DATA.format("0.01")
    protocol = FOUR
    picked = MEASURED
    widths = (100,) * 7

    @property
    def evaluated_model(self) -> RamaniSignal:
        """Twelve images, so that all variants see the same noise."""
        return RamaniSignal(TWELVE, normalised=True, water="measured")


@final
class QmtTenPoints(_VoxelRecipe):
    """As qMTNet-fit, for qMRLab's ten images, with maps of T1, B1 and B0 instead of T1 and T2."""

    name = "qmtnet-ten"
    title = "qMTNet-fit for qMRLab's protocol: F and kf from ten saturated images, T1, B1 and B0"
    settings = TrainingSettings(steps=4000, batch=1024, learning_rate=3e-3, validate_every=1000)
    data = _DATA.format("0.04")
    protocol = TEN
    slices = 40
    finishing = 10  # tissue of a real scan lay outside of the prior, and only the data could tell
    finished: ClassVar[dict[str, dict[str, Any]]] = {"network alone": {"finishing": 0}}
    water: ClassVar[Literal["free", "measured"]] = "free"
    fields: ClassVar[Fields] = {"B1": (0.7, 1.2), "B0": (-40.0, 40.0)}
    usual_noise = 0.02
    most_noise = 0.04
    widths = (100,) * 4
    inputs = (R1, Scaled("B1", 0.55, 1.35), Scaled("B0", -120.0, 120.0))
    outputs = (F, KR, T2F, T2R)


@final
class TwoStage(nn.Module):
    """A completion of images, and a voxel-wise fit of what it gives.

    Args:
        acquisition: four images and the maps of R1 and T2f, scaled, to the eight others.
        fit: of twelve images.
    """

    def __init__(self, acquisition: ContrastCompletion, fit: VoxelNetwork) -> None:
        super().__init__()
        self.acquisition, self.fit = acquisition, fit
        rest = [i for i in range(len(_PAIRS)) if i not in MEASURED]
        self._order = [(*MEASURED, *rest).index(i) for i in range(len(_PAIRS))]

    def forward(self, images: Tensor, known: Tensor) -> Tensor:
        """Twelve images (slice, 12, x, y) of four and the scaled known maps (slice, 2, x, y), zero outside."""
        found: Tensor = self.acquisition(torch.cat([images, known], 1))
        return torch.cat([images, found], 1)[:, self._order]


@final
class QmtTwoStage(_TransferRecipe):
    """qMTNet-acq, its convolutions a quarter as wide as published and with T1 and T2 as inputs, before a fit."""

    name = "qmtnet-two-stage"
    title = "qMTNet-acq and -fit: F and kf from four saturated images, completed to twelve, T1 and T2"
    settings = TrainingSettings(steps=1300, batch=4, learning_rate=3e-3, validate_every=325)
    data = _DATA.format("0.01")
    protocol = FOUR
    picked = MEASURED
    finished: ClassVar[dict[str, dict[str, Any]]] = {"nlls of the completed": {"mapper": "nlls"}}
    lesions = 60
    _side = 40

    @property
    def drawn_model(self) -> RamaniSignal:
        """Of all twelve images."""
        return RamaniSignal(TWELVE, normalised=True, water="measured")

    def network(self) -> TwoStage:
        """Both stages; the fit starts from that of `QmtFit`, where its weights are."""
        widths = (64, 32, 16)
        fit = VoxelNetwork(
            torch.eye(12), (F, KR, T2R), (100,) * 4, (R1, T2F), normalise=False, activation="silu"
        )
        if paths(_WEIGHTS, QmtFit.name)[0].exists():
            read_weights(_WEIGHTS, fit, read_card(_WEIGHTS, QmtFit.name)).requires_grad_(True)
        return TwoStage(ContrastCompletion(len(MEASURED) + 2, 8, widths), fit)

    def draw(self, generator: torch.Generator, count: int) -> dict[str, Tensor]:
        """Noisy images, noiseless ones, maps and mask of pieces of slices, mirrored and turned."""
        slices, side = self._slices, self._side
        parts = []
        for _ in range(count):
            which, turn, flip = (
                int(torch.randint(n, (1,), generator=generator)) for n in (len(slices.mask), 4, 2)
            )
            room = [n - side + 1 for n in slices.mask.shape[1:]]
            # rarely outside the head
            x, y = (int(n * (0.12 + 0.76 * float(torch.rand(1, generator=generator)))) for n in room)
            piece = torch.cat([slices.images[which], slices.maps[which], slices.mask[which][None].float()])
            piece = torch.rot90(piece[:, x : x + side, y : y + side], turn, (1, 2))
            parts.append(piece.flip(1) if flip else piece)
        both = torch.stack(parts)
        images, maps, mask = both[:, :12], both[:, 12:-1], both[:, -1:]
        return {
            "noisy": self._noisy(images[:, list(MEASURED)], generator, 0) * mask,
            "images": images,
            "maps": maps,
            "mask": mask[:, 0] > 0,
        }

    def loss(self, network: nn.Module, batch: dict[str, Tensor], share: float) -> dict[str, Tensor]:
        """Squared errors of the images that were not measured, and of the maps that the fit makes of them."""
        assert isinstance(network, TwoStage)
        maps, mask = batch["maps"], batch["mask"]
        completed = network(batch["noisy"], self._known(maps, mask))
        error = (completed - batch["images"]).movedim(1, 0)[:, mask]
        error = error[[i for i in range(12) if i not in MEASURED]] / 0.02
        inside = maps.movedim(1, 0)[:, mask]
        known = network.fit.inputs(dict(zip(MAPS, inside, strict=True)))
        if share < 0.15:  # first images alone lead the completion
            completed = completed.detach()
        unit = network.fit(completed.movedim(1, 0)[:, mask].T, known)
        return {"images": error.square().mean(), **self._terms(network.fit, unit, inside)}

    def _known(self, maps: Tensor, mask: Tensor) -> Tensor:
        rows = [s.to_unit(maps[:, MAPS.index(s.name)]) * mask for s in (R1, T2F)]
        return torch.stack(rows, 1)

    def score(self, network: nn.Module) -> float:
        """nRMSE of F and of kf together, at the usual noise."""
        assert isinstance(network, TwoStage)
        held = self._tuning
        generator = torch.Generator().manual_seed(7)
        images = held.images[:, list(MEASURED)]
        noisy = images + self.usual_noise * torch.randn(images.shape, generator=generator)
        completed = network(noisy * held.mask[:, None], self._known(held.maps, held.mask))
        maps = held.maps.movedim(1, 0)[:, held.mask]
        known = network.fit.inputs(dict(zip(MAPS, maps, strict=True)))
        unit = network.fit(completed.movedim(1, 0)[:, held.mask].T, known).clamp(-1, 1)
        return self._score({s.name: s.to_value(unit[:, i]) for i, s in enumerate(network.fit.outputs)}, maps)

    def build(self, network: nn.Module, card: Card, **options: Any) -> TwoStageEstimator:
        """An `Estimator`; ``mapper`` is ``network``, or ``nlls`` for the classical fit of the completed images."""
        assert isinstance(network, TwoStage)
        options.pop("model", None)
        return TwoStageEstimator(network, network.fit, card, TWELVE, MEASURED, **options)
