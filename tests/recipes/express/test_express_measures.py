"""Measures of expression generators fail where they should, on faces whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.express.track import CHANNELS, EMOTIONS, PLACE
from recipes.express.extract import balanced_order
from recipes.express.faces import TAUGHT, MeasuredFaces, read_measured
from recipes.express.judges import fit_judge
from recipes.express.measures import (
    Trial,
    best_trial,
    blends,
    bootstrap_judges,
    diversity,
    frechet,
    frechet_of_labels,
    mutual_information,
    recall,
    recognised,
    slow_share,
    source_leak,
)

MARKS = [PLACE[name] for name in CHANNELS if name.startswith("mouth")][:7]


def marked(count: int = 40, seed: int = 0, source: str = "fer") -> MeasuredFaces:
    """Return faces in which every emotion has a channel of its own."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(7), count)
    frames = np.where(TAUGHT, 0.3 + 0.05 * random.standard_normal((len(labels), 52)), 0)
    frames[np.arange(len(labels)), np.array(MARKS)[labels]] += 0.4
    return MeasuredFaces(np.arange(len(labels)).astype(str), np.full(len(labels), source), labels, frames)


def test_a_judge_recognises_what_it_learned_and_its_interval_covers_the_value() -> None:
    faces, others = marked(), marked(seed=1)
    judge = fit_judge(faces)
    assert recall(judge(others.frames), others.labels).mean() > 0.95
    assert judge(others.frames).sum(axis=1) == pytest.approx(np.ones(len(others)))
    wrong = (others.labels + 1) % 7
    result = recognised(
        others.frames, np.where(others.labels < 3, wrong, others.labels), judge, bootstrap_judges(faces, 5)
    )
    assert set(result) == {
        "all",
        *(EMOTIONS[label] for label in np.unique(np.where(others.labels < 3, wrong, others.labels))),
    }
    value, (low, high) = result["sadness"]
    assert low <= value <= high and value > 0.9
    assert result["disgust"][0] < 0.1, "faces of anger that should show disgust are not recognised as disgust"


def test_a_judge_does_not_look_at_channels_that_are_not_measured() -> None:
    judge, faces = fit_judge(marked()), marked(seed=1)
    changed = np.where(TAUGHT, faces.frames, 0.9)
    assert judge(changed) == pytest.approx(judge(faces.frames))


def test_recall_is_counted_for_each_emotion() -> None:
    shares = np.eye(7)[[0, 0, 1, 3, 3]]
    assert recall(shares, np.array([0, 1, 1, 3, 3]))[[0, 1, 3]] == pytest.approx([1, 0.5, 1])
    assert np.isnan(recall(shares, np.array([0, 1, 1, 3, 3]))[6])


def test_diversity_is_that_of_pairs_within_an_emotion() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 3000)
    frames = random.standard_normal((6000, 52)) * np.where(labels == 0, 1.0, 0.5)[:, None] + labels[:, None] * 100
    assert diversity(frames, labels, np.ones(52)) == pytest.approx(np.sqrt(2) * 0.75, rel=0.02)
    pairs = frames[:2000, TAUGHT] - frames[1000:3000, TAUGHT]
    assert diversity(frames[:3000], labels[:3000], np.ones(52)) == pytest.approx(np.sqrt((pairs**2).mean()), rel=0.02)


def test_the_distance_between_distributions_is_that_of_the_formula() -> None:
    random = np.random.default_rng(0)
    first = random.standard_normal((20000, 52))
    assert frechet(first, random.standard_normal((20000, 52)), np.ones(52)) < 0.3
    second = 2 * random.standard_normal((20000, 52)) + 0.5
    taught = TAUGHT.sum()
    assert frechet(first, second, np.ones(52)) == pytest.approx(taught * (0.25 + 1), rel=0.05)
    real, drawn = marked(150), marked(150, seed=1)
    right, shuffled = frechet_of_labels(real, drawn.frames, drawn.labels, np.ones(52))
    assert right < shuffled / 3


def test_blends_need_both_emotions_on_top() -> None:
    judge = fit_judge(marked())

    def mixed(shares: np.ndarray, seed: int) -> np.ndarray:
        frames = np.where(TAUGHT, 0.3, 0.0) * np.ones((len(shares), 1))
        frames[:, MARKS] += 0.4 * shares
        return frames

    value, (low, high), count = blends(mixed, judge, 3)
    assert value > 0.95 and low <= value <= high and count == 45
    single = lambda shares, seed: mixed(np.eye(7)[shares.argmax(axis=1)], seed)  # noqa: E731
    assert blends(single, judge, 3)[0] < 0.6


@pytest.mark.parametrize(
    ("weights", "expected"),
    [(np.eye(6), np.log2(6)), (np.full((6, 6), 1 / 6), 0.0), (np.eye(6)[[0, 0, 0, 1, 1, 1]], 1.0)],
)
def test_the_information_of_the_gate_is_in_bits(weights: np.ndarray, expected: float) -> None:
    assert mutual_information(weights, np.arange(6)) == pytest.approx(expected)


def test_slow_and_fast_variation_are_told_apart() -> None:
    clock = np.arange(300) / 30
    phases = np.random.default_rng(0).uniform(0, 6.28, 8)
    slow, fast = (np.sin(2 * np.pi * hertz * clock + phases[:, None])[:, :, None] for hertz in (1.0, 6.0))
    assert slow_share(slow, 30) > 0.95 and slow_share(fast, 30) < 0.05
    assert slow_share(slow + fast, 30) == pytest.approx(0.5, abs=0.05)


def test_a_source_that_shifts_all_faces_is_found_and_gone_without_neutral() -> None:
    parts = []
    for seed in (0, 1):
        first, second = marked(60, seed=seed), marked(60, seed=seed + 5, source="lfw")
        parts.append(
            MeasuredFaces(*(
                np.concatenate([a, b])
                for a, b in (
                    (first.ids, second.ids), (first.sources, second.sources), (first.labels, second.labels),
                    (first.frames, second.frames + 0.2),
                )
            ))
        )  # fmt: skip
    raw, removed = (source_leak(*parts, remove_neutral=remove) for remove in (False, True))
    assert raw[0] > 0.95 and raw[2] == 240
    assert removed[0] == pytest.approx(0.5, abs=0.1) and removed[1][0] <= removed[0] <= removed[1][1]


def test_the_best_trial_keeps_both_limits() -> None:
    results = [
        Trial({"guidance": 0.0}, 0.5, 0.9, 5.0),
        Trial({"guidance": 1.0}, 0.6, 0.85, 9.0),
        Trial({"guidance": 2.0}, 0.9, 0.85, 30.0),
        Trial({"guidance": 3.0}, 0.8, 0.7, 9.0),
    ]
    assert best_trial(results, 10).setting == {"guidance": 1.0}
    assert best_trial(results, 1).setting == {"guidance": 0.0}, "none is near enough: the most diverse one"


def test_every_beginning_of_the_order_is_balanced() -> None:
    groups = [("a",)] * 50 + [("b",)] * 5 + [("c",)] * 20
    order = balanced_order(groups)
    assert sorted(order) == list(range(75))
    counts = {name: sum(groups[row] == (name,) for row in order[:30]) for name in "abc"}
    assert counts == {"a": 13, "b": 5, "c": 12} or counts == {"a": 12, "b": 5, "c": 13}
    assert (balanced_order(groups) == order).all()


def test_measured_faces_are_read_without_people_of_validation(tmp_path: Path) -> None:
    names = ["_neutral", *(name for name in reversed(CHANNELS) if name != "tongueOut")]
    smile = [float(name == "mouthSmileLeft") for name in names]

    def row(identity: str, split: str, label: str = "happiness", source: str = "lfw", detected: bool = True) -> dict:
        return {
            "id": identity, "split": split, "label": label, "source": source, "detected": detected, "shapes": smile,
        }  # fmt: skip

    rows = [
        row("lfw/Ann_0001", "train"), row("lfw/Ann_0002", "validation"), row("lfw/Bob_0001", "train"),
        row("fer/1", "train", source="fer"), row("fer/2", "train", "contempt", "fer"),
        row("fer/3", "train", source="fer", detected=False),
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"shapes": ",".join(names)})
    pq.write_table(table, tmp_path / "part-000000.parquet")
    train = read_measured(tmp_path, "train")
    assert train.ids.tolist() == ["lfw/Bob_0001", "fer/1"]
    assert train.frames[:, PLACE["mouthSmileLeft"]].tolist() == [1.0, 1.0] and train.frames.sum() == 2
    assert read_measured(tmp_path, "validation").ids.tolist() == ["lfw/Ann_0002"]
    with pytest.raises(DataError, match="holds no measured face of the split 'test'"):
        read_measured(tmp_path, "test")
