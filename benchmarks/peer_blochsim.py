"""blochsim's fingerprinting train for jobs_epg: signals, Jacobian by T1 and T2, gradient by the flip angles."""

from peer_server import serve, task

folder, given = task()

import numpy as np  # noqa: E402  (after the number of threads is set)
import torch  # noqa: E402
from blochsim.simulators import MRFSimulator  # noqa: E402

torch.set_num_threads(int(given["threads"]))
MS = 1e3
t1, t2 = (torch.tensor(given[name] * MS) for name in ("t1", "t2"))
flip = torch.tensor(np.rad2deg(given["flip"]))
fixed = {
    "TR": float(given["repetition"]) * MS,
    "TI": float(given["inversion"]) * MS,
    "states": int(given["states"]),
}
kind = str(given["kind"])


def signal():
    return aligned(MRFSimulator(flip=flip, **fixed).simulate(T1=t1, T2=t2)).T


def jacobian():
    found, slopes = MRFSimulator(flip=flip, **fixed).jacobian(("T1", "T2"), T1=t1, T2=t2)
    return MS * aligned(slopes.permute(1, 2, 0), found)


def gradient():
    angles = flip.clone().requires_grad_()
    found = MRFSimulator(**fixed).simulate(flip=angles, T1=t1, T2=t2)
    (found.abs() ** 2).sum().backward()
    return angles.grad / len(t1) * 180 / np.pi


def aligned(numbers, signals=None):
    """Real parts along the phase of the strongest signal, which is everybody's."""
    signals = numbers if signals is None else signals
    strongest = signals.flatten()[signals.abs().argmax()]
    return (numbers * (strongest.conj() / strongest.abs())).real


serve(folder, {"signal": signal, "jacobian": jacobian, "gradient": gradient}[kind])
