"""Signals of saturation experiments: CEST and magnetisation-transfer spectra and fingerprints."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, Parameter, SaturationTransfer
from fastqmri.core.units import GYROMAGNETIC_RATIO_UT
from fastqmri.physics.signal.lineshapes import absorption
from fastqmri.physics.signal.model import Derived, SignalModel
from fastqmri.physics.signal.relaxometry import B1, M0
from fastqmri.physics.signal.saturation import (
    contrast_by_contrast,
    spin_lock_saturation,
    transfer_saturation,
)
from fastqmri.physics.spins.bloch_mcconnell import Pools, saturation_signal
from fastqmri.solvers import dispatch

SHIFT = Parameter(
    "dB0", "ppm", (-3.0, 3.0), (-0.3, 0.3), "shift of the water frequency from nominal", nominal=0.0
)


def _t1(nominal: float, prior: tuple[float, float], known: bool) -> Parameter:
    return Parameter(
        "T1",
        "s",
        (0.05, 10.0),
        prior,
        "longitudinal relaxation time of water",
        nominal=nominal if known else None,
    )


def _t2(nominal: float, prior: tuple[float, float], known: bool) -> Parameter:
    return Parameter(
        "T2",
        "s",
        (0.002, 5.0),
        prior,
        "transverse relaxation time of water",
        nominal=nominal if known else None,
    )


@dataclass(frozen=True)
class Pool:
    """A pool that exchanges with water.

    Attributes:
        name: for its parameters (``amide``: ``f_amide``, ``k_amide``).
        shift: in ppm.
        fraction: equilibrium magnetisation relative to water's.
        rate: of exchange to water in 1/s.
        t1, t2: relaxation times in s.
        semisolid: whether it has no transverse magnetisation of its own.
    """

    name: str
    shift: float
    fraction: float
    rate: float
    t1: float
    t2: float
    semisolid: bool = False


@dataclass(frozen=True)
class Tissue:
    """Water and what exchanges with it.

    Attributes:
        t1, t2: nominal relaxation times of water in s.
        t1_prior, t2_prior: their ranges.
        pools: the others.
        lineshape: of the semi-solid pool.
    """

    t1: float
    t2: float
    pools: tuple[Pool, ...]
    t1_prior: tuple[float, float] = (0.3, 3.0)
    t2_prior: tuple[float, float] = (0.01, 2.0)
    lineshape: str = "superlorentzian"


TISSUES: dict[str, Tissue] = {
    "l-arginine": Tissue(
        2.9,
        0.9,
        (Pool("amine", 3.0, 50 * 3 / 110_000, 400.0, 2.8, 0.04),),
        t1_prior=(2.5, 3.3),
        t2_prior=(0.4, 1.3),
    ),
    "white-matter": Tissue(
        1.0,
        0.04,
        (
            Pool("amide", 3.5, 9e-4, 50.0, 1.0, 0.1),
            Pool("amine", 3.0, 9e-4, 5000.0, 1.0, 0.1),
            Pool("guanidinium", 2.0, 9e-4, 1000.0, 1.0, 0.1),
            Pool("NOE", -3.0, 0.0045, 20.0, 1.3, 0.005),
            Pool("MT", -3.0, 0.1351, 30.0, 1.0, 4e-5, semisolid=True),
        ),
        lineshape="lorentzian",
    ),
    "grey-matter": Tissue(
        1.2,
        0.069,
        (
            Pool("glutamate", 3.0, 1.8e-4, 5500.0, 1.2, 0.2),
            Pool("amide", 3.5, 6.49e-4, 30.0, 1.2, 0.1),
            Pool("guanidinium", 2.0, 1.8e-4, 1100.0, 1.2, 0.1),
            Pool("MT", 0.0, 0.0495, 40.0, 1.2, 9e-6, semisolid=True),
        ),
    ),
}
"""Pools by name. Numbers of the Pulseq-CEST library, but for L-arginine (the middle of a published dictionary) and the
relaxation times of the solutes and of the semi-solid pool of grey matter (our choice)."""


@final
class ChemicalExchange(SignalModel):
    """Saturation transfer from any number of pools to water: Z-spectra and CEST fingerprints.

    ``exact`` solves the Bloch-McConnell equations of water, of solutes with transverse and longitudinal magnetisation,
    and of at most one semi-solid pool with longitudinal magnetisation only, through every pulse and delay of the
    schedule. ``spin-lock`` is the closed form for one continuous pulse and dilute solutes.
    Of the pools, fractions and exchange rates are estimated where chosen; everything else about them is known.

    Source: McConnell 1958; spin-lock form as in Zaiss 2013.

    Args:
        acquisition: the schedule.
        tissue: the pools, or their name in `TISSUES`.
        estimated: names of what is estimated of them, like ``f_amide``; None for ``f`` and ``k`` of the first pool.
        water: whether T1 and T2 of water are ``known`` (from maps, else nominal) or ``fitted``.
        form: see above.
        protons: per molecule of the first pool; adds the concentration as a derived quantity.

    Raises:
        AcquisitionError: unknown names, or a form that does not hold for the schedule or the pools.
    """

    title = "Chemical exchange saturation transfer"
    equation = "M0 * z of water by the Bloch-McConnell equations, or |x + i y| at the echo"
    references = ("mcconnell1958", "zaiss2013")
    acquisition: SaturationTransfer
    FORMS: ClassVar = ("exact", "spin-lock")
    WATER: ClassVar = ("known", "fitted")

    def __init__(
        self,
        acquisition: SaturationTransfer,
        tissue: Tissue | str = "white-matter",
        estimated: Sequence[str] | None = None,
        water: Literal["known", "fitted"] = "known",
        form: Literal["exact", "spin-lock"] = "exact",
        protons: int | None = None,
    ) -> None:
        if isinstance(tissue, str):
            if tissue not in TISSUES:
                raise AcquisitionError(
                    f"tissue {tissue!r}",
                    "no such set of pools is listed.",
                    f"Use one of {', '.join(TISSUES)}.",
                )
            tissue = TISSUES[tissue]
        pools = tuple(sorted(tissue.pools, key=lambda pool: pool.semisolid))  # the semi-solid one comes last
        self._check(acquisition, pools, form)
        known = {f"{kind}_{pool.name}": (kind, i) for i, pool in enumerate(pools) for kind in ("f", "k")}
        wanted = tuple(estimated) if estimated is not None else tuple(known)[:2]
        for name in wanted:
            if name not in known:
                raise AcquisitionError(
                    f"estimated {name!r}",
                    "the pools have no such quantity.",
                    f"Use some of {', '.join(known)}.",
                )
        fitted = water == "fitted"
        super().__init__(
            acquisition,
            (
                M0,
                *(_of_pool(name, *known[name], pools) for name in wanted),
                _t1(tissue.t1, tissue.t1_prior, not fitted),
                _t2(tissue.t2, tissue.t2_prior, not fitted),
                SHIFT,
                B1,
            ),
        )
        self._tissue, self._pools, self._form = tissue, pools, form
        self._places = {known[name]: 1 + i for i, name in enumerate(wanted)}
        self.non_negative = acquisition.flip_angle is not None
        if protons is not None and ("f", 0) in self._places:
            self.derived = (_concentration(self._places["f", 0], len(self.parameters), protons),)

    @staticmethod
    def _check(acquisition: SaturationTransfer, pools: tuple[Pool, ...], form: str) -> None:
        if len({pool.name for pool in pools}) < len(pools) or sum(pool.semisolid for pool in pools) > 1:
            raise AcquisitionError(
                f"pools {', '.join(pool.name for pool in pools)}",
                "two have the same name, or more than one is semi-solid.",
                "Name every pool differently, and join the semi-solid ones.",
            )
        continuous = acquisition.pulses == 1 and len(set(acquisition.pulse_shape)) == 1
        plain = acquisition.flip_angle is None and acquisition.initial != "previous"
        if form == "spin-lock" and not (
            continuous and plain and not any(pool.semisolid for pool in pools) and not acquisition.spin_lock
        ):
            raise AcquisitionError(
                "the spin-lock form",
                "it holds for one rectangular pulse, the longitudinal magnetisation, and solutes alone.",
                "Use the exact form.",
            )

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of the parameters."""
        flat = x.reshape(len(x), -1)
        return self._signal(flat).to(x).reshape(-1, *x.shape[1:])

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂parameters."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian together."""
        return _signal_and_jacobian(self.acquisition, self._signal, x)

    def _signal(self, x: Tensor) -> Tensor:
        """Signal (contrast, voxel) in float64 of x (parameter, voxel) or (parameter, contrast, voxel)."""
        x = x.double()
        m0, (t1, t2, b0, b1) = x[0], x[-4:]

        def value(kind: str, i: int, otherwise: float) -> Tensor:
            place = self._places.get((kind, i))
            return torch.full_like(m0, otherwise) if place is None else x[place]

        fraction = [value("f", i, pool.fraction) for i, pool in enumerate(self._pools)]
        rate = [value("k", i, pool.rate) for i, pool in enumerate(self._pools)]
        shift = [torch.full_like(m0, pool.shift) for pool in self._pools]
        r2 = [1 / t2, *(torch.full_like(m0, 1 / pool.t2) for pool in self._pools if not pool.semisolid)]
        if self._form == "spin-lock":
            return m0 * self._locked(t1, t2, b0, b1, shift, fraction, rate, r2[1:])
        semisolid = [pool for pool in self._pools if pool.semisolid]
        pools = Pools(
            r1=[1 / t1, *(torch.full_like(m0, 1 / pool.t1) for pool in self._pools)],
            r2=r2,
            fraction=fraction,
            rate=rate,
            shift=shift,
            semisolid_t2=torch.full_like(m0, semisolid[0].t2) if semisolid else None,
            lineshape=self._tissue.lineshape,
        )
        return m0 * saturation_signal(self.acquisition, pools, b0, b1)

    def _locked(
        self,
        t1: Tensor,
        t2: Tensor,
        b0: Tensor,
        b1: Tensor,
        shift: list[Tensor],
        fraction: list[Tensor],
        rate: list[Tensor],
        solute_r2: list[Tensor],
    ) -> Tensor:
        told = _told(self.acquisition, t1)
        ppm = GYROMAGNETIC_RATIO_UT * self.acquisition.field_strength
        return spin_lock_saturation(
            ppm * (told("offset") - b0),
            GYROMAGNETIC_RATIO_UT * b1 * told("saturation_b1") * float(self.acquisition.pulse_shape[0]),
            told("pulse_duration"),
            _recovered(self.acquisition, t1),
            r1=1 / t1,
            r2=1 / t2,
            shift=[ppm * d for d in shift],
            fraction=fraction,
            rate=rate,
            solute_r2=solute_r2,
        )


@final
class TwoPoolTransfer(SignalModel):
    """Magnetisation transfer between water and a semi-solid pool, in the transient: MTC fingerprints.

    ``closed``: the water's transverse magnetisation eliminated, one exponential of the saturation time, and no exchange
    while the magnetisation recovers. ``exact``: the Bloch-McConnell equations through recovery and saturation. T2 of
    water is measured elsewhere; the semi-solid pool has R1 = 1/s.

    Source: Kim 2020.

    Args:
        acquisition: the schedule, one continuous pulse a contrast; each contrast starts from no magnetisation or from
            equilibrium.
        form: see above.
        lineshape: of the semi-solid pool.

    Raises:
        AcquisitionError: ``closed`` for pulsed saturation, or for magnetisation that is carried over.
    """

    title = "Two-pool magnetisation transfer in the transient"
    equation = "M0 * (steady + (1 - exp(-recovery/T1) - steady) * exp(lambda * saturation)), or exact"
    references = ("kim2020", "henkelman1993")
    acquisition: SaturationTransfer
    FORMS: ClassVar = ("closed", "exact")
    LINESHAPES: ClassVar = ("lorentzian", "superlorentzian", "gaussian")

    def __init__(
        self,
        acquisition: SaturationTransfer,
        form: Literal["closed", "exact"] = "closed",
        lineshape: Literal["lorentzian", "superlorentzian", "gaussian"] = "lorentzian",
    ) -> None:
        super().__init__(
            acquisition,
            (
                M0,
                Parameter("k", "1/s", (0.5, 500.0), (5.0, 100.0), "exchange rate, semi-solid pool to water"),
                Parameter("f", "fraction", (1e-4, 0.5), (0.02, 0.17), "semi-solid pool relative to water"),
                Parameter(
                    "T2m", "s", (1e-7, 1e-3), (1e-6, 1e-4), "transverse relaxation time, semi-solid pool"
                ),
                Parameter("T1", "s", (0.05, 10.0), (0.2, 3.0), "longitudinal relaxation time of water"),
                _t2(0.06, (0.01, 0.3), known=True),
                SHIFT,
                B1,
            ),
        )
        self._form, self._lineshape = form, lineshape
        pulsed = acquisition.pulses > 1 or len(set(acquisition.pulse_shape)) > 1
        read = acquisition.flip_angle is not None
        if form == "closed" and (pulsed or read or acquisition.initial == "previous"):
            raise AcquisitionError(
                "the closed form of magnetisation transfer",
                "it holds for one rectangular pulse after a known start, and the longitudinal magnetisation.",
                "Use the exact form.",
            )

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (M0, k, f, T2m, T1, T2, dB0, B1)."""
        flat = x.reshape(len(x), -1)
        return self._signal(flat).to(x).reshape(-1, *x.shape[1:])

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂parameters."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian together."""
        return _signal_and_jacobian(self.acquisition, self._signal, x)

    def _signal(self, x: Tensor) -> Tensor:
        exact = self._form == "exact"
        m0, k, f, t2m, t1, t2, b0, b1 = x.double() if exact else x
        if exact:
            one = torch.ones_like(m0)
            pools = Pools([1 / t1, one], [1 / t2], [f], [k], [0 * one], t2m, self._lineshape)
            return m0 * saturation_signal(self.acquisition, pools, b0, b1)
        told = _told(self.acquisition, t1)
        ppm = GYROMAGNETIC_RATIO_UT * self.acquisition.field_strength
        offset = ppm * (told("offset") - b0)
        return m0 * transfer_saturation(
            offset,
            GYROMAGNETIC_RATIO_UT * b1 * told("saturation_b1") * float(self.acquisition.pulse_shape[0]),
            told("pulse_duration"),
            _recovered(self.acquisition, t1),
            r1=1 / t1,
            r2=1 / t2,
            fraction=f,
            rate=k,
            r1_semisolid=1.0,
            line=absorption(self._lineshape, offset / (2 * math.pi), t2m),
        )


def _told(acquisition: SaturationTransfer, like: Tensor) -> Callable[[str], Tensor]:
    """Fields of the acquisition as (contrast, 1)."""
    return lambda name: acquisition.tensor(name, like=like).reshape(-1, 1)


def _recovered(acquisition: SaturationTransfer, t1: Tensor) -> Tensor:
    """Longitudinal magnetisation of water when the saturation begins, exchange neglected."""
    told = _told(acquisition, t1)
    if acquisition.initial == "equilibrium":
        return torch.ones_like(t1 * told("recovery_time"))
    return -torch.expm1(-told("recovery_time") / t1)


def _signal_and_jacobian(
    acquisition: SaturationTransfer, signal: Callable[[Tensor], Tensor], x: Tensor
) -> tuple[Tensor, Tensor]:
    """Signal (contrast, *voxels) and Jacobian of x (parameter, *voxels); quicker where contrasts are independent."""
    flat = x.reshape(len(x), -1)
    contrasts = acquisition.contrasts
    if acquisition.initial == "previous":
        value, jacobian = _parameter_by_parameter(signal, flat)
    else:
        value, jacobian = contrast_by_contrast(signal, flat, contrasts)
    shape = x.shape[1:]
    return value.to(x).reshape(contrasts, *shape), jacobian.to(x).reshape(contrasts, len(x), *shape)


def _parameter_by_parameter(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Signal (contrast, voxel) and Jacobian (contrast, parameter, voxel), one direction at a time."""
    x = x.detach()
    columns = []
    value = None
    for i in range(len(x)):
        direction = torch.zeros_like(x)
        direction[i] = 1
        value, column = dispatch.jvp(function, x, direction)
        columns.append(column)
    assert value is not None
    return value, torch.stack(columns, 1)


def _of_pool(name: str, kind: str, i: int, pools: tuple[Pool, ...]) -> Parameter:
    """The parameter that estimates a pool's fraction or exchange rate."""
    pool = pools[i]
    if kind == "f":
        most = 0.5 if pool.semisolid else 0.1
        return Parameter(
            name,
            "fraction",
            (1e-7, most),
            (0.2 * pool.fraction, min(most, 3 * pool.fraction)),
            f"{pool.name} pool relative to water",
        )
    return Parameter(
        name, "1/s", (0.1, 50_000.0), (0.2 * pool.rate, 3 * pool.rate), f"exchange rate, {pool.name} to water"
    )


_WATER_PROTONS = 110_000.0


def _concentration(index: int, rows: int, protons: int) -> Derived:
    """Concentration in mmol/L of molecules with so many exchanging protons, from their fraction."""
    factor = _WATER_PROTONS / protons

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        gradient = torch.zeros((rows, *x.shape[1:]), dtype=x.dtype, device=x.device)
        gradient[index] = factor
        return factor * x[index], gradient

    limits = (0.0, math.inf)
    return Derived(Parameter("concentration", "mmol/L", limits, limits, "of the first pool"), evaluate)
