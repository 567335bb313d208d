"""The other side of `contests.Place.peer`: each line read runs the work once, each line written says how long it took.

Imported by the peer_*.py scripts in an interpreter that need not have fastqmri; needs numpy only.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path


def task():
    """The folder and what task.npz holds; call it before the libraries that read the number of threads."""
    import numpy as np

    folder = Path(sys.argv[1])
    content = dict(np.load(folder / "task.npz"))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(int(content["threads"]))
    return folder, content


def cpu_seconds():
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def serve(folder, run):
    """Run ``run()`` as often as asked; what it returns last lies in result.npy."""
    import numpy as np

    for _ in sys.stdin:
        cpu, wall = cpu_seconds(), time.perf_counter()
        found = run()
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        np.save(folder / "result.npy", np.asarray(found))
        print(json.dumps({"wall": wall, "cpu": cpu}), flush=True)
