"""The tasks for what the package's tasks do not read of the shared data, on invented rows."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emotion_qwen.evaluation.scoring.records import Response
from emotion_qwen.evaluation.tasks import TASKS as PACKAGE_TASKS
from recipes.mini.tasks import BY_NAME, CAUSES, MEASURED, STRATEGIES, SUPPORT, TASKS


def write(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)


def read(name, folder, limit=None):
    task = BY_NAME[name]
    return task.items(folder, side=None, languages=task.languages[:1], split="validation", limit=limit)


def test_no_name_is_taken_so_that_the_file_can_be_given_to_eval():
    names = [task.name for task in TASKS]
    assert len(set(names)) == len(names) and not set(names) & set(PACKAGE_TASKS)
    assert set(MEASURED) <= set(BY_NAME)


def test_a_cause_is_one_of_the_turns_before(tmp_path):
    turns = [{"speaker": "A", "text": text, "emotion": "joy"} for text in ("One.", "Two.", "Three.")]
    row = {"id": "ecf/1_3", "source": "ECF (x)", "lang": "en", "turns": turns, "target": 3, "emotion": "joy",
           "causes": [2], "spans": [], "split": "validation"}  # fmt: skip
    others = [
        {"causes": [1, 2]}, {"causes": []}, {"causes": [3], "target": 2}, {"causes": [1], "target": 1},
        {"split": "train"},
    ]  # fmt: skip
    write(tmp_path / CAUSES, [row, *({**row, **other, "id": f"x_{n}"} for n, other in enumerate(others))])
    (item,) = read("emotion_causes", tmp_path)
    assert (item.choices, item.answer, item.group, item.cluster) == (("1", "2", "3"), "2", "ECF", "ecf/1")
    assert item.question.startswith("1. A: One.\n2. A: Two.\n3. A: Three.\nThe emotion of turn 3 is joy.")
    result = BY_NAME["emotion_causes"].score([item.scored()], [Response(item.id, "2")])
    assert result["accuracy"].value == 1


def test_strategies_of_support_stand_after_the_talk_before_them(tmp_path):
    turns = [("supporter", "Questions"), ("seeker", ""), ("supporter", "Other"), ("supporter", "Self-disclosure")]
    talk = [{"speaker": who, "strategy": what, "text": f"t{n}"} for n, (who, what) in enumerate(turns)]
    write(tmp_path / SUPPORT, [{"id": "a", "turns": talk, "split": "validation"}])
    (item,) = read("support_strategies", tmp_path)
    assert (item.id, item.answer, item.choices) == ("a/3", "Self-disclosure", STRATEGIES)
    assert item.question.startswith("supporter: t0\nseeker: t1\nsupporter: t2\nsupporter: t3\nWhich strategy")


def test_ratings_and_labels_of_texts(tmp_path):
    rows = [{"id": "a", "text": "x", "valence": 3.0, "arousal": 2.5, "dominance": 3.2, "split": "validation"}]
    write(tmp_path / "text_vad_emobank.parquet", [*rows, {**rows[0], "id": "b", "split": "train"}])
    (item,) = read("emobank_texts", tmp_path)
    assert item.references == ("3", "2.5", "3.2") and not item.choices
    score = BY_NAME["emobank_texts"].score([item.scored()], [Response("a", "valence: 3, arousal: 2.5, dominance: 3.2")])
    assert score["MAE of valence"].value == 0 and BY_NAME["emobank_texts"].headline in score.table.names
    lines = [
        {"id": f"{n}", "text": "t", "label": label, "split": "validation"} for n, label in enumerate(("shame", "odd"))
    ]
    write(tmp_path / "text_isear.parquet", lines)
    assert [item.answer for item in read("isear", tmp_path)] == ["shame"]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_missing_file_is_told(task, tmp_path):
    (finding,) = task.check(tmp_path)
    assert finding.kind == "missing" and task.needs in finding.text
