"""The commands `data check`, `data import` and `data export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from emotion_qwen.errors import DataError
from emotion_qwen.taxonomy import LABEL_SETS

if TYPE_CHECKING:
    from emotion_qwen.data.faults import Check, Fault
    from emotion_qwen.records import Sample

FORMS = ("emoverse", "amt", "emocfg", "emocue", "ecf", "reccon")
"""Formats of other emotion systems, for import and export."""
KINDS = ("release", "llava", "sharegpt", "parquet", "folder", *FORMS)
SHOWN = 20
_FILE = click.Path(path_type=Path)
_LISTED = "List of bad samples; default: rejected.jsonl beside the manifest."


@click.group()
def data() -> None:
    """Check training manifests, import other formats into one, and export one to them."""


@data.command()
@click.argument("manifests", nargs=-1, required=True, type=_FILE, metavar="MANIFEST...")
@click.option("--media", type=_FILE, help="Folder that relative media paths start from; default: the manifest's.")
@click.option("--rejected", type=_FILE, help=_LISTED)
@click.option("--max-rejected", type=click.IntRange(0), default=0, show_default=True, help="Bad samples allowed.")
@click.option("--no-decode", is_flag=True, help="Only check that media files exist.")
def check(
    manifests: Sequence[Path], media: Path | None, rejected: Path | None, max_rejected: int, no_decode: bool
) -> None:
    """Check MANIFESTs line by line, and all their media.

    Errors are printed with file and line, followed by counts of the good samples. Bad samples are listed in
    rejected.jsonl; the manifests are never changed. The exit code is 2 if more samples are bad than allowed.
    """
    from emotion_qwen.data.faults import REJECTED, Check, list_faults, too_many
    from emotion_qwen.data.manifest import check_manifest

    together: list[Sample | Fault] = []
    for manifest in manifests:
        with _progress("bytes") as bar:
            task = bar.add_task(manifest.name, total=None)
            report = check_manifest(
                manifest,
                media_root=media,
                decode=not no_decode,
                progress=lambda done, total: bar.update(task, completed=done, total=total),  # noqa: B023
            )
        print_faults(report.faults)
        list_faults(report.faults, rejected or manifest.parent / REJECTED, {str(manifest)})
        if not (report.samples or report.faults):
            raise DataError(f"{manifest}: no line with a sample; expected one JSON object per line")
        together += [*report.samples, *report.faults]
    result = Check.of(together)
    print_counts(result)
    if len(result.faults) > max_rejected:
        first = Path(result.faults[0].file)
        raise DataError(too_many(result, rejected or first.parent / REJECTED, max_rejected))


@data.command(name="import")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("source", type=_FILE)
@click.argument("output", type=_FILE)
@click.option("--media", type=_FILE, help="Folder that relative media paths start from; default: SOURCE's.")
@click.option("--split", help="train, validation or test; default: from the source, else train.")
@click.option("--source", "name", default="", help="Name of the source; default: the name of SOURCE.")
@click.option("--license", "terms", default="", help="License of the samples.")
@click.option("--labels", default="fer7", show_default=True, help=f"Label set of the question: {', '.join(LABEL_SETS)}")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
@click.option("--max-rejected", type=click.IntRange(0), default=0, show_default=True, help="Bad samples allowed.")
@click.option("--no-decode", is_flag=True, help="Only check that media files exist.")
def import_source(
    kind: str, source: Path, output: Path, name: str, terms: str, max_rejected: int, no_decode: bool, **options
) -> None:
    """Import SOURCE into the manifest OUTPUT.

    \b
    KIND      SOURCE
    release   training JSON of the published Emotion-Qwen
    llava     LLaVA's JSON: image, conversations of human and gpt
    sharegpt  ShareGPT's JSON: conversations or messages, images, videos
    parquet   Parquet or Arrow files of a Hugging Face dataset, or a folder of them
    folder    one folder of pictures and videos per label
    emoverse  EmoVerse records: image_path, description, emotion, background, attribute, subject, bbox
    amt       lines of AMT, five tasks: query, response, videos or images
    emocfg    lines of Emo-CFG: messages, videos, labels, source
    emocue    JSON of clips with cues: video, cues (visual, auditory, emotional), description
    ecf       conversations of ECF with emotion-cause_pairs
    reccon    RECCON's object of dialogues
    """
    from emotion_qwen.data.importers import ImportOptions, import_manifest

    import_options = ImportOptions(output.parent / "media", source=name, license=terms, **options)
    with _progress("samples") as bar:
        task = bar.add_task(source.name, total=None)
        report = import_manifest(
            kind,
            source,
            output,
            import_options,
            max_rejected=max_rejected,
            decode=not no_decode,
            progress=lambda done: bar.update(task, completed=done),
        )
    print_faults(report.faults[:SHOWN])
    if len(report.faults) > SHOWN:
        print(f"and {len(report.faults) - SHOWN} more, see rejected.jsonl")
    print_counts(report)
    print(f"{len(report.samples)} sample(s) written to {output}")
    if not report.samples:
        raise DataError(f"{source}: no sample could be imported; check KIND and SOURCE")


@data.command(name="export")
@click.argument("kind", type=click.Choice(FORMS))
@click.argument("manifest", type=_FILE)
@click.argument("output", type=_FILE)
@click.option("--split", help="Only train, validation or test; default: all.")
def export_form(kind: str, manifest: Path, output: Path, split: str | None) -> None:
    """Export MANIFEST in the form KIND to the file OUTPUT, the inverse of `data import`.

    Samples that do not fit the form are left out and named. amt also takes dialogues of ecf and reccon: one query per
    utterance with an emotion, whose candidates include the utterance itself.
    """
    from emotion_qwen.data.form_export import export_manifest

    count, left_out = export_manifest(kind, manifest, output, split)
    for identity, reason in list(left_out.items())[:SHOWN]:
        print(f"left out: {identity}: {reason}")
    if len(left_out) > SHOWN:
        print(f"and {len(left_out) - SHOWN} more")
    print(f"{count} record(s) written to {output}, {len(left_out)} sample(s) left out")


def print_faults(faults: Sequence[Fault]) -> None:
    """Print one line per error, starting with file and line."""
    for fault in faults:
        print(f"{fault.place}: {fault.id + ': ' if fault.id else ''}{fault.reason}")


def print_counts(check: Check) -> None:
    """Print the number of samples by medium, label, split and license."""
    title = f"{len(check.samples)} good, {len(check.faults)} bad"
    table = Table("", "value", "samples", title=title, title_justify="left")
    table.columns[2].justify = "right"
    for kind, tally in check.counts.items():
        for number, (value, count) in enumerate(tally.items()):
            table.add_row("" if number else kind, value, str(count), end_section=number == len(tally) - 1)
    Console(soft_wrap=True).print(table)


def _progress(what: str) -> Progress:
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(what))
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
