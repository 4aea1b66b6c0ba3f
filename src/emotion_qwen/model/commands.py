"""The command `emotion-qwen convert`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from emotion_qwen.model.convert import DTYPE_NAMES, KeyReport
from emotion_qwen.model.convert import convert as convert_folder

LISTED = 14


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--fresh-gate", is_flag=True, help="Start a new gate although SOURCE has one.")
@click.option("--dtype", type=click.Choice(list(DTYPE_NAMES)), help="Store all weights so; default: as they are.")
@click.option("--dry-run", is_flag=True, help="Check every key and shape, write nothing.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the key report as JSON.")
def convert(
    source: Path, target: Path, fresh_gate: bool, dtype: str | None, dry_run: bool, report: Path | None
) -> None:
    """Turn the checkpoint folder SOURCE into the Emotion-Qwen folder TARGET.

    SOURCE is a local folder with config.json and safetensors weights: a Qwen2.5-VL checkpoint (of the hub: `hf
    download NAME --local-dir SOURCE` first), a folder of this package (then a checked copy), or the published
    Emotion-Qwen as far as its layout is known. The merger becomes both experts and the gate is new, so the result
    answers as SOURCE does until it is trained.
    """
    console = Console(stderr=True)
    columns = (TextColumn("tensors"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("tensors", total=None)
        result = convert_folder(
            source,
            target,
            fresh_gate=fresh_gate,
            dtype=dtype,
            dry_run=dry_run,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if report:
        report.write_text(result.to_json(), encoding="utf-8")
    print_report(result, Console(soft_wrap=True))


def print_report(report: KeyReport, console: Console) -> None:
    """Print the counts per part, then what was cloned, is new, was recognised by shape or left out."""
    table = Table("part", "tensors", "parameters", "from")
    for part, (tensors, parameters) in report.parts.items():
        table.add_row(part, str(tensors), f"{parameters:,}", _origin(part, report))
    console.print(table)
    for name, keys in report.matched.items():
        console.print(f"by shape: {name} <- {' + '.join(keys)}", markup=False, highlight=False)
    for key, reason in list(report.dropped.items())[:LISTED]:
        console.print(f"left out: {key} ({reason})", markup=False, highlight=False)
    if len(report.dropped) > LISTED:
        console.print(f"left out: {len(report.dropped) - LISTED} more, see --report")
    verb = "written to" if report.written else "dry run; nothing written to"
    dtypes = ", ".join(f"{count} {name}" for name, count in report.dtypes.items())
    console.print(
        f"{report.layout} layout, {report.size / 1e9:.2f} GB ({dtypes}) {verb} {report.target}",
        markup=False,
        highlight=False,
    )


def _origin(part: str, report: KeyReport) -> str:
    if part == "gate" and report.fresh:
        return f"new, seed {report.gate_seed}"
    if part == "general expert" and report.cloned:
        return "the merger"
    if part == "emotion expert" and report.cloned:
        return "the merger, cloned"
    if part == "output projection" and not report.parts[part][0]:
        return "tied to the embedding"
    return "source"
