"""The command `emotion-qwen convert`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from emotion_qwen.convert.conversion import DTYPE_NAMES, KeyReport
from emotion_qwen.convert.conversion import convert as convert_folder
from emotion_qwen.convert.fresh import SEED
from emotion_qwen.convert.hearing import convert_with_whisper
from emotion_qwen.convert.layouts import PART_NAMES
from emotion_qwen.convert.text_model import convert_text_model
from emotion_qwen.convert.text_sources import is_text_source
from emotion_qwen.convert.whisper import EncoderCut
from emotion_qwen.errors import CheckpointError, SettingsError, listed
from emotion_qwen.model.configuration import GROUP_FEATURES
from emotion_qwen.model.parts import EMOTION, GATE, GENERAL, VISION
from emotion_qwen.model.source import ADAPTER_CONFIG, GGUF_SUFFIX, locate
from emotion_qwen.processing.folder import load_processor, save_over, takes_ours

LISTED = 14
SEEING = (VISION, GENERAL, EMOTION, GATE)


@click.command()
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--fresh-gate", is_flag=True, help="Initialise a new gate even if SOURCE has one.")
@click.option("--dtype", type=click.Choice(list(DTYPE_NAMES)), help="Type of the stored weights; default: unchanged.")
@click.option("--dry-run", is_flag=True, help="Check every key and shape without writing.")
@click.option("--vision", help="For a text-only SOURCE: folder or hub name with the vision transformer.")
@click.option(
    "--tokens",
    type=click.Path(exists=True, path_type=Path, dir_okay=False),
    help="For a text-only SOURCE: UTF-8 file with further tokens to add, one per line.",
)
@click.option(
    "--whisper",
    help="Whisper checkpoint that provides the audio encoder: a hub name, or a folder of transformers or CTranslate2.",
)
@click.option("--whisper-layers", type=int, help="Use only the first N layers of the encoder; default: all.")
@click.option("--whisper-seconds", type=float, help="Length of an audio window; default: the encoder's, 30 s.")
@click.option(
    "--frames-per-token", type=int, default=4, show_default=True, help="Encoder frames (20 ms) per audio token."
)
@click.option(
    "--group-features",
    type=click.Choice(GROUP_FEATURES),
    default=GROUP_FEATURES[0],
    show_default=True,
    help="Input of an audio token: all its encoder frames, or their mean and deviation.",
)
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the key report as JSON.")
def convert(
    source: str,
    target: Path,
    vision: str | None,
    tokens: Path | None,
    whisper: str | None,
    whisper_layers: int | None,
    whisper_seconds: float | None,
    frames_per_token: int,
    group_features: str,
    report: Path | None,
    **options: Any,
) -> None:
    """Convert the checkpoint SOURCE to the Emotion-Qwen folder TARGET.

    SOURCE is a hub name, or a folder with config.json and safetensors weights: a Qwen2.5-VL checkpoint, or a folder of
    this package (which is checked and copied). The merger becomes both experts and the gate is new, so the result
    answers like SOURCE until it is trained. With --whisper it also gets audio input: the encoder's weights are copied;
    the compressor after it is new and must be trained before audio is useful.

    SOURCE can also be a text-only model, a Llama or Qwen2 folder or a GGUF file of one. It becomes the language model;
    the vision transformer is that of --vision, or new, in which case it must be trained before pictures are useful.
    """
    console = Console(stderr=True)
    folder = Path(source) if Path(source).suffix.lower() == GGUF_SUFFIX and Path(source).is_file() else locate(source)
    text_only = is_text_source(folder)
    _check_options(text_only, vision, tokens, whisper)
    if (folder / ADAPTER_CONFIG).is_file():
        raise CheckpointError(f"{source} is an adapter; merge it first: emotion-qwen merge {source} BASE TARGET")
    columns = (TextColumn("tensors"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("tensors", total=None)
        options["progress"] = lambda done, total: bar.update(task, completed=done, total=total)
        if text_only:
            options["further_tokens"] = tokens.read_text(encoding="utf-8").split() if tokens else ()
            seeing = None if vision is None else locate(vision)
            result = convert_text_model(folder, target, vision=seeing, **options)
        elif whisper is None:
            if takes_ours(folder):
                options["finish"] = partial(save_over, load_processor(folder))
            result = convert_folder(folder, target, **options)
        else:
            cut = EncoderCut(frames_per_token, whisper_layers, whisper_seconds, group_features)
            result = convert_with_whisper(folder, target, locate(whisper), cut=cut, **options)
    if report:
        report.write_text(result.to_json(), encoding="utf-8")
    print_report(result, Console(soft_wrap=True))


def _check_options(text_only: bool, vision: str | None, tokens: Path | None, whisper: str | None) -> None:
    if text_only and whisper is not None:
        raise SettingsError(
            "a text-only SOURCE gets its audio input in a second step: "
            "emotion-qwen convert TARGET TARGET2 --whisper NAME"
        )
    if not text_only and (vision is not None or tokens is not None):
        raise SettingsError("--vision and --tokens are for a text-only SOURCE; this one has its own vision transformer")


def print_report(report: KeyReport, console: Console) -> None:
    """Print the counts per part, then what was cloned, is new or was left out."""
    say = partial(console.print, markup=False, highlight=False)
    table = Table("part", "tensors", "parameters", "from")
    for part, (tensors, parameters) in report.parts.items():
        table.add_row(part, str(tensors), f"{parameters:,}", _origin(part, report))
    console.print(table)
    for line in _dropped(report):
        say(line)
    if report.whisper:
        say(
            f"the encoder of {report.whisper} is copied unchanged; the compressor after it is new: train it before "
            "sound is used"
        )
    if report.tokens:
        say(f"tokens missing in the source: {listed(map(': '.join, report.tokens.items()), LISTED)}")
    if _new(report, VISION):
        say(
            f"{report.source} is text-only and has no vision transformer; this one is new: train it, or give --vision",
            style="yellow",
        )
    if report.missing:
        say(
            f"not in {report.source}: {', '.join(report.missing)}; copy them into {report.target} from the model that "
            "the weights come from, before it is used",
            style="yellow",
        )
    verb = "written to" if report.written else "dry run; nothing written to"
    dtypes = ", ".join(f"{count} {name}" for name, count in report.dtypes.items())
    say(f"{report.layout} layout, {report.size / 1e9:.2f} GB ({dtypes}) {verb} {report.target}")


def _dropped(report: KeyReport) -> Iterator[str]:
    """List what was left out, by reason; for many keys with one reason, the first few and their number."""
    reasons: dict[str, list[str]] = {}
    for key, reason in report.dropped.items():
        reasons.setdefault(reason, []).append(key)
    for reason, keys in reasons.items():
        if len(keys) > LISTED:
            yield f"left out: {len(keys)} tensors, {', '.join(keys[:3])} ... {keys[-1]} ({reason}), see --report"
        else:
            yield from (f"left out: {key} ({reason})" for key in keys)


def _new(report: KeyReport, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in report.fresh)


def _origin(part: str, report: KeyReport) -> str:
    if _new(report, PART_NAMES[part]):
        return f"new, seed {SEED}"
    if report.vision and PART_NAMES[part].startswith(SEEING):
        return report.vision
    if part == "general expert" and report.cloned:
        return "the merger"
    if part == "emotion expert" and report.cloned:
        return "the merger, cloned"
    if part == "audio encoder" and report.whisper:
        return "Whisper"
    if part == "output projection" and not report.parts[part][0]:
        return "tied to the embedding"
    return "source"
