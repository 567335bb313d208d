"""Miniature BIDS datasets with known truth, for the tests of every floor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from torch import Tensor

from fastqmri.core import (
    ActualFlipAngle,
    DiffusionWeighted,
    DoubleAngle,
    InversionRecovery,
    MagnetizationTransferRatio,
    MagnetizationTransferSaturation,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    MultiParameterMapping,
    VariableFlipAngle,
)
from fastqmri.physics.signal import (
    ActualFlipAngleSignal,
    ComplexGradientEcho,
    DiffusionTensor,
    DoubleAngleSignal,
    ExponentialDecay,
    InversionRecoverySignal,
    MultiParameter,
    PhaseEvolution,
    SignalModel,
    SpoiledGradientEcho,
    TransferRatio,
    TransferSaturation,
)

SHAPE = (5, 4, 3)
AFFINE = np.array([[-2.0, 0.1, 0.0, 10.0], [0.1, 2.0, 0.0, -8.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])
SCANNER = {"MagneticFieldStrength": 3, "Manufacturer": "Siemens"}

FLIP_ANGLES = (3.0, 10.0, 20.0)  # deg
INVERSION_TIMES = (0.05, 0.4, 1.1, 2.5)  # s
SPIN_ECHOES = (0.01, 0.02, 0.04, 0.08)  # s
GRADIENT_ECHOES = (0.004, 0.008, 0.012)  # s
DIRECTIONS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.8, 0), (0.6, 0, 0.8), (0, 0.6, 0.8))
B_VALUES = (0.0, *(1000.0,) * len(DIRECTIONS))  # s/mm²


class Dataset:
    """A BIDS dataset under construction.

    Args:
        root: folder to build in.
        compressed: whether images end in ``.nii.gz`` or ``.nii``.
    """

    def __init__(self, root: Path, *, compressed: bool = True) -> None:
        self.root = root
        self.ending = ".nii.gz" if compressed else ".nii"
        self.json("dataset_description.json", {"Name": "miniature", "BIDSVersion": "1.10.0"})
        self.text("README", "A miniature dataset with synthetic images of known tissue parameters. " * 3)

    def path(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def text(self, name: str, content: str) -> Path:
        path = self.path(name)
        path.write_text(content)
        return path

    def json(self, name: str, content: Mapping[str, Any]) -> Path:
        return self.text(name, json.dumps(content))

    def image(
        self,
        name: str,
        data: Tensor | np.ndarray,
        sidecar: Mapping[str, Any] | None = None,
        *,
        affine: np.ndarray = AFFINE,
    ) -> Path:
        """Write an image (x, y, z[, volume]) to ``name``, given without ending, and its sidecar if any."""
        path = self.path(name + self.ending)
        write_nifti(path, np.asarray(data), affine)
        if sidecar is not None:
            self.json(name + ".json", sidecar)
        return path


def write_nifti(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """Write an image as scanners' converters do."""
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nibabel.save(image, path)
    return path


def truth(names: Sequence[str]) -> Tensor:
    """Tissue parameters (parameter, x, y, z) that differ from voxel to voxel."""
    ramp = torch.linspace(0, 1, int(np.prod(SHAPE)), dtype=torch.float64).reshape(SHAPE)
    values = {
        "M0": 1000 + 200 * ramp,
        "S0": 1000 + 200 * ramp,
        "T1": 0.6 + 1.4 * ramp,
        "B1": 0.9 + 0.2 * ramp,
        "T2": 0.03 + 0.09 * ramp,
        "T2star": 0.01 + 0.05 * ramp,
        "inversion_factor": 1.9 + 0 * ramp,
        "B0": 40 * ramp - 10,
        "phase": 1.0 - 0.5 * ramp,
        "MTR": 20 + 30 * ramp,
        "MTsat": 0.5 + 2 * ramp,
        "PD": 1000 + 200 * ramp,
        "S1": 1000 + 200 * ramp,
        "S2": 800 + 200 * ramp,
        "Dxx": 1.7e-3 - 0.5e-3 * ramp,
        "Dyy": 0.5e-3 + 0 * ramp,
        "Dzz": 0.4e-3 + 0 * ramp,
    }
    return torch.stack([values.get(name, 0 * ramp) for name in names])


def signal(model: SignalModel) -> Tensor:
    """Noise-free images (contrast, x, y, z) of `truth`."""
    images = model(truth([p.name for p in model.parameters]))
    return images.to(torch.complex64 if images.is_complex() else torch.float32)


def _prefix(subject: str, session: str | None, folder: str) -> str:
    names = [f"sub-{subject}"] + ([f"ses-{session}"] if session else [])
    return f"{'/'.join([*names, folder])}/{'_'.join(names)}"


def add_vfa(
    dataset: Dataset,
    subject: str = "01",
    session: str | None = None,
    *,
    flip_angles: Sequence[float] = FLIP_ANGLES,
    repetition_time: float = 0.015,
    b1: float | None = 1.0,
) -> None:
    """Variable flip angles: what is common stands in the root's ``VFA.json``, the angle beside each image.

    Args:
        dataset: to add to.
        subject: label.
        session: label, or None.
        flip_angles: in degrees.
        repetition_time: in seconds.
        b1: factor to write the B1+ map with (100 for percent), or None for no map.
    """
    dataset.json(
        "VFA.json",
        {
            "PulseSequenceType": "SPGR",
            "RepetitionTimeExcitation": repetition_time,
            "EchoTime": 0.003,
            **SCANNER,
        },
    )
    acquisition = VariableFlipAngle(
        flip_angle=tuple(np.deg2rad(angle) for angle in flip_angles), repetition_time=repetition_time
    )
    for i, image in enumerate(signal(SpoiledGradientEcho(acquisition))):
        name = f"{_prefix(subject, session, 'anat')}_flip-{i + 1}_VFA"
        dataset.image(name, image, {"FlipAngle": flip_angles[i]})
    if b1 is not None:
        name = f"{_prefix(subject, session, 'fmap')}_TB1map"
        units = "arbitrary" if b1 != 1 else "1"
        dataset.image(name, b1 * truth(["B1"])[0].float(), {"Units": units, **SCANNER})


def add_irt1(dataset: Dataset, subject: str = "01", session: str | None = None) -> None:
    """Magnitude inversion recovery: the repetition time stands at the root."""
    acquisition = InversionRecovery(inversion_time=INVERSION_TIMES)
    dataset.json("IRT1.json", {"RepetitionTimePreparation": 6.0, **SCANNER})
    for i, image in enumerate(signal(InversionRecoverySignal(acquisition))):
        name = f"{_prefix(subject, session, 'anat')}_inv-{i + 1}_IRT1"
        dataset.image(name, image, {"InversionTime": INVERSION_TIMES[i]})


def add_mese(dataset: Dataset, subject: str = "01", session: str | None = None) -> None:
    """Multi-echo spin echo with two-digit indices."""
    acquisition = MultiEchoSpinEcho(echo_time=SPIN_ECHOES)
    for i, image in enumerate(signal(ExponentialDecay(acquisition))):
        name = f"{_prefix(subject, session, 'anat')}_echo-{i + 1:02d}_MESE"
        dataset.image(name, image, {"EchoTime": SPIN_ECHOES[i], "RepetitionTime": 4.0, **SCANNER})


def add_megre(
    dataset: Dataset, subject: str = "01", session: str | None = None, *, phase: bool = True
) -> None:
    """Multi-echo gradient echo, magnitude and phase (in 12-bit steps over a full turn)."""
    acquisition = MultiEchoGradientEcho(echo_time=GRADIENT_ECHOES)
    for i, image in enumerate(signal(ComplexGradientEcho(acquisition))):
        prefix = f"{_prefix(subject, session, 'anat')}_echo-{i + 1}"
        sidecar = {"EchoTime": GRADIENT_ECHOES[i], **SCANNER}
        if not phase:
            dataset.image(f"{prefix}_MEGRE", image.abs(), sidecar)
            continue
        dataset.image(f"{prefix}_part-mag_MEGRE", image.abs(), sidecar)
        steps = (image.angle() / torch.pi * 4096).round().numpy().astype(np.int16)
        # a voxel of pure noise at either end of the range, as every scan has
        steps[0, 0, 0], steps[-1, -1, -1] = -4096, 4095
        dataset.image(f"{prefix}_part-phase_MEGRE", steps, {"Units": "arbitrary", **sidecar})


def add_dwi(dataset: Dataset, subject: str = "01", session: str | None = None) -> None:
    """Diffusion weighting in six directions; FSL's files beside the image."""
    directions = ((0.0, 0.0, 0.0), *DIRECTIONS)
    acquisition = DiffusionWeighted(b_value=B_VALUES, b_vector=directions)
    name = f"{_prefix(subject, session, 'dwi')}_dwi"
    images = signal(DiffusionTensor(acquisition)).movedim(0, -1)
    dataset.image(name, images, {"EchoTime": 0.08, "RepetitionTime": 5.0, **SCANNER})
    dataset.text(f"{name}.bval", " ".join(f"{b:g}" for b in B_VALUES) + "\n")
    rows = zip(*directions, strict=True)
    dataset.text(f"{name}.bvec", "".join(" ".join(f"{v:g}" for v in row) + "\n" for row in rows))


def add_mtr(dataset: Dataset, subject: str = "01", session: str | None = None) -> None:
    """Images without and with the MT pulse."""
    acquisition = MagnetizationTransferRatio(mt_state=(False, True))
    for image, on in zip(signal(TransferRatio(acquisition)), acquisition.mt_state, strict=True):
        name = f"{_prefix(subject, session, 'anat')}_mt-{'on' if on else 'off'}_MTR"
        dataset.image(name, image, {"MTState": on, **SCANNER})


WEIGHTINGS = (("MTw", 1, True, 6.0, 0.028), ("PDw", 1, False, 6.0, 0.028), ("T1w", 2, False, 20.0, 0.018))
"""(name, index of the flip angle, MT state, flip angle in deg, repetition time in s)."""


def _weighting(on: bool, angle: float, repetition: float) -> dict[str, Any]:
    return {"MTState": on, "FlipAngle": angle, "RepetitionTimeExcitation": repetition, **SCANNER}


def add_mts(dataset: Dataset, subject: str = "01", session: str | None = None) -> None:
    """MTw, PDw and T1w images; the B1+ map that `add_vfa` writes belongs to them too."""
    _, indices, states, angles, repetitions = zip(*WEIGHTINGS, strict=True)
    acquisition = MagnetizationTransferSaturation(
        mt_state=states, flip_angle=tuple(np.deg2rad(angles)), repetition_time=repetitions
    )
    for i, image in enumerate(signal(TransferSaturation(acquisition))):
        state = "on" if states[i] else "off"
        name = f"{_prefix(subject, session, 'anat')}_flip-{indices[i]}_mt-{state}_MTS"
        dataset.image(name, image, _weighting(states[i], angles[i], repetitions[i]))


def add_mpm(dataset: Dataset, subject: str = "01", session: str | None = None) -> None:
    """Echoes of MTw (three), PDw and T1w (four each), the weighting in ``acq``."""
    images = [(*weighting, echo) for weighting in WEIGHTINGS for echo in range(1, 4 if weighting[2] else 5)]
    acquisition = MultiParameterMapping(
        echo_time=tuple(0.0023 * image[-1] for image in images),
        flip_angle=tuple(np.deg2rad(image[3]) for image in images),
        repetition_time=tuple(image[4] for image in images),
        mt_state=tuple(image[2] for image in images),
    )
    for data, (name, index, on, angle, repetition, echo) in zip(
        signal(MultiParameter(acquisition)), images, strict=True
    ):
        entities = f"acq-{name}_echo-{echo}_flip-{index}_mt-{'on' if on else 'off'}"
        dataset.image(
            f"{_prefix(subject, session, 'anat')}_{entities}_MPM",
            data,
            {"EchoTime": round(0.0023 * echo, 6), **_weighting(on, angle, repetition)},
        )


def add_afi(dataset: Dataset, subject: str = "01", session: str | None = None) -> None:
    """Actual flip angle: repetition times of 20 and 100 ms, 60 degrees."""
    acquisition = ActualFlipAngle(repetition_time=(0.02, 0.1), flip_angle=np.deg2rad(60))
    for i, image in enumerate(signal(ActualFlipAngleSignal(acquisition))):
        name = f"{_prefix(subject, session, 'fmap')}_acq-tr{i + 1}_TB1AFI"
        sidecar = {"RepetitionTimeExcitation": acquisition.repetition_time[i], "FlipAngle": 60, **SCANNER}
        dataset.image(name, image, sidecar)


def add_dam(dataset: Dataset, subject: str = "01", session: str | None = None) -> None:
    """Double angle: 60 and 120 degrees."""
    acquisition = DoubleAngle(flip_angle=(np.deg2rad(60), np.deg2rad(120)))
    for i, image in enumerate(signal(DoubleAngleSignal(acquisition))):
        name = f"{_prefix(subject, session, 'fmap')}_flip-{i + 1}_TB1DAM"
        dataset.image(name, image, {"FlipAngle": 60 * (i + 1), **SCANNER})


def add_phases(
    dataset: Dataset, subject: str = "01", session: str | None = None, *, difference: bool = True
) -> None:
    """Magnitudes of two echoes with their phase difference, or with the phase of each, in radians."""
    times = (0.00492, 0.00738)
    echoes = signal(PhaseEvolution(MultiEchoGradientEcho(echo_time=times)))
    run = "" if difference else "_run-2"
    prefix = f"{_prefix(subject, session, 'fmap')}{run}"
    for i, image in enumerate(echoes):
        dataset.image(f"{prefix}_magnitude{i + 1}", image.abs(), {"EchoTime": times[i], **SCANNER})
        if not difference:
            sidecar = {"EchoTime": times[i], "Units": "rad", **SCANNER}
            dataset.image(f"{prefix}_phase{i + 1}", image.angle(), sidecar)
    if difference:
        sidecar = {"EchoTime1": times[0], "EchoTime2": times[1], "Units": "rad", **SCANNER}
        dataset.image(f"{prefix}_phasediff", (echoes[1] * echoes[0].conj()).angle(), sidecar)


def build_fields(root: Path) -> Dataset:
    """One subject with scans of magnetisation transfer and of both fields, and one flip-angle scan."""
    dataset = Dataset(root)
    add_vfa(dataset, b1=None)
    for add in (add_mtr, add_mts, add_mpm, add_afi, add_phases):
        add(dataset)
    add_phases(dataset, difference=False)
    add_dam(dataset, "02")
    return dataset


def build(root: Path, *, compressed: bool = True) -> Dataset:
    """One subject with every kind of scan."""
    dataset = Dataset(root, compressed=compressed)
    for add in (add_vfa, add_irt1, add_mese, add_megre, add_dwi):
        add(dataset)
    return dataset
