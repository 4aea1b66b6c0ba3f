"""MER-UniBench's open-vocabulary part, OV-MERD+ (Lian et al., ICML 2025): all emotion words that fit a clip.

Read from the organisers' `ovlabel.csv` (`name,openset`), `subtitle_eng.csv` (`name,sentence`) if present, and the clips
`<name>.mp4`. Emotion wheels are read from the organisers' folder (option `wheels`). The other sets of MER-UniBench
(single labels, sentiment) are not read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from emotion_qwen.errors import listed
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.evaluation.tasks.clips import put_clips
from emotion_qwen.evaluation.tasks.files import NAMED, BenchmarkReader, ReadRows, needed, read_csv
from emotion_qwen.evaluation.tasks.prompts import OPEN_OURS, spoken_part
from emotion_qwen.evaluation.tasks.scorers import WheelScores
from emotion_qwen.matching.word_lists import words_of

CLIPS = 532
"""Clips of OV-MERD+, as asserted in the organisers' code."""
SUBTITLES = "subtitle_eng.csv"


class EmotionWords(NamedTuple):
    """One clip: its emotion words, and the spoken words, empty if nothing is said."""

    path: Path
    emotions: tuple[str, ...]
    words: str


@dataclass(frozen=True)
class OpenVocabulary(BenchmarkReader):
    """Clips with any number of emotion words."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table = ReadRows()
        path = needed(home, "**/ovlabel.csv")[0]
        sentences: dict[str, str] = {}
        silent: list[str] = []
        if (path.parent / SUBTITLES).is_file():
            sentences = {
                row["name"]: row["sentence"] for row in read_csv(path.parent / SUBTITLES, ("name", "sentence"))
            }
        else:
            table.say("missing", f"no {SUBTITLES}; clips are asked about without words")
        for row in read_csv(path, ("name", "openset")):
            name, emotions = row["name"].strip(), words_of(row["openset"])
            words = sentences.get(row["name"], "").strip()
            if not emotions:
                silent.append(name)
                emotions = ("neutral",)
            table.add(name, EmotionWords(home, emotions, "" if words.lower() == "nan" else words))
        if silent:
            table.say(
                "note",
                f"{len(silent)} clips without emotion words count as neutral, as released: {listed(silent, NAMED)}",
            )
        table.expect("clips of ovlabel.csv", len(table.rows), CLIPS)
        put_clips(table, home)
        return table

    def item(self, name: str, row: EmotionWords, language: str) -> Item:
        """See `BenchmarkReader`."""
        spoken = (spoken_part(language, row.words),) if row.words else ()
        parts = ({"type": "video", "video": row.path}, *spoken)
        answer = ", ".join(row.emotions)
        return Item(name, language, parts, OPEN_OURS[language], (), answer, "", references=row.emotions)


def open_vocabulary(wheels: str = "") -> Task:
    """Make the task, with the folder of the organisers' emotion wheels."""
    return Task(
        "mer_unibench",
        "MER-UniBench, open vocabulary",
        "emotion",
        OpenVocabulary(("mer_unibench", "ovmerdplus-process", "OVMERDPlus")),
        answered="text",
        score=WheelScores(wheels),
        frames={"fps": 3.0, "video_max_pixels": 602112},
        splits=("test",),
        needs="ovlabel.csv, subtitle_eng.csv, the clips, and the emotion wheels (option wheels)",
        licence="EULA of the MER challenges, research only",
        access="https://github.com/zeroQiaoba/AffectGPT (links to ovmerdplus-process, and the wheels)",
        options={"wheels": "folder of wheel1.xlsx to wheel5.xlsx, format.csv and synonym.xlsx"},
        make=open_vocabulary,
    )


TASK = open_vocabulary()
