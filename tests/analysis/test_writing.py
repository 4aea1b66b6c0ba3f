import json

import pytest
from PIL import Image

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.engine.engine import Engine
from emotion_qwen.questions import QUESTIONS
from emotion_qwen.strings import PHRASES, in_language
from emotion_qwen.views.markdown import as_markdown
from emotion_qwen.views.render import as_json


class Scribe:
    """Takes the place of `Engine.write` and notes what it was asked."""

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, []

    def __call__(self, views, question, max_new_tokens=64, *, system="", sampling=None, schema=None):
        self.asked.append((list(views), question, system, schema))
        steps = {"seen": "the smile is broad", "meaning": "a guess", "conclusion": "happy"}
        return [json.dumps(steps) if schema else self.text for _ in views]


@pytest.fixture
def picture(astronaut, tmp_path):
    Image.fromarray(astronaut).save(tmp_path / "astronaut.png")
    return tmp_path / "astronaut.png"


@pytest.fixture
def scribe(nano, monkeypatch):
    """A model that reads facts, whose every account is the same."""

    def make(text: str) -> tuple[Analyzer, Scribe]:
        engine = Engine(nano.model, nano.processor, "nano")
        facts = engine.training_facts() | {"reads_facts": True}
        monkeypatch.setattr(engine, "training_facts", lambda: facts)
        written = Scribe(text)
        monkeypatch.setattr(engine, "write", written)
        return Analyzer(engine), written

    return make


def test_a_model_that_reads_facts_writes_from_them_and_is_checked(scribe, picture):
    model, written = scribe("It is a picture. The smile is broad from 1.0 to 90.0 s.")
    report = model.analyze(picture, reasoning="steps")
    (views, question, system, _), (_, _, thought, schema), (nothing, again, plain_system, _) = written.asked
    assert (views, question) == ([[]], [QUESTIONS["account"]["en"]])
    assert system[0].startswith("Measured in a picture:\nPerson 1: ") and thought == system[0]
    assert "The person looks" not in json.dumps(schema)  # its steps begin freely
    assert report.summary == written.text
    plain, wrong = [sentence for sentence in report.rationale if sentence.kind == "generated"]
    assert (plain.text, plain.contradicted) == ("It is a picture.", ())
    assert wrong.contradicted[0] == "it was not measured that the smile is broad" and len(wrong.contradicted) == 3
    assert "reasoning: it was not measured that the smile is broad" in report.provenance["warnings"]
    assert report.provenance["reasoning"]["fixed_beginnings"] == {}
    verified = report.verification  # the steps alone were asked about, without the facts and the conclusion
    assert nothing == [[]] and "the smile is broad.\na guess." in again[0] and plain_system == ""
    assert (verified.claims, verified.confirmed, verified.reflected) == (1, 0, None)
    assert verified.emotion == max(verified.distribution, key=verified.distribution.get)


def test_contradicted_sentences_are_marked_where_a_report_is_shown(scribe, picture):
    model, _ = scribe("It is a picture. The smile is broad.")
    report = model.analyze(picture)
    text = as_markdown(report)
    note = in_language(PHRASES, "en")["contradicted"].format(what="it was not measured that the smile is broad")
    assert note in text and text.count("The smile is broad.") == 2 and text.count("It is a picture.") == 1
    (kept,) = [one for one in json.loads(as_json(report))["rationale"] if "contradicted" in one]
    assert kept["text"] == "The smile is broad."


def test_a_question_is_asked_beside_the_facts_in_its_language(scribe, picture):
    model, written = scribe("高兴。")
    assert model.ask(picture, "这个人感觉如何？") == "高兴。"
    ((views, question, system, _),) = written.asked
    assert question == "这个人感觉如何？" and system.startswith("在图片中测得：\n人物1：")
    assert [part["type"] for part in views[0]] == ["image"]


def test_other_models_get_no_facts(nano, picture, monkeypatch):
    written = Scribe("The person looks happy.")
    engine = Engine(nano.model, nano.processor, "nano")
    monkeypatch.setattr(engine, "write", written)
    Analyzer(engine).ask(picture, "How does the person feel?")
    assert written.asked[0][2] == ""
