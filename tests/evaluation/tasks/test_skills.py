"""Suites of general skill are read from one file, asked in frozen words, and answered as each of them wants it."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.run.score import score_folder
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.evaluation.tasks.skills import SUITES

from ..skill_files import CHECKS, write_skill_files


@pytest.fixture
def data(tmp_path):
    return write_skill_files(tmp_path)


def items_by_id(task, data, **options):
    return {item.id: item for item in task.with_options(**options).items(data, side=None)}


def test_every_suite_is_asked_in_its_words(data):
    items = items_by_id(TASKS["skills"], data)
    assert len(items) == 14 and {item.group for item in items.values()} <= set(SUITES)
    gap = items["winogrande_dev/7"]
    assert gap.question == "Complete the sentence: He took the"
    assert (
        gap.choices == ("bus because it was near.", "old train because it was near.") and gap.answer == gap.choices[1]
    )
    assert items["social_iqa_dev/1"].choices == ("proud", "sad"), "equal choices are one"
    assert items["boolq_no_passage/1"].by_length is False and items["arc_easy/1"].by_length is True
    assert items["emobench_ea/1"].question == "她很难过。\n她应该怎么做或怎么说？"
    last = items["lambada_openai/1"]
    assert (last.answered, last.answer, last.choices) == ("continuation", " track", ())
    assert json.loads(items["ifeval/1"].answer) == {key: CHECKS[key] for key in ("instruction_id_list", "kwargs")}
    assert json.loads(items["eq_bench_v2/1"].answer)["Bored"] == 4
    assert items["gsm8k/1"].max_new_tokens > items["bbh/1"].max_new_tokens > 0


def test_what_cannot_be_asked_is_reported(data):
    findings = [(finding.kind, finding.text) for finding in TASKS["skills"].check(data)]
    assert ("fault", "arc_easy/10: answer 5 of 2 choices; expected the index of one of them; left out") in findings
    assert ("fault", "rows of unknown suites: hellaswag; left out") in findings
    assert any(kind == "note" and "boolq_no_passage has no passages" in text for kind, text in findings)
    drawn = TASKS["skills"].with_options(each="2", seed="3").check(data)
    few = TASKS["skills"].with_options(suites="bbh").check(data)
    assert not any("boolq" in finding.text for finding in few)
    assert any("2 items per group, drawn with seed 3 from 14" in finding.text for finding in drawn)


def test_a_draw_is_seeded_and_options_choose_suites(data):
    draws = [set(items_by_id(TASKS["skills"], data, suites="arc_easy", each="2", seed=str(n))) for n in range(8)]
    assert all(len(draw) == 2 for draw in draws) and len(set(map(frozenset, draws))) > 1
    assert draws[3] == set(items_by_id(TASKS["skills"], data, suites="arc_easy", each="2", seed="3"))
    assert {name.split("/")[0] for name in items_by_id(TASKS["skills"], data, suites="bbh, gsm8k")} == {"gsm8k", "bbh"}
    assert len(items_by_id(TASKS["skills"], data / "skills.parquet")) == 14, "--data may be the file"
    with pytest.raises(SettingsError, match="unknown suite 'arc'"):
        TASKS["skills"].with_options(suites="arc")
    with pytest.raises(SettingsError, match="option each is '0'; expected a whole number of at least 1"):
        TASKS["skills"].with_options(each="0")


def test_a_file_without_texts_of_a_split_is_an_error(data):
    with pytest.raises(DataError, match=r"skills.parquet: no usable text has split 'test'; give another"):
        TASKS["text_perplexity"].items(data, side=None, split="test")
    pq.write_table(pa.table({"id": ["a"]}), data / "skills.parquet")
    with pytest.raises(DataError, match=r"skills.parquet: missing column\(s\) \['answer', .*; it has \['id'\]"):
        TASKS["skills"].items(data, side=None)


def test_prompts_keep_the_number_of_a_maths_problem_alone(data):
    items = items_by_id(TASKS["general_prompts"], data)
    assert items["m/1"].answer == "5" and items["w/1"].answer == "" and items["m/3"].answer == "3"
    (fault,) = TASKS["general_prompts"].check(data)
    assert fault.text == "m/2: the answer of a maths problem has no number; left out"


@pytest.mark.parametrize("name", ["skills", "text_perplexity", "general_prompts"])
def test_a_model_answers_every_item_as_it_says(shallow, data, tmp_path, name, monkeypatch):
    asked = []
    write = shallow.write
    monkeypatch.setattr(
        shallow, "write", lambda views, questions, most, **k: asked.append(most) or write(views, questions, 2)
    )
    folder = tmp_path / "out" / name
    done = answer_task(LocalModel(shallow), TASKS[name], folder, data=data)
    assert done.whole and len(done.items) == {"skills": 14, "text_perplexity": 1, "general_prompts": 3}[name]
    for item, line in zip(done.items, done.predictions, strict=True):
        assert bool(line.scores) == bool(item.choices) and (line.text is not None) == (item.answered == "text")
        assert (line.continuation is not None) == (item.answered == "continuation")
    (column,) = score_folder(folder)
    assert column.whole and column.result.tally.answered == len(done.items)
    if name == "skills":
        assert sorted(set(asked)) == sorted(
            {SUITES[n].max_new_tokens for n in ("gsm8k", "bbh", "ifeval", "eq_bench_v2")}
        )
        item = next(item for item in done.items if item.id == "arc_easy/1")
        sums = shallow.score([()], item.question, item.choices).log_likelihood[0].double()
        shares = [value / len(choice) for value, choice in zip(sums.tolist(), item.choices, strict=True)]
        line = next(line for line in done.predictions if line.id == item.id)
        assert line.predicted == item.choices[max(range(3), key=shares.__getitem__)]
        assert answer_task(LocalModel(shallow), TASKS[name], folder, data=data).predictions == done.predictions
