import functools

import av
import numpy as np
import pytest
from PIL import Image

from emotion_qwen.errors import MediaError
from emotion_qwen.media import frames, read_video, video
from emotion_qwen.media.sound import read_sound
from emotion_qwen.media.video import working_size
from emotion_qwen.settings import ClipSettings

from .films import level, write_interlaced, write_sound, write_video

SETTINGS = ClipSettings()


def levels(clip) -> list[int]:
    return [round(float(frame.mean())) for frame in clip.frames]


def numbers(clip, rate: float) -> list[int]:
    return np.rint(clip.times * rate).astype(int).tolist()


@functools.lru_cache(maxsize=1)
def every_frame(path):
    """Decode all, the plain way: {milliseconds from the first frame: frame}."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return {round(float((f.pts - frames[0].pts) * stream.time_base) * 1000): f for f in frames}


@pytest.mark.parametrize("name", ["a.mp4", "b.mkv", "c.mov", "名字 with spaces 100%d.mp4", "e.ts", "f.avi"])
def test_frames_are_those_of_their_times(tmp_path, name):
    path = write_video(tmp_path / name, codec="mpeg4" if name.endswith("avi") else "libx264")
    clip = read_video(path, SETTINGS)
    assert clip.frames.shape == (6, 48, 64, 3) and clip.frames.dtype == np.uint8
    assert numbers(clip, 10) == [0, 6, 12, 17, 23, 29]
    assert levels(clip) == pytest.approx([level(n) for n in numbers(clip, 10)], abs=4)
    assert clip.duration == pytest.approx(3.0, abs=0.01)
    assert (clip.size, clip.source, clip.still, clip.warnings) == ((48, 64), str(path), False, ())


@pytest.mark.parametrize("most", [768, 2])
@pytest.mark.parametrize("name", ["face_noface.mov", "asl_sorry.mkv", "single_face.mp4"])
def test_real_clips_are_bit_equal_to_plain_decoding(clips, name, most):
    clip = read_video(clips / name, ClipSettings(working_side=4096, min_frames=2, max_frames=most))
    plain = every_frame(clips / name)
    assert clip.frames.shape[0] % 2 == 0 and not clip.warnings
    for time, picture in zip(clip.times, clip.frames, strict=True):
        expected = plain[round(float(time) * 1000)].to_ndarray(format="rgb24", interpolation="BILINEAR")
        assert np.array_equal(expected, picture)


def test_seeking_over_long_gaps_gives_the_same_frames(tmp_path):
    path = write_video(tmp_path / "long.mp4", count=600, rate=10, key_every=25)
    clip = read_video(path, ClipSettings(max_frames=4))
    assert numbers(clip, 10) == [0, 200, 399, 599]
    assert levels(clip) == pytest.approx([level(n) for n in (0, 200, 399, 599)], abs=3)


def test_variable_rate_keeps_real_times(tmp_path):
    stamps = [0, 40, 80, 120, 1000, 1900, 1950, 2000]
    clip = read_video(write_video(tmp_path / "vfr.mkv", count=8, stamps=stamps), ClipSettings(min_frames=8))
    assert (clip.times * 1000).round().astype(int).tolist() == stamps
    assert levels(clip) == pytest.approx([level(n) for n in range(8)], abs=3)


def test_times_begin_at_the_first_frame(tmp_path):
    stamps = [5000 + 100 * n for n in range(20)]
    clip = read_video(write_video(tmp_path / "late.mkv", count=20, stamps=stamps), SETTINGS)
    assert clip.times[0] == 0 and clip.times[-1] == pytest.approx(1.9)
    assert clip.duration == pytest.approx(2.0, abs=0.01)


def test_a_raw_stream_tells_no_times(tmp_path):
    clip = read_video(write_video(tmp_path / "raw.h264", count=20, rate=25, container_format="h264"), SETTINGS)
    assert clip.frames.shape[0] == 4
    assert clip.times.tolist() == pytest.approx([0, 0.24, 0.52, 0.76])
    assert clip.warnings == ("the file tells no frame times; 25 frames per second are assumed",)
    assert levels(clip) == pytest.approx([level(n) for n in (0, 6, 13, 19)], abs=3)


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (2, 2), (3, 2)])
def test_very_short_videos(tmp_path, count, expected):
    assert len(read_video(write_video(tmp_path / "s.mp4", count=count), SETTINGS).frames) == expected


@pytest.mark.parametrize(
    ("degrees", "corner"), [(None, "top left"), (90, "bottom left"), (180, "bottom right"), (-90, "top right")]
)
def test_display_rotation_is_honoured(tmp_path, degrees, corner):
    """Counterclockwise, as FFmpeg counts: 90 brings the upper left corner to the lower left."""
    clip = read_video(write_video(tmp_path / "r.mp4", count=4, rotation=degrees, corner=True), SETTINGS)
    height, width = (64, 48) if degrees in (90, -90) else (48, 64)
    assert clip.frames.shape[1:3] == clip.size == (height, width)
    rows = slice(0, height // 2) if corner.startswith("top") else slice(height // 2, height)
    columns = slice(0, width // 2) if corner.endswith("left") else slice(width // 2, width)
    assert clip.frames[0][rows, columns].mean() > 240
    assert clip.frames[0].mean() == pytest.approx(64, abs=8)


@pytest.mark.parametrize("rotation", [None, 90])
@pytest.mark.parametrize(("name", "pixels"), [("a.mp4", "yuv420p"), ("b.mov", "yuv420p10le"), ("c.mkv", "yuv420p")])
def test_hevc_with_open_groups_keeps_times_and_orientation(tmp_path, name, pixels, rotation):
    """As phones record it: pictures shown before their keyframe, ten bits, variable rate, turned."""
    stamps = [0, 40, 80, 120, 600, 640, 680, 720, 1500, 1540, 1580, 1620, 1900, 2000]
    path = tmp_path / name
    write_video(
        path, count=14, codec="libx265", stamps=stamps, size=(160, 96), key_every=4, pixels=pixels, rotation=rotation
    )
    clip = read_video(path, ClipSettings(min_frames=14))
    assert (clip.times * 1000).round().astype(int).tolist() == stamps
    assert levels(clip) == pytest.approx([level(n) for n in range(14)], abs=4)
    assert clip.frames.shape[1:3] == clip.size == ((160, 96) if rotation else (96, 160))
    part = read_video(path, ClipSettings(min_frames=2, max_frames=2), start=0.6, end=1.6)
    assert (part.times * 1000).round().astype(int).tolist() == [600, 1580]
    assert levels(part) == pytest.approx([level(4), level(10)], abs=4)


@pytest.mark.parametrize(("name", "codec"), [("a.ts", "libx264"), ("b.mp4", "libx264"), ("c.mpg", "mpeg2video")])
def test_of_interlaced_frames_one_field_is_read(tmp_path, name, codec):
    """Woven fields would show two combs, each at half its light; one field shows one bar in full."""
    clip = read_video(write_interlaced(tmp_path / name, codec), ClipSettings(min_frames=4))
    assert clip.size == clip.frames.shape[1:3] == (64, 96)
    assert clip.times.tolist() == pytest.approx([n / 25 for n in (0, 4, 7, 11)], abs=1e-3)
    assert clip.duration == pytest.approx(12 / 25, abs=1e-3)
    assert clip.warnings == ("4 of 4 frames are interlaced; one field of each was read",)
    assert (clip.frames[:, :, 20:28].min(), clip.frames[:, :, 50:62].max()) == (
        pytest.approx(220, abs=25),
        pytest.approx(60, abs=25),
    )


def test_a_progressive_video_is_read_whole(tmp_path):
    assert read_video(write_video(tmp_path / "p.ts", count=4), SETTINGS).warnings == ()


@pytest.mark.parametrize(
    ("name", "said"), [("a.avi", "its picture stream has no frames"), ("b.mp4", "holds no picture")]
)
def test_a_stream_without_packets_is_named(tmp_path, name, said):
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(MediaError, match=said) as caught:
        read_video(tmp_path / name, SETTINGS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("degrees", [None, 90, 180, -90])
def test_side_data_of_a_kind_that_pyav_does_not_know(tmp_path, monkeypatch, degrees):
    """FFmpeg names more kinds than PyAV, which then fails at the whole list; found in a picture with EXIF data."""
    path = write_video(tmp_path / "r.mp4", count=2, rotation=degrees, corner=True)
    plain = read_video(path, SETTINGS)

    class Unknown:
        def get(self, _name):
            raise ValueError("31 is not a valid Type")

    class Frame:
        def __init__(self, frame):
            self.side_data, self.rotation = Unknown(), frame.rotation

    known = frames.orientation
    for module in (frames, video):
        monkeypatch.setattr(module, "orientation", lambda frame: known(Frame(frame)))
    assert np.array_equal(read_video(path, SETTINGS).frames, plain.frames)


def test_start_and_end_restrict(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    assert numbers(read_video(path, SETTINGS, start=1.0, end=2.0), 10) == [10, 13, 16, 19]
    assert numbers(read_video(path, SETTINGS, start=2.5), 10) == [25, 26, 28, 29]
    assert numbers(read_video(path, SETTINGS, start=1.02, end=1.05), 10) == [10]  # between two frames: the one shown


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (2.0, 1.0, "start 2 s and end 1 s; expected 0 <= start < end"),
        (-1.0, None, "start -1 s and end inf s; expected 0 <= start < end"),
        (7.5, None, r"start 7.5 s is after the end of the video \(3.00 s\); start earlier"),
    ],
)
def test_impossible_spans(tmp_path, start, end, message):
    with pytest.raises(MediaError, match=rf"a\.mp4'.*{message}"):
        read_video(write_video(tmp_path / "a.mp4"), SETTINGS, start=start, end=end)


def test_a_file_cut_short_gives_what_is_left(tmp_path):
    path = write_video(tmp_path / "cut.mp4", count=80, size=(320, 240), container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    clip = read_video(path, SETTINGS)
    assert 2 <= len(clip.frames) < 16
    assert levels(clip) == pytest.approx([level(n) for n in numbers(clip, 10)], abs=3)
    assert clip.warnings[0] == (
        f"the video ends at second {clip.duration:.2f} of the 8.00 it declares: the file was cut short or its end is "
        "damaged"
    )


def test_damaged_packets_are_counted(tmp_path):
    path = write_video(tmp_path / "bad.mp4", count=60, key_every=60, container_options={"movflags": "faststart"})
    with av.open(str(path)) as container:
        places = [(p.pos, p.size, p.pts) for p in container.demux(video=0) if p.size]
    content = bytearray(path.read_bytes())
    for place, size, _ in places:
        content[place : place + size] = b"\xff" * size
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"bad\.mp4': none of its 60 frames can be decoded"):
        read_video(path, SETTINGS)


def _broken(tmp_path, kind):
    path = tmp_path / f"{kind}.mp4"
    if kind == "missing":
        return path
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("Dear diary, 今天很高兴\n" * 400, encoding="utf-8")
    elif kind == "playlist":
        path.write_text("#EXTM3U\nhttp://example.org/a.ts\n")
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes())
    elif kind == "index":
        write_video(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path = write_sound(tmp_path / f"sound.{kind}", {"wav": "pcm_s16le", "m4a": "aac"}[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"missing\.mp4' does not exist; give the path"),
        ("folder", r"folder\.mp4' is a folder; expected one video, picture or sound file"),
        ("empty", r"empty\.mp4' is empty \(0 bytes\)"),
        ("text", r"text\.mp4' is text \(it begins with 'Dear diary"),
        ("playlist", r"playlist\.mp4' is text \(it begins with '#EXTM3U'\)"),
        ("noise", r"noise\.mp4': not a video or picture that FFmpeg can read"),
        ("index", r"index\.mp4': an MP4 without its index \(no moov box\)"),
        ("wav", r"sound\.wav' holds only sound \(pcm_s16le\); expected a picture or video, for only pictures are read"),
        ("m4a", r"sound\.m4a' holds only sound \(aac\); expected a picture or video, for only pictures are read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, kind, message):
    with pytest.raises(MediaError, match=message) as caught:
        read_video(_broken(tmp_path, kind), SETTINGS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4"])
@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile inside.ts\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:3.0,\ninside.ts\n#EXT-X-ENDLIST\n",
    ],
    ids=["concat", "hls"],
)
def test_a_list_of_other_files_is_refused_also_where_it_is_no_text(tmp_path, name, text):
    """FFmpeg would follow it: a zero byte is all that tells it from text."""
    write_video(tmp_path / "inside.ts")
    (tmp_path / name).write_bytes(text.encode() + b"#\0\n")
    with pytest.raises(MediaError, match="not a video or picture that FFmpeg can read"):
        read_video(tmp_path / name, SETTINGS)
    with pytest.raises(MediaError, match="not a sound or video file that FFmpeg can read"):
        read_sound(tmp_path / name)


def test_working_size():
    assert working_size(1080, 1920, 720) == (404, 720)
    assert working_size(361, 641, 720) == (361, 641)
    assert working_size(4000, 2, 720) == (720, 2)


def test_large_frames_are_reduced(tmp_path):
    clip = read_video(write_video(tmp_path / "l.mp4", count=4, size=(400, 300)), ClipSettings(working_side=100))
    assert clip.frames.shape == (4, 76, 100, 3) and clip.size == (300, 400)


def test_frames_are_chosen_by_time_not_by_number(tmp_path):
    stamps = [round(1000 * n / 60) for n in range(60)] + [1000 * n for n in range(1, 11)]
    clip = read_video(write_video(tmp_path / "vfr.mkv", count=70, stamps=stamps), SETTINGS)
    assert (clip.times < 0.99).sum() == 2 and clip.times[2:].tolist() == pytest.approx([*range(1, 11)], abs=0.01)
    assert levels(clip) == pytest.approx([level(stamps.index(round(1000 * time))) for time in clip.times], abs=3)


def test_a_moving_png_is_read_by_ffmpeg_too(tmp_path):
    """Its decoder forgets the file's header when it is flushed, so it is read from the start."""
    pictures = [Image.new("RGB", (64, 48), (40 * n,) * 3) for n in range(6)]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:], duration=100)
    clip = read_video(tmp_path / "a.png", SETTINGS)
    assert clip.times.tolist() == pytest.approx([0, 0.2, 0.3, 0.5]) and levels(clip) == [0, 80, 120, 200]


@pytest.mark.parametrize(("codec", "pixels"), [("png", "rgba"), ("qtrle", "argb"), ("ffv1", "yuva444p")])
def test_transparent_videos_lie_on_white(tmp_path, codec, pixels):
    picture = np.full((48, 64, 4), (200, 10, 60, 0), np.uint8)
    picture[:, 32:, 3] = 255
    with av.open(str(tmp_path / "a.mov" if codec != "ffv1" else tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgba")))
        container.mux(stream.encode())
    (path,) = tmp_path.iterdir()
    for settings in (SETTINGS, ClipSettings(working_side=32)):
        frames = read_video(path, settings).frames
        width = frames.shape[2]
        assert (frames[:, :, : width // 2 - 3] > 250).all()
        assert np.abs(frames[0, 5, -5].astype(int) - (200, 10, 60)).max() < 6


@pytest.mark.parametrize(("transfer", "white"), [(16, 0.5807), (18, 0.75)])
def test_high_dynamic_range_is_brought_into_the_standard_range(tmp_path, transfer, white):
    """Reference white and half of its light, as PQ and HLG code them, in 10 bits."""
    ramp = np.repeat(np.linspace(0, 1, 64), 2)
    codes = (65535 * np.clip(ramp, 0, 1)).astype(np.uint16)
    codes[:16] = round(65535 * white)
    frame = av.VideoFrame.from_ndarray(np.broadcast_to(codes[None, :, None], (96, 128, 3)).copy(), "rgb48le")
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv444p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace, context.color_range = transfer, 9, 9, 1
        for _ in range(2):
            scaled = frame.reformat(format="yuv444p10le", dst_colorspace=9, dst_color_range=1)
            container.mux(stream.encode(scaled))
        container.mux(stream.encode())
    clip = read_video(tmp_path / "a.mkv", SETTINGS)
    row = clip.frames[0, 40, :, 1].astype(int)
    assert row[:16].mean() == pytest.approx(246, abs=4)  # white
    assert (np.diff(row[16:]) >= -2).all() and row[16] < 45 and row[-1] >= 250
    assert clip.warnings[0].startswith("2 of 2 frames are of high dynamic range")
