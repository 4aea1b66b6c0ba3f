"""Analyze clips with several copies of the model on one machine: a process per copy, each with a part of the clips."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import click

ARGUMENTS = "arguments"
"""Key in `click.Context.meta` of the arguments of a command as they were given."""


class RememberedCommand(click.Command):
    """A command that can be run again in other processes, with its arguments as they were given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments as click does, and keep them."""
        ctx.meta[ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


def replica_devices(count: int) -> list[str]:
    """Return a device for each copy: the GPUs of this machine in turn, or the CPU."""
    import torch

    devices = [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]
    return [devices[number % len(devices)] for number in range(count)]


def run_replicas(arguments: Sequence[str], devices: Sequence[str]) -> int:
    """Run `analyze` once per device, each with a part of the clips; the last to finish joins the results.

    Args:
        arguments: of the command, with `--output` and `--replicas`.
        devices: of the copies; the same one may occur several times.

    Returns:
        The exit code: 0, or the largest one of the processes.
    """
    command = [sys.executable, "-m", f"{__package__}.commands", *arguments]
    count = len(devices)
    processes = [
        subprocess.Popen([*command, "--replicas", "1", "--device", device, "--shard", f"{number}/{count}"])
        for number, device in enumerate(devices, 1)
    ]
    try:
        return max(process.wait() for process in processes)
    finally:
        running = [process for process in processes if process.poll() is None]  # after an interruption
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
