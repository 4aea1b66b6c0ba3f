"""The commands `analyze`, `ask` and `faces`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from emotion_qwen.analysis.forms import FORMS
from emotion_qwen.analysis.moments import LENGTH
from emotion_qwen.batch.addresses import Addresses
from emotion_qwen.batch.engines import (
    chosen_shard,
    copies_of,
    results_of,
    store_results,
    tell_remote,
    waiting_files,
)
from emotion_qwen.batch.following import Following
from emotion_qwen.batch.replicas import ARGUMENTS, RememberedCommand, replica_devices, run_replicas
from emotion_qwen.batch.sharding import TOGETHER
from emotion_qwen.batch.view_files import VIEWS, ViewFiles
from emotion_qwen.console import quiet, run_command
from emotion_qwen.errors import EmotionQwenError, SettingsError, printable
from emotion_qwen.export.layout import survey
from emotion_qwen.export.reports import ReportFiles
from emotion_qwen.export.run import ExportTarget, export_reports
from emotion_qwen.files import json_line
from emotion_qwen.media.clip import find_media, read_clip
from emotion_qwen.records import EVOKED, PEOPLE, WHOLE, EmotionReport
from emotion_qwen.settings import ClipSettings
from emotion_qwen.taxonomy import LABEL_SETS, chosen_labels
from emotion_qwen.views.outputs import check_outputs

if TYPE_CHECKING:
    pass

FAILED = 2
REQUESTED = ("start", "end", "fps", "window", "context")
SOURCES = ("audio", "audio_track", "transcript", "subtitle_track", "transcribe", "encoding")
PATH = click.Path(path_type=Path)
_POSITIVE = click.FloatRange(0, min_open=True)
LINES = (".jsonl", ".ndjson", ".json", "")
"""Suffixes of files with one report per line."""
TABLES = (".csv", ".xlsx", ".parquet")


def _model_options(command: Callable) -> Callable:
    for option in (
        click.option(
            "--model",
            default=None,
            help="nano, mini (if fetched), a folder, a hub name, or openai:NAME@http://host/v1.",
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps, balanced"),
        click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16, float16"),
        click.option("--start", type=float, default=None, help="Read the video from this second on."),
        click.option("--end", type=float, default=None, help="Read the video until this second."),
    ):
        command = option(command)
    return command


def _source_options(command: Callable) -> Callable:
    for option in (
        click.option("--audio", type=PATH, default=None, help="A sound file instead of the clip's own track."),
        click.option("--audio-track", type=int, default=None, help="Number of the sound track, from 0."),
        click.option("--transcript", type=PATH, default=None, help="Words: .srt, .vtt, .ass, or text without times."),
        click.option("--subtitle-track", type=int, default=None, help="Number of the subtitle track, from 0."),
        click.option("--encoding", default=None, help="Encoding of the words, such as gb18030."),
        click.option(
            "--transcribe", type=PATH, default=None, help="Recognise the words: folder of a speech model, or whisper."
        ),
        click.option("--context", default="", help="What is known about the situation, in your own words."),
    ):
        command = option(command)
    return command


@click.command(cls=RememberedCommand)
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--labels",
    default="dfew7",
    show_default=True,
    help=f"Label set: {', '.join(LABEL_SETS)}; or labels of your own, separated by commas, which are untrained.",
)
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
@click.option("--json", "as_lines", is_flag=True, help="One JSON object per input and line.")
@click.option("--verbose", is_flag=True, help="Print everything, not only what matters most.")
@click.option(
    "--output", type=PATH, default=None, help="File of reports (.jsonl), continued by a second run, or table."
)
@click.option("--features", type=PATH, default=None, help="Save each clip's features to this safetensors file.")
@click.option(
    "--workers", type=click.IntRange(0), default=None, help="Processes that prepare clips; default: by cores."
)
@click.option("--shard", default=None, metavar="PART/PARTS", help="Analyze one part of the clips, such as 2/4.")
@click.option("--remote", type=PATH, default=None, help="Folder for copies of clips at s3, gs, hf, http addresses.")
@click.option("--replicas", type=click.IntRange(1), default=None, help="Copies of the model, by default one.")
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="This machine, or Ray."
)
@click.option("--ray-address", default=None, metavar="ADDRESS", help="A running Ray cluster; default: a new one here.")
@click.option("--strict", is_flag=True, help="Exit with code 2 if any input failed.")
@click.option("--picture", type=click.Path(path_type=Path), default=None, help="Save the readable report as SVG.")
@click.option("--html", type=PATH, default=None, help="Save a page with the clip: a file, or a folder for several.")
@click.option("--markdown", type=PATH, default=None, help="Save the report as Markdown: a file or a folder.")
@click.option("--annotated", type=PATH, default=None, help="Save the clip with boxes and labels: a file or a folder.")
@click.option(
    "--avatar", type=PATH, default=None, help="Save a drawn face that replays a person: a video, a page, or a folder."
)
@click.option("--every-frame", type=PATH, default=None, help="Save a row per face and frame: a table or a folder.")
@click.option("--fps", type=_POSITIVE, default=None, help="Frames per second to analyze; default: as trained.")
@click.option("--window", type=_POSITIVE, default=LENGTH, show_default=True, help="Seconds per window of the timeline.")
@click.option("--abstain-below", type=click.FloatRange(0, 1), default=None, help="Confidence below which to abstain.")
@click.option("--reasoning", type=click.Choice(tuple(FORMS)), default=None, help="Let the model reason in a form.")
@click.option("--temperature", type=float, default=None, help="Temperature of the reasoning; 0 (default) is greedy.")
@click.option("--seed", type=int, default=None, help="Random seed of the reasoning, for a temperature above 0.")
@click.option("--whole-picture", is_flag=True, help="Answer from whole frames and all sound where nobody is found.")
@click.option("--evoked", is_flag=True, help="Ask what the picture evokes in viewers, not what people show.")
@click.option("--examples", type=PATH, default=None, help="Compare with the labelled clips of an `index` folder.")
@click.option("--demo", is_flag=True, help="Analyze a short built-in clip of an astronaut.")
@_source_options
@_model_options
def analyze(
    paths: Sequence[str],
    labels: str,
    language: str,
    as_lines: bool,
    strict: bool,
    picture: Path | None,
    abstain_below: float | None,
    demo: bool,
    whole_picture: bool,
    evoked: bool,
    **options: Any,
) -> int:
    """Report what people in clips, pictures or sounds show. PATH: files, folders or patterns."""
    labels = chosen_labels(labels).name
    features, workers, verbose = options.pop("features"), options.pop("workers"), options.pop("verbose")
    output, table = _lines_and_table(options.pop("output"))
    shard = chosen_shard(options.pop("shard"), output, features)
    engine = {name: options.pop(name) for name in ("engine", "replicas", "ray_address")}
    if copies_of(engine, output, shard) > 1:
        arguments = click.get_current_context().meta[ARGUMENTS]
        return run_replicas(arguments, replica_devices(engine["replicas"]))
    _check_picture(picture, as_lines, output)
    about = _about(evoked, whole_picture)
    remote = None if (folder := options.pop("remote")) is None else Addresses(folder)
    find = remote.find if remote else find_media
    files = _demo_clip() if demo else find(_named(paths), sounds=True)
    everything, joined, files = files, output, shard.files(files) if shard else files
    output = shard.path(output) if shard and output else output
    targets = {name: path for name in VIEWS if (path := options.pop(name)) is not None}
    request_options = {"about": about, **{name: options.pop(name) for name in REQUESTED}}
    thought = [options.pop(name) for name in ("reasoning", "temperature", "seed")]
    request_options |= {} if abstain_below is None else {"abstain_below": abstain_below}
    chosen = {name: options.pop(name) for name in SOURCES}
    from emotion_qwen.analysis.analyzer import Analyzer
    from emotion_qwen.analysis.request import Request
    from emotion_qwen.batch.folder import Results, made_by
    from emotion_qwen.views.render import save_picture

    quiet()
    request_options |= {"reasoning": _reasoning(*thought), "examples": _examples(options.pop("examples"))}
    views = ViewFiles.of(targets, files)
    single = {"output": output, "table": table and table.path, "features": features, "picture": picture}
    check_outputs(views.places(files) | {name: [path] for name, path in single.items() if path}, files)
    analyzer = Analyzer.load(**options)
    if not analyzer.hears and not demo:  # sounds in folders are only for models with audio input
        everything = find(paths, sounds=False)
        views = ViewFiles.of(targets, files := shard.files(everything) if shard else everything)
    request = Request(labels, language, **request_options, sources=analyzer.sources(**chosen))
    if features:
        analyzer.check_features("--features")
    results = Results(made_by(analyzer, request), output, features)
    waiting, failures = waiting_files(remote, files, results, views)
    tell_remote(analyzer, len(waiting), len(request.label_set.labels))
    console = Console(record=picture is not None)
    shown = Following(len(waiting))
    clips = results_of(engine, options, analyzer, waiting, request, workers, shown)
    tell = partial(_tell, as_lines=as_lines, verbose=verbose, console=console)
    tell_failure = partial(_tell_failure, as_lines=as_lines and not output, alone=len(files) == 1)
    try:
        failed, unsaved = store_results(shown.over(clips), analyzer, request, results, views, tell, tell_failure)
    except KeyboardInterrupt:
        if output:
            counted = f"{str(output)!r} has {_count(output)} complete lines"
            print(f"{counted}; run the same command again to continue", file=sys.stderr, flush=True)
        raise
    finally:
        clips.close()
        results.close()
    failures += failed
    if picture:
        save_picture(console, picture)
    if joined and output:
        complete = shard is None or shard.join(joined, everything)
        place = _write_table(joined, table, everything) if table and complete else joined if complete else output
        _tell_counts(len(files), len(waiting), failures, place)
        _tell_waiting(shown.seconds() if len(waiting) > TOGETHER else {})
    views.write_index({source: line for source, (_, line) in results.lines.items()}, language)
    wrong = failures + unsaved
    return FAILED if wrong and (strict or wrong >= len(files)) else 0


def _about(evoked: bool, whole_picture: bool) -> str:
    if evoked and whole_picture:
        raise SettingsError("--evoked is of the whole picture already; leave --whole-picture out")
    return EVOKED if evoked else WHOLE if whole_picture else PEOPLE


def _check_picture(picture: Path | None, as_lines: bool, output: Path | None) -> None:
    """Refuse options that ask for different outputs.

    Raises:
        SettingsError: for such options.
    """
    if picture and (message := "--json" if as_lines else "--output" if output else ""):
        raise SettingsError(f"--picture saves the readable report, {message} asks for another; choose one of them")


def _lines_and_table(output: Path | None) -> tuple[Path | None, ExportTarget | None]:
    """Return the file of reports, one per line, that a second run continues, and the table made of it, if any.

    Raises:
        MissingPackage: for the table.
        SettingsError: neither is stored under that suffix.
    """
    if output is None or output.is_dir() or output.suffix.lower() in LINES:
        return output, None
    if output.suffix.lower() not in TABLES:
        raise SettingsError(
            f"--output {str(output)!r}: unknown suffix {output.suffix!r}; expected .jsonl for a report per line, or "
            f"{' '.join(TABLES)} for a table"
        )
    return output.with_suffix(".jsonl"), ExportTarget.of(output)


def _write_table(output: Path, table: ExportTarget, files: Sequence[Path]) -> Path:
    """Write the table of the reports in `output`; return its path."""
    entries = ReportFiles([output])
    export_reports(entries, survey(entries), table, files)
    return table.path


def _tell_counts(files: int, waiting: int, failures: int, place: Path) -> None:
    counts = f"{waiting - failures} clips analyzed, {files - waiting} before, {failures} failed"
    print(f"{counts}: {place}", file=sys.stderr, flush=True)


def _tell_waiting(spent: dict[str, float]) -> None:
    """Print how long the model waited for clips, as a guide to --workers; nothing if it was not measured."""
    from emotion_qwen.batch.folder import READING

    if not spent:
        return
    waited, total = spent.get(READING, 0.0), sum(spent.values())
    print(f"the model waited for clips during {waited / total:.0%} of {total:.1f} s", file=sys.stderr, flush=True)


def _count(output: Path) -> int:
    return output.read_bytes().count(b"\n") if output.exists() else 0


def _reasoning(form: str | None, temperature: float | None, seed: int | None) -> Any:
    """Return the request for reasoning, or None."""
    from emotion_qwen.analysis.reasoning import Reasoning
    from emotion_qwen.engine.engine import Sampling

    if form is None and (temperature, seed) != (None, None):
        raise SettingsError("--temperature and --seed are of the reasoning's words; give --reasoning with them")
    return None if form is None else Reasoning(form, Sampling(temperature or 0.0, seed or 0))


def _examples(folder: Path | None) -> Any:
    """Return the index of labelled examples, or None."""
    from emotion_qwen.analysis.examples import ExampleIndex

    return None if folder is None else ExampleIndex.read(folder)


def _named(paths: Sequence[str]) -> Sequence[str]:
    if not paths:
        raise SettingsError("no input; give files, folders or patterns, or --demo for the built-in clip")
    return paths


def _demo_clip() -> list[Path]:
    from emotion_qwen.batch.demo import make_demo_clip

    scratch = tempfile.TemporaryDirectory(prefix="emotion-qwen-demo-")
    folder = click.get_current_context().with_resource(scratch)  # removed when the command ends
    return [make_demo_clip(Path(folder) / "astronaut.mp4")]


def _tell(report: EmotionReport, as_lines: bool, verbose: bool, console: Console) -> None:
    from emotion_qwen.views.brief import show_brief
    from emotion_qwen.views.render import as_json, show_report

    if as_lines:
        print(as_json(report), flush=True)
    else:
        (show_report if verbose else show_brief)(report, console)


def _tell_failure(file: Path, error: EmotionQwenError, as_lines: bool, alone: bool) -> None:
    if as_lines and not alone:
        print(printable(json_line({"source": printable(file), "error": str(error)})), end="", flush=True)
    else:
        print(f"error: {error}", file=sys.stderr, flush=True)


@click.command()
@click.argument("path")
@click.argument("question")
@click.option(
    "--as", "feeling", default=None, metavar="VALENCE,AROUSAL", help="Answer with this feeling; two numbers, -1 to 1."
)
@_source_options
@_model_options
def ask(
    path: str, question: str, feeling: str | None, start: float | None, end: float | None, context: str, **options: Any
) -> None:
    """Ask a free question about a clip, picture or sound.

    Who looks how, when, and what changes is answered from the measurements, everything else by the model.

    --as asks a model that follows instructions to speak with a feeling; write --as=-0.5,0.8 if it begins with a minus.
    """
    speak_as = None if feeling is None else _state(feeling)
    chosen = {name: options.pop(name) for name in SOURCES}
    from emotion_qwen.analysis.analyzer import Analyzer
    from emotion_qwen.analysis.request import Request

    quiet()
    analyzer = Analyzer.load(**options)
    sources = analyzer.sources(**chosen)
    prepared = analyzer.prepare(path, Request(start=start, end=end, sources=sources, context=context))
    reply = analyzer.reply(prepared, question, context, speak_as)
    print(reply.text)
    if reply.measured:
        print("measured, not written by the model", file=sys.stderr)


def _state(text: str) -> tuple[float, float]:
    """Read valence and arousal, each from -1 to 1.

    Raises:
        SettingsError: these are not two such numbers.
    """
    try:
        valence, arousal = map(float, text.split(","))
    except ValueError:
        valence = arousal = float("nan")
    if not (-1 <= valence <= 1 and -1 <= arousal <= 1):
        raise SettingsError(f"--as {text!r}; expected valence and arousal from -1 to 1, such as 0.5,-0.3")
    return valence, arousal


@click.command()
@click.argument("path")
@click.option("--save", type=click.Path(path_type=Path), required=True, help="Folder for the pictures.")
@click.option("--fps", type=float, default=2.0, show_default=True, help="Frames per second to read.")
@click.option("--strength", type=float, default=1.0, show_default=True, help="How much the rest is faded, 0 to 1.")
def faces(path: str, save: Path, fps: float, strength: float) -> None:
    """Show the faces found in a clip as pictures: boxes, tracks, captured frames and crops."""
    from emotion_qwen.faces import CenterFaceDetector, person_crops
    from emotion_qwen.prepare import captured
    from emotion_qwen.views.face_pictures import save_pictures

    settings = ClipSettings.of({"fps": fps, "capture_strength": strength}, "faces")
    clip = read_clip(path, settings)
    tracks, shown = captured(clip, CenterFaceDetector(), settings)
    crops = [person_crops(clip.frames, t, margin=settings.person_margin, count=settings.person_frames) for t in tracks]
    written = save_pictures(save, clip, tracks, shown.frames, crops)
    for track in tracks:
        times = clip.times[track.frames]
        print(f"person {track.person}: {len(times)} of {len(clip.times)} frames, {times[0]:.2f}–{times[-1]:.2f} s")
    if not tracks:
        print("no face found")
    print("\n".join(str(file) for file in written))


if __name__ == "__main__":  # a process of `--replicas`
    sys.exit(run_command(analyze, name="emotion-qwen analyze"))
