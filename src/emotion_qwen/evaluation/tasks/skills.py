"""General skill of the language model, without pictures: question suites, plain text, and general prompts.

`SUITES` defines how every suite is asked and answered; nothing else affects a question, so that a score means the same
in every run. Log-likelihoods of choices are divided by their number of characters where SmolLM's evaluation by
lighteval does so (`loglikelihood_acc_norm_nospace`, tasks of github.com/huggingface/smollm): otherwise the length of
choices would bias the result. Exceptions: BoolQ's two words, which lighteval compares without normalisation, and
TruthfulQA's single choice, which its authors define by the total likelihood (MC1, Lin et al. 2022). lighteval writes
"Question:" and "Answer:" around questions; here the chat template marks the turns.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError, SettingsError, unknown_choice
from emotion_qwen.evaluation.scoring.final_answers import final_number
from emotion_qwen.evaluation.scoring.instructions import RULES
from emotion_qwen.evaluation.scoring.skills import (
    BBH,
    EQ_BENCH,
    GSM8K,
    IFEVAL,
    LAMBADA,
    score_general_prompts,
    score_skills,
    score_text_perplexity,
)
from emotion_qwen.evaluation.task import OURS, Item, Scorer, Task, TaskFinding, evenly
from emotion_qwen.evaluation.tasks.files import cell_texts
from emotion_qwen.evaluation.tasks.parquet import file_in
from emotion_qwen.extras import optional

SKILLS_FILE, PROMPTS_FILE = "skills.parquet", "text_instructions.parquet"
SEED = 0
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Suite:
    """Prompt and form of answer of a suite.

    Attributes:
        prompt: the question, with `{question}`, and for EmoBench `{subject}`; the chat template is added around it.
        chinese: the same for rows in Chinese.
        answered: see `Item.answered`.
        by_length: see `Item.by_length`.
        max_new_tokens: maximum number of tokens of a reply.
    """

    prompt: str = "{question}"
    chinese: str = ""
    answered: str = "likelihood"
    by_length: bool = True
    max_new_tokens: int = 0


SUITES: dict[str, Suite] = {
    "arc_easy": Suite(),
    "arc_challenge": Suite(),
    "openbookqa": Suite(),
    "piqa_valid": Suite(),
    "social_iqa_dev": Suite(),
    "winogrande_dev": Suite("Complete the sentence: {question}"),
    "boolq_no_passage": Suite("{question}\nAnswer with true or false.", by_length=False),
    "truthfulqa_mc": Suite(by_length=False),
    "emobench_eu_emotion": Suite(
        "{question}\nWhich emotion does {subject} feel in the end?", "{question}\n{subject}最终感受到什么情绪？"
    ),
    "emobench_eu_cause": Suite(
        "{question}\nWhy does {subject} feel so in the end?", "{question}\n{subject}最终为什么有这种感受？"
    ),
    "emobench_ea": Suite("{question}\nWhat should {subject} do or say?", "{question}\n{subject}应该怎么做或怎么说？"),
    LAMBADA: Suite(answered="continuation"),
    GSM8K: Suite(
        "{question}\nSolve it step by step and end with: The answer is NUMBER.", answered="text", max_new_tokens=256
    ),
    BBH: Suite("{question}\nGive only the final answer.", answered="text", max_new_tokens=64),
    IFEVAL: Suite(answered="text", max_new_tokens=512),
    EQ_BENCH: Suite(answered="text", max_new_tokens=320),
}
"""Name -> suite; the suites of `skills.parquet`, in the order of reporting."""


@dataclass(frozen=True)
class TextRows:
    """Items of a Parquet file of texts: all of them, or a random sample of the same size from every group.

    Attributes:
        file: name in the data folder; `--data` may also be the file itself.
        columns: columns to read.
        item: makes the item of a row; raises DataError if the row cannot be used.
        suites: values of the column `suite` to use; empty for rows without that column.
        each: number of items per group; None for all.
        seed: of the random sample.
        notes: suites with what a reader of their scores must know.
    """

    file: str
    columns: tuple[str, ...]
    item: Callable[[Row], Item]
    suites: tuple[str, ...] = ()
    each: int | None = None
    seed: int = SEED
    notes: tuple[tuple[str, str], ...] = ()

    def check(self, data: Path | None) -> None:
        """See `Source`."""
        self._path(data)

    def findings(self, data: Path | None, split: str, languages: Sequence[str]) -> tuple[TaskFinding, ...]:
        """Return the rows left out, and what a reader of the scores must know."""
        items, faults, others = self._read(data, split)
        lines = [TaskFinding("fault", fault) for fault in faults]
        if others:
            lines.append(TaskFinding("fault", f"rows of unknown suites: {', '.join(sorted(others))}; left out"))
        if self.each is not None:
            drawn = f"{self.each} items per group, drawn with seed {self.seed} from {len(items)}"
            lines.append(TaskFinding("note", drawn))
        return (*lines, *(TaskFinding("note", note) for suite, note in self.notes if suite in self.suites))

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`."""
        items, _, _ = self._read(data, split)
        if not items:
            raise DataError(f"{self.file}: no usable text has split {split!r}; give another --split")
        by_group: dict[str, list[Item]] = {name: [] for name in self.suites}
        for item in items:
            by_group.setdefault(item.group, []).append(item)
        chosen = [item for name, group in by_group.items() for item in self._drawn(name, group)]
        return [chosen[place] for place in evenly(len(chosen), limit)]

    def _drawn(self, name: str, items: list[Item]) -> list[Item]:
        if self.each is None or self.each >= len(items):
            return items
        places = random.Random(f"{self.seed}/{name}").sample(range(len(items)), self.each)
        return [items[place] for place in sorted(places)]

    def _read(self, data: Path | None, split: str) -> tuple[list[Item], list[str], set[str]]:
        """Return the items of a split, one line per unusable row, and the unknown suites."""
        items, faults, unknown = [], [], set()
        for row in self._rows(data):
            if self.suites and str(row["suite"]) not in SUITES:
                unknown.add(str(row["suite"]))
            elif row["split"] == split and (not self.suites or row["suite"] in self.suites):
                try:
                    items.append(self.item(row))
                except DataError as error:
                    faults.append(f"{row['id']}: {error}; left out")
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    faults.append(f"{row['id']}: not a row of this layout ({type(error).__name__}: {error}); left out")
        return items, faults, unknown

    def _rows(self, data: Path | None) -> Iterator[Row]:
        read = optional("emotion_qwen.data.tables", "eval").read_own_rows
        return iter(read(self._path(data), self.columns, ("id", "split")))

    def _path(self, data: Path | None) -> Path:
        return data if data is not None and data.is_file() else file_in(data, self.file)


def suite_item(row: Row) -> Item:
    """Make the item of a row of `skills.parquet`.

    Raises:
        DataError: the row has no correct answer, or an instruction without a rule.
    """
    suite, name = SUITES[row["suite"]], row["suite"]
    meta = json.loads(row["meta"]) if row["meta"] else {}
    words = suite.chinese if meta.get("language") == "zh" else suite.prompt
    subject, choices = meta.get("subject", ""), cell_texts(row["choices"])
    question = words.format(question=row["question"].strip(), subject=subject)
    if name == "winogrande_dev":
        before, gap, after = row["question"].partition("_")
        if not gap:
            raise DataError("no gap in the sentence; expected _")
        question = words.format(question=before.strip())
        choices = tuple(f"{choice}{after}".strip() for choice in choices)
    if suite.answered == "likelihood":
        if not 0 <= row["answer"] < len(choices):
            raise DataError(f"answer {row['answer']} of {len(choices)} choices; expected the index of one of them")
        answer, choices = choices[row["answer"]], tuple(dict.fromkeys(choices))  # equal choices count once
    else:
        answer = _reference(name, row, meta)
    number = re.sub(r"^.*?(\d+)$", r"\1", row["id"])
    cluster = f"{name}/{number}" if meta.get("language") else ""  # EmoBench: one scenario in two languages
    return Item(
        row["id"], "en", (), question, choices, answer, name, cluster=cluster, answered=suite.answered,
        by_length=suite.by_length and suite.answered == "likelihood", max_new_tokens=suite.max_new_tokens,
    )  # fmt: skip


def _reference(suite: str, row: Row, meta: Row) -> str:
    if suite == IFEVAL:
        unknown = [name for name in meta["instruction_id_list"] if name not in RULES]
        if unknown:
            raise DataError(f"instruction {unknown[0]!r} has no rule")
        return json.dumps({name: meta[name] for name in ("instruction_id_list", "kwargs")}, ensure_ascii=False)
    if suite == EQ_BENCH:
        full = meta["reference_fullscale"]
        return json.dumps({full[f"emotion{n}"]: float(full[f"emotion{n}_score"]) for n in range(1, 5)})
    if not row["answer_text"]:
        raise DataError("no answer_text")
    return f" {row['answer_text']}" if suite == LAMBADA else row["answer_text"]


def passage_item(row: Row) -> Item:
    """Make the item of a whole LAMBADA passage; its likelihood as plain text is scored."""
    passage = f"{row['question']} {row['answer_text']}"
    return Item(row["id"], "en", (), "", (), passage, "passages", answered="continuation")


def prompt_item(row: Row) -> Item:
    """Make the item of a row of `text_instructions.parquet`; the reference of a maths problem is the number alone.

    Raises:
        DataError: there is no prompt, or the answer of a maths problem has no number.
    """
    response = row["response"] or ""
    if not row["prompt"]:
        raise DataError("no prompt")
    if row["kind"].startswith("maths"):
        number = final_number(response)
        if number.value is None:
            raise DataError(f"the answer of a maths problem has {number.why}")
        response = number.value
    return Item(row["id"], "en", (), row["prompt"], (), response, row["kind"], answered="text")


def _whole_number(name: str, text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise SettingsError(f"option {name} is {text!r}; expected a whole number of at least {least}")
    return int(text)


def _make(task: Task, source: TextRows, suites: str = "", each: str = "", seed: str = "") -> Task:
    chosen = tuple(name.strip() for name in suites.split(",") if name.strip())
    for name in chosen:
        if name not in SUITES:
            raise SettingsError(unknown_choice("suite", name, SUITES))
    source = replace(
        source,
        suites=tuple(name for name in SUITES if name in chosen) or source.suites,
        each=_whole_number("each", each, 1) if each else source.each,
        seed=_whole_number("seed", seed, 0) if seed else source.seed,
    )
    return replace(task, source=source)


def _task(name: str, title: str, source: TextRows, score: Scorer, more: Mapping[str, str], **terms: Any) -> Task:
    options = {**more, "each": "items drawn per group; default: all", "seed": f"seed of that draw; default: {SEED}"}
    task = Task(
        name, title, "general", source, answered="item", less_blank=False, score=score, splits=("validation", "test"),
        prompts={OURS: ("en",)}, needs=source.file, options=options, **terms,
    )  # fmt: skip
    return replace(task, make=partial(_make, task, source))


_SKILL_COLUMNS = ("id", "suite", "question", "choices", "answer", "answer_text", "meta", "split")
_PROMPT_COLUMNS = ("id", "kind", "prompt", "response", "split")
_NO_PASSAGE = ("boolq_no_passage", "boolq_no_passage has no passages, so only changes in its accuracy are meaningful")
_SKILL_TERMS = {"licence": "per suite, see the column licence", "access": "the suites' own repositories"}
TASKS = (
    _task(
        "skills",
        "General skill, 16 suites",
        TextRows(SKILLS_FILE, _SKILL_COLUMNS, suite_item, tuple(SUITES), notes=(_NO_PASSAGE,)),
        score_skills,
        {"suites": f"comma-separated names of {', '.join(SUITES)}; default: all"},
        **_SKILL_TERMS,
    ),
    _task(
        "text_perplexity",
        "Perplexity of LAMBADA's passages",
        TextRows(SKILLS_FILE, _SKILL_COLUMNS, passage_item, (LAMBADA,)),
        score_text_perplexity,
        {},
        **_SKILL_TERMS,
    ),
    _task(
        "general_prompts",
        "Free answers to general prompts",
        TextRows(PROMPTS_FILE, _PROMPT_COLUMNS, prompt_item),
        score_general_prompts,
        {},
        licence="per source, see the column licence",
        access="github.com/yizhongw/self-instruct, github.com/XueFuzhao/InstructionWild, github.com/lm-sys/FastChat",
    ),
)
