"""sigpy's compressed sensing, contrast by contrast, for model_based_peers.py; each run reads its scan from task.npz."""

from peer_server import serve, task

folder, _ = task()

import numpy as np  # noqa: E402  (after the number of threads is set)
import sigpy.mri.app  # noqa: E402

apps = {"wavelet": sigpy.mri.app.L1WaveletRecon, "tv": sigpy.mri.app.TotalVariationRecon}


def run():
    given = dict(np.load(folder / "task.npz"))
    app, weight, iterations = apps[str(given["penalty"])], float(given["weight"]), int(given["iterations"])
    return np.stack(
        [
            app(contrast, given["maps"], weight, max_iter=iterations, show_pbar=False).run()
            for contrast in given["kspace"]
        ]
    )


serve(folder, run)
