"""The commands `ver build`, `ver stats`, `ver estimate` and `ver review`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

if TYPE_CHECKING:
    from emotion_qwen.ver.settings import BuildSettings

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def ver() -> None:
    """Build a Video Emotion Reasoning set from raw videos, show its figures, review it."""


@ver.command()
@click.argument("settings", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option("--address", default="", help="Address of a running Ray cluster; without it, Ray starts here.")
@click.option("--until", default="export", show_default=True, help="Stop after this step.")
def build(settings: Path, overrides: Sequence[str], engine: str, address: str, until: str) -> None:
    """Build the set that the file SETTINGS describes; finished items are kept.

    \b
    Steps: segment, cut, look, select, listen, describe, check, critic, export.
    """
    from emotion_qwen.errors import SettingsError, unknown_choice
    from emotion_qwen.settings import read_yaml
    from emotion_qwen.ver.pipeline import STEPS, Build
    from emotion_qwen.ver.pools import RayPool
    from emotion_qwen.ver.settings import BuildSettings

    if until not in STEPS:
        raise SettingsError(unknown_choice("step", until, STEPS))
    chosen = BuildSettings.of(read_yaml(settings, overrides), str(settings))
    _check_local_models(chosen)
    made = Build(chosen, partial(RayPool, count=chosen.workers, address=address) if engine == "ray" else None)
    try:
        made.run(until)
    finally:
        if events := ", ".join(f"{name} {count:,}" for name, count in sorted(made.ledger.events.items())):
            click.echo(f"calls of this run: {events}", err=True)
    if until == "export":
        click.echo(f"{chosen.output}: {_sentence(made.output)}")


def _check_local_models(settings: BuildSettings) -> None:
    """Check before the first step that the local models of a build exist, because they are needed hours later."""
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
    """Show the content of the set in the folder SET, rejections with reasons, agreement and cost."""
    from emotion_qwen.ver.stats import figures, print_figures
    from emotion_qwen.ver.store.folder import SetFolder

    values = figures(SetFolder.opened(folder))
    if as_json:
        click.echo(json.dumps(values, ensure_ascii=False))
    else:
        print_figures(values, Console())


@ver.command()
@click.argument("folder", type=_FOLDER, metavar="SET")
@click.option("--clips", type=click.IntRange(1), default=40_000, show_default=True, help="Accepted clips wanted.")
def estimate(folder: Path, clips: int) -> None:
    """Estimate disk, hours and calls for more clips from the set in the folder SET."""
    from emotion_qwen.ver.estimate import extrapolate
    from emotion_qwen.ver.store.folder import SetFolder

    click.echo(f"{clips:,} accepted clips: {extrapolate(SetFolder.opened(folder), clips)}")


@ver.command()
@click.argument("folder", type=_FOLDER, metavar="SET")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on; the page has no login.")
@click.option("--export", "only_export", is_flag=True, help="Write the decisions into the set and exit.")
def review(folder: Path, port: int, host: str, only_export: bool) -> None:
    """Review the set in the folder SET in a browser.

    Reviewers accept, correct, reject or flag clips, restore rejected ones, and see how far they agree.
    """
    from emotion_qwen.ver.export import export
    from emotion_qwen.ver.review.page import serve
    from emotion_qwen.ver.store.folder import SetFolder

    opened = SetFolder.opened(folder)
    if only_export:
        export(opened)
        click.echo(f"{folder}: {_sentence(folder)}")
    else:
        serve(opened, host, port)


def _sentence(folder: Path) -> str:
    values = json.loads((folder / "stats.json").read_text(encoding="utf-8"))
    return (
        f"{values['clips']:,} clips of {values['sources']:,} videos, {values['hours']:.2f} hours; see README.md there"
    )
