"""bmctool's Z-spectra for jobs_exchange."""

from peer_server import serve, task

folder, given = task()

import numpy as np  # noqa: E402  (after the number of threads is set)
import pypulseq as pp  # noqa: E402
from bmctool.parameters.Parameters import Parameters  # noqa: E402
from bmctool.simulation.BMCSim import BMCSim  # noqa: E402

FIELD, GAMMA, SPOIL = 3.0, 42.5764, 6.5e-3
continuous = str(given["protocol"]) == "continuous"
samples = np.array([2.0]) if continuous else 1.78 * given["pulse"]
duration, pulses, gap = (2.0, 1, 0.0) if continuous else (0.05, 36, 0.005)
system = pp.Opts(
    max_grad=40,
    grad_unit="mT/m",
    max_slew=130,
    slew_unit="T/m/s",
    rf_ringdown_time=0,
    rf_dead_time=0,
    rf_raster_time=1e-6,
    gamma=GAMMA * 1e6,
)


def sequence():
    made = pp.Sequence(system=system)
    crusher = pp.make_trapezoid(
        channel="z", system=system, amplitude=0.8 * system.max_grad, duration=SPOIL, rise_time=1e-3
    )
    if continuous:
        angle = 2 * np.pi * GAMMA * samples[0] * duration
        rf = pp.make_block_pulse(flip_angle=angle, duration=duration, system=system)
    else:
        signal = np.repeat(samples * GAMMA, round(duration / len(samples) / 1e-5))
        rf = pp.make_arbitrary_rf(
            signal=signal, flip_angle=1.0, system=system, dwell=1e-5, no_signal_scaling=True
        )
    for offset in given["offsets"]:
        rf.freq_offset = offset * FIELD * GAMMA
        phase = 0.0
        for index in range(pulses):
            rf.phase_offset = phase % (2 * np.pi)
            made.add_block(rf)
            phase += 2 * np.pi * rf.freq_offset * duration
            if index + 1 < pulses:
                made.add_block(pp.make_delay(gap))
        made.add_block(crusher)
        made.add_block(pp.make_adc(num_samples=1, duration=1e-3))
    made.set_definition("offsets_ppm", given["offsets"])
    return made


def spectra():
    found = []
    for t1, k in zip(given["t1"], given["k"], strict=True):
        held = {
            f"pool {i}": dict(zip(("f", "t1", "t2", "k", "dw"), map(float, row), strict=True))
            for i, row in enumerate(given["pools"])
        }
        held["pool 0"]["k"] = float(k)
        parameters = Parameters.from_dict(
            {
                "water_pool": {"f": 1.0, "t1": float(t1), "t2": 0.04},
                "cest_pool": held,
                "b0": FIELD,
                "gamma": 2 * np.pi * GAMMA,
                "b0_inhom": 0.0,
                "rel_b1": 1,
                "verbose": False,
                "reset_init_mag": True,
                "scale": 1,
                "max_pulse_samples": len(samples),
            }
        )
        simulation = BMCSim(parameters, made, verbose=False)
        simulation.run()
        found.append(simulation.get_zspec(return_abs=False)[1])
    return np.array(found).T


made = sequence()
serve(folder, spectra)
