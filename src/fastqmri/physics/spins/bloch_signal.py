"""Signals of a pulse sequence from isochromats: the general simulated signal model, and slice profiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, Parameter
from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.physics.signal.model import SignalModel, inverse_of
from fastqmri.physics.signal.relaxometry import B1, M0, T1, T2
from fastqmri.physics.spins import bloch
from fastqmri.physics.spins.sequence import Pulse, PulseSequence, Readout, Vector, compose

_MOST_NUMBERS = 2_000_000  # of magnetisation held at a time
_THICKNESSES = 2.5  # extent of an automatic ensemble, in nominal slice thicknesses
_MOST_ISOCHROMATS = 401


@dataclass(frozen=True)
class Ensemble:
    """The isochromats whose mean is a voxel's signal.

    Attributes:
        position: of each, m.
        frequency: of each, added to the voxel's off-resonance, Hz.
        weight: of each; the signal is the weighted sum, so that a voxel in full is weights that sum to one.
    """

    position: tuple[Vector, ...] = ((0.0, 0.0, 0.0),)
    frequency: tuple[float, ...] = (0.0,)
    weight: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not len(self.position) == len(self.frequency) == len(self.weight) > 0:
            raise AcquisitionError(
                f"{len(self.position)} positions, {len(self.frequency)} frequencies, {len(self.weight)} weights",
                "every isochromat needs one of each.",
                "Give lists of one length.",
            )

    @staticmethod
    def line(count: int, length: float, direction: Vector = (0.0, 0.0, 1.0), total: float = 1.0) -> Ensemble:
        """Equal isochromats evenly spaced over a length in m, centred; ``total`` is the sum of their weights."""
        places = [length * ((i + 0.5) / count - 0.5) for i in range(count)]
        x, y, z = direction
        return Ensemble(
            tuple((p * x, p * y, p * z) for p in places), (0.0,) * count, (total / count,) * count
        )

    @staticmethod
    def of(sequence: PulseSequence) -> Ensemble:
        """One isochromat at the centre, or a line across the slice where a pulse selects one.

        The line is 2.5 nominal thicknesses of the thinnest slice long, of isochromats close enough to resolve the
        largest gradient moment of an event, and a slice in full has the weight one.
        """
        thinnest: tuple[float, Vector] | None = None
        for event, angle in enumerate(sequence.flip_angle):
            gradient = sequence.gradient[event]
            strength = math.sqrt(sum(g * g for g in gradient))
            if not angle or not strength or not sequence.duration[event]:
                continue
            waveform = sequence.waveforms[sequence.waveform[event]]
            thickness = _bandwidth(waveform, sequence.duration[event]) / (GYROMAGNETIC_RATIO * strength)
            if thinnest is None or thickness < thinnest[0]:
                x, y, z = (g / strength for g in gradient)
                thinnest = thickness, (x, y, z)
        if thinnest is None:
            return Ensemble()
        thickness, direction = thinnest
        length = _THICKNESSES * thickness
        steps = sequence.steps().fields.detach()
        along = steps[:, 2:5] @ torch.tensor(direction, dtype=torch.float64)
        largest = float(along.cumsum(0).abs().max())
        count = min(_MOST_ISOCHROMATS, max(51, int(length * largest / math.pi) | 1))
        return Ensemble.line(count, length, direction, _THICKNESSES)


@dataclass(frozen=True)
class SliceProfile:
    """What a pulse does at places across a slice, without relaxation.

    Attributes:
        position: along the gradient, m.
        transverse: complex magnetisation that it leaves of equilibrium, at its end.
        flip_fraction: angle by which it turns the equilibrium, over its nominal flip angle: what phase-graph models
            take, for excitation and (between crushers) for refocusing.
    """

    position: Tensor
    transverse: Tensor
    flip_fraction: Tensor


def slice_profile(pulse: Pulse, position: Tensor, *, frequency: float = 0.0) -> SliceProfile:
    """Profile of a pulse along its gradient's direction.

    Args:
        pulse: with a gradient.
        position: (place,) in m.
        frequency: off-resonance in Hz.

    Raises:
        AcquisitionError: a pulse without gradient selects nothing.
    """
    strength = math.sqrt(sum(g * g for g in pulse.gradient))
    if not strength or not pulse.duration:
        raise AcquisitionError(
            "a slice profile of a pulse without gradient", "it selects no slice.", "Give it a gradient."
        )
    direction = torch.tensor([g / strength for g in pulse.gradient], dtype=torch.float64)
    steps = compose(pulse, Readout()).steps()
    tissue = torch.ones(4, len(position), dtype=torch.float64)
    tissue[1] = frequency
    tissue[2:] = torch.inf
    x, y, z = bloch.isochromats(
        steps.fields, steps.readout, steps.spoiled, tissue, direction[:, None] * position.double()
    )[0]
    return SliceProfile(position, torch.complex(x, y), torch.atan2(torch.hypot(x, y), z) / pulse.flip_angle)


@final
class BlochSignal(SignalModel):
    """Transverse magnetisation at the readouts of any pulse sequence: Bloch equations of an ensemble of isochromats.

    Each isochromat starts in equilibrium, is rotated by the exact angle in every step of constant field, and relaxes.
    The receiver's phase is taken off.

    Source: Bloch 1946; rotations as in Hargreaves 2001.

    Args:
        acquisition: the sequence.
        signal: ``magnitude`` or ``complex`` images.
        ensemble: whose mean is the signal; None for `Ensemble.of`.
    """

    title = "Bloch simulation of a pulse sequence"
    equation = "M0 * ensemble average of Mxy(T1, T2, B1, B0) * exp(-i receiver phase)"
    references = ("bloch1946", "hargreaves2001")
    acquisition: PulseSequence
    SIGNALS: ClassVar = ("magnitude", "complex")

    def __init__(
        self,
        acquisition: PulseSequence,
        signal: Literal["magnitude", "complex"] = "magnitude",
        ensemble: Ensemble | None = None,
    ) -> None:
        super().__init__(
            acquisition,
            (
                M0,
                T1,
                T2,
                B1,
                Parameter("B0", "Hz", (-2000.0, 2000.0), (-50.0, 50.0), "off-resonance", nominal=0.0),
            ),
        )
        self.complex_valued = signal == "complex"
        self.ensemble = ensemble or Ensemble.of(acquisition)
        self.derived = (
            inverse_of("R1", "1/s", 1, 5, "longitudinal relaxation rate, 1/T1"),
            inverse_of("R2", "1/s", 2, 5, "transverse relaxation rate, 1/T2"),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Signal (readout, *voxels) of (M0, T1, T2, B1, B0)."""
        steps = self.acquisition.steps()
        flat = x.reshape(5, -1)
        parts = []
        for columns in flat.split(self._voxels_at_a_time(), dim=1):
            tissue, position = self._isochromats(columns)
            vectors = bloch.isochromats(
                steps.fields.to(x), steps.readout.to(x.device), steps.spoiled.to(x.device), tissue, position
            )
            parts.append(columns[0] * self._mean(vectors))
        signal = torch.cat(parts, -1)
        return (signal if self.complex_valued else signal.abs()).reshape(-1, *x.shape[1:])

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0, T1, T2, B1, B0)."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian in one pass; neither carries gradients to the sequence, which `forward` does."""
        steps = self.acquisition.steps()
        flat = x.detach().reshape(5, -1)
        signals, jacobians = [], []
        for columns in flat.split(self._voxels_at_a_time(), dim=1):
            tissue, position = self._isochromats(columns)
            vectors, changes = bloch.changes(
                steps.fields.detach().to(x),
                steps.readout.to(x.device),
                steps.spoiled.to(x.device),
                tissue,
                position,
            )
            unit = self._mean(vectors)
            by_b1, by_b0, by_t1, by_t2 = (columns[0] * self._mean(change) for change in changes)
            signal = columns[0] * unit
            jacobian = torch.stack([unit, by_t1, by_t2, by_b1, by_b0], 1)
            if not self.complex_valued:
                towards = torch.sgn(signal)
                signal, jacobian = signal.abs(), (jacobian * towards.conj()[:, None]).real
            signals.append(signal)
            jacobians.append(jacobian)
        return (
            torch.cat(signals, -1).reshape(-1, *x.shape[1:]),
            torch.cat(jacobians, -1).reshape(-1, 5, *x.shape[1:]),
        )

    def _voxels_at_a_time(self) -> int:
        numbers = len(self.ensemble.weight) * max(24, 3 * self.acquisition.contrasts)
        return max(1, _MOST_NUMBERS // numbers)

    def _isochromats(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tissue (4, voxel * isochromat) and positions of all isochromats of voxels (5, voxel)."""
        _, t1, t2, b1, b0 = x
        count = len(self.ensemble.weight)
        frequency = torch.tensor(self.ensemble.frequency, dtype=x.dtype, device=x.device)
        place = torch.tensor(self.ensemble.position, dtype=x.dtype, device=x.device).T
        rows = [b1[:, None].expand(-1, count), b0[:, None] + frequency, t1[:, None].expand(-1, count)]
        tissue = torch.stack([*rows, t2[:, None].expand(-1, count)])
        return tissue.reshape(4, -1), place.repeat(1, x.shape[1])

    def _mean(self, vectors: Tensor) -> Tensor:
        """Signal (readout, voxel) of unit M0 of magnetisation (readout, 3, voxel * isochromat)."""
        weight = torch.tensor(self.ensemble.weight, dtype=vectors.dtype, device=vectors.device)
        x, y = (vectors[:, :2].reshape(len(vectors), 2, -1, len(weight)) @ weight).unbind(1)
        phase = self.acquisition.tensor("receiver_phase", like=vectors)[:, None]
        cosine, sine = torch.cos(phase), torch.sin(phase)
        return torch.complex(x * cosine + y * sine, y * cosine - x * sine)


def _bandwidth(waveform: tuple[tuple[float, float], ...], duration: float) -> float:
    """Full width at half maximum of a pulse's spectrum, Hz."""
    samples = torch.view_as_complex(torch.tensor(waveform, dtype=torch.float64))
    padded = 64 * len(samples)
    spectrum = torch.fft.fft(samples, padded).abs()
    above = int((spectrum >= spectrum.max() / 2).sum())
    return above / padded * len(samples) / duration
