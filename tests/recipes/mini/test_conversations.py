"""Parts of mini's mixture on made-up data: what is shown, asked and answered, and that a place decides it alone."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emotion_qwen.data.parts import read_part
from emotion_qwen.errors import DataError
from emotion_qwen.questions import label_question
from emotion_qwen.taxonomy import label_set
from recipes.mini import parts
from recipes.mini.actions import ACTIONS
from recipes.mini.conversations import AGAIN, FacesPart, LabelledText, ReplayPart, TextsPart, VoicesPart, face_picture
from recipes.mini.ears_voices import Voice
from recipes.mini.eyes_data import EMOTIONS, LabelledFaces
from recipes.mini.label_choices import CHOICES, SETS, answer, drawn_meaning

PARTS = parts.__file__


def faces(count: int = 6) -> LabelledFaces:
    rng = np.random.default_rng(0)
    targets = np.zeros((count, len(EMOTIONS)), np.float32)
    targets[np.arange(count), np.arange(count) % 8] = 0.9
    targets[:, 0] += 0.1
    actions = rng.random((count, len(ACTIONS))).astype(np.float32)
    actions[1] = np.nan
    angles = np.tile(np.array([[25.0, 3.0, -2.0]], np.float32), (count, 1))
    pixels = rng.integers(0, 255, (count, 96, 96), dtype=np.uint8)
    names = tuple(f"f{n}" for n in range(count))
    return LabelledFaces(names, pixels, targets, np.full(count, -1), actions, angles)


def texts_of(sample) -> list[str]:
    content = sample.messages[-2]["content"]
    return [part["text"] for part in content if part["type"] == "text"]


def test_closed_questions_are_those_of_inference_and_their_answers_labels_of_the_set():
    part = FacesPart("faces", "emotion", faces(), np.arange(6), "ferplus", closed=1.0, blank=0.0, chinese=0.5)
    questions = {label_question(SETS[name], lang): (name, lang) for name in SETS for lang in ("en", "zh")}
    seen = set()
    for turn in range(30):
        for index in range(6):
            sample = part.sample(index, turn)
            picture, question = sample.messages[0]["content"]
            name, language = questions[question["text"]]
            seen.add(language)
            assert picture["image"].shape in ((48, 48, 3), (64, 64, 3)) and picture["image"].dtype == np.uint8
            assert sample.messages[1]["content"] in SETS[name].names(language)
    assert seen == {"en", "zh"}
    again = part.sample(3, 7)
    assert again.messages[1] == part.sample(3, 7).messages[1]
    assert np.array_equal(
        again.messages[0]["content"][0]["image"], part.sample(3, 7).messages[0]["content"][0]["image"]
    )


def test_answers_follow_the_votes_within_the_set():
    import random

    rng = random.Random(0)
    votes = {"anger": 0.6, "contempt": 0.3, "sadness": 0.1}
    drawn = [drawn_meaning(votes, "fer7", rng) for _ in range(400)]
    assert set(drawn) == {"anger", "sadness"} and drawn.count("anger") > 370
    assert "contempt" in {drawn_meaning(votes, "ferplus8", rng) for _ in range(100)}
    assert answer("dfew7", "surprise", "en") == "surprise" and answer("clue7", "like", "zh") == "喜欢"
    assert len(CHOICES["clue7"]) == 7 and "like" in CHOICES["clue7"]


def test_a_mirrored_picture_has_mirrored_facts():
    import random

    source = faces()
    turned = set()
    for seed in range(12):
        _, shown = face_picture(source, 0, 0.0, random.Random(seed))
        turned.add(round(float(shown.angles[0, 0])))
    assert turned == {25, -25}  # strength 0 flips only


def test_blank_pictures_have_any_label():
    part = FacesPart("faces", "emotion", faces(), np.arange(6), "lfw", closed=1.0, blank=1.0, chinese=0.0)
    samples = [part.sample(2, turn) for turn in range(60)]
    assert len({sample.messages[1]["content"] for sample in samples}) > 5
    kinds = {tuple(part["type"] for part in sample.messages[0]["content"]) for sample in samples}
    assert kinds == {("image", "text"), ("text",)}


def test_voices_are_asked_about_with_the_labels_of_their_corpus():
    rng = np.random.default_rng(1)
    waves = [rng.normal(0, 0.1, 24000).astype(np.float16) for _ in range(3)]
    voices = tuple(
        Voice(f"v{n}", corpus, label, f"s{n}", "train", wave)
        for n, (corpus, label, wave) in enumerate(
            zip(("EmoDB", "RAVDESS", "nEMO"), ("boredom", "calm", "surprise"), waves, strict=True)
        )
    )
    part = VoicesPart("voices", "emotion", voices, closed=1.0, chinese=0.0)
    for index, offered in ((0, "boredom"), (1, "calm"), (2, "surprise")):
        sample = part.sample(index, 0)
        sound, question = sample.messages[0]["content"]
        assert sound["audio"].dtype == np.float32 and len(sound["audio"]) <= 2.3 * 16000
        assert offered in question["text"] and sample.messages[1]["content"].startswith(offered)


def test_texts_are_told_as_words_before_the_question():
    part = TextsPart("texts", "emotion", (LabelledText("What a day!", "happiness"),), ("ekman",), "en")
    told = [texts_of(part.sample(0, turn)) for turn in range(40)]
    assert {label_question(label_set("ekman"), "en"), label_question(label_set("ekman"), "zh")} == {t[1] for t in told}
    assert all("What a day!" in words for words, _ in told) and len({words for words, _ in told}) > 2
    assert {part.sample(0, turn).messages[1]["content"] for turn in range(40)} == {"joy", "喜悦"}


def closed_parts(turns: int) -> list:
    rng = np.random.default_rng(1)
    voices = tuple(
        Voice(f"v{n}", "EmoDB", label, f"s{n}", "train", rng.normal(0, 0.1, 24000).astype(np.float16))
        for n, label in enumerate(("boredom", "anger", "boredom", "disgust"))
    )
    rows = (LabelledText("What a day!", "happiness"), LabelledText("Go away.", "anger"), LabelledText("Ugh.", "like"))
    return [
        FacesPart("f", "emotion", faces(8), np.arange(8), "lfw", closed=1.0, blank=0.0, chinese=0.3, turns=turns),
        VoicesPart("v", "emotion", voices, closed=1.0, chinese=0.3, turns=turns),
        TextsPart("t", "emotion", rows[:2], ("ekman", "clue7"), "zh", turns=turns),
    ]


@pytest.mark.parametrize("place", range(3))
def test_a_closed_question_goes_on_in_short_about_other_items_of_the_same_set(place):
    part, alone = closed_parts(4)[place], closed_parts(1)[place]
    assert part.identity != alone.identity
    differing = 0
    for turn in range(12):
        sample = part.sample(1, turn)
        assert [message["role"] for message in sample.messages] == ["user", "assistant"] * 4
        contents = [message["content"] for message in sample.messages[::2]]
        first = contents[0][1]["text"]
        names, language = next(
            (each.names(lang), lang) for each in SETS.values() for lang in ("en", "zh")
            if label_question(each, lang) == first
        )  # fmt: skip
        assert all(len(content) == 2 and content[1]["text"] in AGAIN[language] for content in contents[1:])
        answers = [message["content"] for message in sample.messages[1::2]]
        assert set(answers) <= set(names)
        differing += len(set(answers)) > 1
        assert len(alone.sample(1, turn).messages) == 2
    assert differing > 3


def test_every_answer_of_a_series_is_that_of_its_own_item():
    labels = {"What a day!": "happiness", "Go away.": "anger"}
    for turn in range(20):
        messages = closed_parts(5)[2].sample(0, turn).messages
        for question, reply in zip(messages[::2], messages[1::2], strict=True):
            meaning = next(label for text, label in labels.items() if text in question["content"][0]["text"])
            assert reply["content"] in {name for lang in ("en", "zh") for name in (
                answer("ekman", meaning, lang), answer("clue7", meaning, lang))}  # fmt: skip


def test_readers_take_what_the_settings_name(tmp_path):
    rows = [
        {"text": f"t{n}", "label": label, "source": source, "split": "train"}
        for n, (label, source) in enumerate([("like", "CLUEbenchmark/x"), ("anger", "CLUEbenchmark/x"), ("other", "y")])
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "zh.parquet")
    options = {"source": "CLUE", "choices": ["clue7"], "language": "zh"}
    part = read_part(f"{PARTS}:texts", "clue", "emotion", tmp_path / "zh.parquet", "train", **options)
    assert sorted(row.meaning for row in part.rows) == ["anger", "like"]
    with pytest.raises(DataError, match="no text has split 'test'"):
        read_part(f"{PARTS}:texts", "clue", "emotion", tmp_path / "zh.parquet", "test", **options)
    rows = [
        {"id": "a", "prompt": "Say hi.", "response": "Hi.", "split": "train"},
        {"id": "b", "prompt": "Sing.", "response": None, "split": "train"},
        {"id": "c", "prompt": "x" * 800, "response": "Too long.", "split": "train"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "general.parquet")
    part = read_part(f"{PARTS}:replay", "general", "general", tmp_path / "general.parquet", "train")
    assert isinstance(part, ReplayPart) and part.pairs == (("Say hi.", "Hi."),)
    (tmp_path / "own.jsonl").write_text(json.dumps({"id": "b", "response": "La la."}) + "\n", encoding="utf-8")
    part = read_part(
        f"{PARTS}:replay", "own", "general", tmp_path / "general.parquet", "train", answers=str(tmp_path / "own.jsonl")
    )
    assert part.pairs == (("Sing.", "La la."),)
