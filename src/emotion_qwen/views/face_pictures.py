"""Draw the results of Facial Emotion Capture: boxes, captured frames, crops and a timeline, as contact sheets.

These pictures are for people who check a result, not for a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from emotion_qwen.errors import ShapeError
from emotion_qwen.faces.capture import chosen_frames, frame_box
from emotion_qwen.records import Clip, FaceTrack

TILES = 24
"""Maximum number of tiles per sheet."""
TILE_WIDTH = 320
STILL_WIDTH = 720
CROP_SIDE = 160
GAP = 12
PAPER, INK, PALE = "#ffffff", "#222222", "#e4e4e4"
PERSON_COLOURS = ("#e6550d", "#1f78b4", "#33a02c", "#b15fd6", "#c79a00", "#e7298a", "#17a2a2", "#8c564b")
"""One per person, repeating; all dark enough for white letters."""


def draw_tracks(frame: np.ndarray, tracks: Sequence[FaceTrack], index: int) -> Image.Image:
    """Draw the boxes of one frame with their person numbers.

    Args:
        frame: (H, W, 3) uint8 RGB.
        tracks: tracks of the clip. Those without a box in this frame are not drawn; a box within a gap is drawn thin.
        index: of the frame in the clip.

    Returns:
        A picture of the same size.
    """
    picture = Image.fromarray(frame)
    draw = ImageDraw.Draw(picture)
    unit = max(picture.size) / TILE_WIDTH
    font = _font(13 * unit)
    for track in tracks:
        box = frame_box(track, index)
        if box is None:
            continue
        colour = person_colour(track.person)
        line = max(1, round(2 * unit)) if index in track.frames else 1
        x1, y1, x2, y2 = box.tolist()
        draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=line)
        # Above the box if there is space, otherwise below its upper edge.
        _, _, wide, high = draw.textbbox((0, 0), str(track.person), font=font)
        pad = 3 * unit
        top = y1 - high - pad if y1 > high + pad else y1
        draw.rectangle((x1, top, x1 + wide + 2 * pad, top + high + pad), fill=colour)
        draw.text((x1 + pad, top + pad / 3), str(track.person), fill=PAPER, font=font)
    return picture


def save_pictures(
    folder: Path,
    clip: Clip,
    tracks: Sequence[FaceTrack],
    captured: np.ndarray,
    crops: Sequence[Sequence[np.ndarray]],
) -> list[Path]:
    """Write contact sheets as PNG files, replacing existing ones.

    Args:
        folder: created if missing.
        clip: the decoded clip.
        tracks: its faces.
        captured: (T, H, W, 3) uint8, the clip's frames after `capture`.
        crops: the result of `person_crops` per track, in the same order.

    Returns:
        `boxes.png`, `captured.png`, for a video `tracks.png`, and one `person_<number>.png` per track that has crops.

    Raises:
        ShapeError: captured frames or crops do not match the clip and its tracks.
    """
    if captured.shape != clip.frames.shape or len(crops) != len(tracks):
        raise ShapeError(
            f"captured {captured.shape} for frames {clip.frames.shape}, crops of {len(crops)} for {len(tracks)} "
            "tracks; expected equal shapes and numbers; pass what capture and person_crops returned for this clip"
        )
    folder.mkdir(parents=True, exist_ok=True)
    shown = _evenly(len(clip.frames))
    labels = [_clock(clip, index) for index in shown]
    boxed = [draw_tracks(clip.frames[index], tracks, index) for index in shown]
    width = STILL_WIDTH if len(shown) == 1 else TILE_WIDTH
    sheets = {
        "boxes.png": _sheet(boxed, labels, width, "faces and their tracks"),
        "captured.png": _sheet([Image.fromarray(captured[i]) for i in shown], labels, width, "captured frames"),
    }
    if not clip.still:
        sheets["tracks.png"] = _timeline(clip, tracks)
    for track, cut in zip(tracks, crops, strict=True):
        if cut:
            chosen = chosen_frames(track, len(cut)).tolist()
            kept = [(cut[i], chosen[i]) for i in _evenly(len(cut))]
            tiles, marks = [Image.fromarray(c) for c, _ in kept], [_clock(clip, f) for _, f in kept]
            title = f"person {track.person}"
            sheets[f"person_{track.person}.png"] = _sheet(tiles, marks, CROP_SIDE, title, person_colour(track.person))
    for name, sheet in sheets.items():
        sheet.save(folder / name, compress_level=3)
    return [folder / name for name in sheets]


def person_colour(person: int) -> str:
    """Return the colour of a person in all pictures, as #rrggbb."""
    return PERSON_COLOURS[(person - 1) % len(PERSON_COLOURS)]


def _sheet(
    tiles: Sequence[Image.Image], labels: Sequence[str], width: int, title: str, colour: str = INK
) -> Image.Image:
    """Arrange tiles in rows below a title, each with its label underneath."""
    scaled = [_fit(tile, width) for tile in tiles]
    columns = _columns(len(scaled))
    rows = -(-len(scaled) // columns)
    high, head, foot = max(tile.height for tile in scaled), 34, 22
    wide = max(columns * (width + GAP) + GAP, 240)
    sheet = Image.new("RGB", (wide, head + rows * (high + foot + GAP) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 8), title, fill=colour, font=_font(18))
    for number, (tile, label) in enumerate(zip(scaled, labels, strict=True)):
        x = GAP + number % columns * (width + GAP)
        y = head + number // columns * (high + foot + GAP)
        sheet.paste(tile, (x + (width - tile.width) // 2, y))
        draw.text((x + width / 2, y + tile.height + 3), label, fill=INK, font=_font(14), anchor="ma")
    return sheet


def _timeline(clip: Clip, tracks: Sequence[FaceTrack]) -> Image.Image:
    """Draw one bar per person over time: solid where the face was detected, pale within gaps."""
    left, bar, wide, head = 92, 26, 900, 44
    end = max(clip.duration, float(clip.times[-1]), 1e-3)
    step = float(np.median(np.diff(clip.times))) if len(clip.times) > 1 else end
    sheet = Image.new("RGB", (left + wide + 40, head + max(1, len(tracks)) * (bar + 10) + 40), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text(
        (GAP, 8),
        f"when each face was seen ({len(tracks)} {'track' if len(tracks) == 1 else 'tracks'})",
        fill=INK,
        font=_font(18),
    )
    floor = sheet.height - 34

    def across(second: float) -> float:
        return left + wide * min(max(second / end, 0.0), 1.0)

    for second in _ticks(end):
        draw.line((across(second), head - 6, across(second), floor), fill=PALE)
        draw.text((across(second), floor + 6), f"{second:g} s", fill=INK, font=_font(13), anchor="ma")
    for row, track in enumerate(tracks):
        y, colour = head + row * (bar + 10), person_colour(track.person)
        sightings = clip.times[track.frames].tolist()
        draw.text((GAP, y + bar / 2), f"person {track.person}", fill=colour, font=_font(15), anchor="lm")
        draw.rectangle(
            (across(sightings[0]), y + bar / 2 - 2, across(sightings[-1] + step), y + bar / 2 + 2), fill=colour
        )
        for second in sightings:
            draw.rectangle((across(second), y, max(across(second + step), across(second) + 2), y + bar), fill=colour)
    if not tracks:
        draw.text((left, head + bar / 2), "no face was found", fill=INK, font=_font(15), anchor="lm")
    draw.line((left, floor, left + wide, floor), fill=INK)
    return sheet


def _ticks(end: float) -> list[float]:
    """Return at most eleven round seconds from 0 to `end`."""
    power = 10.0 ** np.floor(np.log10(end / 10))
    step = next(power * factor for factor in (1, 2, 5, 10) if end / (power * factor) <= 10)
    return [round(i * step, 6) for i in range(int(end / step + 1e-6) + 1)]


def _columns(tiles: int) -> int:
    """Return a number of columns for a landscape sheet with few empty tiles."""
    ideal = (tiles * 1.5) ** 0.5
    return min(range(1, min(tiles, 6) + 1), key=lambda columns: -tiles % columns + abs(columns - ideal))


def _evenly(total: int) -> list[int]:
    """Return at most `TILES` evenly spaced positions, including the first and last."""
    return sorted(set(np.linspace(0, total - 1, min(total, TILES)).round().astype(int).tolist()))


def _fit(picture: Image.Image, width: int) -> Image.Image:
    """Scale to a tile of the given width, at most twice as tall."""
    zoom = min(width / picture.width, 2 * width / picture.height)
    size = max(1, round(picture.width * zoom)), max(1, round(picture.height * zoom))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _clock(clip: Clip, index: int) -> str:
    return "still" if clip.still else f"{float(clip.times[index]):.2f} s"


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(9, round(size)))
