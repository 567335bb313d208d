"""DOPAMINE beside model-based and two-step reconstructions: errors on held-out objects, CPU time.

    FASTQMRI_TEST_DATA=<data folder> python benchmarks/methods/dopamine.py --network dopamine-t1 --seeds 3

One thread. The model-based weight is its default, which was tuned on ellipses and was best in the tissue of a brain
of the tuning part too.
"""

from __future__ import annotations

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from fastqmri.methods import load


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=["dopamine-t1", "dopamine-t2"], default="dopamine-t1")
    parser.add_argument("--seeds", type=int, default=3, help="of noise and sampling, each object (3)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trained = load(arguments.network)
    for row in trained.recipe.evaluate(trained.network, trained.card, seeds=arguments.seeds):
        print(f"{row.case:36s} {row.method:24s} {row.quantity:5s} {row.metric:18s} {row.text} {row.unit}")


if __name__ == "__main__":
    main()
