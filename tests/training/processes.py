"""One step of training in each of several processes; the first writes what came of it."""

import sys
from pathlib import Path

import safetensors.torch
import torch

from neuroconn.config.base import read_settings
from neuroconn.config.train import TrainSettings
from neuroconn.training import Mixture, Trainer
from neuroconn.training.loader import batches
from neuroconn.training.ranks import joined


def main(config: str, output: str) -> None:
    """Write gradients and running statistics after the first step."""
    torch.set_num_threads(1)
    settings = read_settings(TrainSettings, Path(config))
    with joined(torch.device("cpu")) as ranks:
        trainer = Trainer(settings, ranks)
        mixture = Mixture(settings, graphs=trainer.objective.wants_graph)
        made = batches(
            mixture, settings, first=0, last=1, ranks=ranks, prepare=trainer.objective.prepare
        )
        trainer.step(made)
        trainer.ledger.settle()
        found = {f"loss {k}": torch.tensor([v]) for k, v in trainer.ledger.means().items()}
        for name, parameter in trainer.network.named_parameters():
            assert parameter.grad is not None
            found[f"gradient {name}"] = parameter.grad
        found |= {name: buffer.float() for name, buffer in trainer.network.named_buffers()}
        if ranks.first:
            contiguous = {k: v.detach().clone().contiguous() for k, v in found.items()}
            safetensors.torch.save_file(contiguous, output)
        trainer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
