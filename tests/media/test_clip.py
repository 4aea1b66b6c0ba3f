import os
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from emotion_qwen.errors import MediaError, printable
from emotion_qwen.media import find_media, read_clip
from emotion_qwen.media.clip import Sources
from emotion_qwen.settings import ClipSettings

from .films import write_video

SETTINGS = ClipSettings()


def test_content_decides_not_the_name(tmp_path):
    Image.new("RGB", (8, 6), "red").save(tmp_path / "photo.mp4", format="JPEG")
    assert read_clip(tmp_path / "photo.mp4", SETTINGS).still
    (tmp_path / "clip.jpg").write_bytes(write_video(tmp_path / "v.mp4").read_bytes())
    clip = read_clip(str(tmp_path / "clip.jpg"), SETTINGS, end=1.0)
    assert not clip.still and clip.frames.shape == (4, 48, 64, 3) and clip.times[-1] < 1


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_moving_pictures_are_videos_by_their_delays(tmp_path, suffix):
    pictures = [Image.new("RGB", (32, 32), (20 * n, 0, 0)) for n in range(10)]
    path = tmp_path / f"a.{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, lossless=True)
    clip = read_clip(path, SETTINGS)
    assert clip.times.tolist() == pytest.approx([0, 0.3, 0.6, 0.9]) and clip.duration == pytest.approx(1.0)
    assert clip.frames[:, 0, 0, 0].tolist() == pytest.approx([0, 60, 120, 180], abs=6)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[20] * 5 + [900] * 5, lossless=True)
    clip = read_clip(path, SETTINGS)
    assert clip.times.tolist() == pytest.approx([0, 0.1, 1.0, 1.9, 2.8, 3.7])
    assert clip.frames[:, 0, 0, 0].tolist() == pytest.approx([0, 100, 120, 140, 160, 180], abs=6)
    assert len(read_clip(path, SETTINGS, start=1.5, end=3.0).frames) == 2


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_moving_pictures_lie_on_white(tmp_path, suffix):
    pictures = []
    for n in range(4):
        pixels = np.full((32, 48, 4), (200, 10, 60 * n, 0), np.uint8)
        pixels[:, 24:, 3] = 255
        pictures.append(Image.fromarray(pixels))
    path = tmp_path / f"a.{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, lossless=True, disposal=2)
    clip = read_clip(path, SETTINGS)
    assert len(clip.frames) == 4 and (clip.frames[:, :, 2:20] > 250).all()
    assert np.abs(clip.frames[2, 5, 40].astype(int) - (200, 10, 120)).max() < 12


def test_a_span_of_a_picture(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    with pytest.raises(MediaError, match=r"p\.png' is a picture; start and end apply to videos only"):
        read_clip(tmp_path / "p.png", SETTINGS, start=1.0)


def test_messages_reach_through(tmp_path):
    (tmp_path / "note.mp4").write_text("hello")
    with pytest.raises(MediaError, match=r"note\.mp4' is text \(it begins with 'hello'\)"):
        read_clip(tmp_path / "note.mp4", SETTINGS)
    with pytest.raises(MediaError, match=r"gone\.mp4' does not exist"):
        read_clip(tmp_path / "gone.mp4", SETTINGS)


def test_find_media(tmp_path):
    for name in ("b.MP4", "a.jpg", "notes.txt", ".hidden.mp4", "deep/下 c.mkv", "x[1].png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = ["a.jpg", "b.MP4", "deep/下 c.mkv", "x[1].png"]
    assert find_media([str(tmp_path)]) == [tmp_path / name for name in names]
    assert find_media([f"{tmp_path}/*.jpg", f"{tmp_path}/b.MP4", f"{tmp_path}/a.jpg"]) == [
        tmp_path / "a.jpg",
        tmp_path / "b.MP4",
    ]
    assert find_media([f"{tmp_path}/**/*.mkv"]) == [tmp_path / "deep/下 c.mkv"]
    assert find_media([f"{tmp_path}/x[1].png", f"{tmp_path}/notes.txt"]) == [
        tmp_path / "x[1].png",
        tmp_path / "notes.txt",
    ]


def test_find_media_that_is_not_there(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match=r"gone\.mp4' does not exist; give a file, a folder or a pattern"):
        find_media([str(tmp_path / "gone.mp4")])
    with pytest.raises(MediaError, match=r"empty' holds no picture or video; expected files ending in \.3gp"):
        find_media([str(tmp_path / "empty")])
    with pytest.raises(MediaError, match=r"\*\.avi' matches no file"):
        find_media([f"{tmp_path}/*.avi"])
    assert find_media([]) == []


def test_the_real_photographs(clips: Path):
    clip = read_clip(clips / "single_face.jpg", SETTINGS)
    with Image.open(clips / "single_face.jpg") as image:
        assert np.array_equal(clip.frames[0], np.asarray(image.convert("RGB")))


def write_sound(path: Path, seconds: float = 3.0, rate: int = 16000) -> Path:
    """Write a WAV that is silent but for its second second."""
    wave = np.zeros(int(seconds * rate), np.int16)
    wave[rate : 2 * rate] = 8000
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_clip_takes_the_sound_and_words_it_is_given(tmp_path):
    video, sound = write_video(tmp_path / "v.mp4"), write_sound(tmp_path / "s.wav")
    (tmp_path / "v.srt").write_text(
        "1\n00:00:00,200 --> 00:00:01,000\nBeside.\n\n2\n00:00:01,200 --> 00:00:09,000\nLate.\n"
    )
    (tmp_path / "said.txt").write_text("Given.")
    plain = read_clip(video, SETTINGS)
    assert plain.wave is None and plain.utterances == ()
    clip = read_clip(video, SETTINGS, sources=Sources(sound=True, words=True, audio=sound))
    assert len(clip.wave) == 3 * 16000 and clip.sample_rate == 16000 and clip.wave[24000] > 0.2 > abs(clip.wave[100])
    assert [one.text for one in clip.utterances] == ["Beside.", "Late."]
    assert clip.utterances[1].end == pytest.approx(clip.duration)
    given = read_clip(video, SETTINGS, sources=Sources(words=True, transcript=tmp_path / "said.txt"))
    assert [(one.start, one.end, one.text) for one in given.utterances] == [(0.0, clip.duration, "Given.")]
    late = read_clip(video, SETTINGS, start=1.1, sources=Sources(sound=True, words=True, audio=sound))
    assert [one.text for one in late.utterances] == ["Late."] and late.wave_start == pytest.approx(1.1)
    assert len(late.wave) == pytest.approx(1.9 * 16000, abs=2)


def test_sound_alone_is_a_clip_only_where_sound_is_wanted(tmp_path):
    sound = write_sound(tmp_path / "s.wav")
    clip = read_clip(sound, SETTINGS, sources=Sources(sound=True))
    assert clip.frames.shape == (0, 0, 0, 3) and len(clip.times) == 0 and clip.duration == pytest.approx(3.0)
    with pytest.raises(MediaError, match=r"s\.wav' holds only sound \(pcm_s16le\); expected a picture or video"):
        read_clip(sound, SETTINGS)
    silent = read_clip(write_video(tmp_path / "v.mp4"), SETTINGS, sources=Sources(sound=True, words=True))
    assert silent.wave is None and silent.utterances == () and len(silent.frames) > 1


def test_words_and_sound_that_nobody_asked_for_are_left_out_with_a_warning(tmp_path):
    video = write_video(tmp_path / "v.mp4")
    (tmp_path / "v.srt").write_text("no cue here")
    clip = read_clip(video, SETTINGS, sources=Sources(words=True))
    assert clip.utterances == () and "the words are left out" in clip.warnings[-1] and "has no cue" in clip.warnings[-1]
    with pytest.raises(MediaError, match=r"v\.srt' has no cue"):
        read_clip(video, SETTINGS, sources=Sources(words=True, transcript=tmp_path / "v.srt"))


def test_words_behind_the_end_are_left_out_and_told(tmp_path):
    """Unless the sound goes on; they must not count as words without a time, which are heard everywhere."""
    video, sound = write_video(tmp_path / "v.mp4"), write_sound(tmp_path / "long.wav", seconds=6.0)
    (tmp_path / "v.srt").write_text(
        "".join(f"{n}\n00:00:0{n},500 --> 00:00:0{n + 1},500\nWord {n}.\n\n" for n in (2, 4, 7))
    )
    silent = read_clip(video, SETTINGS, sources=Sources(words=True))
    assert [(one.start, one.end) for one in silent.utterances] == [(2.5, pytest.approx(3.0))]
    assert silent.warnings == ("2 of 3 cues begin after the clip ends (3.00 s) and are left out",)
    heard = read_clip(video, SETTINGS, sources=Sources(sound=True, words=True, audio=sound))
    assert [(one.start, one.end) for one in heard.utterances] == [(2.5, 3.5), (4.5, 5.5)]
    assert heard.warnings == ("1 of 3 cues begin after the clip ends (6.00 s) and are left out",)
    assert heard.duration == pytest.approx(3.0) and len(heard.wave) == 6 * 16000
    Image.new("RGB", (8, 8)).save(tmp_path / "v.png")
    still = read_clip(tmp_path / "v.png", SETTINGS, sources=Sources(words=True))
    assert len(still.utterances) == 3 and still.warnings == ()


def test_folders_give_sounds_only_where_they_are_wanted(tmp_path):
    for name in ("a.wav", "b.png"):
        (tmp_path / name).touch()
    assert [path.name for path in find_media([str(tmp_path)])] == ["b.png"]
    assert [path.name for path in find_media([str(tmp_path)], sounds=True)] == ["a.wav", "b.png"]
    assert [path.name for path in find_media([f"{tmp_path}/../{tmp_path.name}*"], sounds=True)] == ["a.wav", "b.png"]


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names there are always Unicode")
def test_a_name_of_other_bytes_than_utf8_is_escaped(tmp_path):
    name = os.fsdecode("工.png".encode("gbk"))
    Image.new("RGB", (40, 30)).save(tmp_path / name)
    clip = read_clip(tmp_path / name, SETTINGS)
    assert clip.source == f"{tmp_path}/\\udcb9\\udca4.png" == printable(tmp_path / name)
    clip.source.encode("utf-8")
    assert printable("工 a.png") == "工 a.png"
