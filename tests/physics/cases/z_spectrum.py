"""Z-spectra: Lorentzian lines, WASABI, asymmetries."""

from __future__ import annotations

import numpy as np

from fastqmri.core import ZSpectrum
from fastqmri.physics.signal import LorentzianPools, WasabiSignal, ZAsymmetry
from fastqmri.physics.signal.z_spectrum import POOLS
from physics.checks import Case

_HALF = (0.2, 0.4, 0.6, 1.0, *(1.5 + 0.5 * i for i in range(18)), 20.0, 30.0, 40.0, 50.0, 100.0)
SPECTRUM = ZSpectrum(offset=(*(-d for d in _HALF[::-1]), 0.0, *_HALF))
SHORT = ZSpectrum(
    offset=tuple(-1.9 + 0.19 * i for i in range(21)),
    saturation_b1=3.7,
    saturation_time=0.005,
    field_strength=3.0,
)
PAIRS = ZSpectrum(
    offset=(-100.0, 20.0, *(s * (1.8 + 0.2 * i) for i in range(13) for s in (-1, 1)), 3.0, 100.0)
)


def _lines(pools: str, shifts: str) -> Case:
    return Case(
        f"cest-lorentz-{pools}-{shifts}",
        lambda: LorentzianPools(SPECTRUM, pools, shifts),  # type: ignore[arg-type]
        {"offset": np.array(SPECTRUM.offset)},
        schedule=("offset",),
        ill_conditioned=pools in ("4", "5"),  # a broad line and the amplitude say nearly the same
    )


CASES = (
    *(_lines(pools, "fixed") for pools in POOLS),
    _lines("5", "free"),
    Case(
        "wasabi",
        lambda: WasabiSignal(SHORT),
        None,
        schedule=("offset", "saturation_b1", "saturation_time", "field_strength"),
    ),
    *(
        Case(
            f"cest-asymmetry-{relative}-{interpolation}-{window:g}",
            lambda relative=relative, interpolation=interpolation, window=window: ZAsymmetry(
                PAIRS, 3.0, window, relative, interpolation
            ),
            None,
        )
        for relative, interpolation, window in (
            ("unsaturated", "spline", 0.0),
            ("unsaturated", "linear", 0.5),
            ("negative", "spline", 0.5),
            ("negative", "linear", 0.0),
        )
    ),
)
