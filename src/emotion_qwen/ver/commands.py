"""The commands `ver build`, `ver stats`, `ver estimate` and `ver review`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from emotion_qwen.ver.settings import BuildSettings

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def ver() -> None:
    """Build a Video Emotion Reasoning set from raw videos, look at it, review it."""


@ver.command()
@click.argument("settings", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option("--address", default="", help="Of a running Ray cluster; without it Ray is started here.")
@click.option("--until", default="export", show_default=True, help="Stop after this step.")
def build(settings: Path, overrides: Sequence[str], engine: str, address: str, until: str) -> None:
    """Build the set that the file SETTINGS describes; what is done already is not done again.

    \b
    Steps: segment, cut, look, select, listen, describe, check, export.
    """
    from emotion_qwen.errors import SettingsError, unknown_choice
    from emotion_qwen.settings import read_yaml
    from emotion_qwen.ver.engines import Engine, Processes
    from emotion_qwen.ver.pipeline import STEPS, Build
    from emotion_qwen.ver.settings import BuildSettings

    if until not in STEPS:
        raise SettingsError(unknown_choice("step", until, STEPS))
    chosen = BuildSettings.of(read_yaml(settings, overrides), str(settings))
    _check_local_models(chosen)
    worker: Engine = Processes(chosen.workers, chosen.item_seconds)
    if engine == "ray":
        from emotion_qwen.ver.cluster import RayEngine

        worker = RayEngine(chosen.workers, address)
    made = Build(chosen, worker)
    try:
        made.run(until)
    finally:
        _print_events(made.ledger.events)
    if until == "export":
        click.echo(f"{chosen.output}: {_sentence(made)}")


def _check_local_models(settings: BuildSettings) -> None:
    """Look for the local models of a build before its first step: they are needed hours later."""
    writers = (settings.describe.teacher, settings.check.reader, settings.check.second)
    local = {writer.model for writer in writers if writer is not None and writer.kind == "local"}
    if local:
        from emotion_qwen.model.source import find_model

        for name in sorted(local):
            find_model(name or None)


@ver.command()
@click.argument("folder", type=_FOLDER, metavar="SET")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def stats(folder: Path, as_json: bool) -> None:
    """Tell what the set in the folder SET holds, what fell out and why, agreement and cost."""
    from emotion_qwen.ver.estimate import read_settings
    from emotion_qwen.ver.pipeline import Build
    from emotion_qwen.ver.stats import figures

    read_settings(folder)
    found = figures(Build.opened(folder))
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    console = Console()
    console.print(
        f"{found['clips']:,} clips of {found['sources']:,} videos, {found['hours']:.2f} hours, "
        f"{' and '.join(found['languages'])}; {found['cost']['calls']:,} calls, {found['cost']['tokens']:,} tokens",
        highlight=False,
    )
    _print_steps(console, found)
    for name in ("emotion", "split", "license", "rejections"):
        _print_counts(console, name, found[name])
    _print_agreement(console, found)


@ver.command()
@click.argument("folder", type=_FOLDER, metavar="SET")
@click.option("--clips", type=click.IntRange(1), default=40_000, show_default=True, help="Accepted clips wanted.")
def estimate(folder: Path, clips: int) -> None:
    """Estimate disk, hours and calls for more clips from the set in the folder SET."""
    from emotion_qwen.ver.estimate import extrapolate

    click.echo(f"{clips:,} accepted clips: {extrapolate(folder, clips)}")


@ver.command()
@click.argument("folder", type=_FOLDER, metavar="SET")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on; the page has no login.")
@click.option("--export", "only_export", is_flag=True, help="Write the decisions into the set and end.")
def review(folder: Path, port: int, host: str, only_export: bool) -> None:
    """Review the set in the folder SET in a browser: accept, edit, reject, flag; two reviewers, agreement."""
    from emotion_qwen.ver.pipeline import Build
    from emotion_qwen.ver.review.page import serve

    made = Build.opened(folder)
    if only_export:
        made.export()
        click.echo(f"{folder}: {_sentence(made)}")
        return
    serve(made, host, port)


def _sentence(made: Any) -> str:
    found = json.loads((made.output / "stats.json").read_text(encoding="utf-8"))
    return f"{found['clips']:,} clips of {found['sources']:,} videos, {found['hours']:.2f} hours; see README.md there"


def _print_events(events: Any) -> None:
    if events:
        told = ", ".join(f"{name} {count:,}" for name, count in sorted(events.items()))
        click.echo(f"calls of this run: {told}", err=True)


def _print_steps(console: Console, found: dict[str, Any]) -> None:
    table = Table("step", "clips", "kept", box=None)
    for name, one in found["steps"].items():
        table.add_row(name, f"{one['clips']:,}", f"{one['kept']:,}")
    console.print(table)


def _print_counts(console: Console, name: str, counts: dict[str, int]) -> None:
    table = Table(name, "clips", box=None)
    for key, count in counts.items():
        table.add_row(str(key), f"{count:,}")
    console.print(table)


def _print_agreement(console: Console, found: dict[str, Any]) -> None:
    for name, one in found["agreement"].items():
        if name != "check":
            kappa = "not defined" if one["kappa"] is None else f"{one['kappa']:.2f}"
            console.print(
                f"teacher and {name}: {one['agree']:.1%} of {one['labels']:,}, kappa {kappa}", highlight=False
            )
