import numpy as np
import pytest

from emotion_qwen.data.mixture import LengthGrouped, Mixture, SampleList, rough_length
from emotion_qwen.errors import DataError
from emotion_qwen.records import Sample


def talk(name: str, text: str = "a") -> Sample:
    return Sample(name, ({"role": "user", "content": text}, {"role": "assistant", "content": "b"}))


def part(name: str, count: int, domain: str = "general") -> SampleList:
    return SampleList(name, domain, [talk(f"{name}/{i}", "a" * (1 + i * 7 % 50)) for i in range(count)])


def ids(mixture) -> list[str]:
    return [mixture[place].sample.id for place in range(len(mixture))]


def test_the_line_is_a_function_of_seed_and_place():
    parts = [part("a", 10), part("b", 7, "emotion")]
    first = ids(Mixture(parts, [3, 1], 200, seed=5))
    again = Mixture(parts, [3, 1], 200, seed=5)
    assert [again[place].sample.id for place in reversed(range(200))] == first[::-1]
    assert ids(Mixture(parts, [3, 1], 200, seed=6)) != first
    assert ids(Mixture(parts, [3, 1], 90, seed=5)) == first[:90]  # a longer run begins as a shorter one


def test_any_stretch_has_the_parts_in_their_shares():
    mixture = Mixture([part("a", 10), part("b", 10), part("c", 10)], [0.7, 0.2, 0.1], 2000, seed=1)
    for first in range(0, 1900, 37):
        counts = np.bincount(mixture.owner[first : first + 100], minlength=3)
        assert abs(counts - np.array([70, 20, 10])).max() <= 3


def test_a_turn_shows_every_sample_once_and_the_next_in_another_order():
    seen = [i for i in ids(Mixture([part("a", 30), part("b", 5)], [1, 1], 300, seed=2)) if i.startswith("a")]
    assert sorted(seen[:30]) == sorted(seen[30:60]) == sorted(f"a/{i}" for i in range(30))
    assert seen[:30] != seen[30:60]


def test_domain_and_place_come_with_the_sample():
    mixture = Mixture([part("a", 3), part("b", 3, "emotion")], [1, 1], 12, seed=0)
    for place in range(12):
        item = mixture[place]
        assert item.place == place and item.domain == ("emotion" if item.sample.id[0] == "b" else "general")


def test_a_position_is_checked_on_resuming():
    parts = [part("a", 10), part("b", 7)]
    saved = Mixture(parts, [3, 1], 200, seed=5).position(40)
    assert saved["seen"] == 40 and sum(p["seen"] for p in saved["parts"]) == 40
    Mixture(parts, [3, 1], 400, seed=5).check_position(saved)
    with pytest.raises(DataError, match=r"differ from what the checkpoint has seen \(part\(s\) b\)"):
        Mixture([parts[0], part("b", 8)], [3, 1], 200, seed=5).check_position(saved)
    with pytest.raises(DataError, match=r"part\(s\) a, b"):
        Mixture(parts, [2, 1], 200, seed=5).check_position(saved)
    with pytest.raises(DataError, match="resume with the same data"):
        Mixture(parts, [3, 1], 200, seed=6).check_position(saved)


def test_wrong_mixtures_are_refused():
    with pytest.raises(DataError, match=r"a mixture of 1 part\(s\) with 2 share\(s\)"):
        Mixture([part("a", 1)], [1, 2], 5, seed=0)
    with pytest.raises(DataError, match="part 'empty' of the mixture has no sample"):
        Mixture([part("empty", 0)], [1], 5, seed=0)
    with pytest.raises(DataError, match="part 'a' has share 0; expected a positive number"):
        Mixture([part("a", 1)], [0], 5, seed=0)


def test_length_order_keeps_every_item_once_and_batches_alike_lengths():
    mixture = Mixture([part("a", 50)], [1], 70, seed=3)
    ordered = LengthGrouped(mixture, batch=4, window=4, seed=1)
    places = [ordered[place].place for place in range(70)]
    assert sorted(places) == list(range(70))
    assert all(sorted(places[i : i + 16]) == list(range(i, i + 16)) for i in range(0, 64, 16))
    spread = [np.ptp([rough_length(ordered[i + k].sample) for k in range(4)]) for i in range(0, 64, 4)]
    plain = [np.ptp([rough_length(mixture[i + k].sample) for k in range(4)]) for i in range(0, 64, 4)]
    assert np.mean(spread) < 0.5 * np.mean(plain)
    assert [LengthGrouped(mixture, 4, 4, seed=1)[p].place for p in (33, 2, 69)] == [places[p] for p in (33, 2, 69)]
