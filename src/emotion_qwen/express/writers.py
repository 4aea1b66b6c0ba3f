"""Write a track as the file that its suffix names: JSON, CSV of Live Link Face, glTF, video, page, or SVG frames."""

from __future__ import annotations

from pathlib import Path

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.express.film import Watch, write_film
from emotion_qwen.express.gltf import write_gltf
from emotion_qwen.express.livelink import write_live_link
from emotion_qwen.express.player import write_player
from emotion_qwen.express.rigs import Rig
from emotion_qwen.express.svg import write_svg_frames
from emotion_qwen.express.track import ExpressionTrack, write_track
from emotion_qwen.media.write.film import ENCODINGS

SVG, PAGE = ".svg", ".html"
SUFFIXES = (".json", ".csv", ".glb", ".gltf", *ENCODINGS, PAGE, SVG)
"""Suffixes of outputs; a name in `.svg` is a folder with a file per frame."""


def check_output(path: Path, rig: Rig) -> None:
    """Refuse an output whose suffix is unknown, or that the rig cannot produce.

    Raises:
        SettingsError: the suffix is none of `SUFFIXES`, or SVG frames of a head from a file.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"--output {str(path)!r}: " + unknown_choice("suffix", path.suffix, SUFFIXES))
    if path.suffix.lower() == SVG and rig.mesh is not None:
        raise SettingsError(
            f"--output {str(path)!r}: SVG frames are of the drawn face; leave --rig out, or choose .mp4"
        )


def write_output(
    track: ExpressionTrack,
    rig: Rig,
    identity: str,
    path: Path,
    watch: Watch | None = None,
    sound: bytes | None = None,
) -> None:
    """Write a track in the form that the suffix of `path` names.

    Args:
        track: the track.
        rig: the face in pictures and glTF.
        identity: of the face.
        path: the file, or the folder of SVG frames.
        watch: called after each frame of a video or a page.
        sound: of a video or a page, as WAV; other formats cannot contain it.

    Raises:
        MediaError: a video cannot be written.
        SettingsError: see `check_output`.
        StorageError: a file cannot be written.
    """
    check_output(path, rig)
    suffix = path.suffix.lower()
    if suffix == ".json":
        write_track(track, path)
    elif suffix == ".csv":
        write_live_link(track, path)
    elif suffix in (".glb", ".gltf"):
        write_gltf(track, rig, identity, path)
    elif suffix == PAGE:
        write_player(track, rig, identity, path, sound, watch)
    elif suffix == SVG:
        write_svg_frames(track, path, identity)
    else:
        write_film(track, rig, identity, path, watch=watch, sound=sound)
