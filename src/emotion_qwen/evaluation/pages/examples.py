"""The worst answers of a column, with small pictures of their media."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import MediaError
from emotion_qwen.evaluation.run.predictions import part_span, text_digest
from emotion_qwen.evaluation.run.score import Column
from emotion_qwen.evaluation.scoring.records import Judged
from emotion_qwen.evaluation.task import Item
from emotion_qwen.files import write_whole

WORST = 8
FRAMES = 4
SIDE = 112
"""Longer side of a small picture, in pixels."""
PICTURES = "frames"


@dataclass(frozen=True, eq=False)
class Example:
    """An answer with no or few points."""

    item: Item
    judged: Judged
    reply: str
    picture: Path | None


def worst(column: Column, count: int = WORST, frames: bool = True) -> list[Example]:
    """Return the worst answers: the most confident wrong ones first; without confidences, readable before unreadable
    ones, spread evenly.

    Args:
        column: the column of the answers.
        count: maximum number of answers.
        frames: include pictures of the media.
    """
    items = {item.id: item for item in column.items}
    wrong = [answer for answer in column.result.judged if answer.points < 1]

    def order(answer: Judged) -> tuple:
        line = column.lines.get(answer.item.id)
        sure = max(line.scores.values(), default=0.0) if line and line.scores else 0.0
        return answer.points, answer.read is None, -sure

    wrong.sort(key=order)
    # texts have no confidence: do not take them all from the first class
    if wrong and not any(order(answer)[2] for answer in wrong):
        readable = [answer for answer in wrong if answer.points == wrong[0].points and answer.read is not None] or wrong
        wrong = [readable[place * len(readable) // count] for place in range(count)] if len(readable) > count else wrong
    examples = []
    for answer in wrong[:count]:
        line = column.lines.get(answer.item.id)
        reply = "" if line is None else line.error or line.unanswered or line.text or line.predicted or ""
        item = items[answer.item.id]
        examples.append(Example(item, answer, reply, _kept(column.folder, item) if frames else None))
    return examples


def keep_pictures(column: Column, items: Iterable[Item]) -> None:
    """Save small pictures for the worst answers while the items still have their media."""
    media = {item.id: item for item in items}
    for example in worst(column):
        if example.picture is None and example.item.id in media:
            _keep(column.folder, media[example.item.id])


def _place(folder: Path, item: Item) -> Path:
    return folder / PICTURES / f"{text_digest(item.id)}.jpg"


def _kept(folder: Path, item: Item) -> Path | None:
    """Return the picture of an item; draw it now if it is missing and the item's file still exists."""
    path = _place(folder, item)
    if not path.is_file():
        files = [part for part in item.parts if part["type"] in ("image", "video") and Path(part["file"]).is_file()]
        if files:
            _write(path, [_frames(files[0]["file"], part_span(files[0]))])
    return path if path.is_file() else None


def _keep(folder: Path, item: Item) -> None:
    visuals = [part for part in item.parts if part["type"] in ("image", "video")]
    _write(_place(folder, item), [_frames(part[part["type"]], part_span(part)) for part in visuals[:FRAMES]])


def _frames(medium: Any, span: Mapping[str, Any]) -> list[np.ndarray]:
    """Return up to `FRAMES` frames; none if the medium cannot be read, which its prediction already reports."""
    from emotion_qwen.media.clip import read_clip
    from emotion_qwen.settings import ClipSettings

    try:
        if isinstance(medium, str | Path):
            settings = ClipSettings.of({"min_frames": FRAMES, "max_frames": FRAMES})
            return list(read_clip(medium, settings, **span).frames)
        if hasattr(medium, "load"):
            return [medium.load()]
    except MediaError:
        return []
    frames = getattr(medium, "frames", None)
    return [medium] if frames is None else list(frames[:: max(1, len(frames) // FRAMES)][:FRAMES])


def _write(path: Path, frames: Sequence[Sequence[np.ndarray]]) -> None:
    from PIL import Image

    pictures = [Image.fromarray(frame) for several in frames for frame in several]
    if not pictures:
        return
    for number, picture in enumerate(pictures):
        scale = SIDE / max(picture.size)
        pictures[number] = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    strip = Image.new(
        "RGB", (sum(picture.width for picture in pictures), max(picture.height for picture in pictures)), "white"
    )
    left = 0
    for picture in pictures:
        strip.paste(picture, (left, 0))
        left += picture.width
    data = io.BytesIO()
    strip.save(data, "JPEG", quality=80)
    write_whole(path, data.getvalue(), sync=False)
