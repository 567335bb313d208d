"""The first fit ever on a machine: compile into an empty cache, and tell what is going on meanwhile.

``python first_use.py JOB`` prints one JSON line; run.py calls it with NUMBA_CACHE_DIR on an empty folder.
"""

from __future__ import annotations

import json
import logging
import sys
import time

import torch
from jobs import RELAXOMETRY, TENSORS, simulate, simulate_tensors
from relaxometry import model_of
from tensors import model_of as tensor_model

from fastqmri import Measurement
from fastqmri.estimators.catalogue import entry


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def main() -> None:
    job = sys.argv[1]
    heard = _Heard()
    logger = logging.getLogger("fastqmri")
    logger.addHandler(heard)
    logger.setLevel(logging.INFO)
    if job == TENSORS:
        name, model, samples = "dti", tensor_model(), simulate_tensors(2000).samples
    else:
        (name, model), samples = model_of(RELAXOMETRY[job]), simulate(RELAXOMETRY[job], 2000).samples
    measurement = Measurement(torch.from_numpy(samples.T.copy()), model.acquisition)
    estimator = entry(name).estimator(model)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        estimator.estimate(measurement)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"first": seconds[0], "second": seconds[1], "messages": heard.messages}))


if __name__ == "__main__":
    main()
