"""Every map this package can make: the acquisition, the model, the methods, the outputs.

The command line, the BIDS application, the report and the benchmarks read this one table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fastqmri.core import (
    Acquisition,
    DiffusionWeighted,
    InversionRecovery,
    LookLocker,
    Measurement,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    UnknownNameError,
    VariableFlipAngle,
)
from fastqmri.estimators import diffusion, relaxometry
from fastqmri.estimators.least_squares import solve_fast
from fastqmri.estimators.voxelwise import CHUNK, Voxelwise
from fastqmri.physics.signal import (
    ApparentDiffusion,
    BiexponentialDecay,
    ComplexGradientEcho,
    DiffusionTensor,
    ExponentialDecay,
    IntravoxelIncoherentMotion,
    InversionRecoverySignal,
    LookLockerSignal,
    SignalModel,
    SpinEchoTrain,
    SpoiledGradientEcho,
)


@dataclass(frozen=True)
class Method:
    """One way to invert a model.

    Attributes:
        name: for ``--method``.
        description: one line.
        solve: the batch solver.
        references: bibliography keys.
    """

    name: str
    description: str
    solve: Callable[..., Any]
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A mapping from contrasts to parameters.

    Attributes:
        name: on the command line; the lower-case BIDS suffix where one exists.
        suffix: BIDS suffix of its images, or None.
        acquisition: class of its acquisition.
        build: makes the model from the acquisition and the options.
        options: names and choices of the model's own options.
        methods: the first is the default.
        outputs: parameters to write and show, the most important first.
    """

    name: str
    suffix: str | None
    acquisition: type[Acquisition]
    build: Callable[..., SignalModel]
    methods: tuple[Method, ...]
    outputs: tuple[str, ...]
    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def method(self, name: str = "auto") -> Method:
        """Look a method up; ``auto`` is the default.

        Raises:
            UnknownNameError: no such method for this model.
        """
        if name == "auto":
            return self.methods[0]
        for method in self.methods:
            if method.name == name:
                return method
        raise UnknownNameError(
            f"method {name!r} for {self.name}",
            "this model has no such method.",
            f"Use auto or one of {', '.join(m.name for m in self.methods)}.",
        )

    def estimator(
        self,
        model: SignalModel,
        method: str = "auto",
        *,
        noise: str = "gaussian",
        chunk: int = CHUNK,
        progress: Callable[[int, int], None] | None = None,
    ) -> Voxelwise:
        """An estimator of this entry's parameters."""
        chosen = self.method(method)
        return Voxelwise(model, chosen.solve, chosen.name, noise=noise, chunk=chunk, progress=progress)

    def options_for(self, measurement: Measurement) -> dict[str, Any]:
        """Options that the data themselves decide: what kind of signal inversion-recovery images hold."""
        if "signal" not in self.options:
            return {}
        return {"signal": _kind_of(measurement.data, self.options["signal"])}


def _kind_of(data: Tensor, allowed: tuple[Any, ...]) -> str:
    if data.is_complex() and "complex" in allowed:
        return "complex"
    negative = float((data.real < 0).float().mean())
    return "real" if negative > 0.001 else "magnitude"


_NLLS = Method(
    "nlls",
    "non-linear least squares inside bounds (variable projection or Levenberg-Marquardt), "
    "standard deviations from the Jacobian",
    solve_fast,
    ("marquardt1963", "golub1973"),
)
_DECAY_METHODS = (
    _NLLS,
    Method("loglinear", "straight line through ln S, weighted by S²", relaxometry.log_linear),
)

CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "vfa",
            "VFA",
            VariableFlipAngle,
            SpoiledGradientEcho,
            (
                _NLLS,
                Method(
                    "novifast",
                    "fixed point of the non-linear least-squares equations",
                    relaxometry.novifast,
                    ("ramosllorden2018",),
                ),
                Method("irwls", "iteratively reweighted linear fit", relaxometry.reweighted, ("chang2008",)),
                Method("despot1", "unweighted linear fit", relaxometry.despot1, ("deoni2003",)),
            ),
            ("T1", "R1", "M0"),
        ),
        Entry(
            "irt1",
            "IRT1",
            InversionRecovery,
            InversionRecoverySignal,
            (_NLLS,),
            ("T1", "R1", "M0", "inversion_factor"),
            {"signal": ("magnitude", "real", "complex"), "inversion": ("free", "perfect")},
        ),
        Entry(
            "looklocker",
            None,
            LookLocker,
            LookLockerSignal,
            (_NLLS,),
            ("T1", "R1", "M0", "T1star"),
            {"signal": ("magnitude", "real")},
        ),
        Entry(
            "mese",
            "MESE",
            MultiEchoSpinEcho,
            ExponentialDecay,
            _DECAY_METHODS,
            ("T2", "R2", "M0", "offset"),
            {"offset": (False, True)},
        ),
        Entry(
            "mese-stimulated",
            None,
            MultiEchoSpinEcho,
            SpinEchoTrain,
            (_NLLS,),
            ("T2", "R2", "M0", "B1"),
            {"profile": SpinEchoTrain.PROFILES},
        ),
        Entry(
            "megre",
            "MEGRE",
            MultiEchoGradientEcho,
            ExponentialDecay,
            _DECAY_METHODS,
            ("T2star", "R2star", "M0", "offset"),
            {"offset": (False, True)},
        ),
        Entry(
            "megre-complex",
            None,
            MultiEchoGradientEcho,
            ComplexGradientEcho,
            (_NLLS,),
            ("T2star", "R2star", "B0", "M0", "phase"),
        ),
        Entry(
            "biexponential",
            None,
            MultiEchoSpinEcho,
            BiexponentialDecay,
            (_NLLS,),
            ("f", "T2short", "T2long", "M0"),
        ),
        Entry(
            "dti",
            "dwi",
            DiffusionWeighted,
            DiffusionTensor,
            (
                Method(
                    "wls",
                    "weighted linear least squares of the logarithms",
                    diffusion.weighted,
                    ("basser1994", "veraart2013"),
                ),
                Method(
                    "ols",
                    "ordinary linear least squares of the logarithms",
                    diffusion.ordinary,
                    ("basser1994",),
                ),
                Method(
                    "iwls",
                    "iteratively reweighted linear least squares of the logarithms",
                    diffusion.iteratively_reweighted,
                    ("veraart2013",),
                ),
                _NLLS,
            ),
            ("FA", "MD", "AD", "RD", "S0", "Dxx", "Dxy", "Dxz", "Dyy", "Dyz", "Dzz"),
        ),
        Entry(
            "adc",
            None,
            DiffusionWeighted,
            ApparentDiffusion,
            (
                _NLLS,
                Method("wls", "weighted line through ln S", diffusion.weighted, ("veraart2013",)),
                Method("ols", "ordinary line through ln S", diffusion.ordinary),
            ),
            ("ADC", "S0"),
        ),
        Entry(
            "ivim", None, DiffusionWeighted, IntravoxelIncoherentMotion, (_NLLS,), ("f", "D", "Dstar", "S0")
        ),
    )
}


def entry(name: str) -> Entry:
    """Look an entry up.

    Raises:
        UnknownNameError: no such model.
    """
    if name not in CATALOGUE:
        raise UnknownNameError(
            f"model {name!r}", "there is no such model.", f"Use one of {', '.join(CATALOGUE)}."
        )
    return CATALOGUE[name]
