"""What ships of mini: sizes, hashes and terms; and, where it was fetched, that it sees, writes and measures."""

import json

import numpy as np
import pytest

from emotion_qwen.convert.overlay import file_digest
from emotion_qwen.fetch.artefacts import PARTS
from emotion_qwen.model.source import NANO
from emotion_qwen.records import GENERATED

MINI = NANO.parent / "mini"


def test_what_ships_is_small_whole_and_for_the_language_model_that_is_fetched():
    manifest = json.loads((MINI / "overlay.json").read_text(encoding="utf-8"))
    weights = MINI / "overlay.safetensors"
    assert file_digest(weights) == manifest["weights"]
    assert manifest["base"] == PARTS["mini"].artefact.files[0].sha256
    assert weights.stat().st_size < 45e6
    assert weights.stat().st_size + (NANO / "model.safetensors").stat().st_size <= 64e6
    terms = (MINI / "LICENSE-WEIGHTS").read_text(encoding="utf-8")
    assert terms.startswith("LicenseRef-research-weights") and "RAVDESS" in terms


def test_the_shipped_facts_say_what_it_was_trained_for():
    facts = json.loads((MINI / "training_facts.json").read_text(encoding="utf-8"))
    assert facts["reads_facts"] and facts["scores"] == "likelihood"
    config = json.loads((MINI / "config.json").read_text(encoding="utf-8"))
    assert set(facts["facial_actions"]) <= set(config["facial_actions"])


@pytest.mark.mini
def test_mini_measures_and_writes(fetched, tmp_path):
    from emotion_qwen import EmotionQwen
    from emotion_qwen.batch.demo import make_demo_clip

    model = EmotionQwen.load(fetched("mini"))
    report = model.analyze(make_demo_clip(tmp_path / "demo.mp4"))
    assert report.label == "happy" and report.people[0].face
    written = [sentence for sentence in report.rationale if sentence.kind == GENERATED]
    assert len(written) >= 2, "an account of several sentences"
    assert np.isclose(sum(report.distribution.values()), 1, atol=1e-3)
