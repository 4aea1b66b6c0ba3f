"""Options that the steps of several recipes share."""

from __future__ import annotations

from pathlib import Path

import click


def folder_options(command):
    """Add `--data` and `--runs` to a command."""
    for name, text in (("runs", "folder of checkpoints and logs"), ("data", "folder of the Parquet files")):
        command = click.option(f"--{name}", type=click.Path(path_type=Path), required=True, help=text)(command)
    return command
