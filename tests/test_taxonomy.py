from __future__ import annotations

import re
import subprocess
import sys

import pytest

from emotion_qwen.errors import SettingsError
from emotion_qwen.taxonomy import (
    CONCEPTS,
    LABEL_SETS,
    OWN,
    chosen_labels,
    concept,
    feeling_word,
    label_set,
    valence_arousal,
)


@pytest.mark.parametrize("name", LABEL_SETS)
def test_every_label_means_the_same_in_both_languages(name: str) -> None:
    labels = label_set(name)
    assert len(labels.labels) == len(labels.chinese) == len({concept(label) for label in labels.labels})
    assert labels.source
    for english, chinese in zip(labels.labels, labels.chinese, strict=True):
        assert concept(chinese) == concept(english)


def test_every_alias_belongs_to_one_concept() -> None:
    words = [word for c in CONCEPTS.values() for word in (*c.english, *c.chinese)]
    assert len(words) == len(set(words))
    assert all(word == word.strip().lower() and word for word in words)


def test_a_broader_concept_exists_and_is_broadest() -> None:
    broader = [CONCEPTS[c.broader] for c in CONCEPTS.values() if c.broader]
    assert broader and not any(c.broader for c in broader)


def test_coordinates_lie_in_the_unit_cube_and_tell_pleasant_from_unpleasant() -> None:
    for c in CONCEPTS.values():
        assert all(-1 <= value <= 1 for value in (c.valence, c.arousal, c.dominance))
    assert CONCEPTS["happiness"].valence > 0 > CONCEPTS["sadness"].valence
    assert CONCEPTS["anger"].dominance > 0 > CONCEPTS["fear"].dominance


def test_unknown_names_are_refused_with_the_choices() -> None:
    with pytest.raises(SettingsError, match=re.escape("unknown label set 'dfew'; expected one of: dfew7, ekman")):
        label_set("dfew")
    with pytest.raises(SettingsError, match="Did you mean 'happiness'"):
        concept("hapiness")
    with pytest.raises(SettingsError, match="unknown language 'de'"):
        label_set("mer6").names("de")
    assert label_set("mer6").names("zh")[0] == "中性"


def test_taxonomy_loads_no_torch() -> None:
    code = "import sys, emotion_qwen.taxonomy; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_labels_of_ones_own_become_a_set() -> None:
    labels = chosen_labels(" amused,Deeply  moved，puzzled、感动 ")
    assert labels.labels == ("amused", "Deeply moved", "puzzled", "感动") == labels.names("zh")
    assert labels.name == "amused,Deeply moved,puzzled,感动" and labels.source == OWN
    assert chosen_labels(labels.name) == labels == chosen_labels(list(labels.labels))
    assert chosen_labels("mer6") is LABEL_SETS["mer6"]
    assert feeling_word("puzzled", "en") == "puzzled" and feeling_word("joy", "en") == "happy"
    assert valence_arousal({"amused": 0.5, "Deeply moved": 0.5}) is None
    assert valence_arousal({"amused": 0.5, "puzzled": 0.5}) == pytest.approx((0.2, 0.3))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("amused,,moved", "label 2 of 3 is empty; expected a word, remove the extra comma"),
        ("amused,", "label 2 of 2 is empty"),
        (["amused"], "one label given; expected 2 to 50 to choose from, separated by commas"),
        ([], "0 labels given; expected 2 to 50"),
        ([str(number) for number in range(51)], "51 labels given"),
        ("amused,moved,Amused", "label 'Amused' is there twice; expected different labels, remove one of them"),
        ("感动，感动", "label '感动' is there twice"),
        (
            "amused,<moved>",
            "label '<moved>' has the character '<'; expected letters, digits, spaces, hyphens",
        ),
        ("amused,\x1b[31m", "has the character '\\\\x1b'"),
        ("amused,😀", "has the character '😀'"),
        ("amused," + "a" * 41, "has 41 characters; expected at most 40, shorten it"),
        ("amused", "unknown label set 'amused'; .* Separate labels of your own by commas."),
    ],
)
def test_labels_that_cannot_be_are_refused_in_one_line(labels, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        chosen_labels(labels)
    assert "\n" not in str(refused.value)
