"""Sets with layouts of their own: IEMOCAP, CK+, Emotion6, AFEW-VA and Aff-Wild2."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from emotion_qwen.errors import SettingsError
from emotion_qwen.evaluation.scoring.numbers import VALENCE_AROUSAL, score_numbers
from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks.affect_sets import FRAMES, WHEELS
from emotion_qwen.evaluation.tasks.clips import LABEL, VALUES, WORDS, Labelled, LabelledFiles, with_presets
from emotion_qwen.evaluation.tasks.files import (
    PICTURES,
    SOUNDS,
    VIDEOS,
    Media,
    ReadRows,
    counted,
    finite,
    needed,
    read_utf8,
)
from emotion_qwen.evaluation.tasks.prompts import VALENCE_AROUSAL_OURS
from emotion_qwen.evaluation.tasks.scorers import HitRates, LabelScores
from emotion_qwen.files import files_below, is_hidden
from emotion_qwen.records import EVOKED

IEMOCAP4 = ("happy", "sad", "neutral", "angry")
_IEMOCAP = {"hap": "happy", "exc": "happy", "sad": "sad", "neu": "neutral", "ang": "angry"}
SESSION5, ALL_SESSIONS = 1241, 5531
"""Utterances with one of the four labels, "excited" counted as happy: in session 5, and in all five."""
_TURN = re.compile(
    r"\[(?P<start>\d+(?:\.\d+)?) - (?P<end>\d+(?:\.\d+)?)\]\t(?P<name>\S+)\t(?P<label>\w+)\t\[(?P<values>[^\]]+)\]"
)
_LINE = re.compile(r"(?P<name>Ses\S+) \[[^\]]*\]:\s*(?P<words>.*)")


@dataclass(frozen=True)
class Iemocap(LabelledFiles):
    """IEMOCAP (Busso et al., 2008): dialogues of two actors; items are the turns with one of four labels.

    Read from `Session5/dialog/EmoEvaluation/*.txt`, transcripts, and cut turns `<turn>.mp4` or `.wav`
    anywhere, or the dialogue `<dialogue>.avi` with the turn's times. Excited counts as happy, as in MERBench.
    """

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`; `group` is the session, `cluster` the dialogue."""
        table, others = ReadRows(), list[str]()
        sessions = "Session5" if split == "test" else "Session[1-5]"
        turns: dict[str, tuple[str, tuple[float, float]]] = {}
        for path in needed(home, f"**/{sessions}/dialog/EmoEvaluation/*.txt"):
            session = path.parents[2].name
            for match in _TURN.finditer(read_utf8(path)):
                name, label = match["name"], _IEMOCAP.get(match["label"], "")
                if not label:
                    others.append(match["label"])
                    continue
                turns[name] = path.stem, (float(match["start"]), float(match["end"]))
                table.add(name, Labelled(home, label, session, path.stem))
        if others:
            table.say("note", f"{len(others)} turns with other labels were not read: {counted(others)}")
        table.expect(f"turns of {sessions}", len(table.rows), SESSION5 if split == "test" else ALL_SESSIONS)
        words = self._words(table, home, sessions)
        self._put_media(table, home, turns)
        for name, row in table.rows.items():
            table.rows[name] = row._replace(words=words.get(name, ""), group=row.group if self.form == LABEL else "")
        return table

    def _words(self, table: ReadRows, home: Path, sessions: str) -> dict[str, str]:
        files = [path for path in files_below(home) if path.match(f"{sessions}/dialog/transcriptions/*.txt")]
        if not files:
            table.say("missing", "no dialog/transcriptions; turns are asked about without words")
        lines = (match for path in files for match in map(_LINE.match, read_utf8(path).splitlines()) if match)
        return {match["name"]: match["words"].strip() for match in lines}

    def _put_media(self, table: ReadRows, home: Path, turns: dict[str, tuple[str, tuple[float, float]]]) -> None:
        media, missing = Media(home, VIDEOS | SOUNDS), []
        for name, row in table.rows.items():
            dialogue, span = turns[name]
            cut, whole = media.get(name), media.get(dialogue)
            if cut is None and whole is None:
                missing.append(name)
            use_whole = cut is None and whole is not None
            path = cut or whole or home / f"{name}.mp4"
            table.rows[name] = row._replace(path=path, span=span if use_whole else ())
        table.expect_media("turns", missing, len(table.rows))


CK7 = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
CK_LABELLED = 327


@dataclass(frozen=True)
class CohnKanade(LabelledFiles):
    """CK+ (Lucey et al., 2010): the last picture of every sequence with a label (`Emotion/**/*_emotion.txt`)."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table = ReadRows()
        for path in needed(home, "**/*_emotion.txt"):
            written, name = read_utf8(path).strip(), path.stem.removesuffix("_emotion")
            try:
                code = int(finite(written))
            except ValueError:
                code = 0
            if not 1 <= code <= len(CK7):
                table.fault("label outside 1 to 7", f"{path.name} ({written or 'empty'})")
                continue
            table.add(name, Labelled(home, CK7[code - 1], "", name.partition("_")[0]))
        table.expect("labelled sequences", len(table.rows), CK_LABELLED)
        paths = table.find("pictures", Media(home, PICTURES), table.rows)
        for name, row in table.rows.items():
            table.rows[name] = row._replace(path=paths.get(name, home / f"{name}.png"))
        return table


EMOTION6 = ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral")
EMOTION6_PICTURES = 1980


@dataclass(frozen=True)
class EmotionSix(LabelledFiles):
    """Emotion6 (Peng et al., CVPR 2015): shares of seven emotions per picture; the label is the largest share.

    Read from `ground_truth.txt`: picture, valence, arousal, and the shares of `EMOTION6`, separated by tabs.
    """

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, path = ReadRows(), needed(home, "**/ground_truth.txt")[0]
        lines = [line.split("\t") for line in read_utf8(path).splitlines() if line.strip()]
        lines = lines[1:] if lines and lines[0][0].startswith("[") else lines
        for cells in lines:
            try:
                shares = dict(zip(EMOTION6, map(finite, cells[3:10]), strict=True))
            except ValueError:
                table.fault("no seven shares", cells[0])
                continue
            best = [name for name, share in shares.items() if share == max(shares.values())]
            if len(best) > 1:
                table.fault("two emotions with the same share", f"{cells[0]} ({', '.join(best)})")
            else:
                table.add(cells[0].strip(), Labelled(home, best[0], ""))
        table.expect("pictures", len(lines), EMOTION6_PICTURES)
        media = Media(home, PICTURES, depth=1)
        paths = table.find("pictures", media, table.rows)
        for name, row in table.rows.items():
            table.rows[name] = row._replace(path=paths.get(name, home / "images" / name))
        return table


@dataclass(frozen=True)
class AnnotatedFrames(LabelledFiles, ABC):
    """Videos with valence and arousal for every frame; items are frames, `cluster` is the video.

    Attributes:
        step: take every n-th frame.
    """

    step: int = 1

    @abstractmethod
    def frames(self, table: ReadRows, home: Path) -> Iterator[tuple[str, str, str, str, Path]]:
        """Yield video, frame, valence, arousal and the expected path of every annotated frame."""

    def together(self, name: str, row: Any) -> str:
        """See `BenchmarkReader`; a limit keeps whole videos."""
        return row.person

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, missing = ReadRows(), []
        for number, (video, frame, valence, arousal, path) in enumerate(self.frames(table, home)):
            if number % self.step:
                continue
            name = f"{video}/{frame}"
            if not path.is_file():
                missing.append(name)
            table.add(name, Labelled(path, "", video, video, values=(valence, arousal)))
        if self.step > 1:
            table.say("note", f"one of every {self.step} frames is asked about")
        table.expect_media("frames", missing, len(table.rows))
        return table


class AfewVa(AnnotatedFrames):
    """AFEW-VA (Kossaifi et al., 2017): `001/001.json` next to the frames; -10 to 10, divided by 10 here."""

    def frames(self, table: ReadRows, home: Path) -> Iterator[tuple[str, str, str, str, Path]]:
        """See `AnnotatedFrames`."""
        videos = 0
        for path in needed(home, "**/[0-9][0-9][0-9]/[0-9][0-9][0-9].json"):
            try:
                frames = json.loads(read_utf8(path))["frames"]
                rows = [
                    (key, finite(f["valence"]) / 10, finite(f["arousal"]) / 10) for key, f in sorted(frames.items())
                ]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                table.fault("not frames with valence and arousal", f"{path.name} ({error})")
                continue
            videos += 1
            for key, valence, arousal in rows:
                yield path.stem, key, f"{valence:g}", f"{arousal:g}", path.parent / f"{key}.png"
        table.expect("videos", videos, 600)


INVALID = -5.0
"""Value in Aff-Wild2 for a frame without annotation."""


class AffWild(AnnotatedFrames):
    """Aff-Wild2 (Kollias and Zafeiriou, ABAW challenges): `Validation_Set/<video>.txt` and cropped, aligned frames."""

    def frames(self, table: ReadRows, home: Path) -> Iterator[tuple[str, str, str, str, Path]]:
        """See `AnnotatedFrames`."""
        pictures = next((path for path in sorted(home.glob("**/cropped_aligned")) if not is_hidden(path, home)), home)
        left_out = 0
        for path in needed(home, "**/VA_Estimation_Challenge/Validation_Set/*.txt", "**/Validation_Set/*.txt"):
            head, *lines = read_utf8(path).splitlines() or [""]
            if head.strip().lower().replace(" ", "") != "valence,arousal":
                table.fault("no header valence,arousal", path.name)
                continue
            for number, line in enumerate(lines, 1):
                cells = [cell.strip() for cell in line.split(",")]
                try:
                    values = [finite(cell) for cell in cells]
                except ValueError:
                    values = []
                if len(values) != 2 or INVALID in values:
                    left_out += 1
                    continue
                key = f"{number:05d}"
                yield path.stem, key, cells[0], cells[1], pictures / path.stem / f"{key}.jpg"
        if left_out:
            table.say("note", f"{left_out} frames without valid annotation are left out")


def _emotion(name: str, title: str, source: LabelledFiles, needs: str, licence: str, access: str, **more: Any) -> Task:
    known = {"answered": "text", "splits": ("test",), "needs": needs, "licence": licence, "access": access}
    return Task(name, title, "emotion", source, **{**known, **more})


def _frames(name: str, step: str = "1") -> Task:
    try:
        every = int(step)
    except ValueError:
        every = 0
    if every < 1:
        raise SettingsError(f"option step of {name} is {step!r}; expected a whole number from 1")
    kind, title, folders, needs, licence, access, splits = _FRAME_SETS[name]
    source = kind((name, *folders), form=VALUES, values_question=VALENCE_AROUSAL_OURS, step=every)
    return _emotion(
        name, title, source, needs, licence, access, splits=splits, options={"step": "take every n-th frame"},
        score=partial(score_numbers, scale=VALENCE_AROUSAL), make=partial(_frames, name),
    )  # fmt: skip


_FRAME_SETS: dict[str, tuple[Any, ...]] = {
    "afew_va": (
        AfewVa, "AFEW-VA, valence and arousal of frames", ("AFEW-VA",), "the unpacked folders 001 to 600",
        "research only", "https://ibug.doc.ic.ac.uk/resources/afew-va-database", ("test",),
    ),
    "affwild2": (
        AffWild, "Aff-Wild2, valence and arousal of frames", ("Aff-Wild2",),
        "VA_Estimation_Challenge/Validation_Set and the folder cropped_aligned", "research only, signed agreement",
        "https://ibug.doc.ic.ac.uk/resources/aff-wild2 (request)", ("validation",),
    ),
}  # fmt: skip
_IEMOCAP_FILES = (
    "Session1 to Session5 with dialog/EmoEvaluation, dialog/transcriptions and the dialogues or cut turns",
    "research only, signed licence",
    "https://sail.usc.edu/iemocap (request)",
)


def _unibench_iemocap(wheels: str = "") -> Task:
    return _emotion(
        "unibench_iemocap", "MER-UniBench, IEMOCAP session 5",
        Iemocap(("unibench_iemocap", "iemocap", "IEMOCAP_full_release"), form=WORDS),
        f"{_IEMOCAP_FILES[0]}; the emotion wheels (option wheels)", *_IEMOCAP_FILES[1:],
        score=HitRates(wheels), extract="words", frames=FRAMES, options=WHEELS, make=_unibench_iemocap,
    )  # fmt: skip


_TALK = Iemocap(("iemocap", "IEMOCAP_full_release"), set_name="dfew7", subset=IEMOCAP4)
_POSED = CohnKanade(("ckplus", "CK+"), set_name="ferplus8", subset=CK7)
_SIX = EmotionSix(("emotion6", "Emotion6"), set_name="ekman", subset=EMOTION6, about=EVOKED)
TASKS: tuple[Task, ...] = (
    with_presets(
        _emotion(
            "iemocap", "IEMOCAP, 4 emotions", _TALK, *_IEMOCAP_FILES, score=LabelScores(_TALK.labels, folds=True),
            splits=("test", "all"), frames=FRAMES,
        )
    ),
    _unibench_iemocap(),
    with_presets(
        _emotion(
            "ckplus", "CK+, 7 posed expressions", _POSED, "Emotion and cohn-kanade-images", "research only, agreement",
            "https://www.jeffcohn.net/Resources (request)", score=LabelScores(_POSED.labels),
        )
    ),
    with_presets(
        _emotion(
            "emotion6", "Emotion6, 7 evoked emotions", _SIX, "ground_truth.txt and the folder images", "research only",
            "http://chenlab.ece.cornell.edu/downloads.html", score=LabelScores(_SIX.labels), about=EVOKED,
        )
    ),
    *map(_frames, _FRAME_SETS),
)  # fmt: skip
