"""The recipe of the shipped verifier."""

import pyarrow as pa
import pyarrow.parquet as pq

from emotion_qwen.verify.verifier import EMOTIONS
from recipes.mini.verifier import finer, together, word_sentences

LABELS = {
    "anger": "anger", "annoyance": "anger", "disgust": "disgust", "fear": "fear", "joy": "joy", "love": "joy",
    "neutral": "neutral", "sadness": "sadness", "surprise": "surprise",
}  # fmt: skip


def test_finer_classes_keep_their_groups_and_words_join_the_class_of_their_name(tmp_path):
    rows = [{"text": name, "labels": [name], "ekman": [group], "split": "train"} for name, group in LABELS.items()]
    rows.append({"text": "both", "labels": ["annoyance", "love"], "ekman": ["anger", "joy"], "split": "train"})
    rows.append({"text": "kept apart", "labels": ["joy"], "ekman": ["joy"], "split": "validation"})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    train, words = finer(tmp_path / "t.parquet", word_sentences("en"))
    assert len(train) == 10 and train.targets.shape == (10, 9) and train.emotions == words.emotions
    shares = dict(zip(train.texts, train.by_emotion(), strict=True))
    assert shares["annoyance"][EMOTIONS.index("anger")] == 1
    assert shares["both"][[EMOTIONS.index("anger"), EMOTIONS.index("happiness")]].tolist() == [0.5, 0.5]
    of_words = dict(zip(words.texts, words.by_emotion(), strict=True))
    assert of_words["I feel furious."][EMOTIONS.index("anger")] == 1
    assert of_words["joyful"][EMOTIONS.index("happiness")] == 1
    assert len(together([train, words])) == len(train) + len(words)
