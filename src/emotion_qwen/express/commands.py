"""The commands `express` (make a track and write it) and `express check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emotion_qwen.console import WithDefault, quiet
from emotion_qwen.errors import DataError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from emotion_qwen.express.motion import Keyframe
    from emotion_qwen.express.track import ExpressionTrack
    from emotion_qwen.express.visemes import Visemes

DISAGREES = 1
"""Exit code of `check` when the model reads another emotion than intended."""
PATH = click.Path(path_type=Path)
SOURCES = ("emotion", "va", "text", "report", "keyframes")
SECONDS = 4.0
RECORDINGS = ("livelink", "beat", "express4d")
"""Kinds of recordings; those of `importers.SUFFIXES`."""
TABLE = "table"
"""The generator that needs no training: the hand-written table of prototypes."""
SHAPED = "shaped"
"""The motion that needs no training: by rule."""
LEARNED = (("generator", TABLE), ("motion", SHAPED))
"""Options that name a trained model, with what is used without one."""
AFTER_LAST = 1.0
"""Seconds after the last keyframe of a file, where --seconds does not say otherwise."""
IDENTITY_NAMES = "amber, basalt, cedar, dune"


class MakeByDefault(WithDefault):
    """A group whose default command is `make`."""

    default = "make"


@click.group("express", cls=MakeByDefault)
def express() -> None:
    """Make a moving face for an emotion, a text, a report or keyframes.

    `emotion-qwen express --emotion sadness:0.6,fear:0.4 --output face.mp4` writes a video; `emotion-qwen express make
    --help` shows all options, `emotion-qwen express check --help` how to let a model read a track, `emotion-qwen
    express import --help` how to read recordings. Every output says that it is synthetic.
    """


def _face_options(command: Any) -> Any:
    for option in (
        click.option("--identity", default="amber", show_default=True, help=f"Identity of the face: {IDENTITY_NAMES}."),
        click.option("--rig", type=PATH, default=None, help="A head with ARKit morphs: .glb, .gltf, or .npz of ICT."),
    ):
        command = option(command)
    return command


@express.command("make")
@click.option("--emotion", default=None, help="Emotions with shares, such as sadness:0.6,fear:0.4.")
@click.option("--va", default=None, metavar="VALENCE,AROUSAL", help="A place between labels; two numbers, -1 to 1.")
@click.option("--text", default=None, help="A sentence; the face shows what the model reads in it.")
@click.option("--report", type=PATH, default=None, help="A report of `analyze`; the face shows what a person showed.")
@click.option("--person", type=click.IntRange(1), default=None, help="Person of --report; default: seen most.")
@click.option("--keyframes", type=PATH, default=None, help="JSON list of times with emotions.")
@click.option("--intensity", type=float, default=1.0, show_default=True, help="Strength, 0 to 1.5.")
@click.option("--say", metavar="TEXT", default=None, help="English words that the lips say (extra `lips`).")
@click.option("--sound", type=PATH, default=None, help="A voice that the lips follow; with --say, its words.")
@click.option(
    "--seconds", type=float, default=None, help="Length; default: of the report, keyframes or speech, otherwise 4."
)
@click.option("--fps", type=float, default=30.0, show_default=True, help="Frames per second.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of blinks and variation.")
@click.option(
    "--output",
    "outputs",
    type=PATH,
    multiple=True,
    help="By suffix: .json .csv .glb .gltf .mp4 .webm .html; .svg is a folder of frames. May be given several times.",
)
@click.option("--model", default=None, help="Model for --text: nano, mini, a folder, or a hub name.")
@click.option("--generator", default=TABLE, show_default=True, help="table, or the folder of a trained generator.")
@click.option("--motion", default=SHAPED, show_default=True, help="shaped, or the folder of a trained motion model.")
@_face_options
def make(
    intensity: float,
    seconds: float | None,
    fps: float,
    seed: int,
    outputs: tuple[Path, ...],
    identity: str,
    rig: Path | None,
    **options: Any,
) -> None:
    """Make a track of facial actions and write it.

    Give one of --emotion, --va, --text, --report and --keyframes. With --say or --sound, the lips speak: a rough
    approximation, made from spelling and loudness.
    """
    from emotion_qwen.express.identities import identity_of
    from emotion_qwen.express.lips import with_lips
    from emotion_qwen.express.prototypes import check_intensity
    from emotion_qwen.express.rigs import rig_of
    from emotion_qwen.express.track import Provenance, check_seconds
    from emotion_qwen.express.writers import check_output, write_output
    from emotion_qwen.views.outputs import check_outputs

    source = _chosen(options)
    if not outputs:
        raise SettingsError("no output; give --output with a name such as face.mp4, track.json or face.glb")
    if options["person"] is not None and source != "report":
        raise SettingsError("--person is a person of a report; give --report, or leave --person out")
    if options["model"] is not None and source != "text":
        raise SettingsError("--model reads a text; give --text, or leave --model out")
    if options["generator"] != TABLE and source == "report":
        raise SettingsError("--generator makes faces of emotions, a report has its own; leave --generator out")
    if options["motion"] != SHAPED and source == "report":
        raise SettingsError("--motion moves made faces, a report has its own motion; leave --motion out")
    if options["motion"] != SHAPED and options["generator"] != TABLE:
        raise SettingsError("--motion FOLDER makes the faces, too; leave --generator out, or --motion")
    if source == "report" and (options["say"] is not None or options["sound"] is not None):
        raise SettingsError("--say and --sound give a made face its lips, a report has its own; leave them out")
    check_intensity(intensity)
    identity_of(identity)
    if seconds is not None:
        check_seconds(seconds)
    face = rig_of(rig)
    for path in outputs:
        check_output(path, face)
    inputs = [path for path in (options["report"], options["keyframes"], options["sound"], rig) if path is not None]
    check_outputs({"output": [path for path in outputs if not path.is_dir()]}, inputs)
    visemes = _spoken(options, fps)
    if source == "report":
        track = _replayed(options["report"], options["person"], fps, intensity, seed, seconds)
    else:
        keyframes, length, details = _keyframes(source, options, intensity, seconds, visemes)
        details |= {"intensity": intensity, "seed": seed}
        details |= {name: options[name] for name, rule in LEARNED if options[name] != rule}
        moving = _moving(options["generator"], options["motion"], seed)
        track = moving(keyframes, length, fps=fps, seed=seed, provenance=Provenance(source=source, details=details))
        track = track if visemes is None else with_lips(track, visemes)
    for path in outputs:
        write_output(track, face, identity, path, sound=visemes.sound if visemes else None)
        print(f"{path}: {track.seconds:.1f} s, {len(track.frames)} frames, {_shown(track)}")


def _chosen(options: dict[str, Any]) -> str:
    """Return the one source that was given.

    Raises:
        SettingsError: none was given, or several.
    """
    given = [name for name in SOURCES if options[name] is not None]
    if len(given) != 1:
        names = " and ".join(f"--{name}" for name in given) or "no source"
        raise SettingsError(f"{names} given; expected one of {', '.join(f'--{name}' for name in SOURCES)}")
    return given[0]


def _spoken(options: dict[str, Any], fps: float) -> Visemes | None:
    """Return what the lips say; None without --say and --sound.

    Raises:
        SettingsError: the frame rate is out of range.
    """
    if options["say"] is None and options["sound"] is None:
        return None
    from emotion_qwen.express.motion import check_fps
    from emotion_qwen.express.visemes import spoken_visemes

    check_fps(fps)
    return spoken_visemes(fps, options["say"], options["sound"])


def _keyframes(
    source: str, options: dict[str, Any], intensity: float, seconds: float | None, visemes: Visemes | None
) -> tuple[list[Keyframe], float, dict[str, Any]]:
    """Return keyframes, length in seconds, and details for the provenance; without `seconds`, the length covers
    everything that is spoken.
    """
    from emotion_qwen.express.motion import held
    from emotion_qwen.express.prototypes import circle_shares, emotion_weights, parse_shares
    from emotion_qwen.express.sources import read_keyframes, text_shares

    if source == "keyframes":
        keyframes = read_keyframes(options["keyframes"], intensity)
        end = max(keyframes[-1].time + AFTER_LAST, visemes.seconds if visemes else 0.0)
        return keyframes, seconds or end, {"keyframes": len(keyframes)}
    details: dict[str, Any] = {source: options[source]}
    if source == "emotion":
        shares = parse_shares(options["emotion"])
    elif source == "va":
        shares = circle_shares(*_place(options["va"]))
    else:
        if not options["text"].strip():
            raise SettingsError("--text is empty; expected a sentence")
        from emotion_qwen.analysis.analyzer import Analyzer

        quiet()
        analyzer = Analyzer.load(options["model"])
        shares = text_shares(options["text"], analyzer)
        details["model"] = analyzer.engine.name
    if source != "emotion":
        print(", ".join(f"{name} {share:.2f}" for name, share in shares.items() if share >= 0.005), file=sys.stderr)
    length = seconds or (visemes.seconds if visemes else SECONDS)
    return held(emotion_weights(shares, intensity), length), length, details


def _moving(generator: str, motion: str, seed: int) -> Callable[..., ExpressionTrack]:
    """Return the function that makes a track of keyframes: by rule, with the faces of the table or one take of a
    trained generator, or with the motion of a trained model.
    """
    from functools import partial

    from emotion_qwen.express.motion import make_track

    if motion != SHAPED:
        from emotion_qwen.express.motion_model.learned import learned_track, read_motion

        quiet()
        return partial(learned_track, read_motion(Path(motion)))
    if generator == TABLE:
        return make_track
    from emotion_qwen.express.generator.learned import read_faces

    quiet()
    return partial(make_track, faces=read_faces(Path(generator), seed))


def _place(text: str) -> tuple[float, float]:
    """Read valence and arousal; `circle_shares` checks their range.

    Raises:
        SettingsError: these are not two numbers.
    """
    try:
        valence, arousal = map(float, text.split(","))
    except ValueError:
        raise SettingsError(f"--va {text!r}; expected valence and arousal from -1 to 1, such as -0.5,0.7") from None
    return valence, arousal


def _replayed(
    path: Path, person: int | None, fps: float, intensity: float, seed: int, seconds: float | None
) -> ExpressionTrack:
    """Return the track of the first report in a file.

    Raises:
        DataError: the file has no report of an analyzed clip.
    """
    from emotion_qwen.export.reports import ReportFiles
    from emotion_qwen.express.replay import replay_track
    from emotion_qwen.records import EmotionReport

    for entry in ReportFiles([path]):
        if isinstance(entry, EmotionReport):
            return replay_track(entry, person, fps=fps, intensity=intensity, seed=seed, seconds=seconds)
    raise DataError(f"{str(path)!r} has no report of an analyzed clip; expected one, as `analyze --json` writes it")


def _shown(track: ExpressionTrack) -> str:
    """Return the emotions of a track with their largest strengths."""
    from emotion_qwen.express.track import EMOTIONS

    peaks = zip(EMOTIONS, track.emotions.max(axis=0).tolist(), strict=True)
    strong = [f"{name} {value:.2f}" for name, value in peaks if name != "neutral" and value >= 0.05]
    return ", ".join(strong) or "neutral"


@express.command("import")
@click.argument("kind", type=click.Choice(RECORDINGS))
@click.argument("source", type=PATH)
@click.argument("folder", type=PATH)
@click.option("--fps", type=float, default=None, help="Frame rate of the recordings; default: as they say.")
def import_tracks(kind: str, source: Path, folder: Path, fps: float | None) -> None:
    """Import recorded facial actions from SOURCE as tracks into FOLDER, a JSON file per recording.

    \b
    KIND       SOURCE, a file or a folder
    livelink   CSV of the Live Link Face app
    beat       facial JSON of BEAT
    express4d  arrays (NPY) of Express4D

    Recordings are personal data of the people in them. A file that does not fit is named in one line; the others are
    imported, and the exit code is 2.
    """
    from emotion_qwen.express.importers import import_recordings
    from emotion_qwen.express.track import write_track

    refused: list[str] = []
    written = 0
    for path, track in import_recordings(kind, source, fps):
        if isinstance(track, str):
            refused.append(track)
            print(track, file=sys.stderr)
            continue
        place = path.relative_to(source) if source.is_dir() else Path(path.name)
        output = (folder / place).with_suffix(".json")
        if output.resolve() == path.resolve():
            raise DataError(f"{str(output)!r} is a recording itself; give another folder for the tracks")
        output.parent.mkdir(parents=True, exist_ok=True)
        write_track(track, output)
        written += 1
        print(f"{output}: {track.seconds:.1f} s, {len(track.frames)} frames at {track.fps:g} per second")
    if refused:
        raise DataError(f"{len(refused)} of {written + len(refused)} recordings could not be imported; see above")


@express.command("check")
@click.argument("track", type=PATH)
@click.option("--model", default=None, help="nano, mini, a folder, a hub name, or module:function.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps")
@_face_options
def check(track: Path, model: str | None, device: str, identity: str, rig: Path | None) -> int:
    """Render a track, have a model read it, and report whether it reads the intended emotion.

    Exit code 0: it does; 1: it reads another emotion, and the output lists the evidence.
    """
    from emotion_qwen.express.check import check_track, explanation
    from emotion_qwen.express.identities import identity_of
    from emotion_qwen.express.readers import reader_of
    from emotion_qwen.express.rigs import rig_of
    from emotion_qwen.express.track import read_track

    stored, face = read_track(track), rig_of(rig)
    identity_of(identity)
    reading = check_track(stored, face, identity, reader_of(model, device))
    print("\n".join(explanation(reading)))
    return 0 if reading.agrees else DISAGREES
