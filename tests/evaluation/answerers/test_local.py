import numpy as np
import pytest
from tests.conftest import write_clip

from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.answerers.preparation import ItemPreparation, still
from emotion_qwen.evaluation.run.runner import answer_task, read_items
from emotion_qwen.evaluation.run.score import as_answers
from emotion_qwen.evaluation.scoring.labels import score_labels
from emotion_qwen.evaluation.tasks.prompts import spoken_part
from emotion_qwen.media.clip import Sources, read_clip
from emotion_qwen.prepare import ClipBudget
from emotion_qwen.questions import label_question

from ..scripted import FER7, emotion_item, everywhere, nobody, toy


def clip_items(path, count: int, **changed):
    return [emotion_item(number, parts=({"type": "video", "video": path},), **changed) for number in range(count)]


def test_texts_of_a_batch_are_those_of_single_calls(nano, tmp_path):
    rng = np.random.default_rng(3)
    pictures = [rng.integers(0, 255, (48, 48, 3), dtype=np.uint8) for _ in range(5)]
    items = [
        emotion_item(n, parts=({"type": "image", "image": picture},), question="Describe it." + " Briefly." * (n % 2))
        for n, picture in enumerate(pictures)
    ]
    done = answer_task(LocalModel(nano), toy(items, "general", max_new_tokens=12), tmp_path / "toy")
    alone = [nano.write([item.parts], item.question, 12)[0] for item in items]
    assert [one.text for one in done.predictions] == alone and all(one.frames == 1 for one in done.predictions)


def test_a_file_is_decoded_once_for_all_its_questions(nano, tmp_path, monkeypatch):
    path, read = write_clip(tmp_path / "c.mp4", np.full((20, 48, 64, 3), 90, np.uint8)), []
    monkeypatch.setattr(
        "emotion_qwen.evaluation.run.answerers.local.read_clip", lambda *a, **k: read.append(a) or read_clip(*a, **k)
    )
    task = toy(clip_items(path, 6), frames={"min_frames": 4, "max_frames": 4}, domain="general")
    done = answer_task(LocalModel(nano, batch=2), task, tmp_path / "toy")
    assert len(read) == 1 and [one.frames for one in done.predictions] == [4] * 6


def test_what_cannot_be_read_fails_alone(deaf, tmp_path):
    missing = emotion_item(1, parts=({"type": "video", "video": tmp_path / "gone.mp4"},))
    sound = emotion_item(2, parts=({"type": "audio", "audio": np.zeros(16000, np.float32)},))
    for answered in ("text", "likelihood"):
        task = toy([emotion_item(0), missing, sound, emotion_item(3)], answered=answered, less_blank=False)
        done = answer_task(LocalModel(deaf, detector=everywhere, workers=0), task, tmp_path / answered)
        errors = [one.error for one in done.predictions]
        assert errors[0] == errors[3] == "" and "gone.mp4" in errors[1] and "no audio input" in errors[2]
        assert all((one.text is None) == (answered == "likelihood") for one in done.predictions if not one.error)


def test_a_system_message_reaches_the_model(nano, tmp_path, monkeypatch):
    seen = []
    original = type(nano.processor).apply_chat_template
    monkeypatch.setattr(
        type(nano.processor),
        "apply_chat_template",
        lambda s, chats, *a, **k: seen.append(chats) or original(s, chats, *a, **k),
    )
    answer_task(LocalModel(nano), toy([emotion_item(0)], "general", system="Be short."), tmp_path / "toy")
    assert seen[0][0][0] == {"role": "system", "content": "Be short."}


def test_texts_come_in_buckets_of_alike_length_and_one_file_side_by_side(nano):
    items = [
        emotion_item(n, parts=({"type": "image", "image": f"{n % 2}.jpg"},), question="x" * (5 if n < 4 else 200))
        for n in range(8)
    ]
    items.append(emotion_item(8, parts=({"type": "text", "text": "told"},)))
    batches = LocalModel(nano, batch=4).batches(toy(items), items)
    assert [[item.id[-1] for item in batch] for batch in batches] == [list("0213"), list("4657"), ["8"]]


@pytest.mark.parametrize("answered", ["text", "likelihood"])
def test_the_header_says_what_decides(nano, answered):
    header = LocalModel(nano).header(toy([], "general", answered=answered, frames={"max_frames": 5}), "test")
    said = {"text": "text, greedy, at most 8 tokens", "likelihood": "likelihood less blank per token"}
    assert header["settings"]["video_max_pixels"] == 4096 and header["settings"]["fps"] == 2.0
    assert header["scoring"] == said[answered] and header["settings"]["max_frames"] == 5 and header["split"] == "test"


def test_a_task_gives_no_model_more_than_it_was_trained_on_but_less(nano, tmp_path):
    path = write_clip(tmp_path / "c.mp4", np.full((40, 64, 64, 3), 90, np.uint8))
    shown = {}
    for pixels in (602112, 2500):
        frames = {"fps": 3.0, "video_max_pixels": pixels, "video_min_pixels": 1600}
        task = toy(clip_items(path, 1), domain="general", frames=frames, max_new_tokens=1)
        original, seen = nano.model.encode_media, []
        nano.model.encode_media = lambda inputs, keep=seen, run=original: keep.append(inputs) or run(inputs)
        try:
            (line,) = answer_task(LocalModel(nano), task, tmp_path / str(pixels)).predictions
        finally:
            nano.model.encode_media = original
        shown[pixels] = line.frames, seen[0]["video_grid_thw"][0].tolist()
    assert shown == {602112: (12, [6, 8, 8]), 2500: (12, [6, 6, 6])}
    assert nano.processor.settings.video_min_pixels == 2304, "the processor is left as it was"


def test_a_picture_in_memory_is_a_still_clip():
    clip = still(np.zeros((4, 6, 3), np.uint8), "p")
    assert clip.still and clip.frames.shape == (1, 4, 6, 3) and clip.size == (4, 6) and clip.fps is None


def test_emotion_is_asked_under_the_settings_of_analyze(nano):
    task = toy([], answered="text", frames={"max_frames": 5, "fps": 3.0})
    header = LocalModel(nano).header(task, "test")
    assert header["settings"] == nano.processor.settings.model_dump()
    assert header["about"] == "people" and header["scoring"].startswith("as analyze")
    assert LocalModel(nano, replies=True).header(task, "test")["scoring"].startswith("text")


def test_nobody_seen_or_heard_is_no_answer_and_no_fault(nano, tmp_path):
    items = [labelled_item(0), labelled_item(1, parts=(spoken_part("en", "What a wonderful day!"),))]
    done = answer_task(
        LocalModel(nano, detector=nobody, workers=0), toy(items, answered="likelihood"), tmp_path / "toy"
    )
    silent, said = done.predictions
    assert done.failures == 0 and silent.predicted is None and silent.scores is None and silent.unanswered
    assert said.predicted and not said.unanswered, "words alone are an answer"
    tally = score_labels([item.scored() for item in items], as_answers(items, done.predictions), FER7).tally
    assert (tally.items, tally.answered, tally.unanswered, tally.failures, tally.coverage) == (2, 1, 1, 0, 0.5)
    again = answer_task(LocalModel(nano, detector=None, workers=0), toy(items, answered="likelihood"), tmp_path / "toy")
    assert again.predictions == done.predictions, "an item without an answer is not asked again"


def test_a_closed_question_is_answered_by_a_label_and_another_in_words(nano, tmp_path):
    items = [labelled_item(0), labelled_item(1, question="What does the person show, and why?")]
    label, words = answer_task(LocalModel(nano, 8, everywhere, 0), toy(items), tmp_path / "one").predictions
    assert label.scores and label.text is None and words.text and words.scores is None
    both = answer_task(LocalModel(nano, 8, everywhere, 0, replies=True), toy(items), tmp_path / "two").predictions
    assert all(one.text and one.scores is None for one in both)


def test_what_a_picture_evokes_is_asked_of_the_whole_picture(nano, tmp_path):
    item = labelled_item(0, question=label_question(FER7, "en", "evoked"))
    model = LocalModel(nano, 8, everywhere, 0)
    (one,) = answer_task(model, toy([item], about="evoked"), tmp_path / "toy").predictions
    (alone,) = model.readings(toy([item], about="evoked"), [item])
    assert one.scores and alone.people == [] and one.frames == 1


def labelled_item(number: int, **changed):
    return emotion_item(number, label_set="fer7", **{"question": label_question(FER7, "en"), **changed})


def half_dark(tmp_path):
    """Return a clip of 4 s, black in the first half and white in the second."""
    frames = np.zeros((40, 48, 64, 3), np.uint8)
    frames[20:] = 255
    return write_clip(tmp_path / "c.mp4", frames)


def test_a_part_of_a_video_is_read_alone(nano, tmp_path, monkeypatch):
    clip, read = half_dark(tmp_path), []
    monkeypatch.setattr(
        "emotion_qwen.evaluation.run.answerers.local.read_clip",
        lambda *a, **k: read.append(read_clip(*a, **k)) or read[-1],
    )
    spans = ((0.0, 1.8), (2.2, 3.8), (2.2, 3.8))
    items = [
        emotion_item(number, parts=({"type": "video", "video": clip, "start": start, "end": end},))
        for number, (start, end) in enumerate(spans)
    ]
    answer_task(LocalModel(nano, batch=3), toy(items, "general"), tmp_path / "toy")
    assert len(read) == 2 and [round(part.frames.mean()) for part in read] == [0, 255]
    (stored, *_) = read_items(tmp_path / "toy")
    assert stored.parts[0] == {"type": "video", "file": str(clip), "start": 0.0, "end": 1.8}


def test_a_part_of_a_video_is_prepared_alone(nano, tmp_path):
    prepare = ItemPreparation(everywhere, ClipBudget.of(nano.processor), Sources())
    item = emotion_item(1, parts=({"type": "video", "video": half_dark(tmp_path), "start": 2.2, "end": 3.8},))
    clip = prepare(item).clip
    assert round(clip.frames.mean()) == 255 and clip.times[0] > 2.0 and clip.times[-1] < 4.0
