"""What a scanner would measure of a phantom."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.core import Measurement, PlausibilityError
from fastqmri.phantoms.motion import move
from fastqmri.phantoms.noise import add_noise
from fastqmri.phantoms.phantom import Phantom
from fastqmri.physics.encoding import CartesianEncoding, LinearOperator
from fastqmri.physics.signal import SignalModel


def acquire(
    phantom: Phantom,
    model: SignalModel,
    encoding: LinearOperator | None = None,
    *,
    snr: float,
    generator: torch.Generator,
    motion: Tensor | None = None,
) -> Measurement:
    """Measure a phantom: y = E A(x) + complex white noise, or images where there is no encoding.

    The standard deviation of the noise in one (real) channel is σ = mean over the mask of the first contrast's
    magnitude / SNR, of k-space as of images: orthonormal transforms keep it. Samples that the encoding leaves out
    stay zero.

    Args:
        phantom: the object.
        model: what the sequence makes of it.
        encoding: E, on the phantom's voxels.
        snr: mean first-contrast signal in the mask / σ; infinity adds no noise.
        generator: draws the noise.
        motion: (contrast, pose) of `draw_motion`, how the object moved before each contrast; coils stay. The mask and
            the known maps are those of the object at rest.

    Raises:
        PlausibilityError: an SNR that is not positive.
        UnknownNameError: the model has a parameter that the phantom doesn't.
    """
    if not snr > 0:
        raise PlausibilityError(
            f"an SNR of {snr:g}", "it is positive.", "Give 20 to 200, or infinity for no noise."
        )
    signal = phantom.signal(model)
    if motion is not None:
        signal = move(signal, motion, phantom.voxel_size)
    noise = float(signal[0, phantom.mask].abs().mean()) / snr
    if encoding is None:
        noisy = add_noise(signal, noise, model.non_negative and not model.complex_valued, generator)
        data = noisy.to(torch.complex64 if noisy.is_complex() else torch.float32)
    else:
        precision = next((b.dtype for b in encoding.buffers() if b.is_complex()), torch.complex64)
        data = encoding(signal.to(precision))
        white = add_noise(torch.zeros(data.shape, dtype=torch.complex128), noise, False, generator).to(
            precision
        )
        data = data + (encoding.sampling(white) if isinstance(encoding, CartesianEncoding) else white)
    return Measurement(
        data,
        model.acquisition,
        mask=phantom.mask,
        known=phantom.known(model),
        noise=noise or None,
        affine=phantom.affine,
        encoding=encoding,
    )
