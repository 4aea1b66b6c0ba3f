"""Write a track as one HTML page with its film and the intended emotions over time, without network or server."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path

from markupsafe import Markup

from emotion_qwen.express.film import Watch, write_film
from emotion_qwen.express.rigs import Rig
from emotion_qwen.express.track import EMOTIONS, ExpressionTrack
from emotion_qwen.files import write_whole
from emotion_qwen.views.colours import colour_of
from emotion_qwen.views.html import MEDIA, embedded_policy, inside_script, script_of, style_of, template

SCRIPTS = ("drawing.js", "clock.js", "player.js")
STYLES = ("base.css", "player.css")
LEAST_SHOWN = 0.05
"""Largest strength over a track below which an emotion gets no curve."""


def write_player(
    track: ExpressionTrack,
    rig: Rig,
    identity: str,
    path: Path,
    sound: bytes | None = None,
    watch: Watch | None = None,
) -> None:
    """Write the page of a track.

    Args:
        track: the track.
        rig: the face.
        identity: of the face.
        path: of the page.
        sound: of the film, see `write_pictures`.
        watch: called after each frame of its film.

    Raises:
        MediaError: there is no encoder.
        SettingsError: there is no such identity.
        StorageError: the page cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="emotion-qwen-player-") as folder:
        film = Path(folder) / "face.mp4"
        write_film(track, rig, identity, film, watch=watch, sound=sound)
        data = base64.b64encode(film.read_bytes()).decode()
    peaks = track.emotions.max(axis=0)
    columns = [column for column, peak in enumerate(peaks) if peak >= LEAST_SHOWN] or [EMOTIONS.index("neutral")]
    page_data = {
        "media": {"kind": "video", "mime": "video/mp4"},
        "fps": track.fps,
        "end": track.seconds,
        "curves": [
            {
                "name": EMOTIONS[column],
                "colour": colour_of(EMOTIONS[column]),
                "values": track.emotions[:, column].round(3).tolist(),
            }
            for column in columns
        ],
    }
    shown = ", ".join(f"{EMOTIONS[c]} {peaks[c]:.2f}" for c in columns if EMOTIONS[c] != "neutral") or "neutral"
    style, script = style_of(STYLES), script_of(SCRIPTS)
    text = template("player.html").render(
        shown=shown,
        seconds=track.seconds,
        replayed=track.provenance.source == "report",
        identity=identity if rig.mesh is None else rig.name,
        provenance=json.dumps(track.provenance.model_dump(), indent=1, ensure_ascii=False),
        policy=embedded_policy(style, script, *MEDIA),
        style=Markup(style),
        script=Markup(script),
        data=Markup(data),
        page_data=Markup(inside_script(json.dumps(page_data))),
    )
    write_whole(path, text)
