"""The verifier: n-grams, fitting, files, and what it reads."""

import json
import math

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from emotion_qwen.errors import CheckpointError, DataError
from emotion_qwen.verify.fitting import fit_table, macro_biases
from emotion_qwen.verify.ngrams import collect_grams, count_grams, tokens_of, vectors_of
from emotion_qwen.verify.sentences import LabelledText, labelled_as, labelled_sentences, read_sentences
from emotion_qwen.verify.verifier import EMOTIONS, NEUTRAL, SETTINGS, WEIGHTS, Verifier, emotion_of


def read(verifier: Verifier, text: str) -> str:
    return EMOTIONS[int(verifier.shares([text])[0].argmax())]


def test_words_are_lower_case_and_chinese_characters_single():
    assert tokens_of("Sooooo HAPPY, don’t stop!!!! 哈哈") == [
        "soo", "happy", ",", "don't", "stop", "!", "!", "哈", "哈",
    ]  # fmt: skip


def test_counts_and_weights_of_n_grams_by_hand():
    whole, pieces = counts = count_grams(["sad sad", "ok", ""])
    assert sorted(whole[0].values()) == [1, 2]  # "sad sad" and "sad"
    assert pieces[0].total() == 2 * (3 + 2 + 1)  # <sa sad ad> <sad sad> <sad>, twice
    assert not whole[2] and not pieces[2]
    words, parts = collect_grams(whole, 3), collect_grams(pieces, 20)
    assert words.rarity == pytest.approx(np.full(3, math.log(4 / 2) + 1)) and (np.diff(words.checksums) > 0).all()
    rows = vectors_of(counts, (words, parts))
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    assert lengths == pytest.approx([math.hypot(1, 0.7), math.hypot(1, 0.7), 0.0])
    first = sorted(rows[0, : len(words.checksums)].data.tolist())
    assert first[1] / first[0] == pytest.approx(1 + math.log(2))  # twice against once
    assert vectors_of(count_grams(["xyz"]), (words, parts)).nnz == 0  # nothing known


def name_of(number: int) -> str:
    """Return a word without repeated letters, which would be shortened."""
    return "".join(f"{letter}{digit}" for letter, digit in zip("abcd", f"{number:04d}", strict=True))


def test_rare_n_grams_are_left_out_of_large_collections():
    counts = count_grams([f"{name_of(number % 1500)} same" for number in range(3000)])
    assert len(collect_grams(counts[0], 3).checksums) == 1  # "same"; the others are in 2 of 3,000 texts
    assert len(collect_grams(counts[0] + counts[0][:1000], 3).checksums) == 1 + 2 * 1000
    assert len(collect_grams(counts[0][:1999], 3).checksums) == 1 + 2 * 1500  # a small collection keeps all


def test_it_reads_the_emotion_of_words_it_was_trained_on_and_of_their_relatives(small_verifier):
    assert read(small_verifier, "Such a happy child") == "happiness"
    assert read(small_verifier, "the saddest, loneliest face") == "sadness"
    assert read(small_verifier, "他非常伤心") == "sadness"
    assert read(small_verifier, "a table in the room") == "neutral"


def test_shares_add_up_to_1_and_are_equal_without_a_word(small_verifier):
    shares = small_verifier.shares(["happy", "", " ...!", "高兴"])
    assert shares.sum(axis=1) == pytest.approx(1)
    assert np.allclose(shares[1:3], 1 / 7) and shares[0].max() > 0.3


def test_a_saved_verifier_reads_the_same_to_a_hundredth(small_verifier, tmp_path):
    small_verifier.save(tmp_path)
    loaded = Verifier.load(tmp_path)
    texts = ["so happy and glad", "he shouts with clenched fists", "很高兴"]
    assert loaded.shares(texts) == pytest.approx(small_verifier.shares(texts), abs=0.02)
    assert (tmp_path / WEIGHTS).stat().st_size < 100_000


@pytest.mark.parametrize("fault", ["format", "missing", "nan", "shape", "settings"])
def test_a_damaged_verifier_is_refused_in_one_line(small_verifier, tmp_path, fault):
    small_verifier.save(tmp_path)
    arrays = load_file(tmp_path / WEIGHTS)
    if fault == "format":
        (tmp_path / SETTINGS).write_text(json.dumps({"format": 99, "emotions": list(EMOTIONS)}))
    elif fault == "missing":
        del arrays["en.bias"]
    elif fault == "nan":
        arrays["en.bias"] = np.full(7, np.nan, dtype=np.float32)
    elif fault == "shape":
        arrays["zh.weights"] = arrays["zh.weights"][:-1]
    else:
        (tmp_path / SETTINGS).write_text("{")
    (tmp_path / WEIGHTS).write_bytes(save(arrays))
    with pytest.raises(CheckpointError, match="holds no verifier of this version.*verify train") as error:
        Verifier.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_language_without_weights_is_refused(small_verifier):
    with pytest.raises(CheckpointError, match="trained for en, the text is in 'zh'"):
        Verifier({"en": small_verifier.table("en")}).shares(["高兴"])


def test_labels_of_any_set_are_read_as_one_of_seven_emotions():
    assert [emotion_of(label) for label in ("joy", "Happy", "悲伤", "grief", "calm")] == [
        "happiness", "happiness", "sadness", "sadness", "neutral",
    ]  # fmt: skip
    assert emotion_of("contempt") is None and emotion_of("homesick") is None


def test_several_labels_share_a_text_and_others_are_counted():
    rows = [LabelledText("a", ("joy", "sad")), LabelledText("b", ("pride",)), LabelledText("c", ("fear", "pride"))]
    sentences, unknown = labelled_sentences(rows)
    assert list(sentences.texts) == ["a", "c"] and unknown == {"pride": 1}
    assert sentences.targets[0][[EMOTIONS.index("happiness"), EMOTIONS.index("sadness")]].tolist() == [0.5, 0.5]
    assert sentences.targets[1][EMOTIONS.index("fear")] == 1


def test_sentences_are_read_from_each_kind_of_file(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.csv").write_text('text,label,split\n"So, happy",joy,train\nfine,"joy; calm",valid\n,sad,train\n')
    (tmp_path / "b.jsonl").write_text(
        '{"sentence": "grr", "feeling": ["anger"]}\n\n{"sentence": "x", "feeling": NaN}\n'
    )
    pq.write_table(pa.table({"text": ["boo"], "ekman": [["fear"]], "label": ["no"]}), tmp_path / "c.parquet")
    assert read_sentences(tmp_path / "a.csv") == [
        LabelledText("So, happy", ("joy",), "train"), LabelledText("fine", ("joy", "calm"), "validation"),
    ]  # fmt: skip
    assert read_sentences(tmp_path / "b.jsonl", "sentence", "feeling") == [
        LabelledText("grr", ("anger",)), LabelledText("x", ()),
    ]  # fmt: skip
    assert read_sentences(tmp_path / "c.parquet") == [LabelledText("boo", ("fear",))]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "words,label\nx,y\n", "has the columns words, label, but not 'text'; name the columns"),
        ("a.jsonl", "[1]\n", "line 1: .* is no object"),
        ("a.jsonl", "{\n", "cannot be read"),
        ("a.txt", "x", "ends in '.txt'"),
        ("a.parquet", "x", "cannot be read"),
    ],
)
def test_a_file_without_texts_and_labels_is_refused_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message) as error:
        read_sentences(tmp_path / name)
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="does not exist"):
        read_sentences(tmp_path / "absent.csv")


def test_too_few_sentences_or_a_single_emotion_are_refused():
    with pytest.raises(DataError, match=r"3 labelled sentence\(s\) in 'en' with 1 emotion"):
        fit_table(labelled_as(["a", "b", "c"], ["joy"] * 3), "en")
    with pytest.raises(DataError, match=r"30 labelled sentence\(s\) in 'en' with 1 emotion"):
        fit_table(labelled_as(["a"] * 30, ["joy"] * 30), "en")


def test_biases_let_a_rare_emotion_be_named():
    sentences = labelled_as(["x"] * 60, ["neutral"] * 50 + ["fear"] * 10)
    scores = np.zeros((60, 7), dtype=np.float32)
    scores[:, NEUTRAL] = 2.0
    scores[50:, EMOTIONS.index("fear")] = 1.5
    assert (scores.argmax(axis=1) == NEUTRAL).all()
    moved = scores + macro_biases(scores, sentences)
    assert (moved.argmax(axis=1) == sentences.targets.argmax(axis=1)).all()
