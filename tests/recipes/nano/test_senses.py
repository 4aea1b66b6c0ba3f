"""Moments hold channels of one emotion, in every choice of channels, and nothing is drawn twice alike."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from emotion_qwen.data.pictures import Pictures
from emotion_qwen.data.voices import Voices
from emotion_qwen.records import Clip
from recipes.nano.pictures import moving
from recipes.nano.senses import CHOICES, SensesPart

LABELS = ("anger", "fear", "happiness")


def part(**options) -> SensesPart:
    """Build moments whose face's brightness, voice's level and text tell their label."""
    levels = range(1, len(LABELS) + 1)
    pixels = np.stack([np.full((48, 48, 3), 60 * level, np.uint8) for level in levels])
    faces = Pictures("faces", pixels, LABELS, LABELS)
    waves = tuple(np.full(1600, level / 10, np.float32) for level in levels)
    voices = Voices("voices", waves, (*LABELS[:2], "boredom"), (1, 1, 1), LABELS)
    texts = [(f"I say {label}", label) for label in LABELS]
    settled = {"strength": None, "varied": False, "moved": 0.0, "size": 400, **options}
    return SensesPart("moments", "emotion", faces, voices, texts, **settled)


def held(sample) -> tuple[str, ...]:
    """Name the channels of a sample, in order; the last part is the question."""
    kinds = {"image": "picture", "video": "picture", "audio": "sound", "text": "words"}
    return tuple(kinds[one["type"]] for one in sample.messages[0]["content"][:-1])


def test_all_channels_of_a_moment_have_its_label():
    own = part()
    for index in range(200):
        sample = own.sample(index, 0)
        for one in sample.messages[0]["content"][:-1]:
            if one["type"] == "image":
                assert one["image"][0, 0, 0] == 60 * (LABELS.index(sample.labels["emotion"]) + 1)
            elif one["type"] == "audio" and sample.labels["emotion"] != "boredom":
                assert one["audio"][0] == pytest.approx((LABELS.index(sample.labels["emotion"]) + 1) / 10)
            elif one["type"] == "text":
                assert f"I say {sample.labels['emotion']}" in one["text"]


def test_every_choice_of_channels_comes_in_its_share_and_a_missing_voice_is_left_out():
    own = part()
    counts = Counter(held(own.sample(index, 0)) for index in range(2000))
    assert set(counts) == set(CHOICES)
    assert counts[("sound",)] / 2000 == pytest.approx(CHOICES[("sound",)], abs=0.03)
    glad = [sample for sample in (own.sample(i, 0) for i in range(400)) if sample.labels.get("emotion") == "happiness"]
    assert glad and not any("sound" in held(sample) for sample in glad)


def test_a_moment_is_the_same_again_and_another_one_the_next_turn():
    own = part()
    again = [own.sample(3, 0).messages[1], part().sample(3, 0).messages[1]]
    assert again[0] == again[1]
    assert [own.sample(i, 0).messages[1] for i in range(20)] != [own.sample(i, 1).messages[1] for i in range(20)]
    assert own.identity == part().identity != part(seed=1).identity


def test_a_bare_question_has_any_answer():
    own = part(choices={(): 1.0})
    answers = Counter(own.sample(index, 0).messages[1]["content"] for index in range(300))
    assert len(answers) > 8 and all(held(own.sample(index, 0)) == () for index in range(5))


def test_pictures_move_where_asked():
    own = part(choices={("picture",): 1.0}, moved=1.0)
    clip = own.sample(0, 0).messages[0]["content"][0]["video"]
    assert isinstance(clip, Clip) and clip.frames.shape[1:] == (48, 48, 3) and len(clip.frames) in (4, 6, 8)
    assert clip.fps == pytest.approx(4.0)


def test_a_moving_clip_drifts_over_its_picture():
    picture = np.tile(np.linspace(0, 255, 48, dtype=np.uint8)[None, :, None], (48, 1, 3))
    clip = moving(picture, random.Random(0))
    assert not np.array_equal(clip.frames[0], clip.frames[-1])
    assert abs(int(clip.frames[0].mean()) - int(picture.mean())) < 40
