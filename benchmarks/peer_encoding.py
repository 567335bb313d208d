"""mrpro and sigpy on the jobs of encoding.py: the transform there and back, its Gram operator, CG-SENSE."""

import sys
import types

from peer_server import serve, task

folder, given = task()

import numpy as np  # noqa: E402  (after the number of threads is set)

job, program, threads = str(given["job"]), str(given["program"]), int(given["threads"])


def of_sigpy():
    import sigpy
    import sigpy.mri

    if job == "cg-sense":
        kspace, maps = given["kspace"], given["maps"]

        def run():
            app = sigpy.mri.app.SenseRecon(
                kspace,
                maps,
                lamda=float(given["regularisation"]),
                max_iter=int(given["iterations"]),
                show_pbar=False,
            )
            return app.run()

        return run
    images = given["images"]
    places = given["trajectory"] * np.array(images.shape[1:]) / (2 * np.pi)
    return lambda: sigpy.nufft_adjoint(sigpy.nufft(images, places), places, images.shape)


def of_mrpro():
    # it imports torchvision, which the CPU build of PyTorch has none of, for a phantom only
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]
    sys.modules["torchvision.transforms"].functional = sys.modules["torchvision.transforms.functional"]
    import mrpro
    import torch

    torch.set_num_threads(threads)
    if job == "cg-sense":
        kspace, maps = torch.tensor(given["kspace"]), torch.tensor(given["maps"])
        coils, *voxels = maps.shape
        lines = torch.tensor(given["lines"])
        along = torch.arange(voxels[1], dtype=torch.float32) - voxels[1] // 2
        trajectory = mrpro.data.KTrajectory(
            torch.zeros(1, 1, 1, 1, 1),
            (lines - voxels[0] // 2).float().reshape(1, 1, 1, -1, 1),
            along.reshape(1, 1, 1, 1, -1),
        )
        size = mrpro.data.SpatialDimension(1, *voxels)
        fourier = mrpro.operators.FourierOp(recon_matrix=size, encoding_matrix=size, traj=trajectory)
        encoding = fourier @ mrpro.operators.SensitivityOp(maps.reshape(1, coils, 1, *voxels))
        system = encoding.H @ encoding + float(given["regularisation"])
        measured = kspace[:, lines].reshape(1, coils, 1, len(lines), voxels[1])

        def run():
            (right,) = encoding.H(measured)
            found = mrpro.algorithms.optimizers.cg(
                system, right, max_iterations=int(given["iterations"]), tolerance=0
            )
            return found[0].reshape(voxels).numpy()

        return run
    images = torch.tensor(given["images"])
    coils, *voxels = images.shape
    places = given["trajectory"] * np.array(voxels) / (2 * np.pi)
    columns = [np.zeros(len(places)), *places.T]
    trajectory = mrpro.data.KTrajectory(
        *(torch.tensor(c.astype(np.float32)).reshape(1, 1, 1, 1, -1) for c in columns)
    )
    size = mrpro.data.SpatialDimension(1, *voxels)
    fourier = mrpro.operators.FourierOp(recon_matrix=size, encoding_matrix=size, traj=trajectory)
    images = images.reshape(1, coils, 1, *voxels)
    if job == "gram":
        gram = fourier.gram
        return lambda: gram(images)[0].reshape(coils, *voxels).numpy()
    return lambda: fourier.H(fourier(images)[0])[0].reshape(coils, *voxels).numpy()


serve(folder, {"sigpy": of_sigpy, "mrpro": of_mrpro}[program]())
