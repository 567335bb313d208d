"""One of two processes under torchrun: trains, and writes what it ended with."""

import json
import sys
from pathlib import Path

import torch

from fastqmri.learning.recipe import TrainingSettings
from fastqmri.learning.training import train
from recipes import Line

torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
settings = TrainingSettings(seed=3, steps=40, batch=8, learning_rate=0.05, validate_every=10)
trained = train(Line(), Path(sys.argv[1]) / f"rank{rank}", settings)
values = torch.cat([p.detach().flatten() for p in trained.network.parameters()]).tolist()
(Path(sys.argv[1]) / f"{rank}.json").write_text(json.dumps(values))
torch.distributed.barrier()  # a process that leaves early takes the connection with it
torch.distributed.destroy_process_group()
