"""Write a report as one self-contained HTML page, without network, server or libraries.

The text of the page is rendered by a template that escapes everything; its script adds the clip, the boxes and the
timeline. The page's content security policy forbids external resources and allows only the embedded script and style,
identified by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import unquote

from jinja2 import Environment
from markupsafe import Markup

from emotion_qwen.files import write_whole
from emotion_qwen.media.write.playable import Playable, playable, wave_peaks
from emotion_qwen.records import EmotionReport
from emotion_qwen.strings import PHRASES, in_language
from emotion_qwen.taxonomy import coordinates
from emotion_qwen.views.colours import colour_of, ink_on
from emotion_qwen.views.columns import report_labels, share_column
from emotion_qwen.views.phrases import (
    about_note,
    file_name,
    label_name,
    measure_name,
    measurement,
    nobody_note,
    ranked,
    signed,
    step_name,
    times,
    word_name,
)
from emotion_qwen.views.playhead import HOLE, clip_span, has_picture, is_still, sampling_step
from emotion_qwen.views.render import as_json
from emotion_qwen.views.sections import examples_text, movement_lines, rationale_lines, verification_text

MIB = 2**20
EMBED_LIMIT = 40 * MIB
SCRIPTS = ("drawing.js", "playhead.js", "clock.js", "tags.js", "plane.js", "downloads.js", "page.js")
STYLES = ("base.css", "page.css")
"""Parts of the page's script and style, in order."""
SIZE = (16, 9)
"""Width and height of the stage if the report does not state those of the picture."""


def write_html(
    report: EmotionReport,
    path: str | Path,
    *,
    media: str | Path | None = None,
    embed_limit: int = EMBED_LIMIT,
    replay: int | None = None,
) -> Path:
    """Write a report as a page that opens from disk in any current browser.

    Args:
        report: the report.
        path: of the page; replaced if it exists.
        media: the analyzed file; None omits it, and boxes move over an empty stage.
        embed_limit: size in bytes up to which the file is embedded; a larger one is referred to by a relative address.
            Files that browsers cannot play are first converted to a small copy; see `playable`.
        replay: number of the person whom `media` replays as a synthetic face, at the times of the clip. The page says
            so, and draws no boxes over it. None: `media` is the analyzed file.

    Returns:
        `path`.

    Raises:
        DataError: a number in the report is not finite.
        MediaError: the file cannot be read.
        StorageError: the page cannot be written.
    """
    path = Path(path)
    shown = None if media is None else playable(Path(media), path, embed_limit)
    sound = None if media is None or is_still(report) else wave_peaks(Path(media))
    text = compose_page(report, shown, sound, replay=replay)
    write_whole(path, text)
    return path


def compose_page(
    report: EmotionReport, shown: Playable | None, sound: dict[str, object] | None, *, replay: int | None = None
) -> str:
    """Compose the HTML of the page from a report, its file as browsers play it, and the peaks of its sound."""
    start, end = clip_span(report)
    aids = _aids(report, shown, sound)
    aids["media"]["replay"] = replay is not None
    style, script = page_style(), page_script()
    return template("page.html").render(
        report=report,
        file=aids["file"],
        say=aids["say"],
        kind=aids["media"]["kind"],
        timed=end > start,
        start=start,
        end=end,
        pictured=has_picture(report),
        about=about_note(report, aids["say"]),
        faces=[(person, lines) for person in report.people if (lines := movement_lines(report, person, aids["say"]))],
        reasons=list(rationale_lines(report, aids["say"])),
        verified=verification_text(report, aids["say"]),
        examples=examples_text(report, aids["say"]),
        nobody=nobody_note(report, aids["say"], pictured=has_picture(report)),
        notes=_notes(report, shown, aids["say"]) if replay is None else [aids["say"]["replay"].format(person=replay)],
        policy=embedded_policy(style, script, *MEDIA),
        style=Markup(style),
        script=Markup(script),
        data=Markup(base64.b64encode(shown.data).decode()) if shown and shown.data else "",
        page_data=Markup(inside_script(f'{{"report": {as_json(report)}, "aids": {json.dumps(aids)}}}')),
        name=lambda label: label_name(report, label),
        step_name=step_name,
        measure_name=lambda name: measure_name(report, name),
        word_name=lambda word: word_name(report, word),
        colour=colour_of,
        percent=lambda share: f"{share:.0%}",
        ranked=ranked,
        signed=signed,
        measurement=measurement,
        times=lambda moved: times(math.exp(moved)),
    )


def _aids(report: EmotionReport, shown: Playable | None, sound: dict[str, object] | None) -> dict[str, Any]:
    """Return the script's data in addition to the report: names, colours, coordinates, and constants of `playhead`."""
    start, end = clip_span(report)
    labels = list(report.distribution)
    height, width = [*report.provenance.get("size", ()), 0, 0][:2]
    kind = shown.kind if shown else "none" if has_picture(report) else "sound"
    return {
        "say": in_language(PHRASES, report.language),
        "file": file_name(report),
        "stem": PurePath(file_name(report)).stem or "clip",
        "columns": {label: share_column(label) for label in report_labels(report)},
        "names": {label: label_name(report, label) for label in labels},
        "colours": {label: colour_of(label) for label in labels},
        "inks": {label: ink_on(colour_of(label)) for label in labels},
        "places": {label: coordinates(label) for label in labels},
        "start": start,
        "end": end,
        "step": sampling_step(report),
        "hole": HOLE,
        "sound": sound,
        "media": {
            "kind": kind,
            "mime": shown.mime if shown else "",
            "address": shown.address if shown else "",
            "width": width or SIZE[0],
            "height": height or SIZE[1],
        },
    }


def _notes(report: EmotionReport, shown: Playable | None, say: dict[str, str]) -> list[str]:
    notes = [] if has_picture(report) else [say["no_picture"]]
    if shown is None:
        return [*notes, say["no_media"]]
    notes += [say["recoded_media"].format(size=shown.copied)] if shown.copied else []
    return notes + ([say["linked_media"].format(path=unquote(shown.address))] if shown.address else [])


def page_script() -> str:
    """Return the page's script."""
    return script_of(SCRIPTS)


def page_style() -> str:
    """Return the page's style sheet."""
    return style_of(STYLES)


def policy_hashes() -> tuple[str, str]:
    """Return the hashes of the page's script and style, for the policy of a page that embeds it in a frame."""
    return _hash(page_script()), _hash(page_style())


MEDIA = ("media-src blob: 'self' file:", "img-src blob: 'self' file:")
"""Rules that allow the clip, embedded or next to the page."""


def script_of(names: tuple[str, ...]) -> str:
    """Return a script of several files."""
    return "\n".join(['"use strict";', *map(_asset, names)])


def style_of(names: tuple[str, ...]) -> str:
    """Return a style sheet of several files."""
    return "\n".join(map(_asset, names))


def embedded_policy(style: str, script: str, *rules: str) -> str:
    """Return a content security policy that allows only this script and style, and what further rules allow."""
    hashes = [f"{name} '{_hash(text)}'" for name, text in (("script-src", script), ("style-src", style))]
    return "; ".join(["default-src 'none'", *hashes, *rules, "base-uri 'none'", "form-action 'none'"])


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def inside_script(text: str) -> str:
    """Escape JSON so that no text in it can end the enclosing script element."""
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


@cache
def template(name: str) -> Any:
    """Return a template that escapes all values."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters["as_value"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(_asset(name))


@cache
def _asset(name: str) -> str:
    return (files("emotion_qwen.views") / name).read_text(encoding="utf-8").replace("\r\n", "\n")
