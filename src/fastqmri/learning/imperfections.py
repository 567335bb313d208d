"""What real scans do that models don't: drawn once, applied as often as wanted, with the same bytes.

Each kind has ``draw(shape, generator) -> Drawn`` and ``apply(drawn, scene) -> Scene``; ``shape`` is the signals':
(contrast, sample, *voxels), or (contrast, sample) for lone voxels. What is drawn holds for one sample unless said
otherwise.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, final

import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, PlausibilityError, UnknownNameError
from fastqmri.phantoms import AMPLITUDES, draw_motion, move, smooth_fields
from fastqmri.physics.signal import SignalModel


@final
@dataclass(frozen=True)
class Drawn:
    """What was drawn: enough to do the same again.

    Attributes:
        values: name -> numbers.
        parts: of what `Compose` holds.
    """

    values: Mapping[str, Tensor] = field(default_factory=dict)
    parts: tuple[Drawn, ...] = ()


@final
@dataclass(frozen=True)
class Scene:
    """Samples on their way from tissue to signals.

    Attributes:
        model: A.
        x: (parameter, sample, *voxels), the truth, fields included.
        known: name -> (sample, *voxels), what the estimator will be told of the fields.
        images: (contrast, sample, *voxels), once they were made.
        noise: (sample) standard deviation of the noise in one real channel, once it was added.
    """

    model: SignalModel
    x: Tensor
    known: Mapping[str, Tensor] = field(default_factory=dict)
    images: Tensor | None = None
    noise: Tensor | None = None

    def row(self, name: str) -> int:
        """Where a parameter is in ``x``.

        Raises:
            UnknownNameError: the model doesn't have it.
        """
        names = [p.name for p in self.model.parameters]
        if name not in names:
            raise UnknownNameError(
                f"an imperfection of {name} with {type(self.model).__name__}",
                f"this model has {', '.join(names)}.",
                "Leave it out, or choose a model that feels it.",
            )
        return names.index(name)

    def changed(self, name: str, value: Tensor, known: bool) -> Scene:
        """With another map of a parameter, told to the estimator or not.

        Raises:
            AcquisitionError: the images are there already.
            UnknownNameError: the model doesn't have it.
        """
        self.require_unmade(name)
        row = self.row(name)
        value = value.to(self.x).expand(self.x.shape[1:])
        told = {k: v for k, v in self.known.items() if k != name}
        if known:
            told[name] = value
        x = torch.cat([self.x[:row], value[None], self.x[row + 1 :]])
        return replace(self, x=x, known=told)

    def require_unmade(self, what: str) -> None:
        """Refuse to change what images were made from.

        Raises:
            AcquisitionError: they are there.
        """
        if self.images is not None:
            raise AcquisitionError(
                f"{what} changed after the images were made",
                "they would not feel it.",
                "Put what acts on tissue, fields and timing before what acts on images.",
            )

    def signals(self) -> Tensor:
        """(contrast, sample, *voxels), made now if they were not before."""
        return self.model.forward(self.x) if self.images is None else self.images


class Imperfection(Protocol):
    """One way in which scans are not ideal."""

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Drawn:
        """Draw for signals (contrast, sample, *voxels)."""
        ...

    def apply(self, drawn: Drawn, scene: Scene) -> Scene:
        """Do it."""
        ...


@final
@dataclass(frozen=True)
class Compose:
    """One after the other: first what acts on tissue, fields and timing, then what acts on images, noise last.

    Attributes:
        parts: in order.
    """

    parts: tuple[Imperfection, ...] = ()

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Drawn:
        """All parts', in order."""
        return Drawn(parts=tuple(part.draw(shape, generator) for part in self.parts))

    def apply(self, drawn: Drawn, scene: Scene) -> Scene:
        """All parts, in order."""
        for part, record in zip(self.parts, drawn.parts, strict=True):
            scene = part.apply(record, scene)
        return scene


@final
@dataclass(frozen=True)
class Field:
    """B0, B1: a smooth map over each object's voxels; for lone voxels one value each.

    Attributes:
        name: of the model's parameter.
        low: lowest value, in the parameter's unit.
        high: highest value. Each object's map runs between two values drawn evenly from ``low`` to ``high``.
        known: whether the estimator is told the map.
    """

    name: str
    low: float
    high: float
    known: bool = True

    def __post_init__(self) -> None:
        _ordered(self.name, self.low, self.high)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Drawn:
        """``map``, (sample, *voxels)."""
        _, samples, *voxels = shape
        if not voxels:
            return Drawn({"map": _uniform((samples,), self.low, self.high, generator)})
        ends = _uniform((2, samples, *(1,) * len(voxels)), self.low, self.high, generator)
        low, high = ends.amin(0), ends.amax(0)
        value = smooth_fields(samples, tuple(voxels), low, high, generator=generator, dtype=torch.float32)
        return Drawn({"map": value})

    def apply(self, drawn: Drawn, scene: Scene) -> Scene:
        """Put the map in the place of the parameter's."""
        return scene.changed(self.name, drawn.values["map"], self.known)


@final
@dataclass(frozen=True)
class Constant:
    """One value of a parameter for all voxels of a sample: the efficiency of inversions, a global B1.

    Attributes:
        name: of the model's parameter.
        low: lowest value, in the parameter's unit.
        high: highest value.
        known: whether the estimator is told.
    """

    name: str
    low: float
    high: float
    known: bool = False

    def __post_init__(self) -> None:
        _ordered(self.name, self.low, self.high)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Drawn:
        """``value``, (sample)."""
        return Drawn({"value": _uniform((shape[1],), self.low, self.high, generator)})

    def apply(self, drawn: Drawn, scene: Scene) -> Scene:
        """Put the value in the place of the parameter's."""
        return scene.changed(self.name, _per_sample(drawn.values["value"], scene.x[0]), self.known)


@final
@dataclass(frozen=True)
class Untold:
    """A field that is there but was not measured: the estimator takes the nominal value.

    Attributes:
        name: of the model's parameter.
    """

    name: str

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Drawn:
        """Nothing."""
        return Drawn()

    def apply(self, drawn: Drawn, scene: Scene) -> Scene:
        """Don't tell."""
        scene.row(self.name)
        return replace(scene, known={k: v for k, v in scene.known.items() if k != self.name})


@final
@dataclass(frozen=True)
class TimingJitter:
    """Times or angles of the acquisition that differ from what the scanner was told; one draw for all samples.

    Attributes:
        name: field of the acquisition (``echo_time``, ``repetition_time``, ``flip_angle``).
        spread: standard deviation of the relative error, at most three of them drawn.
        shared: all contrasts are off by the same factor.
    """

    name: str
    spread: float
    shared: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.spread < 0.3:
            raise PlausibilityError(
                f"{self.name} off by {self.spread:g}",
                "it is a small fraction, and times stay positive.",
                "Give 0.001 to 0.05.",
            )

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Drawn:
        """``factor``, (contrast)."""
        normal = torch.randn(1 if self.shared else shape[0], dtype=torch.float64, generator=generator)
        return Drawn({"factor": (1 + self.spread * normal.clamp(-3, 3)).expand(shape[0]).clone()})

    def apply(self, drawn: Drawn, scene: Scene) -> Scene:
        """Make the images as the scanner played them; the model that the scene keeps is the one it was told.

        Raises:
            AcquisitionError: the images are there already, or the model doesn't read this field as it goes.
        """
        scene.require_unmade(self.name)
        told = scene.model.acquisition
        value = told.tensor(self.name)
        factor = drawn.values["factor"]
        played = copy.copy(scene.model)
        played.acquisition = told.differentiable(**{self.name: value * (factor if value.ndim else factor[0])})
        strongest = scene.x.flatten(1)[:, scene.x[0].argmax(), None]
        same = torch.equal(scene.model.forward(strongest), played.forward(strongest))
        if same and bool((factor != 1).any()) and bool(strongest[0] != 0):
            raise AcquisitionError(
                f"jitter of {self.name} with {type(scene.model).__name__}",
                "its signal does not change with it.",
                "Name a field of the acquisition that the model reads as it goes.",
            )
        return replace(scene, images=played.forward(scene.x))


@final
@dataclass(frozen=True)
class SliceProfile:
    """Flip angles that fall off across the slice, in models that feel B1: signals averaged over places in the slice.

    Attributes:
        width: full width of the Gaussian profile at half its height, in slices; infinity is an ideal slice.
        spread: largest relative change of the width, drawn evenly.
        places: across half a slice.
    """

    width: float = 1.5
    spread: float = 0.0
    places: int = 8

    def __post_init__(self) -> None:
        if not (self.width > 0 and 0 <= self.spread < 1 and self.places > 0):
            raise PlausibilityError(
                f"a slice profile {self.width:g} wide, varied by {self.spread:g}, at {self.places} places",
                "the width is positive and the change below one.",
                "Give a width of 0.8 to 3.",
            )

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Drawn:
        """``width``, (sample)."""
        factor = _uniform((shape[1],), 1 - self.spread, 1 + self.spread, generator)
        return Drawn({"width": self.width * factor})

    def apply(self, drawn: Drawn, scene: Scene) -> Scene:
        """Average over the middles of equal parts of half a slice.

        Raises:
            AcquisitionError: the images are there already.
            UnknownNameError: the model doesn't feel B1.
        """
        scene.require_unmade("the slice profile")
        row = scene.row("B1")
        width = _per_sample(drawn.values["width"], scene.x[0]).to(scene.x)
        total: Tensor | None = None
        for place in range(self.places):
            away = (place + 0.5) / self.places / 2
            fraction = torch.exp2(-((2 * away / width) ** 2))
            x = torch.cat([scene.x[:row], (scene.x[row] * fraction)[None], scene.x[row + 1 :]])
            part = scene.model.forward(x)
            total = part if total is None else total + part
        assert total is not None
        return replace(scene, images=total / self.places)


@final
@dataclass(frozen=True)
class PartialVolume:
    """Lone voxels that hold two tissues, whose signals add; the truth is their mean.

    All but the amplitude is weighted with the amplitude.

    Attributes:
        probability: of a voxel to be mixed, with another voxel of the same draw.
        most: largest share of the other voxel's tissue, at most a half.
    """

    probability: float = 0.2
    most: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.probability <= 1 and 0 <= self.most <= 0.5):
            raise PlausibilityError(
                f"mixed with probability {self.probability:g}, shares up to {self.most:g}",
                "a probability is a fraction, and a guest fills at most half a voxel.",
                "Give 0 to 1, and 0 to 0.5.",
            )

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Drawn:
        """``partner`` and ``share``, (sample)."""
        samples = shape[1]
        share = _uniform((samples,), 0.0, self.most, generator)
        mixed = torch.rand(samples, generator=generator) < self.probability
        partner = torch.randint(samples, (samples,), generator=generator)
        return Drawn({"partner": partner, "share": torch.where(mixed, share, 0.0)})

    def apply(self, drawn: Drawn, scene: Scene) -> Scene:
        """Add the signals of both tissues, under the voxel's own fields."""
        scene.require_unmade("partial volume")
        x, share = scene.x, _per_sample(drawn.values["share"], scene.x[0]).to(scene.x)
        other = x[:, drawn.values["partner"]]
        held = [i for i, p in enumerate(scene.model.parameters) if p.nominal is not None]
        other = torch.stack([x[i] if i in held else other[i] for i in range(len(x))])
        images = (1 - share) * scene.model.forward(x) + share * scene.model.forward(other)
        amplitudes = [i for i, p in enumerate(scene.model.parameters) if p.name in AMPLITUDES]
        weight = share
        if amplitudes:
            own, guest = x[amplitudes[0]], other[amplitudes[0]]
            weight = share * guest / ((1 - share) * own + share * guest).clamp_min(1e-30)
        truth = torch.stack(
            [torch.lerp(x[i], other[i], share if i in amplitudes else weight) for i in range(len(x))]
        )
        return replace(scene, x=truth, images=images)


@final
@dataclass(frozen=True)
class Phase:
    """The phase of all images of an object, as receive coils and B1 leave it: a constant and a smooth part.

    Makes images complex.

    Attributes:
        smooth: largest phase of the smooth part, rad; its range is drawn evenly from 0 to twice that.
        constant: draw the constant evenly over the circle; without it is zero.
    """

    smooth: float = math.pi / 2
    constant: bool = True

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Drawn:
        """``phase``, (sample, *voxels) rad."""
        _, samples, *voxels = shape
        turn = _uniform((samples,), 0.0, 2 * math.pi if self.constant else 0.0, generator)
        phase = turn.view(samples, *(1,) * len(voxels)).expand(samples, *voxels)
        if voxels and self.smooth:
            size = _uniform((samples, *(1,) * len(voxels)), 0.0, self.smooth, generator)
            phase = phase + smooth_fields(
                samples, tuple(voxels), -size, size, generator=generator, dtype=torch.float32
            )
        return Drawn({"phase": phase.contiguous()})

    def apply(self, drawn: Drawn, scene: Scene) -> Scene:
        """Turn all images."""
        phase = drawn.values["phase"]
        return replace(scene, images=scene.signals() * torch.polar(torch.ones_like(phase), phase))


@final
@dataclass(frozen=True)
class Motion:
    """Objects that turn and shift from contrast to contrast; the truth is the object at rest, as in the first contrast.

    Attributes:
        rotation: largest turn, rad.
        translation: largest shift along an axis, mm.
        voxel_size: mm.
        probability: of an object to move.
    """

    rotation: float
    translation: float
    voxel_size: tuple[float, ...]
    probability: float = 1.0

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Drawn:
        """``pose``, (sample, contrast, pose), see `fastqmri.phantoms.draw_motion`."""
        contrasts, samples, *voxels = shape
        poses = [
            draw_motion(
                contrasts,
                len(voxels),
                rotation=self.rotation,
                translation=self.translation,
                generator=generator,
            )
            for _ in range(samples)
        ]
        moving = torch.rand(samples, dtype=torch.float64, generator=generator) < self.probability
        return Drawn({"pose": torch.stack(poses) * moving[:, None, None]})

    def apply(self, drawn: Drawn, scene: Scene) -> Scene:
        """Move the images."""
        images = scene.signals()
        moved = [
            move(image, pose, self.voxel_size)
            for image, pose in zip(images.unbind(1), drawn.values["pose"], strict=True)
        ]
        return replace(scene, images=torch.stack(moved, 1))


@final
@dataclass(frozen=True)
class Noise:
    """White noise of a level drawn for each sample, its logarithm evenly.

    Attributes:
        snr: lowest and highest, of the reference to the standard deviation of one real channel; infinity is none.
        kind: ``gaussian`` on real signals as they are; ``rician`` makes the magnitude of real signals with complex
            noise; ``complex`` makes real signals complex.
        reference: of a sample's signals: ``first`` contrast's mean magnitude, ``rms`` of all contrasts, or
            ``amplitude``, the mean of the model's first parameter. Means are over voxels with signal.
    """

    snr: tuple[float, float]
    kind: Literal["gaussian", "rician", "complex"] = "gaussian"
    reference: Literal["first", "rms", "amplitude"] = "first"

    def __post_init__(self) -> None:
        low, high = self.snr
        if not 0 < low <= high or (math.isinf(high) and low != high):
            raise PlausibilityError(
                f"an SNR from {low:g} to {high:g}",
                "it is positive, the lower limit first, and only (inf, inf) has no noise.",
                "Give 20 to 200.",
            )

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Drawn:
        """``snr``, (sample), and standard normal ``white``, (channel, contrast, sample, *voxels)."""
        channels = 1 if self.kind == "gaussian" else 2
        level = log_uniform((shape[1],), *self.snr, generator)
        return Drawn({"snr": level, "white": torch.randn((channels, *shape), generator=generator)})

    def apply(self, drawn: Drawn, scene: Scene) -> Scene:
        """Add it.

        Raises:
            AcquisitionError: real noise for complex signals.
        """
        images = scene.signals()
        if images.is_complex() and self.kind != "complex":
            raise AcquisitionError(
                f"{self.kind} noise on complex signals",
                "both of their channels are noisy.",
                "Take complex noise.",
            )
        if self.reference == "amplitude":
            size = _mean_signal(scene.x[:1])
        elif self.reference == "first":
            size = _mean_signal(images[:1].abs())
        else:
            size = _mean_signal(images.abs().square().mean(0, keepdim=True)).sqrt()
        noise = size / drawn.values["snr"].to(size)
        white = drawn.values["white"].to(size) * _per_sample(noise, images[0])
        if self.kind == "gaussian":
            noisy = images + white[0]
        elif self.kind == "rician":
            noisy = torch.hypot(images + white[0], white[1])
        else:
            noisy = images + torch.complex(white[0], white[1])
        return replace(scene, images=noisy, noise=noise)


def log_uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Numbers whose logarithm is even between those of the limits, float32; equal limits are given back."""
    share = torch.rand(shape, generator=generator)
    if low == high:
        return torch.full(shape, low)
    return (math.log(low) + math.log(high / low) * share).exp().clamp(low, high)


def _mean_signal(magnitude: Tensor) -> Tensor:
    """(sample): mean over the voxels with signal of (1, sample, *voxels)."""
    flat = magnitude[0].flatten(1) if magnitude.ndim > 2 else magnitude[0][:, None]
    return flat.sum(1) / (flat > 0).sum(1).clamp_min(1)


def _per_sample(value: Tensor, like: Tensor) -> Tensor:
    """(sample) shaped to broadcast against (sample, *voxels)."""
    return value.view(-1, *(1,) * (like.ndim - 1))


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _ordered(name: str, low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise PlausibilityError(
            f"{name} from {low:g} to {high:g}",
            "a range has finite limits, the lower one first.",
            "Check the order and the unit.",
        )
