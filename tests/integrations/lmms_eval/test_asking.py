import numpy as np
import pytest
from PIL import Image

from emotion_qwen.errors import SettingsError
from emotion_qwen.integrations.lmms_eval.asking import answer_of, content_part, harness_context, harness_request

from .invented import held

PICTURE = Image.new("L", (6, 4), 7)
DOCUMENTS = {"theirs": {"val": [{"q": "What is it?", "a": "a cat"}]}}


def simple(settings, visuals, context="What is it?"):
    return harness_request((context, settings, lambda row: visuals, 0, "theirs", "val"), DOCUMENTS)


def chat(messages, settings=None):
    return harness_request(("", lambda row: messages, settings or {}, 0, "theirs", "val"), DOCUMENTS)


def test_a_row_of_ours_is_our_item_in_both_forms(home):
    documents = held("emer_zh", home)
    for arguments in (("", {"max_new_tokens": 9}, list), ("", list, {"max_new_tokens": 9})):
        one = harness_request((*arguments, 1, "emer_zh", "emer_zh"), documents)
        assert (one.task.name, one.task.max_new_tokens, one.item.id) == ("emer", 9, "sample_00000002")
        assert one.item.language == "zh" and one.talk == ()


def test_a_request_of_others_is_a_general_question():
    one = simple({"until": ["\n\n", "."], "max_new_tokens": 5}, [PICTURE])
    assert (one.task.domain, one.task.answered, one.task.max_new_tokens) == ("general", "text", 5)
    assert one.item.question == "What is it?" and one.item.parts[0]["image"].shape == (4, 6, 3) and not one.talk
    assert one.cut(" A cat.\n\nAnd more") == "A cat"
    words = simple({}, None)
    assert words.item.parts == () and words.task.max_new_tokens == 1024 and words.key != one.key


def test_messages_keep_their_order_and_several_visuals_are_a_talk():
    content = [{"type": "text", "text": "Look:"}, {"type": "image", "url": PICTURE}, {"type": "text", "text": "What?"}]
    system = {"role": "system", "content": [{"type": "text", "text": "Be short."}]}
    one = chat([system, {"role": "user", "content": content}])
    assert one.task.system == "Be short." and [p["type"] for p in one.item.parts] == ["text", "image"] and not one.talk
    assert one.item.question == "What?"
    two = chat([system, {"role": "user", "content": [*content, content[1]]}])
    assert [turn["role"] for turn in two.talk] == ["system", "user"] and len(two.talk[1]["content"]) == 4
    assert two.item.question == "" and len(two.item.parts) == 4, "a question that ends with a picture"
    assert simple({}, [PICTURE, PICTURE]).talk


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.7, "do_sample": True}, {"num_beams": 4}], ids=["drawn", "beams"]
)
def test_only_greedy_answers(settings):
    with pytest.raises(SettingsError, match="answers greedily"):
        simple(settings, None)
    assert simple({"temperature": 0.7, "do_sample": False, "num_beams": 1}, None)


@pytest.mark.parametrize("medium", ["a.wav", {"array": [0], "sampling_rate": 1}, np.zeros((2, 2), np.uint8), 3])
def test_a_medium_that_is_not_taken_is_named(medium):
    with pytest.raises(SettingsError, match="expected a PIL picture"):
        content_part(medium)


def test_paths_are_pictures_or_videos_and_parts_of_videos_are_refused():
    assert content_part("x.MP4")["type"] == "video" and content_part("x.png")["type"] == "image"
    assert content_part("no_suffix", "video")["type"] == "video"
    cut = {"type": "video", "url": "x.mp4", "start_time": 1.0}
    with pytest.raises(SettingsError, match="whole picture or video"):
        chat([{"role": "user", "content": [cut]}])


def test_answers_to_be_scored():
    arguments = ("Q", lambda row: f" {row['a']}", lambda row: PICTURE, 0, "theirs", "val")
    parts, context = harness_context(arguments, DOCUMENTS)
    assert (len(parts), context, answer_of(arguments, DOCUMENTS)) == (1, "Q", "a cat")
    assert harness_context(("", " yes"), {}) == ([], "") and answer_of(("", " yes"), {}) == "yes"
