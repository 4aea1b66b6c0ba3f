"""EMER (Lian et al., 2023): a person's emotion in a clip and the clues to it, in free text, English and Chinese.

Read from `gt-eng.csv` and `gt-chi.csv` (`names,emotions,subtitles,reasons`) and the clips `<name>` of MER2023.
Published scores need a judge; label and clue overlap without one are for development.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from emotion_qwen.evaluation.scoring.sets import score_clue_overlap, score_label_overlap
from emotion_qwen.evaluation.task import OURS, RELEASE, Item, Task
from emotion_qwen.evaluation.tasks.clips import put_clips
from emotion_qwen.evaluation.tasks.files import BenchmarkReader, ReadRows, md5, needed, read_csv
from emotion_qwen.evaluation.tasks.prompts import EMER_OURS, EMER_RELEASE, spoken_part
from emotion_qwen.matching.statements import stated_concepts

FILES = {"en": ("gt-eng.csv", "eece3ebf"), "zh": ("gt-chi.csv", "ec9335fc")}
"""Language -> file of EMER-v1 and the first digits of its MD5."""
CLIPS = 100


class Reason(NamedTuple):
    """One clip; `words` is empty if nothing is said."""

    path: Path
    emotion: str
    words: str
    reason: str


@dataclass(frozen=True)
class Emer(BenchmarkReader):
    """Clips with reference texts in the requested language."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, (file, digest) = ReadRows(), FILES[language]
        path = needed(home, f"**/{file}")[0]
        silent = []
        for row in read_csv(path, ("names", "emotions", "subtitles", "reasons")):
            name, words = row["names"].strip(), row["subtitles"].strip()
            if words.lower() == "nan":  # pandas writes an empty cell so
                words = ""
            if not row["reasons"].strip():
                table.fault("no reference text", name)
                continue
            if not words:
                silent.append(name)
            table.add(name, Reason(home, row["emotions"].strip(), words, row["reasons"].strip()))
        table.expect(f"rows of {file}", len(table.rows), CLIPS)
        hash_found = md5(path)
        if not hash_found.startswith(digest):
            table.say("differs", f"{file}: MD5 {hash_found}, that of EMER-v1 starts with {digest}")
        if silent:
            table.say("note", f"{len(silent)} clips without subtitles, asked without words: {', '.join(silent[:5])}")
        put_clips(table, home)
        return table

    def item(self, name: str, row: Reason, language: str) -> Item:
        """See `BenchmarkReader`; the group is the concept of the emotion, the same in both languages."""
        parts: list[dict] = [{"type": "video", "video": row.path}]
        if self.prompt == RELEASE:
            question = EMER_RELEASE[language].format(words=row.words)
        else:
            question = EMER_OURS[language]
            if row.words:
                parts.append(spoken_part(language, row.words))
        group = next(iter(stated_concepts(row.emotion)), row.emotion)
        return Item(name, language, tuple(parts), question, (), row.reason, group)


TASK = Task(
    "emer",
    "EMER, emotion and its clues in words",
    "emotion",
    Emer(("emer", "EMER")),
    answered="text",
    score=score_label_overlap,
    also={"clue overlap": score_clue_overlap},
    judge=("clue", "label"),
    max_new_tokens=1024,
    frames={"fps": 2.0, "video_max_pixels": 602112},
    splits=("test",),
    prompts={OURS: ("en", "zh"), RELEASE: ("en", "zh")},
    needs="gt-eng.csv for English, gt-chi.csv for Chinese, and the clips <name>.mp4 or .avi of MER2023",
    licence="no licence stated for the texts; EULA of MER2023 for the clips",
    access="https://github.com/zeroQiaoba/AffectGPT (texts), https://huggingface.co/MERChallenge (clips, EULA)",
)
