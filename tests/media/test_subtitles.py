import math
from contextlib import contextmanager
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest

from emotion_qwen.errors import MediaError
from emotion_qwen.media import subtitles
from emotion_qwen.media.subtitles import find_subtitles, read_container_subtitles, within
from emotion_qwen.records import Utterance

from .films import write_sound, write_video
from .words import ASS_HEAD, cue, plain, read

# --- beside a clip


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["clip.srt", "clip.en.srt", "clip.vtt"], "clip.srt"),
        (["clip.zh.srt", "clip.en.vtt", "clip.de.srt"], "clip.en.vtt"),
        (["clip.zh-Hans.vtt", "clip.chi.ass", "clip.de.srt"], "clip.chi.ass"),
        (["clip.fr.srt", "clip.de.ssa", "clip.de.ass"], "clip.de.ass"),
        (["clip.en.forced.srt", "clip.fr.srt"], "clip.fr.srt"),
        (["clip.forced.srt"], "clip.forced.srt"),
        (["clip.en.sdh.srt", "clip.en.srt"], "clip.en.srt"),
        (["clip.mp4.SRT"], "clip.mp4.SRT"),
        (["clip.en-US.srt"], "clip.en-US.srt"),
        (["clip.2.srt", "clip.part.srt", "clip2.srt", "other.srt", "clip.txt", "clip.mp4"], None),
    ],
)
def test_subtitles_beside_a_clip_are_found_in_a_fixed_order(tmp_path, names, chosen):
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "clip.ko.srt").mkdir()
    assert find_subtitles(tmp_path / "clip.mp4") == (chosen and tmp_path / chosen)


def test_names_with_magic_and_missing_folders_are_no_trouble(tmp_path):
    (tmp_path / "a [1].b*.srt").touch()
    assert find_subtitles(str(tmp_path / "a [1].b*.mkv")) == tmp_path / "a [1].b*.srt"
    assert find_subtitles(tmp_path / "none" / "clip.mp4") is None


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "iterdir", refuse)
    with pytest.raises(MediaError) as caught:
        find_subtitles(tmp_path / "clip.mp4")
    assert str(caught.value) == f"{str(tmp_path)!r} cannot be read (Permission denied); check its permissions"


@pytest.mark.parametrize(
    ("name", "language"),
    [("a.en.srt", "en"), ("a.zh-Hans.sdh.srt", "zh-Hans"), ("a.eng.srt", "eng"), ("Dr.No.srt", ""), ("a.2.srt", "")],
)
def test_the_language_is_read_from_the_name(tmp_path, name, language):
    assert read(tmp_path, cue(1, 2, "Language: Elvish"), name).language == language


# --- a span


def test_what_overlaps_a_span_is_given_whole():
    words = [Utterance(0, 1, "a"), Utterance(0.5, 3, "b"), Utterance(2, 3, "c"), Utterance(3, math.inf, "d")]
    assert [one.text for one in within(words, 1, 2)] == ["b"]
    assert within(words, 2.5, 4) == tuple(words[1:])
    assert within(words, 1, 1) == (words[1],)
    assert within([], 0, 9) == ()


# --- tracks inside a video


def write_tracks(path, *tracks):
    """Write a video of three frames with subtitle tracks: (codec, language, default, [(start ms, end ms, bytes)])."""
    codec = "libvpx" if path.suffix == ".webm" else "libx264"
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=10)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        streams = []
        for kind, language, default, _ in tracks:
            stream = container.add_stream(kind)
            if not hasattr(stream.codec_context, "subtitle_header"):
                pytest.skip("this PyAV cannot write subtitles")
            stream.codec_context.subtitle_header = ASS_HEAD.encode().replace(b"Fontname", b"Fontname, Fontsize")
            stream.metadata["language"] = language
            stream.time_base = Fraction(1, 1000)
            stream.disposition = av.stream.Disposition.default if default else av.stream.Disposition(0)
            streams.append(stream)
        for number in range(3):
            frame = av.VideoFrame(32, 32, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for stream, (_, _, _, cues) in zip(streams, tracks, strict=True):
            for start, end, data in cues:
                packet = av.Packet(data)
                packet.stream, packet.time_base = stream, Fraction(1, 1000)
                packet.pts = packet.dts = start
                packet.duration = end - start
                container.mux(packet)
    return path


def timed_text(text):
    return len(text.encode()).to_bytes(2, "big") + text.encode()


@pytest.mark.parametrize(
    ("name", "codec", "first", "second"),
    [
        ("a.mkv", "subrip", b"<i>Hello</i>,\r\nyou", "{\\an8}你好".encode()),
        ("a.mkv", "webvtt", b"<v Anna>Hello,\nyou &lrm;", "你好".encode()),
        ("a.mkv", "ass", b"0,0,Default,Anna,0,0,0,,{\\i1}Hello,\\Nyou", "1,0,Default,,0,0,0,,你好".encode()),
        ("a.webm", "webvtt", b"Hello, <c>you</c>", "你好".encode()),
        ("a.mp4", "mov_text", timed_text("Hello,\nyou") + b"\0\0\0\x0cstyl\0\0\0\0", timed_text("你好")),
        ("a.mov", "mov_text", timed_text("Hello, you"), timed_text("你好")),
    ],
)
def test_text_tracks_are_read_on_the_clock_of_the_clip(tmp_path, name, codec, first, second):
    path = write_tracks(tmp_path / name, (codec, "chi", True, [(1000, 2000, first), (3500, 4000, second)]))
    words = read_container_subtitles(path, origin=0.25)
    assert plain(words) == [(0.75, 1.75, "Hello, you"), (3.25, 3.75, "你好")]
    assert (words.warnings, words.source, words.language) == ((), f"{path}, subtitle track 0", "chi")


def test_a_video_without_subtitle_track_gives_none(tmp_path):
    assert read_container_subtitles(write_video(tmp_path / "a.mp4", count=3), origin=0) is None


def test_the_marked_track_is_read_and_the_others_named(tmp_path):
    tracks = [("subrip", "und", False, [(0, 9, b"One")]), ("dvdsub", "eng", True, []), ("subrip", "ger", True, [])]
    path = write_tracks(tmp_path / "a.mkv", *tracks[:2], ("subrip", "ger", True, [(1000, 2000, b"Zwei")]))
    words = read_container_subtitles(str(path), origin=0)
    assert plain(words) == [(1, 2, "Zwei")] and words.language == "ger"
    assert words.warnings == (
        "subtitle track 1 (dvdsub) holds pictures or is of no known kind; it is ignored",
        "2 text subtitle tracks (0: ? srt, 2: ger srt); track 2 is read",
    )
    words = read_container_subtitles(path, origin=0, track=0)
    assert plain(words) == [(0, 0.009, "One")] and (words.language, words.warnings) == ("", ())


def test_the_first_track_is_read_where_none_is_marked(tmp_path):
    tracks = [("subrip", "eng", False, [(0, 9, b"One")]), ("subrip", "ger", False, [(0, 9, b"Eins")])]
    words = read_container_subtitles(write_tracks(tmp_path / "a.mkv", *tracks), origin=0)
    assert [one.text for one in words.utterances] == ["One"]


def test_a_track_of_pictures_gives_no_words_and_a_warning(tmp_path):
    path = write_tracks(tmp_path / "a.mkv", ("dvdsub", "eng", True, [(1000, 2000, b"picture")]))
    words = read_container_subtitles(path, origin=0)
    assert (words.utterances, words.language, words.source) == ((), "", str(path))
    assert words.warnings == ("subtitle track 0 (dvdsub) holds pictures or is of no known kind; it is ignored",)


def test_a_track_that_cannot_be_read_is_refused_when_asked_for(tmp_path):
    path = write_tracks(tmp_path / "a.mkv", ("dvdsub", "eng", True, []), ("subrip", "eng", False, [(0, 9, b"One")]))
    with pytest.raises(MediaError) as caught:
        read_container_subtitles(path, origin=0, track=2)
    assert str(caught.value) == f"{str(path)!r} has 2 subtitle tracks, not 2; text tracks: 1: eng srt"
    with pytest.raises(MediaError) as caught:
        read_container_subtitles(path, origin=0, track=0)
    assert str(caught.value) == f"{str(path)!r}: subtitle track 0 (dvdsub) is not text; text tracks: 1: eng srt"
    bare = write_video(tmp_path / "a.mp4", count=3)
    with pytest.raises(MediaError, match="has 0 subtitle tracks, not 0; text tracks: none"):
        read_container_subtitles(bare, origin=0, track=0)
    with pytest.raises(MediaError, match="holds only sound"):
        read_container_subtitles(write_sound(tmp_path / "a.wav", "pcm_s16le"), origin=0)


def test_cues_before_the_first_picture_and_without_length_are_mended(tmp_path):
    cues = [(0, 500, b"Early"), (900, 1500, b"Into"), (2000, 2000, b"Open"), (3000, 4000, b"Last")]
    path = write_tracks(tmp_path / "a.mkv", ("subrip", "eng", True, cues))
    words = read_container_subtitles(path, origin=1.0)
    assert plain(words) == [(0, 0.5, "Into"), (1, 2, "Open"), (2, 3, "Last")]
    assert [warning.split(" of ")[0] for warning in words.warnings] == ["1", "1", "1"]


def test_a_track_in_another_encoding_is_guessed_as_one(tmp_path):
    cues = [(1000, 2000, "好".encode("gbk")), (2000, 3000, "他很开心,她却哭了".encode("gbk"))]
    words = read_container_subtitles(write_tracks(tmp_path / "a.mkv", ("subrip", "chi", True, cues)), origin=0)
    assert [one.text for one in words.utterances] == ["好", "他很开心,她却哭了"]
    assert words.warnings == ("read as gb18030 (it is not UTF-8); save it as UTF-8 if its words look wrong",)


def test_a_track_that_breaks_off_keeps_what_came_before(tmp_path, monkeypatch):
    def demux(_):
        packet = av.Packet(b"One")
        packet.pts, packet.duration = 1000, 500
        yield packet
        raise av.error.InvalidDataError(1, "Invalid data found")

    stream = SimpleNamespace(
        codec_context=SimpleNamespace(name="srt"), time_base=Fraction(1, 1000), metadata={}, disposition=0
    )

    @contextmanager
    def opened(_):
        yield SimpleNamespace(streams=SimpleNamespace(subtitles=(stream,)), demux=demux), None

    monkeypatch.setattr(subtitles, "open_video", opened)
    words = read_container_subtitles(tmp_path / "a.mkv", origin=0)
    assert plain(words) == [(1, 1.5, "One")]
    assert words.warnings == ("the subtitle track breaks off after 1 cues (Invalid data found); the rest is lost",)
