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
    DiffusionWeighted,
    InversionRecovery,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    VariableFlipAngle,
)
from fastqmri.physics.signal import (
    ComplexGradientEcho,
    DiffusionTensor,
    ExponentialDecay,
    InversionRecoverySignal,
    SignalModel,
    SpoiledGradientEcho,
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


def build(root: Path, *, compressed: bool = True) -> Dataset:
    """One subject with every kind of scan."""
    dataset = Dataset(root, compressed=compressed)
    for add in (add_vfa, add_irt1, add_mese, add_megre, add_dwi):
        add(dataset)
    return dataset
