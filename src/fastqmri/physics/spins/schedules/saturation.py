"""Published schedules of saturation experiments.

Where a publication leaves something open (shape conventions, what a readout leaves behind), the number here is our
choice and its docstring says so. Pulses that don't fill the duty cycle are written as trains.
"""

from __future__ import annotations

import math
from typing import Any

from fastqmri.core import SaturationTransfer
from fastqmri.physics.signal.pulse_shapes import gaussian, hann
from fastqmri.physics.spins.schedules.published import Published

_MTC_OFFSETS = (8.0, 9.0, 10.0, 11.0, 13.0, 15.0, 20.0, 25.0, 35.0, 50.0)
"""Each for four scans."""
_MTC_B1 = (
    "1.0 1.3 1.7 1.9 1.1 1.4 1.8 1.2 1.3 1.5 1.9 0.9 1.4 1.7 1.0 1.0 1.5 1.8 1.0 1.1 "
    "1.7 1.9 1.0 1.3 1.8 1.0 1.1 1.4 1.9 1.1 1.3 1.0 1.3 1.0 1.4 1.7 1.2 1.1 1.5 1.8"
)
_MTC_SATURATION = (
    ".4 .9 1.3 1.8 1.8 .4 .9 1.3 1.3 1.8 .4 .9 .9 1.3 1.8 .4 .4 .9 1.3 1.8 "
    ".6 1.1 1.6 2.0 2.0 .6 1.1 1.6 1.6 2.0 .6 1.1 1.1 1.6 2.0 .6 .6 1.1 1.6 2.0"
)
_MTC_RECOVERY = (
    "3.5 4.0 4.5 3.6 4.1 4.3 3.5 3.7 4.5 3.6 4.1 4.0 3.5 4.0 4.1 3.6 4.1 4.3 3.8 4.0 "
    "4.5 3.6 4.1 4.3 3.5 4.0 4.5 3.6 4.1 4.0 3.5 4.0 4.4 3.6 4.1 4.3 4.5 4.0 4.5 3.6"
)
_LOAS_OFFSETS = "9.1 8.9 50 50 11.5 8.6 20.7 50 50 50"
_LOAS_B1 = "1.1 1.9 1.9 0.9 1.9 1.1 1.5 1.9 1.9 0.9"
_LOAS_SATURATION = "1.5 2 2 .4 .5 2 2 2 1.7 .4"
_LOAS_RECOVERY = "4.5 3.5 4.5 3.5 4.5 3.9 3.5 4.4 4.5 3.5"
_ARGININE_B1 = (
    "5 5 3 3.75 2.5 1.75 5.5 6 3.75 5.75 .25 3 6 4.5 3.75 3.5 3.5 0 3.75 6 "
    "3.75 4.75 4.5 4.25 3.25 5.25 5.25 .25 4.5 5.25"
)
_TUMOUR_OFFSETS = "8 6 6 10 10 10 8 6 8 14 14 10 6 10 8 6 8 10 14 14 6 8 14 6 14 14 14 8 10 8"
_TUMOUR_B1 = (
    "2 2 1.7 1.5 1.2 1.2 3 .5 3 1 2.2 3.2 1.5 .7 1.5 2.2 2.5 1.2 3 .2 1.5 2.5 .7 4 3.2 3.5 1.5 2.7 .7 .5"
)
_AUTOCEST_B1 = ".41 1.81 1.80 2.99 1.90 .06 .07 2.02 .12 .06"
_AUTOCEST_OFFSETS = "53.1 24.3 24.4 14.8 23.3 70.7 70.5 22.1 67 71"
_EPI: dict[str, Any] = {"initial": "previous", "flip_angle": math.radians(60), "echo_time": 0.02}
"""The readout of the preclinical fingerprints."""


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in text.split())


def mtc_mrf_40() -> SaturationTransfer:
    """40 scans whose offset, amplitude, duration and recovery all vary; a readout destroys the magnetisation.

    Source: Kim 2020.
    """
    return SaturationTransfer(
        offset=tuple(offset for offset in _MTC_OFFSETS for _ in range(4)),
        saturation_b1=_numbers(_MTC_B1),
        pulse_duration=_numbers(_MTC_SATURATION),
        recovery_time=_numbers(_MTC_RECOVERY),
        field_strength=3.0,
        initial="zero",
    )


def mtc_mrf_10() -> SaturationTransfer:
    """10 scans found by learning-based optimisation of the acquisition schedule (LOAS).

    Source: Kang 2022.
    """
    return SaturationTransfer(
        offset=_numbers(_LOAS_OFFSETS),
        saturation_b1=_numbers(_LOAS_B1),
        pulse_duration=_numbers(_LOAS_SATURATION),
        recovery_time=_numbers(_LOAS_RECOVERY),
        field_strength=3.0,
        initial="zero",
    )


def cest_mrf_arginine() -> SaturationTransfer:
    """30 continuous saturations of 3 s at 3 ppm and 9.4 T, 4 s apart, whose amplitude varies.

    Source: Cohen 2018.
    """
    return SaturationTransfer(
        offset=(3.0,) * 30,
        saturation_b1=_numbers(_ARGININE_B1),
        pulse_duration=(3.0,) * 30,
        recovery_time=(0.98,) * 30,
        field_strength=9.4,
        **_EPI,
    )


def cest_mrf_arginine_clinical() -> SaturationTransfer:
    """30 trains of 13 spin-lock pulses of 100 ms, half the time on, at 383 Hz; then 45 excitations of 15 deg.

    The frequency is 3 ppm of the 127.7 MHz that the sequence was written for; at the scanner's 2.89 T it is 3.11 ppm.

    The signal is that of the first excitation. Tipping pulses are ideal, and the readout's pulses are not spoiled,
    as in the simulations that came with the data.

    Source: Perlman 2022.
    """
    return SaturationTransfer(
        offset=(3.0 * 127.7153 / (42.5764 * 2.89),) * 30,
        saturation_b1=_numbers(_TUMOUR_B1),
        pulse_duration=(0.1,) * 30,
        pulses=13,
        pulse_delay=0.1,
        spin_lock=True,
        recovery_time=(1.0,) * 30,
        spoil_time=0.0055,
        field_strength=2.89,
        initial="previous",
        flip_angle=math.radians(15),
        echo_time=0.02837,
        readouts=45,
        spoiled_readouts=False,
    )


def _tumour(offset: tuple[float, ...]) -> SaturationTransfer:
    return SaturationTransfer(
        offset=offset,
        saturation_b1=_numbers(_TUMOUR_B1),
        pulse_duration=(2.5,) * 30,
        recovery_time=(0.98,) * 30,
        field_strength=9.4,
        **_EPI,
    )


def cest_mrf_mt() -> SaturationTransfer:
    """First of two steps: 30 saturations of 2.5 s from 6 to 14 ppm, 3.5 s apart, for the semi-solid pool.

    Field strength and readout are those of the preclinical L-arginine schedule.

    Source: Perlman 2022.
    """
    return _tumour(_numbers(_TUMOUR_OFFSETS))


def cest_mrf_amide() -> SaturationTransfer:
    """Second of two steps: the same amplitudes at 3.5 ppm, for the amide protons.

    Source: Perlman 2022.
    """
    return _tumour((3.5,) * 30)


def autocest_mt() -> SaturationTransfer:
    """10 scans for the semi-solid pool, learned end to end: 2.5 s of saturation every 3.52 s.

    Field strength and readout are those of the preclinical L-arginine schedule.

    Source: Perlman 2022 (AutoCEST).
    """
    return SaturationTransfer(
        offset=_numbers(_AUTOCEST_OFFSETS),
        saturation_b1=_numbers(_AUTOCEST_B1),
        pulse_duration=(2.5,) * 10,
        recovery_time=(1.0,) * 10,
        field_strength=9.4,
        **_EPI,
    )


def deepcest_3t() -> SaturationTransfer:
    """A Z-spectrum at 55 offsets, by 80 Gaussian pulses of 20.48 ms of 0.9 µT, half the time on.

    The amplitude is read as the mean over a pulse, and the Gaussian is cut at 2.6 standard deviations (our choice).

    Source: Glang 2020.
    """
    side = [100.0, 50.0, 40.0, 30.0, 20.0, *(10 - 0.5 * i for i in range(18)), 1.0, 0.6, 0.4, 0.2]
    shape = gaussian(40, 2.0)
    return SaturationTransfer(
        offset=(*(-offset for offset in side), 0.0, *reversed(side)),
        saturation_b1=(0.9,) * 55,
        pulse_duration=(0.02048,) * 55,
        pulses=80,
        pulse_delay=0.02048,
        pulse_shape=tuple((shape / shape.mean()).tolist()),
        recovery_time=(0.0,) * 55,
        spoil_time=0.0065,
        field_strength=3.0,
    )


def glucest_7t() -> SaturationTransfer:
    """13 offsets from 1.8 to 4.2 ppm on either side, and references at 20 and 100 ppm, at 7 T.

    8 Hann pulses of 99.8 ms within 800 ms, 3 µT root mean square over a pulse, 15 s apart.

    Source: Li 2020; the protocol is one of the Pulseq-CEST library.
    """
    near = [round(1.8 + 0.2 * i, 1) for i in range(13)]
    side = [100.0, 20.0, *reversed(near)]
    shape = hann(50)
    return SaturationTransfer(
        offset=(*(-offset for offset in side), *reversed(side)),
        saturation_b1=(3.0,) * 30,
        pulse_duration=(0.0998,) * 30,
        pulses=8,
        pulse_delay=0.0002,
        pulse_shape=tuple((shape / (shape**2).mean().sqrt()).tolist()),
        recovery_time=(14.2,) * 30,
        field_strength=7.0,
    )


SCHEDULES = (
    Published(
        "mtc-mrf-40", "magnetisation transfer, 40 scans of 8 to 50 ppm at 3 T", mtc_mrf_40, ("kim2020",)
    ),
    Published(
        "mtc-mrf-10",
        "magnetisation transfer, 10 scans found by learning (LOAS), 3 T",
        mtc_mrf_10,
        ("kang2022",),
    ),
    Published(
        "cest-mrf-arginine",
        "L-arginine, 30 continuous saturations at 3 ppm, 9.4 T",
        cest_mrf_arginine,
        ("cohencest2018",),
    ),
    Published(
        "cest-mrf-arginine-3t",
        "L-arginine, 30 trains of 13 spin-lock pulses at 383 Hz, 2.89 T",
        cest_mrf_arginine_clinical,
        ("perlman2022",),
    ),
    Published(
        "cest-mrf-mt",
        "semi-solid pool, 30 saturations of 6 to 14 ppm, first of two steps",
        cest_mrf_mt,
        ("perlman2022",),
    ),
    Published(
        "cest-mrf-amide",
        "amide, 30 saturations at 3.5 ppm, second of two steps",
        cest_mrf_amide,
        ("perlman2022",),
    ),
    Published(
        "autocest-mt-10",
        "semi-solid pool, 10 scans learned end to end",
        autocest_mt,
        ("perlmanautocest2022",),
    ),
    Published(
        "deepcest-3t",
        "Z-spectrum at 55 offsets to 100 ppm, 80 Gaussian pulses, 3 T",
        deepcest_3t,
        ("glang2020",),
    ),
    Published(
        "glucest-7t",
        "13 offsets of 1.8 to 4.2 ppm on either side and 4 references, 7 T",
        glucest_7t,
        ("li2020",),
    ),
)
