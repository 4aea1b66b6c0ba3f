import copy
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from tests.views.reports import two_people
from tests.views.test_schema import faults

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.forms import FORMS, MOST_ACTIONS
from emotion_qwen.analysis.reasoning import Prompt, Reasoning, difference, safe_text, think
from emotion_qwen.cli import emotion_qwen
from emotion_qwen.engine.engine import Engine, Sampling
from emotion_qwen.errors import SettingsError
from emotion_qwen.faces.face_claims import PHRASES
from emotion_qwen.media.clip import Sources
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.records import Verification
from emotion_qwen.strings import BEGINNINGS, SENTENCES, in_language
from emotion_qwen.strings import PHRASES as VIEW_PHRASES
from emotion_qwen.taxonomy import label_set
from emotion_qwen.verify.verifier import emotion_of
from emotion_qwen.views.html import write_html
from emotion_qwen.views.markdown import as_markdown
from emotion_qwen.views.phrases import step_name
from emotion_qwen.views.render import as_json, show_report
from emotion_qwen.views.schema import report_schema

DFEW = label_set("dfew7")


@pytest.fixture(scope="module")
def face_file(astronaut, tmp_path_factory):
    path = tmp_path_factory.mktemp("faces") / "astronaut.png"
    Image.fromarray(astronaut).save(path)
    return path


@pytest.fixture(scope="module")
def untrained(nano) -> Engine:
    """A model of one layer that knows nothing, with more logits than tokens."""
    config = copy.deepcopy(nano.model.config)
    config.text_config.num_hidden_layers, config.text_config.layer_types = 1, config.text_config.layer_types[:1]
    config.text_config.vocab_size += 32
    config.vision_config.depth, config.vision_config.fullatt_block_indexes = 1, [0]
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Engine(EmotionQwenForConditionalGeneration(config), nano.processor)


def picture(seed: int = 0) -> dict:
    return {"type": "image", "image": np.random.default_rng(seed).integers(0, 255, (48, 48, 3), dtype=np.uint8)}


@pytest.mark.parametrize(
    ("temperature", "language"),
    [
        (0, "en"), (1.5, "zh"), (100, "en"),
        *(pytest.param(*more, marks=pytest.mark.slow) for more in ((0, "zh"), (1.5, "en"), (100, "zh"))),
    ],
)  # fmt: skip
def test_a_model_that_knows_nothing_still_fills_the_steps(untrained, language, temperature):
    channels, sampling = ("picture", "words"), Sampling(temperature, seed=3)
    view = [picture(), {"type": "text", "text": 'He says: "\\'}]
    prompt = Prompt(FORMS["steps"], channels, DFEW, language)
    steps = think(untrained, view, prompt, sampling)
    assert list(steps) == ["seen", "said", "meaning", "conclusion"] and steps["conclusion"] in DFEW.names(language)
    assert all(steps[step].startswith(in_language(BEGINNINGS, language)[step]) for step in ("seen", "said", "meaning"))
    assert steps == think(untrained, view, prompt, sampling)  # the same seed draws the same words


SAID = ("I got the place!", "Thank you.")
WANTED = {
    "reflect": ["trigger", "reaction", "conclusion"],
    "tree": ["actions", "expression", "conclusion"],
    "triplet": ["background", "attribute", "subject", "conclusion"],
    "cause": ["utterance", "link", "conclusion"],
    "reply": ["situation", "other", "own", "managing", "influence", "answer"],
}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("form", WANTED)
def test_every_form_is_filled_as_it_says(untrained, form, language):
    assert set(WANTED) | {"steps"} == set(FORMS)
    prompt = Prompt(FORMS[form], ("picture", "words"), DFEW, language, False, SAID)
    steps = think(untrained, [picture()], prompt, Sampling(1.5, 2))
    assert list(steps) == WANTED[form] and len(json.dumps(steps, ensure_ascii=False).encode()) < prompt.most_tokens
    if form == "tree":
        actions = steps["actions"].split("; " if language == "en" else "；")
        phrases = {texts[language == "zh"][0] for texts in PHRASES.values()}
        assert set(actions) <= phrases and 0 < len(actions) == len(set(actions)) <= MOST_ACTIONS
    if form == "cause":
        assert steps["utterance"] in SAID
    if form != "reply":
        assert steps["conclusion"] in DFEW.names(language)
    assert prompt.question.startswith("Think about the other" if form == "reply" else "Think step") or language == "zh"


@pytest.mark.parametrize(
    ("form", "said", "warned"),
    [
        ("cause", "", "the form 'cause' needs words, which is missing here"),
        ("cause", "I have lost everything.", None),
        ("triplet", "", None),
    ],
)
def test_a_form_that_the_clip_cannot_fill_is_told(nano, face_file, tmp_path, form, said, warned):
    sources = Sources()
    if said:
        (tmp_path / "said.txt").write_text(said)
        sources = Sources(words=True, transcript=tmp_path / "said.txt")
    report = Analyzer(nano).analyze(face_file, sources=sources, reasoning=form)
    warnings = report.provenance["warnings"]
    assert (f"reasoning: {warned}" in warnings) == (warned is not None)
    assert list(report.reasoning) == ([] if warned else WANTED[form])
    assert any(f"not trained to reason in the form '{form}'" in warning for warning in warnings)
    assert said in report.reasoning.get("utterance", said)
    show_report(report, console := Console(file=io.StringIO(), width=140))
    assert warned or f"1. {step_name(WANTED[form][0], in_language(VIEW_PHRASES, 'en'))}" in console.file.getvalue()


def test_texts_for_steps_hold_nothing_that_json_must_escape():
    assert safe_text(' say "no"\\\n\u200e ') == "say no"


def test_rows_of_one_batch_all_parse(untrained):
    prompt = Prompt(FORMS["steps"], ("picture",), DFEW, "zh")
    views = [picture(seed) for seed in range(5)]
    texts = untrained.write(views, prompt.question, prompt.most_tokens, sampling=Sampling(2.0, 1), schema=prompt.schema)
    written = [json.loads(text) for text in texts]
    assert len({steps["seen"] for steps in written}) == 5
    assert {tuple(steps) for steps in written} == {("seen", "meaning", "conclusion")}


def test_drawing_leaves_the_random_numbers_of_others_alone(untrained):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    untrained.write([picture()], "?", 3, sampling=Sampling(1.0, seed=1))
    assert torch.equal(before, torch.get_rng_state())


def test_steps_of_absent_channels_are_left_out_of_answer_and_question():
    def names(*channels: str) -> list[str]:
        return [step.name for step in FORMS["steps"].steps_for(channels)]

    assert names("context") == ["meaning", "conclusion"]
    assert names("picture", "sound", "words") == ["seen", "heard", "said", "meaning", "conclusion"]
    question = Prompt(FORMS["steps"], ("picture",), DFEW, "en").question
    assert '"seen": ' in question and '"heard"' not in question and "happy, sad, neutral" in question
    assert "高兴、悲伤" in Prompt(FORMS["steps"], (), DFEW, "zh").question


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_report_with_reasoning_fits_the_schema_and_says_how_it_came_about(nano, face_file, language):
    report = Analyzer(nano).analyze(face_file, language=language, reasoning="steps", context="Good news.")
    assert not faults(json.loads(as_json(report)), report_schema())
    assert list(report.reasoning) == ["seen", "meaning", "conclusion"]
    verified = report.verification
    assert sum(verified.distribution.values()) == pytest.approx(1) and verified.claims >= verified.confirmed
    assert verified.agrees is (verified.emotion == emotion_of(report.label))
    assert verified.reflected is None or verified.reflected in DFEW.labels
    facts = report.provenance["reasoning"]
    assert (facts["form"], facts["temperature"], facts["seed"]) == ("steps", 0.0, 0)
    assert (
        facts["fixed_beginnings"]["seen"] == in_language(BEGINNINGS, language)["seen"]
        and "heard" not in facts["fixed_beginnings"]
    )
    own = difference(report.reasoning, report.label, DFEW, language)
    assert (own in report.provenance["warnings"]) == (own is not None)
    assert in_language(SENTENCES, language)["untrained_form"].format(form="steps") in report.provenance["warnings"]


def test_without_asking_there_is_none(nano, face_file):
    report = Analyzer(nano).analyze(face_file)
    assert report.reasoning == {} and "reasoning" not in report.provenance
    assert report.verification is None and "verification" not in json.loads(as_json(report))


def test_words_have_a_step_of_their_own(nano, face_file, tmp_path):
    (tmp_path / "said.txt").write_text("I have lost everything.")
    sources = Sources(words=True, transcript=tmp_path / "said.txt")
    report = Analyzer(nano).analyze(face_file, sources=sources, reasoning="steps")
    assert list(report.reasoning) == ["seen", "said", "meaning", "conclusion"]


def test_a_conclusion_that_is_not_the_measured_label_is_told():
    told = difference({"conclusion": "sad"}, "happy", DFEW, "en")
    assert told == (
        "the reasoning concludes 'sad', but the measured label is 'happy'; the label does not depend on the reasoning"
    )
    assert "“悲伤”" in difference({"conclusion": "悲伤"}, "happy", DFEW, "zh")
    assert difference({"conclusion": "高兴"}, "happy", DFEW, "zh") is None


def test_every_view_shows_the_steps_by_their_names(tmp_path):
    told = difference({"conclusion": "sad"}, "happy", DFEW, "en")
    full = two_people()
    report = replace(
        full,
        reasoning={"seen": "The person looks tired.", "conclusion": "sad"},
        verification=Verification("sadness", {"sadness": 0.9}, False, 3, 2, "sad"),
        provenance={**full.provenance, "warnings": [told]},
    )
    console = Console(file=io.StringIO(), width=140)
    show_report(report, console)
    write_html(report, tmp_path / "page.html")
    for text in (console.file.getvalue(), as_markdown(report), (tmp_path / "page.html").read_text(encoding="utf-8")):
        assert "what is seen" in text and "The person looks tired." in text
        assert "the reasoning concludes" in text
        flat = " ".join(text.replace("│", " ").split())
        assert "these steps express sadness (the answer is happy)" in flat
        assert "measurements confirm 2 of 3 claims" in flat and "the model names sad" in flat


def test_requests_that_make_no_sense_are_refused(nano, face_file):
    with pytest.raises(SettingsError, match="unknown form of reasoning 'step'.*Did you mean 'steps'"):
        Analyzer(nano).analyze(face_file, reasoning="step")
    for number in (-1, float("nan"), float("inf"), 1e-9, 101):
        with pytest.raises(SettingsError, match=r"temperature .*; expected 0, or 0.01 to 100"):
            Sampling(number)
    with pytest.raises(SettingsError, match="seed -1; expected 0 to"):
        Sampling(0, -1)
    assert Reasoning().sampling == Sampling(0.0, 0)


def test_the_command_thinks_and_refuses(capsys, face_file, nano_in_commands):
    def run(*options: str) -> int:
        return emotion_qwen.main(["analyze", str(face_file), "--json", *options], standalone_mode=False)

    assert run("--reasoning", "steps", "--temperature", "0.7", "--seed", "5") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["reasoning"]["conclusion"] in DFEW.labels and report["provenance"]["reasoning"]["seed"] == 5
    with pytest.raises(SettingsError, match="give --reasoning with them"):
        run("--temperature", "0.7")
    with pytest.raises(SettingsError, match="temperature nan"):
        run("--reasoning", "steps", "--temperature", "nan")


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0, 0.7, 1.5, 5])
def test_five_hundred_faces_parse(nano, shared_data, temperature):
    """Every answer about 500 real faces, in English and in Chinese by turns."""
    from pyarrow.parquet import read_table

    table = read_table(shared_data / "faces_fer_aligned.parquet", filters=[("split", "=", "validation")]).slice(0, 500)
    views = [
        {"type": "image", "image": np.asarray(Image.open(io.BytesIO(one)).convert("RGB"))}
        for one in table["image"].to_pylist()
    ]
    parsed = 0
    for part, language in ((views[::2], "en"), (views[1::2], "zh")):
        prompt, sampling = Prompt(FORMS["steps"], ("picture",), DFEW, language), Sampling(temperature, seed=7)
        names = tuple(step.name for step in prompt.steps)
        for text in nano.write(part, prompt.question, prompt.most_tokens, sampling=sampling, schema=prompt.schema):
            found = json.loads(text)
            parsed += tuple(found) == names and found["conclusion"] in DFEW.names(language) and "\ufffd" not in text
    assert parsed == 500
