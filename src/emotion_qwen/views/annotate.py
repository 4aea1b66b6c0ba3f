"""Draw a report into its clip: every person's box with number, label and share, and a timeline strip underneath.

The strip is added below the picture and hides none of it. Boxes are drawn only where the face was seen. The label at a
box is the person's in that frame; the label below the picture is the clip's, smoothed over a window.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from emotion_qwen.errors import MediaError
from emotion_qwen.files import staged
from emotion_qwen.media.clip import PICTURE_SUFFIXES
from emotion_qwen.media.container import reason
from emotion_qwen.media.picture import is_animation, is_picture, read_picture
from emotion_qwen.media.write.film import encoder
from emotion_qwen.media.write.recode import recode
from emotion_qwen.records import EmotionReport, Gap, Person
from emotion_qwen.settings import ClipSettings
from emotion_qwen.strings import PHRASES, in_language
from emotion_qwen.views.colours import DARK, GAP, LIGHT, colour_of, ink_on
from emotion_qwen.views.phrases import label_name, ranked
from emotion_qwen.views.playhead import (
    Box,
    box_at,
    clip_span,
    columns,
    gap_at,
    moment_at,
    sampling_step,
    shown_at,
)
from emotion_qwen.views.tags import Tag, place_tags

WRITTEN_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
CHINESE_FONTS = (
    "NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "SourceHanSansSC-Regular.otf", "wqy-microhei.ttc",
    "wqy-zenhei.ttc", "PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Light.ttc", "msyh.ttc", "simhei.ttf",
)  # fmt: skip
"""PIL searches them in the font folders of the system; if none is found, labels are written in English."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def annotate(report: EmotionReport, media: str | Path, out: str | Path) -> Path:
    """Draw a report into its clip or picture.

    Args:
        report: of `media`.
        media: the file that was analyzed.
        out: `.mp4`, `.mkv`, `.mov` or `.webm` for a video, `.png`, `.jpg` or `.webp` for a picture; replaced if there.

    Returns:
        `out`.

    Raises:
        MediaError: the file cannot be read or contains only sound, `out` is of another kind, there is no encoder, or
            `out` cannot be written.
    """
    media, out = Path(media), Path(out)
    still = media.exists() and is_picture(media) and not is_animation(media)
    picture_wanted = out.suffix.lower() in PICTURE_SUFFIXES
    if still:
        _draw_still(report, media, out)
        return out
    if picture_wanted:
        raise MediaError(
            f"{str(media)!r} is a video, {str(out)!r} a picture; name a video, for example {_named(out)}.mp4"
        )
    encoder(out)  # reports a wrong `out` before anything is decoded
    painter: list[Painter] = []

    def paint(picture: Image.Image, time: float) -> Image.Image:
        if not painter or painter[0].size != picture.size:
            painter[:] = [Painter(report, picture.size)]
        return painter[0].paint(picture, time)

    recode(media, out, paint)
    return out


def _draw_still(report: EmotionReport, media: Path, out: Path) -> None:
    if out.suffix.lower() not in WRITTEN_PICTURES:
        raise MediaError(
            f"{str(media)!r} is a picture, and {str(out)!r} ends in {out.suffix!r}; expected "
            f"{', '.join(WRITTEN_PICTURES)}, for example {_named(out)}.png"
        )
    picture = Image.fromarray(read_picture(media, ClipSettings.of({}, "picture")).frames[0])
    drawn = Painter(report, picture.size).paint(picture, 0.0)
    try:
        with staged(out) as draft:
            drawn.save(draft)
    except OSError as error:
        raise MediaError(f"{str(out)!r} cannot be written ({reason(error)}); check the folder and the disk") from error


def _named(out: Path) -> str:
    return str(out.with_suffix(""))


class Painter:
    """Draws a report into pictures of one size.

    Args:
        report: the report.
        size: width and height of the pictures, pixels.
    """

    def __init__(self, report: EmotionReport, size: tuple[int, int]) -> None:
        self.report, self.size = report, size
        self.unsure = report.uncertainty is not None and report.uncertainty.abstains
        self.step, self.span = sampling_step(report), clip_span(report)
        width, height = size
        self.unit = max(min(width, height) / 30, 12)  # all lengths scale with the picture
        self.line = max(round(self.unit / 8), 2)
        self.font, self.chinese = _font(round(self.unit), report.language == "zh")
        self.say = in_language(PHRASES, "zh" if self.chinese else "en")
        self.timed = bool(report.timeline or report.gaps) and self.span[1] > self.span[0]
        band = self.unit * (2.9 if self.timed else 1.8)
        self.height = (height + round(band)) // 2 * 2
        self._places: dict[int, int] = {}  # person -> place of the label in the frame before
        self.strip = self._strip(width - 2 * self._margin, round(self.unit * 0.7)) if self.timed else None

    @property
    def _margin(self) -> int:
        return round(self.unit * 0.6)

    def paint(self, picture: Image.Image, time: float) -> Image.Image:
        """Return the picture at a time in seconds with boxes, and with the strip below it."""
        drawn = Image.new("RGB", (self.size[0], self.height), DARK)
        drawn.paste(picture)
        draw = ImageDraw.Draw(drawn)
        self._draw_people(draw, list(self._boxes(time)), time)
        draw.rectangle((0, self.size[1], self.size[0], self.height), fill=DARK)  # a box may extend below the picture
        self._draw_band(drawn, draw, time)
        return drawn

    def _boxes(self, time: float) -> Iterator[tuple[Person, Box]]:
        for person in self.report.people:
            box = box_at(person, time, self.step)
            if box is not None:
                width, height = self.size
                yield person, (box[0] * width, box[1] * height, box[2] * width, box[3] * height)

    def _draw_people(self, draw: ImageDraw.ImageDraw, faces: list[tuple[Person, Box]], time: float) -> None:
        """Draw all boxes, then the labels over them."""
        answers = [ranked(shown_at(person, time))[0] for person, _ in faces]
        texts = [
            f"{person.person}  {self._name(label)}{'?' if self.unsure else ''} {share:.0%}"
            for (person, _), (label, share) in zip(faces, answers, strict=True)
        ]
        colours = [colour_of(label) for label, _ in answers]
        for (_, box), colour in zip(faces, colours, strict=True):
            self._draw_box(draw, box, colour)
        for (person, _), tag, text, colour in zip(faces, self._tags(faces, texts), texts, colours, strict=True):
            self._places[person.person] = tag.place
            if tag.leader is not None:
                draw.line(tag.leader, DARK, self.line * 2)
                draw.line(tag.leader, colour, self.line)
            draw.rounded_rectangle(tag.area, self.unit / 4, fill=colour)
            middle = (tag.area[0] + self.unit * 0.35, (tag.area[1] + tag.area[3]) / 2)
            draw.text(middle, text, fill=ink_on(colour), font=self.font, anchor="lm")

    def _draw_box(self, draw: ImageDraw.ImageDraw, box: Box, colour: str) -> None:
        x1, y1, x2, y2 = box
        for grown, line, ink in (
            (self.line / 2, self.line * 2, DARK),
            (0, self.line, colour),
        ):  # a rim for any background
            edges = (x1 - grown, y1 - grown, max(x2 + grown, x1), max(y2 + grown, y1))
            draw.rounded_rectangle(edges, self.unit / 3, outline=ink, width=line)

    def _tags(self, faces: list[tuple[Person, Box]], texts: list[str]) -> list[Tag]:
        sizes = [(self._long(text) + self.unit * 0.7, self.unit * 1.4) for text in texts]
        before = [self._places.get(person.person) for person, _ in faces]
        return place_tags([box for _, box in faces], sizes, self.size, self.line, before)

    def _draw_band(self, drawn: Image.Image, draw: ImageDraw.ImageDraw, time: float) -> None:
        """Draw the band below the picture: the current label, that of the clip, the time, and the strip."""
        moment, margin = moment_at(self.report.timeline, time), self._margin
        gap = None if moment else gap_at(self.report, time)
        label = moment.label if moment else None if gap else self.report.label
        middle, side = self.size[1] + self.unit * 0.9, self.unit * 0.8
        x, grey, whole = float(margin), "#B9BEC8", self._whole()
        clock = f"{time:.1f} / {self.span[1]:.1f} s" if self.timed else ""
        room = self.size[0] - 2 * margin - side * 3.4 - self._long(whole) - self._long(clock)
        now = f"{self._name(moment.label)} {moment.distribution[moment.label]:.0%}" if moment else ""
        now = self._reason(gap, room) if gap else now
        draw.rectangle((x, middle - side / 2, x + side, middle + side / 2), fill=colour_of(label) if label else GAP)
        if now:
            draw.text((x + side * 1.4, middle), now, fill=LIGHT, font=self.font, anchor="lm")
            x += side * 2 + self._long(now)
        x += side * 1.4
        draw.text((x, middle), whole, fill=grey if now else LIGHT, font=self.font, anchor="lm")
        if self.strip is None:
            return
        draw.text((self.size[0] - margin, middle), clock, fill=grey, font=self.font, anchor="rm")
        under = round(self.size[1] + self.unit * 1.75)
        drawn.paste(self.strip, (margin, under))
        part = min(max((time - self.span[0]) / (self.span[1] - self.span[0]), 0), 1)
        place = margin + part * (self.strip.width - 1)
        rim = self.line
        draw.rectangle((place - rim, under - rim, place + rim, under + self.strip.height + rim), fill=DARK)
        draw.rectangle((place - rim / 2, under - rim, place + rim / 2, under + self.strip.height + rim), fill=LIGHT)

    def _long(self, text: str) -> float:
        return self.font.getlength(text)

    def _reason(self, gap: Gap, room: float) -> str:
        """Return the text for a gap, with its reason if there is space and a font for it."""
        full = f"{self.say['no_answer']}: {gap.reason}"
        legible = self.chinese or self.report.language != "zh"
        return full if legible and self._long(full) <= room else self.say["no_answer"]

    def _whole(self) -> str:
        """Return the text for the whole clip: its answer, or that there is none."""
        if self.report.label is None:
            return "" if self.timed else self.say["no_answer"]
        name, share = self._name(self.report.label), self.report.distribution[self.report.label]
        answer = f"{self.say['not_sure']} ({name}? {share:.0%})" if self.unsure else f"{name} {share:.0%}"
        return f"{self.say['clip']}: {answer}" if self.timed else answer

    def _name(self, label: str) -> str:
        return label_name(self.report, label) if self.chinese else label

    def _strip(self, width: int, height: int) -> Image.Image:
        """Return the clip's labels over time as a band of colours of the given size."""
        moments = columns(self.report.timeline, *self.span, max(width, 1))
        row = [tuple(bytes.fromhex((colour_of(moment.label) if moment else GAP)[1:])) for moment in moments]
        return Image.fromarray(np.tile(np.array(row, np.uint8)[None], (max(height, 1), 1, 1)))


@lru_cache
def _font(size: int, chinese: bool) -> tuple[Font, bool]:
    """Return a font, and whether it supports Chinese; PIL's default does not."""
    for name in CHINESE_FONTS if chinese else ():
        with suppress(OSError):
            return ImageFont.truetype(name, size), True
    return ImageFont.load_default(size), False
