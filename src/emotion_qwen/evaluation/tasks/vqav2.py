"""VQAv2 (Goyal et al., CVPR 2017): questions about COCO pictures, with ten human answers each.

Read from Parquet as lmms-lab/VQAv2 publishes it, or from the owners' two JSON files and the folder `val2014`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.stored import Stored
from emotion_qwen.evaluation.scoring.vqa import VQA_2016, VQA_2021, score_vqa
from emotion_qwen.evaluation.task import OURS, RELEASE, Task
from emotion_qwen.evaluation.tasks.files import (
    ReadRows,
    cell_text,
    needed,
    parquet_rows,
    plain_text,
    read_json_file,
)
from emotion_qwen.evaluation.tasks.prompts import vqa_question
from emotion_qwen.evaluation.tasks.questions import PictureQuestions, Question, find_pictures
from emotion_qwen.evaluation.tasks.scorers import released_vqa
from emotion_qwen.evaluation.tasks.textvqa import take_answers

QUESTIONS = 214354
ASKED, ANNOTATED = "v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json"


@dataclass(frozen=True)
class VqaV2(PictureQuestions):
    """The validation questions; `group` is the type of the answer, `cluster` the picture."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, count = ReadRows(), 0
        for row, image in _rows(home):
            count += 1
            people = row.get("answers")
            answers = tuple(
                plain_text(answer.get("answer") if isinstance(answer, dict) else answer)
                for answer in (people if isinstance(people, list) else ())
            )
            picture = image.name if isinstance(image, Stored) else image.stem
            kind = str(row.get("answer_type") or "")
            question = Question(image, plain_text(row.get("question")), answers, kind, picture)
            take_answers(table, cell_text(row["question_id"]), question)
        table.expect("questions", count, QUESTIONS)
        find_pictures(table, home)
        return table

    def ask(self, row: Question, language: str) -> str:
        """See `PictureQuestions`."""
        return vqa_question(row.text, self.prompt)


def _rows(home: Path) -> Iterator[tuple[dict[str, Any], Stored | Path]]:
    files = needed(home, "validation-*.parquet", "data/validation-*.parquet", f"**/{ASKED}")
    path = files[0]
    if path.suffix == ".parquet":
        for row, stored in parquet_rows(files, ("question_id", "question", "answers", "image")):
            yield row, stored(str(row.get("image_id") or ""))
        return
    questions, annotations = read_json_file(path), read_json_file(needed(home, f"**/{ANNOTATED}")[0])
    try:
        answers = {row["question_id"]: row for row in annotations["annotations"]}
        for row in questions["questions"]:
            picture = home / "val2014" / f"COCO_val2014_{int(row['image_id']):012d}.jpg"
            yield {**answers.get(row["question_id"], {}), **row}, picture
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the owners' questions and annotations ({error!r}); fetch them again") from error


TASK = Task(
    "vqav2",
    "VQAv2",
    "general",
    VqaV2(("vqav2", "VQAv2")),
    answered="text",
    score=score_vqa,
    also={protocol.name: partial(score_vqa, protocol=protocol) for protocol in (VQA_2021, VQA_2016)},
    as_released=released_vqa,
    splits=("validation",),
    prompts={OURS: ("en",), RELEASE: ("en",)},
    needs=f"validation-*.parquet of lmms-lab/VQAv2, or {ASKED}, {ANNOTATED} and val2014",
    licence="CC BY 4.0 for questions and answers; pictures of COCO under their owners' terms",
    access="https://huggingface.co/datasets/lmms-lab/VQAv2 or https://visualqa.org/download.html",
)
