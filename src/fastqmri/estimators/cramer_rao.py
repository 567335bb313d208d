"""The Cramér-Rao bound: the least standard deviation any unbiased estimator can have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastqmri.core import DataError
from fastqmri.estimators.rician import information_factor
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers.linear import inverse


def cramer_rao_bound(
    model: SignalModel,
    x: Tensor,
    noise: float | Tensor,
    *,
    rician: bool = False,
    also_unknown: Sequence[str] = (),
) -> tuple[tuple[str, ...], Tensor]:
    """Standard deviations that no unbiased estimator can undercut.

    Args:
        model: A and its acquisition.
        x: (parameter, *voxels) true parameters, the known ones included.
        noise: standard deviation of the noise of one channel, in signal units, scalar or (*voxels).
        rician: count the information of magnitudes instead of Gaussian samples.
        also_unknown: names of normally known parameters (``B1``) that shall be estimated too.

    Returns:
        Names, and bounds (name, *voxels): the estimated parameters, then the derived quantities. Infinite where
        the acquisition cannot tell parameters apart.

    Raises:
        DataError: ``noise`` is not positive.

    Source: Kay 1993, Eq. 3.31 (Gaussian); its Rician form with the information of a Rician sample.
    """
    sigma = torch.as_tensor(noise, dtype=x.dtype, device=x.device)
    if not bool((sigma > 0).all()):
        raise DataError(f"noise = {noise}", "a bound needs noise.", "Give a positive standard deviation.")
    free = [i for i, p in enumerate(model.parameters) if p.nominal is None or p.name in also_unknown]
    flat = x.reshape(len(model.parameters), -1).double()
    signal, jacobian = model.evaluate(flat)
    j = jacobian[:, free]
    factor = torch.ones_like(signal.abs())
    if rician:
        factor = information_factor(signal.abs() / sigma.reshape(1, -1))
    information = (factor[:, None, None] * j[:, :, None].conj() * j[:, None]).real.sum(0)
    scale = information.diagonal().T.clamp_min(1e-300).rsqrt()
    normalised = information * scale[:, None] * scale[None]
    singular = torch.linalg.cond(normalised.permute(2, 0, 1)) > 1e14
    covariance = inverse(information) * sigma.reshape(1, 1, -1) ** 2
    variances = list(covariance.diagonal().T)
    names = [model.parameters[i].name for i in free]
    for derived in model.derived:
        _, gradient = derived.evaluate(flat)
        g = gradient[free]
        variances.append(torch.einsum("iv,ijv,jv->v", g, covariance, g))
        names.append(derived.parameter.name)
    bound = torch.stack(variances).clamp_min(0).sqrt()
    bound[:, singular] = torch.inf
    return tuple(names), bound.reshape(-1, *x.shape[1:]).to(x.dtype)
