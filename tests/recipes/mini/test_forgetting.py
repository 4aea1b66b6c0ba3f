"""Ways of training are compared with the untouched model item by item, and a stopped comparison goes on."""

import json
import random

import pytest
from click.testing import CliRunner
from tests.evaluation.skill_files import write_skill_files

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.predictions import prediction
from emotion_qwen.evaluation.scoring.trained_forms import trained_form
from emotion_qwen.faces.face_claims import SCALES
from emotion_qwen.records import HEAD_ANGLES
from recipes.mini import forgetting as recipe
from recipes.mini.face_texts import FaceFacts
from recipes.mini.face_texts import ask_face as ask_described
from recipes.mini.forgetting import forgetting, read_model
from recipes.mini.forgetting_page import page
from recipes.nano.questions import FEELINGS, ask_face, ask_voice


def figure(value: float, difference: float = 0.0, low: float = 0.0, high: float = 0.0) -> dict:
    return {"value": value, "difference": difference, "low": low, "high": high}


def row(way: str, seed: int, accuracy: dict, perplexity: float, trained: float, emotion: float) -> dict:
    figures = {
        "accuracy": accuracy, "IFEval": figure(0.25), "perplexity": figure(perplexity), "right": figure(0.5),
        "trained form": figure(trained), "emotion": figure(emotion),
    }  # fmt: skip
    return {
        "way": way,
        "seed": seed,
        "figures": figures,
        "suites": {"arc_easy": figure(0.5), "arc_challenge": figure(0.3)},
    }


def record() -> dict:
    rows = [
        row("untouched", 0, figure(0.4), 30.0, 0.0, 0.14),
        row("whole", 0, figure(0.35, -0.05, -0.07, -0.03), 90.0, 0.25, 0.62),
        row("ours", 0, figure(0.392, -0.008, -0.02, 0.004), 33.0, 0.01, 0.615),
        row("ours", 1, figure(0.38, -0.02, -0.034, -0.006), 36.0, 0.03, 0.6),
    ]
    return {"rows": rows, "ways": recipe.WAYS, "items": {"skills": 32}, "items_per_suite": 2, "seed": 5, "notes": {}}


def test_the_page_shows_rows_bounds_and_the_card(tmp_path):
    text = page(record(), tmp_path)
    assert "skills 32; a subset, 2 per suite and kind of prompt, drawn with seed 5" in text
    assert "| untouched |  | 40.0 | 25.0 | 30.0 | 50.0 | 0.0 | 14.0 |" in text
    assert "| whole model fine-tuned, one compressor | 0 | 35.0 (-5.0: -7.0 to -3.0) |" in text
    first, second = (
        line for line in text.splitlines() if "upper bound" in line and ": " in line and "at most" not in line
    )
    assert first.count("reached") == 4 and "0.8 points, upper bound 2.0: reached" in first and "1.10 times" in first
    assert second.count("missed") == 4
    assert "| ARC, mean of easy and challenge | 40.0 | 37.3 |" in text and "| PIQA | – | 66.3 |" in text
    assert "Bounds for ours" not in page({**record(), "rows": record()["rows"][:2]}, tmp_path)


def test_a_model_is_named_by_way_seed_and_folder():
    model = read_model("ours/2=runs/a=b/model")
    assert (model.way, model.seed, model.folder, model.key) == ("ours", 2, "runs/a=b/model", "ours-2")
    with pytest.raises(SettingsError, match=r"--model 'ours=a'; expected WAY/SEED=FOLDER, such as"):
        read_model("ours=a")
    with pytest.raises(SettingsError, match="unknown way 'our'"):
        read_model("our/0=a")


def test_two_models_are_compared_and_a_stopped_run_goes_on(shallow, tmp_path, monkeypatch, tasks_as_before):
    data = write_skill_files(tmp_path)
    write, texts = shallow.write, []

    def short(views, questions, most, **more):
        texts.extend(questions)
        return write(views, questions, 2, **more)

    monkeypatch.setattr(shallow, "write", short)
    monkeypatch.setattr(recipe, "make_answerer", lambda folder: LocalModel(shallow))
    command = [
        *("--data", str(data), "--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")),
        *("--untouched", "before", "--model", "ours/0=after", "--items-per-suite", "2", "--seed", "3"),
        *("--pictures", "shapes", "--emotion", "", "--limit", "3"),
    ]
    done = CliRunner().invoke(forgetting, command, catch_exceptions=False)
    assert done.exit_code == 0 and texts
    written = json.loads((tmp_path / "results" / "forgetting_mini.json").read_text(encoding="utf-8"))
    before, after = written["rows"]
    assert before["way"] == "untouched" and after["figures"]["accuracy"] == before["figures"]["accuracy"]
    assert after["figures"]["pictures"]["difference"] == 0 and "emotion" not in after["figures"]
    assert written["items"] == {"skills": 11, "text_perplexity": 1, "general_prompts": 3, "shapes": 3}
    texts.clear()
    lines = tmp_path / "runs" / "ours-0" / "skills" / "predictions.jsonl"
    kept = lines.read_text(encoding="utf-8").splitlines(keepends=True)
    lines.write_text("".join(line for line in kept if '"gsm8k/1"' not in line), encoding="utf-8")
    CliRunner().invoke(forgetting, command, catch_exceptions=False)
    assert len(texts) == 1 and texts[0].startswith("What is 2 and 3?"), "only what is missing is asked"


def test_an_item_that_fails_stops_the_comparison(shallow, tmp_path, monkeypatch):
    data = write_skill_files(tmp_path)

    class Failing(LocalModel):
        def answer(self, task, items):
            return (prediction(item, error="broken") for item in items)

    monkeypatch.setattr(recipe, "make_answerer", lambda folder: Failing(shallow))
    tasks = recipe.chosen_tasks(None, 0, (), ())
    model = recipe.TrainedModel("ours", 0, "after")
    with pytest.raises(DataError, match=r"ours-0, skills: 14 failed, 0 without answer, 0 rejected; see the lines in"):
        recipe.answer_all(model, tasks, data, tmp_path / "runs", None)


def test_answers_that_the_recipes_teach_are_recognised_as_trained():
    """All of them but yes and no, which are answers to general questions too."""
    rng, answers = random.Random(0), []
    for number in range(60):
        first, second = rng.sample(list(FEELINGS), 2)
        votes = {first: 0.9, second: 0.05} if number % 2 else {first: 0.5, second: 0.4}
        values = {name: rng.uniform(-25, 25) if name in HEAD_ANGLES else 0.9 * rng.random() for name in SCALES}
        exchanges = [ask_described(FaceFacts(values, votes), rng), ask_voice(first, rng, False)]
        exchanges += [ask_face(first, rng, closed) for closed in (True, False)]
        answers += [exchange.answer for exchange in exchanges]
    missed = {answer for answer in answers if not trained_form(answer)}
    assert missed <= {"Yes.", "No.", "是的。", "不是。", "不对。"} and len(set(answers)) > 100
