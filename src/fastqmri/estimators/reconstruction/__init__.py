"""From k-space to images, or straight to maps."""

from fastqmri.estimators.reconstruction.images import (
    ConjugateGradientSense,
    ImageReconstruction,
    TwoStep,
    ZeroFilled,
    encoding_of,
)

__all__ = ["ConjugateGradientSense", "ImageReconstruction", "TwoStep", "ZeroFilled", "encoding_of"]
