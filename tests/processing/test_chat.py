import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from emotion_qwen.errors import DataError
from emotion_qwen.processing.chat import (
    AUDIO_PAD,
    CHAT_TEMPLATE,
    IMAGE_PAD,
    QUESTION_FIRST_TEMPLATE,
    SPECIAL_TOKENS,
    VIDEO_PAD,
    expand,
    harmless,
    inside,
    moved,
)
from emotion_qwen.questions import label_question
from emotion_qwen.taxonomy import label_set


def test_placeholders_grow_to_their_tokens_in_order():
    counts = {IMAGE_PAD: [2, 1], VIDEO_PAD: [3], AUDIO_PAD: [4]}
    text, added = expand(f"a{IMAGE_PAD}b{VIDEO_PAD}{AUDIO_PAD}c{IMAGE_PAD}", counts)
    assert text == f"a{IMAGE_PAD * 2}b{VIDEO_PAD * 3}{AUDIO_PAD * 4}c{IMAGE_PAD}"
    place = f"a{IMAGE_PAD}b{VIDEO_PAD}{AUDIO_PAD}c".index("c")
    assert text[moved(place, added)] == "c"


@pytest.mark.parametrize("images", [[], [1, 1]])
def test_a_visual_too_many_or_too_few_is_named(images):
    with pytest.raises(DataError, match=rf"1 <\|image_pad\|> placeholder\(s\) for {len(images)} of them"):
        expand(f"x{IMAGE_PAD}", {IMAGE_PAD: images})


def test_inside_needs_the_whole_token():
    assert inside([(0, 2), (2, 4), (4, 6), (6, 6)], [(2, 5)]) == [0, 1, 0, 0]


def test_special_tokens_in_user_text_lose_their_meaning():
    assert not any(token in harmless(f"x {token} y") for token in SPECIAL_TOKENS)


def test_closed_question_lists_every_label():
    labels = label_set("dfew7")
    assert label_question(labels, "en").endswith("happy, sad, neutral, angry, surprise, disgust, fear.")
    assert label_question(labels, "zh").endswith("高兴、悲伤、中性、愤怒、惊讶、厌恶、恐惧。")


def rendered(template: str, content) -> str:
    chat = [{"role": "user", "content": content}, {"role": "assistant", "content": "sad"}]
    (text,), _ = render_jinja_template(conversations=[chat], chat_template=template)
    return text.split("user\n")[1].split("<|im_end|>")[0]


PICTURE, SOUND = "<|vision_start|><|image_pad|><|vision_end|>", "<|audio_start|><|audio_pad|><|audio_end|>"


@pytest.mark.parametrize(
    ("kinds", "in_order", "question_first"),
    [
        ("image Which?", PICTURE + "Which?", "Which?\n" + PICTURE),
        ("image audio words Which?", PICTURE + SOUND + "wordsWhich?", "Which?\n" + PICTURE + SOUND + "words"),
        ("words Which?", "wordsWhich?", "Which?\nwords"),
        ("Which?", "Which?", "Which?"),
        ("image", PICTURE, PICTURE),
        ("image One image Two", PICTURE + "One" + PICTURE + "Two", PICTURE + "One" + PICTURE + "Two"),
        ("Which? image", "Which?" + PICTURE, "Which?" + PICTURE),
    ],
)
def test_the_question_comes_first_where_it_stands_behind_all_media(kinds, in_order, question_first):
    content = [{"type": k} if k in ("image", "audio") else {"type": "text", "text": k} for k in kinds.split()]
    assert rendered(CHAT_TEMPLATE, content) == in_order
    assert rendered(QUESTION_FIRST_TEMPLATE, content) == question_first
    assert rendered(QUESTION_FIRST_TEMPLATE, "Hello!") == "Hello!"
