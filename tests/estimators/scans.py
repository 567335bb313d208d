"""Simulated measurements of every entry of the catalogue, with comfortable tissue and known noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from fastqmri.core import Measurement, ParameterMaps
from fastqmri.estimators import CATALOGUE
from fastqmri.estimators.catalogue import Entry
from fastqmri.physics.signal import SignalModel
from physics.registry import BY_NAME

_CASES = {
    "irt1": "irt1-magnitude-free",
    "looklocker": "looklocker-magnitude",
    "mese-stimulated": "mese-stimulated-gaussian",
    "restricted-diffusion": "restricted-diffusion-sphere",
    "qmt": "qmt-ramani-free",
    "cest-lorentz": "cest-lorentz-4-fixed",
    "wassr": "cest-lorentz-1-fixed",
    "cest-asymmetry": "cest-asymmetry-unsaturated-spline-0",
    "glucest": "cest-asymmetry-negative-spline-0.5",
    "mtc-mrf": "mtc-mrf-40",
    "cest-mrf": "cest-mrf-arginine",
}
_VARIANTS = {
    "matching-full",
    "matching-svd",
    "matching-group",
    "matching-refined",
}  # of matching, with tests of their own
METHODS = [
    (entry, method.name)
    for entry in CATALOGUE.values()
    if entry.name != "myelin-water"  # a distribution is not its maker's parameters; it has tests of its own
    for method in entry.methods
    if method.name not in _VARIANTS
]
_COSTLY = {"cest-mrf", "cest-bm"}
EACH_METHOD = [
    pytest.param(
        entry, method, id=f"{entry.name}-{method}", marks=[pytest.mark.slow] if entry.name in _COSTLY else []
    )
    for entry, method in METHODS
]
"""The same for tests of the frame around solvers, which costly simulations would only slow down."""
METHOD_NAMES = [f"{entry.name}-{method}" for entry, method in METHODS]

_COMFORTABLE = {
    "T1": (0.5, 1.5),
    "inversion_factor": (1.8, 2.0),
    "T2": (0.03, 0.12),
    "T2star": (0.01, 0.04),
    "T2short": (0.01, 0.02),
    "T2long": (0.08, 0.15),
    "f": (0.2, 0.4),
    "D": (0.7e-3, 1.3e-3),
    "Dstar": (0.02, 0.05),
    "ADC": (0.5e-3, 1.5e-3),
    "radius": (3.0, 6.0),
    "B1": (0.85, 0.97),
    "B0": (-40.0, 40.0),
    "phase": (-2.0, 2.0),
    "F": (0.1, 0.2),
    "kr": (20.0, 40.0),
    "T2f": (0.025, 0.05),
    "T2r": (9e-6, 1.3e-5),
    "R1": (0.8, 1.2),
    "A_water": (0.5, 0.7),
    "A_amide": (0.03, 0.08),
    "A_noe": (0.05, 0.12),
    "A_mt": (0.06, 0.15),
    "G_mt": (40.0, 60.0),
}


@dataclass(frozen=True)
class Scan:
    """A simulated measurement.

    Attributes:
        entry: of the catalogue.
        model: what made the images.
        truth: (parameter, *voxels).
        measurement: magnitude (or complex) images, their noise and clipping level stated.
    """

    entry: Entry
    model: SignalModel
    truth: Tensor
    measurement: Measurement

    def estimate(
        self, method: str = "auto", measurement: Measurement | None = None, **options: object
    ) -> ParameterMaps:
        """Maps of one method."""
        estimator = self.entry.estimator(self.model, method, **options)  # type: ignore[arg-type]
        return estimator.estimate(self.measurement if measurement is None else measurement)


def scan(name: str, voxels: tuple[int, ...], snr: float, generator: torch.Generator) -> Scan:
    """Tissue with parameters in the middle of their ranges, noise a share 1/snr of the median peak signal."""
    case = BY_NAME[_CASES.get(name, name)]
    model = case.build()
    truth = case.tissue(generator, voxels)
    for row, parameter in enumerate(model.parameters):
        low, high = _COMFORTABLE.get(parameter.name, parameter.prior)
        (least, most), (first, last) = parameter.bounds, parameter.prior
        if parameter.name in _COMFORTABLE and least <= low <= last and first <= high <= most:
            truth[row] = low + (high - low) * torch.rand(voxels, dtype=torch.float64, generator=generator)
    if name == "looklocker":
        truth[2] = 0.7 * truth[1]
    if any(method.name.startswith("matching") for method in CATALOGUE[name].methods):
        for row, parameter in enumerate(model.parameters):
            if parameter.nominal is not None:  # every other value would need a dictionary of its own
                truth[row] = parameter.nominal
    signal = model(truth)
    sigma = float(signal.abs().amax(0).median()) / snr
    noise = [sigma * torch.randn(signal.shape, dtype=torch.float64, generator=generator) for _ in range(2)]
    if model.complex_valued:
        data = signal + torch.complex(*noise)
    elif model.non_negative:
        data = torch.hypot(signal + noise[0], noise[1])
    else:
        data = signal + noise[0]
    known = {
        p.name: row.float() for p, row in zip(model.parameters, truth, strict=True) if p.nominal is not None
    }
    single = data.to(torch.complex64 if data.is_complex() else torch.float32)
    measurement = Measurement(single, model.acquisition, known=known, noise=sigma, saturation=math.inf)
    return Scan(CATALOGUE[name], model, truth, measurement)


def repeated(
    model: SignalModel,
    x: list[float],
    snr: float,
    voxels: int,
    generator: torch.Generator,
    *,
    rician: bool = False,
) -> Measurement:
    """The same tissue many times over, noise of a share 1/snr of its peak signal."""
    signal = model(torch.tensor(x, dtype=torch.float64)[:, None]).expand(-1, voxels)
    sigma = float(signal.abs().max()) / snr
    noise = [sigma * torch.randn(signal.shape, dtype=torch.float64, generator=generator) for _ in range(2)]
    data = torch.hypot(signal + noise[0], noise[1]) if rician else signal + noise[0]
    return Measurement(data, model.acquisition, noise=sigma, saturation=math.inf)


def same_bytes(first: ParameterMaps, second: ParameterMaps, where: Tensor | None = None) -> bool:
    """Whether two results agree to the last bit, NaN included, in the voxels ``where``."""

    def chosen(maps: ParameterMaps, part: Callable[[ParameterMaps], Tensor]) -> bytes:
        values = part(maps)
        values = values if where is None else values[..., where]
        return values.contiguous().numpy().tobytes()

    parts: tuple[Callable[[ParameterMaps], Tensor], ...] = (
        lambda m: m.value,
        lambda m: m.standard_deviation,
        lambda m: m.flags,
        lambda m: m.noise,  # type: ignore[arg-type, return-value]
        lambda m: m.residual,  # type: ignore[arg-type, return-value]
    )
    return all(chosen(first, part) == chosen(second, part) for part in parts)
