import json

import pytest

from emotion_qwen.errors import DataError
from recipes.nano.stages_page import draw_stages, read_stages, write_stages

PARTS = {part: "0" for part in ("vision", "general", "emotion", "gate", "language")}


def proof(steps, changed):
    log = [{"step": step, "loss": 2.0 / step} for step in range(1, steps + 1)]
    log.append({"step": steps, "eval_general_exact": 71.25, "eval_general_loss": 0.1})
    return {"steps": steps, "trains": changed, "changed": changed, "gate": "general", "parts": PARTS, "log": log}


@pytest.fixture
def runs(tmp_path):
    for name, changed in (("one", ["general"]), ("two", ["emotion", "gate"])):
        folder = tmp_path / "runs" / name / "model"
        folder.mkdir(parents=True)
        (folder / "stage.json").write_text(json.dumps(proof(4, changed)))
    return tmp_path / "runs"


def test_the_page_tells_what_learned_what_did_not_and_the_last_figures(runs, tmp_path):
    stages = read_stages(runs, ("one", "two"))
    write_stages(stages, tmp_path / "results")
    page = (tmp_path / "results" / "stages.md").read_text(encoding="utf-8")
    assert "| one | 4 | general | vision, emotion, gate, language | general | 0.5 | 71.2 |  |" in page
    assert "| two | 4 | emotion, gate | vision, general, language |" in page
    assert json.loads((tmp_path / "results" / "stages.json").read_text()) == stages


def test_the_picture_is_drawn(runs, tmp_path):
    draw_stages(read_stages(runs, ("one", "two")), tmp_path / "stages.png")
    assert (tmp_path / "stages.png").read_bytes().startswith(b"\x89PNG")


def test_an_unfinished_stage_is_named(runs):
    with pytest.raises(DataError, match=r"complete the stage 'three' first"):
        read_stages(runs, ("one", "three"))
