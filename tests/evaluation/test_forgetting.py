import json
from dataclasses import replace

import numpy as np
import pytest

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.pages.figures import draw_figures
from emotion_qwen.evaluation.pages.forgetting_page import (
    forgetting_record,
    signed_points,
    verdict,
    warnings,
    write_forgetting_page,
)
from emotion_qwen.evaluation.run.forgetting import measure_forgetting as compare
from emotion_qwen.evaluation.tasks import TASKS

from .prediction_files import answered, asked_item, line, write_folder


def right(count: int, share: float) -> np.ndarray:
    return np.arange(count) < count * share


@pytest.fixture(autouse=True)
def a_second_general_task(monkeypatch):
    monkeypatch.setitem(TASKS, "shapes", replace(TASKS["cifar"], name="shapes", title="Drawn shapes"))


@pytest.fixture
def folders(tmp_path):
    """Emotion goes from 50 to 75 %, CIFAR from 90 to 80 %, shapes stays at 60 %."""
    for side, weights, shares in (("before", "aaaa", (0.5, 0.9, 0.6)), ("after", "bbbb", (0.75, 0.8, 0.6))):
        for task, share in zip(("fer", "cifar", "shapes"), shares, strict=True):
            gate = 0.9 if task == "fer" else 0.1
            groups = ("anger", "fear") if task == "fer" else ("cat", "dog")
            write_folder(tmp_path / side / task, answered(right(200, share), gate, groups), weights=weights)
    return tmp_path / "before", tmp_path / "after"


def test_domains_are_means_over_tasks_and_the_loss_is_their_general_one(folders):
    found = compare(*folders, ["fer", "cifar", "shapes"], allow=1.5)
    assert found.domains["emotion"].difference.value == pytest.approx(0.25)
    general = found.domains["general"]
    assert (general.before.value, general.after.value) == pytest.approx((0.75, 0.7)) and general.items == 400
    assert found.loss.value == pytest.approx(5) and found.loss.low < 5 < found.loss.high < 9
    assert found.failed and not compare(*folders, ["fer", "cifar", "shapes"], allow=5.0001).failed
    assert found.emotion_weight("emotion") == pytest.approx((0.9, 0.9))
    assert [header["weights"] for header in found.models] == ["aaaa", "bbbb"] and found.languages == ("en",)


def test_tasks_answered_in_words_are_refused(folders):
    """Neither model has a likeliest choice there: 0 % against 0 %, and nothing would have been forgotten."""
    with pytest.raises(
        SettingsError, match="pope, mme: answered in words, and forgetting compares likelihoods; let both"
    ):
        compare(*folders, ["fer", "pope", "mme", "cifar"], allow=1.5)


def test_classes_are_compared_one_by_one(folders):
    (change,) = compare(*folders, ["cifar"], allow=1).tasks
    assert [(one.name, one.items) for one in change.classes] == [("cat", 100), ("dog", 100)]
    assert [one.difference.value for one in change.classes] == pytest.approx([-0.1, -0.1])
    assert change.unweighted == pytest.approx((0.9, 0.8)) and change.f1 == pytest.approx((0.9, 0.8), abs=0.01)
    assert change.accuracy.chance == 0.5


def test_models_that_answer_alike_differ_by_nothing(folders):
    before, _ = folders
    found = compare(before, before, ["fer", "cifar"], allow=0)
    assert (found.loss.value, found.loss.low, found.loss.high) == (0, 0, 0) and not found.failed and found.sure
    assert "scores the same" in verdict(found) and "-0.0" not in json.dumps(forgetting_record(found))


def test_a_missing_prediction_counts_as_wrong(tmp_path):
    whole = answered(right(20, 1.0))
    write_folder(tmp_path / "before" / "cifar", whole)
    write_folder(tmp_path / "after" / "cifar", whole[:15], [asked_item(one) for one in whole])
    (change,) = compare(tmp_path / "before", tmp_path / "after", ["cifar"], allow=1).tasks
    assert change.accuracy.after.value == 0.75 and change.missing == (0, 5)
    write_folder(tmp_path / "few" / "cifar", whole, [asked_item(one) for one in whole[:10]])
    (fewer,) = compare(tmp_path / "few", tmp_path / "few", ["cifar"], allow=1).tasks
    assert fewer.accuracy.items == 10 and fewer.missing == (0, 0), "lines beyond a limit are none"
    with pytest.raises(DataError, match="20 items .* against 10"):
        compare(tmp_path / "before", tmp_path / "few", ["cifar"], 1)


def test_an_item_in_two_languages_stays_one_item(tmp_path):
    spoken = [line(f"i{n}", language == "en", language=language) for n in range(30) for language in ("en", "zh")]
    silent = [line(f"i{n}", False, language=language) for n in range(30) for language in ("en", "zh")]
    write_folder(tmp_path / "before" / "cifar", spoken)
    write_folder(tmp_path / "after" / "cifar", silent)
    found = compare(tmp_path / "before", tmp_path / "after", ["cifar"], allow=1)
    change = found.tasks[0].accuracy
    assert (change.items, change.before.value) == (30, 0.5) and found.languages == ("en", "zh")
    assert change.before.low == change.before.high == 0.5, "every item is half right, so drawing items changes nothing"


def test_what_cannot_be_compared_is_refused(tmp_path, folders):
    before, after = folders
    with pytest.raises(SettingsError, match="no general task among fer; .* at least one of: cifar, pope"):
        compare(before, after, ["fer"], 1)
    with pytest.raises(DataError, match=r"lfw.task\.json: cannot be read"):
        compare(before, after, ["lfw", "cifar"], 1)
    write_folder(tmp_path / "other" / "cifar", answered(right(5, 1)), split="test")
    with pytest.raises(DataError, match="task cifar: split is 'validation' before and 'test' after"):
        compare(before, tmp_path / "other", ["cifar"], 1)
    write_folder(tmp_path / "words" / "cifar", [line("i0", True, "dog")])
    with pytest.raises(DataError, match="item 'i0' of the first set stands where .* or is asked otherwise"):
        compare(before, tmp_path / "words", ["cifar"], 1)
    write_folder(tmp_path / "empty" / "cifar", [], [asked_item(one) for one in answered(right(5, 1))])
    with pytest.raises(DataError, match="task cifar: no prediction after of any item"):
        compare(before, tmp_path / "empty", ["cifar"], 1)


def test_the_verdict_says_how_sure_it_is(folders):
    lost = compare(*folders, ["fer", "cifar", "shapes"], allow=1.5)
    assert verdict(lost).startswith(
        "General skill is not kept: averaged over 2 general tasks the second model scores 5.0 points lower"
    )
    assert "points, 1.5 allowed). Emotion skill: +25.0 points (+1" in verdict(lost) and warnings(lost) == []
    unsure = compare(*folders, ["cifar", "shapes"], allow=5.5)
    assert not unsure.failed and "more items are needed" in warnings(unsure)[0]
    gained = compare(folders[1], folders[0], ["cifar"], allow=1.5)
    assert "on the one general task the second model scores 10.0 points higher" in verdict(gained)
    assert gained.loss.high < 0 and gained.sure


def test_a_task_at_chance_is_named(tmp_path):
    for side in ("before", "after"):
        write_folder(tmp_path / side / "cifar", answered(right(200, 0.52)))
    found = compare(tmp_path / "before", tmp_path / "after", ["cifar"], allow=1)
    assert "no better than chance on: CIFAR-10, 10 objects" in warnings(found)[0]


def test_page_record_and_figures(folders, tmp_path):
    found = compare(*folders, ["fer", "cifar", "shapes"], allow=1.5)
    figures = draw_figures(found, tmp_path)
    write_forgetting_page(found, tmp_path, figures)
    assert [path.name for path in figures.values()] == ["accuracy.png", "classes.png", "gate.png"]
    assert all(path.stat().st_size > 10_000 for path in figures.values())
    page = (tmp_path / "forgetting.md").read_text(encoding="utf-8")
    assert f"**{verdict(found)}**" in page and "| `bbbb` |" in page
    assert "| **general, mean over tasks** | 400 | 50.0 | 75.0 | 70.0 | **−5.0** (" in page
    assert "| CIFAR-10, 10 objects | cat | 100 | 90.0 | 80.0 | −10.0 (" in page
    assert all(f"]({path.name})" in page for path in figures.values())
    record = json.loads((tmp_path / "forgetting.json").read_text(encoding="utf-8"))
    assert record["failed"] is True and record["general_loss"]["value"] == 5.0
    assert record["general_loss"]["allowed"] == 1.5 and record["models"]["after"]["weights"] == "bbbb"
    assert record["tasks"]["fer"]["difference"]["value"] == 25.0
    assert record["domains"]["emotion"]["emotion_weight"] == {"before": 0.9, "after": 0.9}


def test_signs():
    assert [signed_points(value) for value in (0.04, -0.04, 1.25, -3)] == ["0.0", "0.0", "+1.2", "−3.0"]
