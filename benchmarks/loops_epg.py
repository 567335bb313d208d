"""What an expert writes by hand with numba or PyTorch for the job of jobs_epg."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

_LANES = 32


@njit(fastmath=True, error_model="numpy")
def signals(flip, t1, t2, repetition, inversion, states):  # type: ignore[no-untyped-def]
    """(pulse, atom) signals; lanes of atoms, states one after the other, no more of them than pulses so far."""
    pulses, count = len(flip), len(t1)
    out = np.empty((pulses, count), np.float32)
    one, half = np.float32(1), np.float32(0.5)
    f, g = np.zeros((states + 2, _LANES), np.float32), np.zeros((states + 2, _LANES), np.float32)
    z = np.zeros((states + 1, _LANES), np.float32)
    up, down = np.zeros((states + 2, _LANES), np.float32), np.zeros((states + 2, _LANES), np.float32)
    e1, e2 = np.ones(_LANES, np.float32), np.ones(_LANES, np.float32)
    for first in range(0, count, _LANES):
        lanes = min(_LANES, count - first)
        f[:], g[:], z[:], up[:], down[:] = 0, 0, 0, 0, 0
        for v in range(lanes):
            e1[v], e2[v] = np.exp(-repetition / t1[first + v]), np.exp(-repetition / t2[first + v])
            z[0, v] = one - 2 * np.exp(-inversion / t1[first + v])
        for i in range(pulses):
            s, c = np.sin(flip[i]), np.cos(flip[i])
            p, q = half * (one + c), half * (one - c)
            filled = min(states, i + 1)
            for v in range(lanes):
                out[i, first + v] = p * f[0, v] - q * g[0, v] + s * z[0, v]
            for k in range(filled):
                for v in range(_LANES):
                    a, b, w = f[k, v], g[k, v], s * z[k, v]
                    up[k + 1, v] = e2[v] * (p * a - q * b + w)
                    down[k, v] = e2[v] * (p * b - q * a + w)
                    z[k, v] = e1[v] * (c * z[k, v] - half * s * (a + b))
            for v in range(_LANES):
                z[0, v] += one - e1[v]
                up[0, v] = down[1, v]
            for k in range(filled + 1):
                for v in range(_LANES):
                    f[k, v] = up[k, v]
                    g[k, v] = down[k + 1, v]
    return out


def torch_signals(
    flip: Tensor, t1: Tensor, t2: Tensor, repetition: float, inversion: float, states: int
) -> Tensor:
    """(pulse, atom) signals, differentiable."""
    e1, e2 = torch.exp(-repetition / t1), torch.exp(-repetition / t2)
    empty = torch.zeros(1, len(t1), dtype=t1.dtype)
    f = g = torch.zeros(states, len(t1), dtype=t1.dtype)
    z = torch.cat([(1 - 2 * torch.exp(-inversion / t1))[None], f[1:]])
    sine, cosine = torch.sin(flip), torch.cos(flip)
    out = []
    for s, c in zip(sine, cosine, strict=True):
        u, w = 0.5 * (f + g), 0.5 * (f - g)
        turned = c * u + s * z
        z = c * z - s * u
        f, g = turned + w, turned - w
        out.append(f[0])
        f, g, z = f * e2, g * e2, z * e1
        z = torch.cat([z[:1] + (1 - e1), z[1:]])
        g = torch.cat([g[1:], empty])
        f = torch.cat([g[:1], f[:-1]])
    return torch.stack(out)
