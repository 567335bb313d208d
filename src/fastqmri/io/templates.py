"""Templates of the human brain that other packages ship."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.core import FileError


def read_mni152_tissues() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Grey matter, white matter and brain of the MNI152 template at 1 mm, from files inside nilearn (no network).

    Returns:
        Share of grey matter and of white matter (x, y, z) float32, brain mask, affine (4, 4) in mm.

    Raises:
        FileError: nilearn is not installed.
    """
    try:
        from nilearn import datasets
    except ImportError as error:
        raise FileError(
            "the MNI152 template",
            "nilearn, which ships it, is not installed.",
            "pip install 'fastqmri[templates]'.",
        ) from error
    grey, white = (
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
    )
    brain = datasets.load_mni152_brain_mask(resolution=1)
    return (
        torch.from_numpy(grey.get_fdata()).float(),
        torch.from_numpy(white.get_fdata()).float(),
        torch.from_numpy(brain.get_fdata()) > 0.5,
        torch.from_numpy(grey.affine).double(),
    )
