"""From k-space to images, or straight to maps."""

from fastqmri.estimators.reconstruction.dictionary_learning import DictionaryLearning
from fastqmri.estimators.reconstruction.exponential import LowRankSparse
from fastqmri.estimators.reconstruction.images import (
    ConjugateGradientSense,
    ImageReconstruction,
    TwoStep,
    ZeroFilled,
    encoding_of,
)
from fastqmri.estimators.reconstruction.low_rank import GloballyLowRank, LocallyLowRank
from fastqmri.estimators.reconstruction.methods import RECONSTRUCTIONS, ReconstructionMethod
from fastqmri.estimators.reconstruction.model_based import ModelBased
from fastqmri.estimators.reconstruction.noise import kspace_noise
from fastqmri.estimators.reconstruction.subspace import SubspaceLowRank, temporal_basis
from fastqmri.estimators.reconstruction.total_variation import TotalVariation
from fastqmri.estimators.reconstruction.wavelet import StructuredSparsity, WaveletSparsity

__all__ = [
    "RECONSTRUCTIONS",
    "ConjugateGradientSense",
    "DictionaryLearning",
    "GloballyLowRank",
    "ImageReconstruction",
    "LocallyLowRank",
    "LowRankSparse",
    "ModelBased",
    "ReconstructionMethod",
    "StructuredSparsity",
    "SubspaceLowRank",
    "TotalVariation",
    "TwoStep",
    "WaveletSparsity",
    "ZeroFilled",
    "encoding_of",
    "kspace_noise",
    "temporal_basis",
]
