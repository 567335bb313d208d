"""y of the equation, drawn to train on: tissue, imperfections, encoding, noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, final

import torch
from torch import Tensor

from fastqmri.core import UnknownNameError
from fastqmri.learning.imperfections import Compose, Drawn, Imperfection, Noise, Scene, log_uniform
from fastqmri.learning.pools import PhantomPool
from fastqmri.learning.priors import Prior
from fastqmri.learning.sampling import CoilBank, Sampler
from fastqmri.phantoms import AMPLITUDES, parameters_of, smooth_fields
from fastqmri.physics.encoding import BatchedEncoding
from fastqmri.physics.signal import SignalModel


@final
@dataclass(frozen=True)
class VoxelBatch:
    """Lone voxels and their signals.

    Attributes:
        signals: (contrast, voxel), real or complex.
        truth: (parameter, voxel), all parameters of the model in its order.
        known: name -> (voxel), what an estimator is told of the fields.
        noise: (voxel) standard deviation of the noise in one real channel; zero without noise.
    """

    signals: Tensor
    truth: Tensor
    known: Mapping[str, Tensor]
    noise: Tensor


def draw_voxels(
    prior: Prior,
    model: SignalModel,
    imperfections: Imperfection | None,
    noise: Noise | None,
    generator: torch.Generator,
    count: int,
) -> VoxelBatch:
    """Draw tissue and what is measured of it.

    Amplitudes that the prior doesn't draw are one, quantities that are measured elsewhere have their nominal value; if
    the prior draws them, the estimator is told unless an imperfection says otherwise.

    Args:
        prior: of the parameters that a fit of the model estimates, or more.
        model: A.
        imperfections: one, or several as `Compose`.
        noise: its kind and level.
        generator: source of all randomness.
        count: voxels.

    Raises:
        UnknownNameError: the prior lacks a parameter of the model.
    """
    parts = tuple(part for part in (imperfections, noise) if part is not None)
    scene = scene_of(prior.draw(count, generator), model)
    imperfect = Compose(parts)
    drawn = imperfect.draw((model.acquisition.contrasts, count), generator)
    return voxels_of(scene, imperfect, drawn)


def scene_of(tissue: Mapping[str, Tensor], model: SignalModel) -> Scene:
    """The start of a simulation of lone voxels.

    Args:
        tissue: name -> (voxel).
        model: A.

    Raises:
        UnknownNameError: the tissue lacks a parameter of the model.
    """
    like = next(iter(tissue.values()))
    rows = []
    for parameter in model.parameters:
        if parameter.name in tissue:
            rows.append(tissue[parameter.name])
        elif parameter.nominal is not None or parameter.name in AMPLITUDES:
            rows.append(torch.full_like(like, 1.0 if parameter.nominal is None else parameter.nominal))
        else:
            raise UnknownNameError(
                f"parameter {parameter.name} of {type(model).__name__}",
                f"the prior draws {', '.join(tissue)} only.",
                "Give the prior a range for it.",
            )
    known = {p.name: rows[i] for i, p in enumerate(model.parameters) if p.nominal is not None}
    return Scene(model, torch.stack(rows), known)


def voxels_of(scene: Scene, imperfections: Imperfection, drawn: Drawn) -> VoxelBatch:
    """Signals of a scene with what was drawn; the same again for the same record."""
    with torch.no_grad():
        end = imperfections.apply(drawn, scene)
        signals = end.signals()
    noise = torch.zeros_like(end.x[0]) if end.noise is None else end.noise
    return VoxelBatch(signals, end.x, end.known, noise)


@dataclass(frozen=True)
class Scans:
    """Undersampled k-space of objects, as an estimator sees it.

    Attributes:
        kspace: (batch, contrast, coil, *k) complex64, zero where nothing was measured.
        sensitivities: (batch, coil, *voxels) complex64, as the estimator knows them.
        sampling: (batch, contrast, *k) bool; axes of length 1 count for all.
        noise: (batch) standard deviation of the noise in one real channel, of k-space as of images.
        known: name -> (batch, *voxels), what the estimator is told of the fields.
        acceleration: (batch), R.
    """

    kspace: Tensor
    sensitivities: Tensor
    sampling: Tensor
    noise: Tensor
    known: Mapping[str, Tensor]
    acceleration: Tensor

    @property
    def encoding(self) -> BatchedEncoding:
        """E."""
        return BatchedEncoding(self.sensitivities, self.sampling)

    def zero_filled(self) -> Tensor:
        """E^H y, (batch, contrast, *voxels) complex64."""
        return self.encoding.adjoint(self.kspace)

    def kept(self, sampling: Tensor) -> Self:
        """The same scans with fewer samples."""
        measured = [m.float().flatten(1).sum(1) for m in (self.sampling, sampling)]
        return replace(
            self,
            kspace=self.kspace * sampling[:, :, None],
            sampling=sampling,
            acceleration=self.acceleration * measured[0] / measured[1],
        )

    def transposed(self) -> Self:
        """Planes with their two axes exchanged."""
        turned: dict[str, Any] = {
            name: value.mT.contiguous()
            for name, value in vars(self).items()
            if isinstance(value, Tensor) and value.ndim > 2
        }
        return replace(self, known={name: value.mT for name, value in self.known.items()}, **turned)


@final
@dataclass(frozen=True)
class KSpaceBatch(Scans):
    """Undersampled k-space of objects, and the truth.

    Attributes:
        x: (batch, parameter, *voxels), the truth, all parameters of the model in its order; amplitudes are zero
            outside the mask, all else stays plausible.
        images: (batch, contrast, *voxels), noiseless and fully sampled.
        mask: (batch, *voxels) bool, the objects.
    """

    x: Tensor
    images: Tensor
    mask: Tensor


@final
@dataclass(frozen=True)
class KSpaceDraws:
    """Draws k-space of the objects of a pool.

    The standard deviation of the noise is the mean of the first contrast's magnitude over the object / SNR, as in
    `fastqmri.phantoms.acquire`.

    Attributes:
        pool: of the objects.
        model: A.
        sampling: draws the masks.
        coils: draws the sensitivities.
        snr: lowest and highest, the logarithm drawn evenly; (inf, inf) adds no noise.
        imperfections: of tissue, fields, timing and images; not `Noise`.
        smooth_phase: largest smooth phase of an object, rad, that the sensitivities take up as measured ones do, so
            that the truth stays real; `Phase` among the imperfections stays in the images instead.
    """

    pool: PhantomPool
    model: SignalModel
    sampling: Sampler
    coils: CoilBank
    snr: tuple[float, float] = (60.0, 60.0)
    imperfections: Imperfection = Compose()  # noqa: RUF009  frozen and empty
    smooth_phase: float = 0.0

    def __post_init__(self) -> None:
        Noise(self.snr)  # the same limits, refused in the same words

    def draw(self, count: int, generator: torch.Generator) -> KSpaceBatch:
        """Draw a batch.

        Raises:
            UnknownNameError: the model has a parameter that the pool's objects don't.
        """
        contrasts, voxels = self.model.acquisition.contrasts, self.pool.voxels
        with torch.no_grad():
            objects = self.pool.draw(count, generator)
            x = parameters_of(self.model, objects.maps, objects.mask)
            known = {p.name: x[i] for i, p in enumerate(self.model.parameters) if p.nominal is not None}
            drawn = self.imperfections.draw((contrasts, count, *voxels), generator)
            scene = self.imperfections.apply(drawn, Scene(self.model, x, known))
            images = scene.signals().movedim(1, 0).contiguous()
            sensitivities = self.coils.draw(count, generator)
            if self.smooth_phase:
                size = self.smooth_phase * torch.rand((count, *(1,) * len(voxels)), generator=generator)
                phase = smooth_fields(count, voxels, -size, size, generator=generator, dtype=torch.float32)
                sensitivities = sensitivities * torch.polar(torch.ones_like(phase), phase)[:, None]
            sampling, acceleration = self.sampling.draw(count, contrasts, voxels, generator)
            snr = log_uniform((count,), *self.snr, generator)
            inside = objects.mask.flatten(1)
            level = (images[:, 0].abs().flatten(1) * inside).sum(1) / inside.sum(1).clamp_min(1)
            noise = level / snr
            kspace = BatchedEncoding(sensitivities, sampling)(images).contiguous()
            if bool((noise > 0).any()):
                _add_white(kspace, noise, sampling, generator)
        return KSpaceBatch(
            kspace=kspace,
            sensitivities=sensitivities,
            sampling=sampling,
            noise=noise,
            x=scene.x.movedim(1, 0),
            images=images,
            known=scene.known,
            mask=objects.mask,
            acceleration=acceleration,
        )


def lines_last(batch: KSpaceBatch) -> KSpaceBatch:
    """A batch of planes, its single axis of undersampled lines last."""
    return batch if batch.sampling.shape[-1] > 1 else batch.transposed()


def _add_white(kspace: Tensor, noise: Tensor, sampling: Tensor, generator: torch.Generator) -> None:
    """Complex noise, in place, where k-space was sampled."""
    measured = sampling.expand(-1, -1, *kspace.shape[3:])
    places = measured.flatten().nonzero()[:, 0]  # of one coil: all coils measure the same samples
    coils, size = kspace.shape[2], kspace[0, 0, 0].numel()
    white = torch.randn((len(places), coils), dtype=kspace.dtype, generator=generator)
    # a complex normal number has half its variance in each channel
    white *= (2**0.5 * noise)[places // (measured[0].numel())][:, None]
    first = places // size * (coils * size) + places % size
    index = first[:, None] + torch.arange(coils) * size
    kspace.view(-1).index_add_(0, index.flatten(), white.flatten())
