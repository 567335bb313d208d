"""The command line with the learned method ``decay`` of `recipes` among its own; run under torchrun by a test."""

from fastqmri.cli import main
from fastqmri.methods import METHODS
from recipes import DECAY

METHODS["decay"] = DECAY
main()
