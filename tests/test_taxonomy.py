from __future__ import annotations

import re
import subprocess
import sys

import pytest

from emotion_qwen.errors import SettingsError
from emotion_qwen.taxonomy import CONCEPTS, LABEL_SETS, concept, label_set


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
