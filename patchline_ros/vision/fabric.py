"""Where a source training runs: on which device, in which precision, in how many processes.

    torchrun --nproc-per-node 4 -m patchline_ros.cli offline ...

starts the processes, a GPU each where there are GPUs; Lightning Fabric connects them. Without
torchrun there is one.
"""

from __future__ import annotations

import logging
import os
import warnings
from typing import TYPE_CHECKING, Literal

import torch

from patchline_ros.vision.device import Device, chosen_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed"]
"""Precision in Fabric's words: 32 bit, or 16 bit where that is safe and 32 in the weights. `auto`
is mixed on a GPU, bfloat16 where it computes in that, and 32-true on a CPU."""


def is_first_process() -> bool:
    """Whether this process writes and prints: the only one, or the first of torchrun's."""
    return not _under_torchrun() or os.environ["RANK"] == "0"


def _under_torchrun() -> bool:
    """Whether torchrun started this process."""
    return torch.distributed.is_torchelastic_launched()


def local_process_count() -> int:
    """Number of processes that torchrun started on this machine; 1 without torchrun."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if _under_torchrun() else 1


def training_fabric(
    precision: Precision = "32-true", device: Literal["auto", "cpu"] = "cpu"
) -> Fabric:
    """Fabric for the processes that torchrun started, or for this one alone.

    Args:
        precision: of the training.
        device: `auto` takes a GPU for each process where PyTorch sees one.

    Raises:
        ModuleNotFoundError: lightning-fabric is not installed.
        ValueError: a precision that a CPU does not have, or more processes than GPUs.
    """
    try:
        from lightning_fabric import Fabric
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "training source models needs lightning-fabric: pip install 'patchline_ros[offline]'"
        ) from error
    # It would say on the console what the caller asked for.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    # Of depthwise convolutions, in sides of length 1, where strides mean nothing.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    accelerator = chosen_device(Device(device)).type
    processes = local_process_count()
    if accelerator == "cuda" and processes > torch.cuda.device_count():
        raise ValueError(
            f"torchrun started {processes} processes on a machine with "
            f"{torch.cuda.device_count()} GPUs; give as many with --nproc-per-node"
        )
    fabric = Fabric(
        accelerator=accelerator,
        devices=processes,
        num_nodes=int(os.environ["GROUP_WORLD_SIZE"]) if _under_torchrun() else 1,
        precision=_of_device(precision, accelerator),
    )
    fabric.launch()
    return fabric


def leave_process_group() -> None:
    """Ends the connection of the processes: what follows is done by the first of them alone."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _of_device(
    precision: Precision, accelerator: str
) -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    if precision == "auto":
        if accelerator == "cpu":
            return "32-true"
        return "bf16-mixed" if torch.cuda.is_bf16_supported(False) else "16-mixed"
    if precision == "16-mixed" and accelerator == "cpu":
        raise ValueError("precision 16-mixed needs a GPU; a CPU has 32-true and bf16-mixed")
    return precision
