"""Open-vocabulary sets of the MER challenges: all emotion words that fit a clip; and which of two descriptions does.

OV-MERD+ of MER-UniBench (Lian et al., ICML 2025): `ovlabel.csv` (`name,openset`), `subtitle_eng.csv` (`name,sentence`).
MER2025 track 2 and MER2026 MER-FG: a table with `name,openset`, `subtitle_chieng.csv` (`name,chinese,english`).
MER2026 MER-Prefer: `name,a1,a2,preference`. Clips are `<name>.mp4`. Emotion wheels are read from the organisers' folder
(option `wheels`); those of 2025 and 2026 differ. The test labels of the challenges are not published with the data;
the parts that people labelled can be used, if the model was not trained on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from emotion_qwen.errors import listed
from emotion_qwen.evaluation.scoring.unibench import (
    PREFERENCES,
    SAME,
    organisers_preferences,
    score_preference,
)
from emotion_qwen.evaluation.task import OURS, RELEASE, Item, Task
from emotion_qwen.evaluation.tasks.clips import put_clips
from emotion_qwen.evaluation.tasks.files import NAMED, BenchmarkReader, ReadRows, needed, read_csv
from emotion_qwen.evaluation.tasks.prompts import OPEN_OURS, PREFER_OURS, PREFER_RELEASE, PRESETS, spoken_part
from emotion_qwen.evaluation.tasks.scorers import BothLevels, WheelScores
from emotion_qwen.matching.word_lists import words_of

CLIPS = 532
"""Clips of OV-MERD+, as asserted in the organisers' code."""
AFFECTGPT = "affectgpt"
FRAMES = {"fps": 3.0, "video_max_pixels": 602112}
WHEELS = {"wheels": "folder of wheel1.xlsx to wheel5.xlsx, format.csv and synonym.xlsx"}
_PLUS = {"en": "sentence", "zh": "sentence"}
_BOTH = {"en": "english", "zh": "chinese"}


class EmotionWords(NamedTuple):
    """One clip: its emotion words, and the spoken words, empty if nothing is said."""

    path: Path
    emotions: tuple[str, ...]
    words: str


@dataclass(frozen=True)
class OpenVocabulary(BenchmarkReader):
    """Clips with any number of emotion words.

    Attributes:
        files: split -> pattern of the table.
        published: split -> published number of clips.
        subtitles: table of spoken words next to it.
        columns: language -> its column of words.
    """

    files: Mapping[str, str] = field(default_factory=lambda: {"test": "ovlabel.csv"})
    published: Mapping[str, int] = field(default_factory=lambda: {"test": CLIPS})
    subtitles: str = "subtitle_eng.csv"
    columns: Mapping[str, str] = field(default_factory=lambda: _PLUS)

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table = ReadRows()
        path = needed(home, f"**/{self.files[split]}")[0]
        sentences = subtitles_beside(table, path, self.subtitles, self.columns[language])
        silent: list[str] = []
        for row in read_csv(path, ("name", "openset")):
            name, emotions = row["name"].strip(), words_of(row["openset"])
            if not emotions:
                silent.append(name)
                emotions = ("neutral",)
            table.add(name, EmotionWords(home, emotions, sentences.get(name, "")))
        if silent:
            table.say(
                "note",
                f"{len(silent)} clips without emotion words count as neutral, as released: {listed(silent, NAMED)}",
            )
        if split in self.published:
            table.expect(f"clips of {path.name}", len(table.rows), self.published[split])
        put_clips(table, home)
        return table

    def item(self, name: str, row: EmotionWords, language: str) -> Item:
        """See `BenchmarkReader`."""
        spoken = (spoken_part(language, row.words),) if row.words else ()
        parts = ({"type": "video", "video": row.path}, *spoken)
        question = PRESETS[self.prompt].question if self.prompt in PRESETS else OPEN_OURS[language]
        answer = ", ".join(row.emotions)
        return Item(name, language, parts, question, (), answer, "", references=row.emotions)


def subtitles_beside(table: ReadRows, path: Path, file: str, column: str) -> dict[str, str]:
    """Read the spoken words of clips from the table next to another; report a missing table; "nan" means none."""
    beside = path.parent / file
    if not beside.is_file():
        table.say("missing", f"no {file}; clips are asked about without words")
        return {}
    words = {row["name"].strip(): row[column].strip() for row in read_csv(beside, ("name", column))}
    return {name: text for name, text in words.items() if text.lower() != "nan"}


class Preference(NamedTuple):
    """One clip with two descriptions, the preferred one, and the spoken words."""

    path: Path
    first: str
    second: str
    preferred: str
    words: str


@dataclass(frozen=True)
class Preferences(BenchmarkReader):
    """MER-Prefer: which of two descriptions people prefer. An id may have several pairs: "name", "name#2" ..."""

    files: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, int] = field(default_factory=dict)

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, times = ReadRows(), dict[str, int]()
        path = needed(home, f"**/{self.files[split]}")[0]
        sentences = subtitles_beside(table, path, "subtitle_chieng.csv", _BOTH[language])
        rows = read_csv(path, ("name", "a1", "a2", "preference"))
        for row in rows:
            name, preferred = row["name"].strip(), row["preference"].strip().lower()
            if preferred not in (*PREFERENCES, SAME):
                table.fault("preference is not a1, a2 or same", f"{name} ({preferred or 'empty'})")
                continue
            times[name] = times.get(name, 0) + 1
            first, second = (" ".join(row[key].split()) for key in PREFERENCES)
            identity = name if times[name] == 1 else f"{name}#{times[name]}"
            table.add(identity, Preference(home, first, second, preferred, sentences.get(name, "")))
        if split in self.published:
            table.expect(f"pairs of {path.name}", len(rows), self.published[split])
        clips = ReadRows({name.partition("#")[0]: row for name, row in table.rows.items()})
        put_clips(clips, home)
        table.findings += clips.findings
        for name, row in table.rows.items():
            table.rows[name] = row._replace(path=clips.rows[name.partition("#")[0]].path)
        return table

    def item(self, name: str, row: Preference, language: str) -> Item:
        """See `BenchmarkReader`."""
        spoken = (spoken_part(language, row.words),) if row.words else ()
        parts = ({"type": "video", "video": row.path}, *spoken)
        form = PREFER_RELEASE if self.prompt == RELEASE else PREFER_OURS[language]
        question, clip = form.format(a1=row.first, a2=row.second), name.partition("#")[0]
        return Item(name, language, parts, question, (), row.preferred, "", references=(row.preferred,), cluster=clip)


@dataclass(frozen=True)
class OpenSet:
    """An open-vocabulary set: how its task is called, its reader, its files and its terms."""

    title: str
    source: OpenVocabulary
    needs: str
    access: str
    score: Callable[[str], Any] = WheelScores


_EULA = "EULA of the MER challenges, research only"
OPEN_SETS: dict[str, OpenSet] = {
    "mer_unibench": OpenSet(
        "MER-UniBench, open vocabulary",
        OpenVocabulary(("mer_unibench", "ovmerdplus-process", "OVMERDPlus")),
        "ovlabel.csv, subtitle_eng.csv, the clips, and the emotion wheels (option wheels)",
        "https://github.com/zeroQiaoba/AffectGPT (links to ovmerdplus-process, and the wheels)",
    ),
    "mer2025_track2": OpenSet(
        "MER2025 track 2, open vocabulary",
        OpenVocabulary(
            ("mer2025_track2", "mer2025", "mer2025-dataset"),
            files={"test": "track2_test*.csv", "ovmerd": "track2_train_ovmerd.csv"},
            published={"ovmerd": 332},
            subtitles="subtitle_chieng.csv",
            columns=_BOTH,
        ),
        "the organisers' track2_test*.csv, or track2_train_ovmerd.csv (split ovmerd); subtitle_chieng.csv, the folder "
        "video, and the emotion wheels of 2025 (option wheels)",
        "https://huggingface.co/datasets/MERChallenge/MER2025 (signed EULA)",
        BothLevels,
    ),
    "mer2026_fg": OpenSet(
        "MER2026 MER-FG, open vocabulary",
        OpenVocabulary(
            ("mer2026_fg", "mer2026", "mer2026-dataset"),
            files={"test": "track2_test*.csv", "human": "track2_train_human.csv"},
            published={"human": 1532},
            subtitles="subtitle_chieng.csv",
            columns=_BOTH,
        ),
        "the organisers' track2_test*.csv, or track2_train_human.csv (split human); subtitle_chieng.csv, the folder "
        "video, and the emotion wheels of 2026 (option wheels)",
        "https://huggingface.co/datasets/MERChallenge/MER2026 (signed EULA)",
    ),
}


def open_vocabulary(name: str = "mer_unibench", wheels: str = "") -> Task:
    """Make an open-vocabulary task, with the folder of the organisers' emotion wheels."""
    chosen = OPEN_SETS[name]
    return Task(
        name,
        chosen.title,
        "emotion",
        chosen.source,
        answered="text",
        score=chosen.score(wheels),
        extract="words",
        frames=FRAMES,
        splits=tuple(chosen.source.files),
        prompts={OURS: ("en", "zh"), AFFECTGPT: ("en",)},
        needs=chosen.needs,
        licence=_EULA,
        access=chosen.access,
        options=WHEELS,
        make=partial(open_vocabulary, name),
    )


PREFER = Task(
    "mer2026_prefer",
    "MER2026 MER-Prefer, which description people prefer",
    "emotion",
    Preferences(
        ("mer2026_prefer", "mer2026", "mer2026-dataset"),
        files={
            "test": "track3_test*.csv", "emoprefer": "track3_emoprefer.csv", "emopreferv2": "track3_emopreferv2.csv",
        },
        published={"emoprefer": 574, "emopreferv2": 2096},
    ),
    answered="text",
    score=score_preference,
    as_released=organisers_preferences,
    frames=FRAMES,
    splits=("test", "emoprefer", "emopreferv2"),
    prompts={OURS: ("en", "zh"), RELEASE: ("en",)},
    needs="the organisers' track3_test*.csv, track3_emoprefer.csv or track3_emopreferv2.csv (splits of these names); "
    "subtitle_chieng.csv and the folder video",
    licence=_EULA,
    access="https://huggingface.co/datasets/MERChallenge/MER2026 (signed EULA)",
)  # fmt: skip
TASKS = (*map(open_vocabulary, OPEN_SETS), PREFER)
