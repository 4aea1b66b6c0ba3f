"""Questions in words about emotional intelligence: EmoBench, EQ-Bench, and the pairs of EmotionHallucer.

Layouts as published: `EA.jsonl` and `EU.jsonl` (github.com/Sahandfer/EmoBench), `eq_bench_v2_questions_171.json`
(github.com/EQ-bench/EQ-Bench). EmotionHallucer's data were not published when this was written: its items are read from
a layout of ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_qwen.evaluation.scoring.emotion_sets import score_emobench, score_pairs
from emotion_qwen.evaluation.scoring.replies import LETTERS
from emotion_qwen.evaluation.scoring.skills import EQ_BENCH, score_skills
from emotion_qwen.evaluation.task import OURS, Item, Task
from emotion_qwen.evaluation.tasks.files import (
    BenchmarkReader,
    ReadRows,
    cell_text,
    cell_texts,
    finite,
    json_rows,
    needed,
    read_json_file,
)
from emotion_qwen.evaluation.tasks.prompts import YES_NO, choice_question
from emotion_qwen.evaluation.tasks.question_sets import (
    FRAMES,
    EmotionQuestion,
    EmotionQuestions,
    find_files_of,
)


@dataclass(frozen=True)
class EmoBench(EmotionQuestions):
    """EmoBench (Sabour et al., ACL 2024): scenarios in words, with options; English and Chinese."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`; `group` is EA, EU emotion or EU cause, `cluster` the scenario."""
        table = ReadRows()
        for file in ("EA.jsonl", "EU.jsonl"):
            path, count = needed(home, f"**/{file}")[0], 0
            for number, row in json_rows(path):
                if not isinstance(row, dict) or row.get("language") != language:
                    continue
                count += 1
                kinds = (("", "EA"),) if file == "EA.jsonl" else (("emotion_", "EU emotion"), ("cause_", "EU cause"))
                for key, group in kinds:
                    self._add(table, f"{path.stem} entry {number}", row, key, group, language)
            table.expect(f"scenarios of {file} in {language}", count, 200)
        return table

    def _add(self, table: ReadRows, place: str, row: Mapping[str, Any], key: str, group: str, language: str) -> None:
        choices, label = cell_texts(row.get(f"{key}choices")), row.get(f"{key}label")
        qid = cell_text(row.get("qid"))
        if label not in choices or not (qid and row.get("scenario") and row.get("subject")):
            table.fault("no qid, scenario, subject or correct choice", f"{place}, {group}")
            return
        asked_for = _EMOBENCH[group][language].format(subject=row["subject"])
        text = choice_question(asked_for, choices, str(row["scenario"]).strip(), language)
        letter = LETTERS[choices.index(label)]
        scenario = f"{group[:2]} {qid}"
        table.add(f"{group}/{qid}", EmotionQuestion(None, text, choices, (letter,), group, scenario))

    def item(self, name: str, row: EmotionQuestion, language: str) -> Item:
        """See `BenchmarkReader`."""
        letters = tuple(LETTERS[: len(row.choices)])
        return Item(
            name, language, (), row.text, letters, row.answers[0], row.group, cluster=row.cluster, options=row.choices
        )


_EMOBENCH = {
    "EA": {"en": "What is the best thing for {subject} to do or say?", "zh": "{subject}最好怎么做或怎么说？"},
    "EU emotion": {"en": "Which emotion does {subject} feel in the end?", "zh": "{subject}最终感受到什么情绪？"},
    "EU cause": {"en": "Why does {subject} feel so in the end?", "zh": "{subject}最终为什么有这种感受？"},
}
EQ_QUESTIONS = 171


@dataclass(frozen=True)
class EqBench(BenchmarkReader):
    """EQ-Bench, second version (Paech, 2023): ratings of four emotions after a dialogue."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table = ReadRows()
        path = needed(home, "**/eq_bench_v2_questions_171.json")[0]
        data = read_json_file(path)
        for name, row in (data if isinstance(data, dict) else {}).items():
            try:
                full = row["reference_answer_fullscale"]
                ratings = {str(full[f"emotion{n}"]): finite(full[f"emotion{n}_score"]) for n in range(1, 5)}
                table.add(name, (str(row["prompt"]), ratings))
            except (KeyError, TypeError, ValueError):
                table.fault("no prompt or no four ratings", name)
        table.expect(f"questions of {path.name}", len(table.rows), EQ_QUESTIONS)
        return table

    def item(self, name: str, row: Any, language: str) -> Item:
        """See `BenchmarkReader`; the question is the owners' own."""
        prompt, ratings = row
        return Item(name, language, (), prompt, (), json.dumps(ratings), EQ_BENCH, answered="text")


HALLUCER_QUESTIONS = 2742


@dataclass(frozen=True)
class EmotionHallucer(EmotionQuestions):
    """EmotionHallucer from a layout of ours, `pairs.jsonl`: one line per question, two lines per pair.

    Keys: `id`, `pair`, `question`, `answer` (yes for the basic question, no for the hallucinated one), `kind` (the
    group), and `file` for a picture, recording or video.
    """

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`; a pair of which one question is missing is left out."""
        table, path = ReadRows(), needed(home, "**/pairs.jsonl")[0]
        wanted: dict[str, str] = {}
        for number, row in json_rows(path):
            try:
                name, pair, text = (cell_text(row[key]) for key in ("id", "pair", "question"))
                answer = cell_text(row["answer"]).lower()
            except (KeyError, TypeError):
                name = pair = text = answer = ""
            if not (name and pair and text):
                table.fault("without id, pair, question and answer", f"line {number}")
                continue
            if answer not in ("yes", "no"):
                table.fault("answer is not yes or no", f"{name} ({answer or 'empty'})")
                continue
            medium = str(row.get("file") or "")
            wanted[name] = medium
            where = home / medium if medium else None
            question, group = f"{text}\n{YES_NO}", cell_text(row.get("kind"))
            table.add(name, EmotionQuestion(where, question, ("yes", "no"), (answer,), group, pair))
        answers: dict[str, list[str]] = {}
        for row in table.rows.values():
            answers.setdefault(row.cluster, []).append(row.answers[0])
        for name, row in list(table.rows.items()):
            if sorted(answers[row.cluster]) != ["no", "yes"]:
                table.fault("pair without exactly one yes and one no", name)
                del table.rows[name]
        table.expect("questions", len(table.rows), HALLUCER_QUESTIONS)
        find_files_of(table, home, wanted)
        return table

    def together(self, name: str, row: EmotionQuestion) -> str:
        """See `BenchmarkReader`; a limit keeps whole pairs."""
        return row.cluster


TASKS: tuple[Task, ...] = (
    Task(
        "emobench", "EmoBench, emotional understanding and application", "general",
        EmoBench(("emobench", "EmoBench")), less_blank=False, score=score_emobench, splits=("test",),
        needs="data/EA.jsonl and data/EU.jsonl", licence="MIT", access="https://github.com/Sahandfer/EmoBench",
    ),
    Task(
        "eqbench", "EQ-Bench, second version", "general", EqBench(("eqbench", "EQ-Bench")), less_blank=False,
        answered="text", score=score_skills, max_new_tokens=320, splits=("test",), prompts={OURS: ("en",)},
        needs="data/eq_bench_v2_questions_171.json", licence="MIT", access="https://github.com/EQ-bench/EQ-Bench",
    ),
    Task(
        "emotionhallucer", "EmotionHallucer, pairs of yes and no", "general",
        EmotionHallucer(("emotionhallucer", "EmotionHallucer")), less_blank=False, score=score_pairs,
        frames=FRAMES, splits=("test",), prompts={OURS: ("en",)},
        needs="pairs.jsonl in our own layout and the files that it names; the owners' data were not published",
        licence="not stated", access="https://github.com/xxtars/EmotionHallucer (announced there)",
    ),
)  # fmt: skip
