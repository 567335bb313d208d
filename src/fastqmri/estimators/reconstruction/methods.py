"""Every image reconstruction by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fastqmri.estimators.reconstruction.dictionary_learning import DictionaryLearning
from fastqmri.estimators.reconstruction.exponential import LowRankSparse
from fastqmri.estimators.reconstruction.images import ConjugateGradientSense, ImageReconstruction, ZeroFilled
from fastqmri.estimators.reconstruction.low_rank import GloballyLowRank, LocallyLowRank
from fastqmri.estimators.reconstruction.subspace import SubspaceLowRank
from fastqmri.estimators.reconstruction.total_variation import TotalVariation
from fastqmri.estimators.reconstruction.wavelet import PENALTIES, StructuredSparsity, WaveletSparsity
from fastqmri.physics.signal import SignalModel


@dataclass(frozen=True)
class ReconstructionMethod:
    """An image reconstruction that can be asked for by name.

    Attributes:
        name: for ``--method``.
        description: one line.
        build: makes it with its defaults, from the signal model.
        references: bibliography keys.
        needs_model: whether the signal model enters the images; it is ignored if not.
        needs_coils: whether coil sensitivities enter; methods that do without combine the coils themselves.
    """

    name: str
    description: str
    build: Callable[[SignalModel], ImageReconstruction]
    references: tuple[str, ...] = ()
    needs_model: bool = False
    needs_coils: bool = True


_STRUCTURED = {
    "lasso": "Sparse wavelets of every coil and contrast by itself; no coil maps needed.",
    "group-lasso": "Sparse wavelets that contrasts of a coil share; no coil maps needed.",
    "sparse-group-lasso": "Sparse wavelets, partly shared by the contrasts of a coil; no coil maps needed.",
    "oscar": "Sparse wavelets, contrasts of a coil tied by their size; no coil maps needed.",
}


def _fixed(description: str, method: ImageReconstruction, needs_coils: bool = True) -> ReconstructionMethod:
    return ReconstructionMethod(
        method.name, description, lambda _: method, method.references, needs_coils=needs_coils
    )


_ALL = (
    _fixed("Missing samples count as zero.", ZeroFilled()),
    _fixed("Least squares with coil sensitivities, contrast by contrast.", ConjugateGradientSense()),
    _fixed("Few edges, at the same places in all contrasts.", TotalVariation()),
    _fixed("Sparse wavelets, at the same places in all contrasts.", WaveletSparsity()),
    _fixed("Contrasts of a block of voxels are of low rank.", LocallyLowRank()),
    _fixed("Contrasts of the whole image are of low rank.", GloballyLowRank()),
    ReconstructionMethod(
        "subspace",
        "Contrasts inside the signal model's few main directions, locally of low rank.",
        SubspaceLowRank,
        SubspaceLowRank.references,
        needs_model=True,
    ),
    _fixed("Low rank, sparse wavelets and exponential decay together (our approximation).", LowRankSparse()),
    *(_fixed(_STRUCTURED[p], StructuredSparsity(p), needs_coils=False) for p in PENALTIES),
    ReconstructionMethod(
        "dictionary-learning",
        "Contrasts made of few curves learned from the signal model.",
        DictionaryLearning,
        DictionaryLearning.references,
        needs_model=True,
    ),
)

RECONSTRUCTIONS: Mapping[str, ReconstructionMethod] = MappingProxyType({m.name: m for m in _ALL})
"""All image reconstructions, by name."""
