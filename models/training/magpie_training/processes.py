"""One training run in several processes, as `torchrun` starts them; alone without it.

Each step's batch is dealt out among the processes and their gradients are averaged. The first
process decides when the run ends, and writes the checkpoint and the log.
"""

import contextlib
import os

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from . import UserError


def rank():
    return distributed.get_rank() if distributed.is_initialized() else 0


def count():
    return distributed.get_world_size() if distributed.is_initialized() else 1


@contextlib.contextmanager
def joined():
    """The group of processes for the time of a run; yields the device of this one."""
    cuda = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def averaging(model, device):
    """`model`, with gradients that are the mean over all processes after `backward`."""
    if count() == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


def share(batch):
    """This process's part of a step's items."""
    if len(batch) % count():
        raise UserError(f"deal a batch of {len(batch)} to {count()} processes: it does not divide")
    return batch[rank() :: count()]


def agreed(values, device):
    """The first process's numbers, in all of them."""
    if count() == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.broadcast(tensor, 0)
    return tensor.tolist()


def together(device):
    """Waits until every process is here."""
    if count() > 1:
        agreed([0.0], device)
