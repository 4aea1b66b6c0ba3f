"""Sound that was made here, so that it is known what must be heard and when."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from emotion_qwen.errors import MediaError
from emotion_qwen.media.container import open_video
from emotion_qwen.media.level import settled
from emotion_qwen.media.sound import SAMPLE_RATE, SoundBytes, read_sound, sound_tracks
from emotion_qwen.media.timeline import read_timeline

from .films import write_video


def clicks(times, seconds: float, rate: int) -> np.ndarray:
    """Silence with bells of half a millisecond, loud 0.8, at `times`."""
    wave = np.zeros(round(seconds * rate), dtype=np.float32)
    for time in times:
        near = np.arange(max(round((time - 0.01) * rate), 0), min(round((time + 0.01) * rate), len(wave)))
        wave[near] += 0.8 * np.exp(-(((near / rate - time) / 0.0005) ** 2))
    return wave


def noise(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(round(seconds * rate)) * 0.1).astype(np.float32)


def rising(seconds: float, rate: int) -> np.ndarray:
    """A tone that rises by 100 Hz each second, so that every moment differs; unlike noise, AAC keeps it."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * (200 + 50 * time) * time)).astype(np.float32)


def record(
    path: Path,
    wave: np.ndarray,
    codec: str,
    rate: int,
    *,
    first: float = 0.0,
    picture: float | None = None,
    steps: dict[float, float] | None = None,
    tracks: int = 1,
    languages: tuple[str, ...] = (),
    default: int | None = None,
    form: str | None = None,
) -> Path:
    """Encode a (S,) wave from `first` seconds on, beside grey pictures from `picture` seconds on.

    From each second in `steps` on, the timestamps are shifted by so much. Track n is n + 1 times as loud.
    """
    with av.open(str(path), "w") as container:
        if picture is not None:
            video = container.add_stream("mpeg4", rate=10)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        streams = [container.add_stream(codec, rate=rate, layout="mono") for _ in range(tracks)]
        for number, stream in enumerate(streams):
            if form:
                stream.codec_context.format = form
            if languages:
                stream.metadata["language"] = languages[number]
            if default is not None:
                stream.disposition = av.stream.Disposition.default if number == default else 0
        if picture is not None:
            for number in range(20):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, dtype=np.uint8))
                frame.pts, frame.time_base = round(picture * 10) + number, Fraction(1, 10)
                container.mux(video.encode(frame))
            container.mux(video.encode())
        for number, stream in enumerate(streams):
            size = stream.codec_context.frame_size or 1024
            resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate, frame_size=size)
            whole = av.AudioFrame.from_ndarray((wave * (number + 1))[None], format="flt", layout="mono")
            whole.sample_rate = rate
            count = 0
            for frame in [*resampler.resample(whole), *resampler.resample(None)]:
                shift = sum(step for time, step in (steps or {}).items() if count >= time * rate)
                frame.pts, frame.time_base = round((first + shift) * rate) + count, Fraction(1, rate)
                count += frame.samples
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path


def write_wav(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE, tags: bytes = b"") -> Path:
    """Write (S, channels) samples of any type as a plain WAV, which says nothing about its channels' places."""
    channels, bits = samples.shape[1], samples.dtype.itemsize * 8
    kind = 3 if samples.dtype.kind == "f" else 1
    block = channels * bits // 8
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, kind, channels, rate, rate * block, block, bits)
    body = head + tags + b"data" + struct.pack("<I", samples.nbytes) + samples.tobytes()
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def packets(path: Path) -> list[tuple[int, int, float]]:
    """List (place in the file, size, seconds) of the sound's packets."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(audio=0) if packet.size]
        return [(packet.pos, packet.size, float(packet.pts * packet.time_base)) for packet in found]


def spoil(path: Path, low: float, high: float) -> int:
    """Overwrite the packets between two times; tell how many."""
    content = bytearray(path.read_bytes())
    spoilt = [packet for packet in packets(path) if low <= packet[2] < high]
    for place, size, _ in spoilt:
        content[place : place + size] = b"\xff" * size
    path.write_bytes(content)
    return len(spoilt)


def peak(wave: np.ndarray, low: float, high: float) -> float:
    """Tell at which second between two the wave is loudest."""
    part = np.abs(wave[round(low * SAMPLE_RATE) : round(high * SAMPLE_RATE)])
    return low + int(part.argmax()) / SAMPLE_RATE


def origin_of(path: Path) -> float:
    with open_video(path) as (container, stream):
        timeline = read_timeline(str(path), container, stream)
    return float(timeline.stamps[0] * timeline.unit)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "tolerance"),
    [
        ("a.wav", "pcm_s16le", 44100, 0.0001),
        ("b.wav", "pcm_s16le", 16000, 0.0001),
        ("c.wav", "pcm_s16le", 96000, 0.0001),
        ("d.wav", "pcm_u8", 8000, 0.0002),
        ("e.flac", "flac", 48000, 0.0001),
        ("f.mp4", "aac", 44100, 0.0001),  # the priming of these is told by the file
        ("g.m4a", "aac", 48000, 0.0001),
        ("h.mkv", "aac", 44100, 0.001),  # Matroska counts milliseconds
        ("i.mp3", "libmp3lame", 44100, 0.0001),
        ("j.ogg", "libopus", 48000, 0.0001),
        ("k.webm", "libopus", 48000, 0.001),
        ("l.mp4", "libmp3lame", 48000, 0.0001),
        ("m.aac", "aac", 44100, 1024 / 44100 + 0.0001),  # told by nothing
        ("n.avi", "libmp3lame", 44100, 1152 / 44100 + 0.0001),
    ],
)
def test_a_click_is_heard_at_its_time(tmp_path, name, codec, rate, tolerance):
    sound = read_sound(record(tmp_path / name, clicks([0.5, 1.2], 1.5, rate), codec, rate))
    assert sound.wave.dtype == np.float32 and sound.wave.ndim == 1
    assert peak(sound.wave, 0, 0.8) == pytest.approx(0.5, abs=tolerance)
    assert peak(sound.wave, 0.8, 1.5) == pytest.approx(1.2, abs=tolerance)
    assert float(np.abs(sound.wave).max()) == pytest.approx(0.8, abs=0.07)
    assert sound.duration == len(sound.wave) / SAMPLE_RATE == pytest.approx(1.5, abs=2 * 1152 / rate)
    assert (sound.sample_rate, sound.start, sound.warnings, sound.track, sound.tracks) == (16000, 0.0, (), 0, 1)


@pytest.mark.parametrize("name", ["a.mp4", "b.mkv", "c.ts", "d.mov"])
@pytest.mark.parametrize(("first", "picture"), [(0.0, 0.5), (0.4, 0.0), (0.0, 0.0)])
def test_sound_and_picture_share_one_clock(tmp_path, name, first, picture):
    path = record(tmp_path / name, clicks([0.9], 1.5, 48000), "aac", 48000, first=first, picture=picture)
    sound = read_sound(path, origin=origin_of(path))
    expected = first + 0.9 - picture
    assert peak(sound.wave, 0, 2) == pytest.approx(expected, abs=0.0011)
    assert sound.start == 0 and sound.warnings == ()
    assert sound.duration == pytest.approx(first + 1.5 - picture, abs=0.03)
    if first > 0.1:
        assert not sound.wave[: round((first - 0.03) * SAMPLE_RATE)].any()


def test_ten_minutes_do_not_drift(tmp_path):
    wave = clicks([0.5, 599.5], 600, 11025)
    write_wav(tmp_path / "a.wav", (wave * 32767).astype("<i2")[:, None], 11025)
    record(tmp_path / "b.mkv", wave, "flac", 11025)
    for name in ("a.wav", "b.mkv"):
        sound = read_sound(tmp_path / name)
        assert sound.duration == pytest.approx(600, abs=0.0001) and sound.warnings == ()
        assert peak(sound.wave, 0, 1) == pytest.approx(0.5, abs=0.0001)
        assert peak(sound.wave, 599, 600) == pytest.approx(599.5, abs=0.0001)


def test_gaps_become_silence(tmp_path):
    wave = np.full(48000 * 2, 0.25, dtype=np.float32)
    path = record(tmp_path / "a.mkv", wave, "pcm_s16le", 48000, steps={0.5: 0.75, 1.5: 0.01})
    sound = read_sound(path)
    begin = math.ceil(0.5 * 48000 / 1024) * 1024 / 48000  # where a packet ends
    assert sound.warnings == ("gaps in the sound, filled with silence: 1, 0.75 s in all",)
    assert sound.duration == pytest.approx(2.75, abs=0.001)
    silent = np.flatnonzero(np.abs(sound.wave) < 0.1) / SAMPLE_RATE
    assert (silent[0], silent[-1]) == (pytest.approx(begin, abs=0.001), pytest.approx(begin + 0.75, abs=0.001))
    assert len(silent) == pytest.approx(0.75 * SAMPLE_RATE, abs=20)


def test_sound_that_comes_twice_is_heard_once(tmp_path):
    one = record(tmp_path / "one.ts", clicks([0.7], 1.0, 48000), "aac", 48000, first=2.0, picture=1.8)
    two = record(tmp_path / "two.ts", clicks([0.2, 0.8], 1.0, 48000), "aac", 48000, first=2.5, picture=1.8)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    sound = read_sound(both)
    assert sound.duration == pytest.approx(1.5, abs=0.05)
    assert len(sound.warnings) == 1
    assert sound.warnings[0].endswith(" s of sound carry times at which there was sound already, and were left out")
    assert float(sound.warnings[0].split()[0]) == pytest.approx(0.5, abs=0.05)
    priming = 1024 / 48000  # MPEG-TS does not tell it, and here it is the first sound
    assert peak(sound.wave, 0, 1) == pytest.approx(0.7 + priming, abs=0.0002)
    assert peak(sound.wave, 1, 1.5) == pytest.approx(1.3 + priming, abs=0.0002)


def test_a_leap_of_hours_is_not_filled(tmp_path):
    path = record(tmp_path / "a.mkv", noise(1, 16000), "pcm_s16le", 16000, steps={0.5: 90000.0})
    sound = read_sound(path)
    assert sound.duration == pytest.approx(0.512, abs=0.001)
    assert sound.warnings == ("reading the sound stopped at second 0.51: its timestamps leap by 90000 s",)
    with pytest.raises(MediaError, match=r"a\.mkv': its sound cannot be read \(its timestamps leap by 5000 s\); fetch"):
        read_sound(path, origin=-5000.0)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "exact"),
    [("a.mp4", "aac", 48000, False), ("b.flac", "flac", 44100, True), ("c.mp3", "libmp3lame", 44100, True)],
)
def test_a_part_is_the_same_as_that_part_of_the_whole(tmp_path, name, codec, rate, exact):
    path = record(tmp_path / name, (noise if exact else rising)(14, rate), codec, rate)
    whole = read_sound(path)
    for start, end in ((2.0, 3.5), (12.5, 13.0)):  # the second is reached by a seek where the format allows it
        part = read_sound(path, start=start, end=end)
        expected = whole.wave[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
        assert (part.start, part.duration, part.warnings) == (start, end - start, ())
        if exact:
            assert np.abs(part.wave - expected).max() < 1e-5
        else:  # AAC fills what it leaves out with noise, drawn anew
            assert np.corrcoef(part.wave, expected)[0, 1] > 0.999
    assert read_sound(path, start=13).duration == pytest.approx(1.0, abs=0.06)


def test_a_span_before_the_sound_begins_is_silent(tmp_path):
    path = record(tmp_path / "a.mkv", noise(1.5, 48000), "flac", 48000, first=1.0, picture=0.0)
    sound = read_sound(path, origin=0.0, start=0.25, end=0.75)
    assert (sound.start, sound.duration, sound.warnings) == (0.25, 0.5, ()) and not sound.wave.any()
    assert read_sound(path, origin=0.0, start=0.25, end=0.25001).wave.shape == (1,)


def test_a_span_behind_the_end_is_empty_in_a_video_and_an_error_in_a_sound_file(tmp_path):
    path = record(tmp_path / "a.mkv", noise(1.0, 48000), "flac", 48000, picture=0.0)
    for start in (1.25, 7.5):
        sound = read_sound(path, origin=0.0, start=start)
        assert sound.wave.shape == (0,) and sound.duration == 0
        assert sound.warnings == (f"start {start:g} s is after the end of the sound (1.00 s); this span is silent",)
        with pytest.raises(MediaError, match=rf"a\.mkv': start {start:g} s is after .* \(1\.00 s\); start earlier"):
            read_sound(path, start=start)


@pytest.mark.parametrize(("start", "end"), [(2.0, 1.0), (-1.0, None), (float("nan"), None)])
def test_an_empty_span_is_refused(tmp_path, start, end):
    text = f"start {start:g} s and end {math.inf if end is None else end:g} s; expected 0 <= start < end"
    with pytest.raises(MediaError, match=text):
        read_sound(write_wav(tmp_path / "a.wav", np.zeros((100, 1), "<i2")), start=start, end=end)


@pytest.mark.parametrize("codec", ["pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_s16be"])
def test_every_kind_of_sample_has_the_same_level(tmp_path, codec):
    tone = 0.5 * np.sin(np.arange(16000) * 0.2).astype(np.float32)
    path = record(tmp_path / ("a.mov" if codec.endswith("be") else "a.wav"), tone, codec, 16000)
    assert np.abs(read_sound(path).wave - tone).max() < 1e-4


@pytest.mark.parametrize("name", ["a.wav", "b.avi", "c.mkv"])
def test_eight_bits_are_centred_on_silence(tmp_path, name):
    """Unsigned: silence is 128, and taking it for 0 would be a wave at full scale."""
    tone = 0.5 * np.sin(np.arange(16000) * 0.2).astype(np.float32)
    heard = read_sound(record(tmp_path / name, tone, "pcm_u8", 16000)).wave
    assert len(heard) == 16000 and np.abs(heard - tone).max() < 1.01 / 128 and abs(heard.mean()) < 0.005


@pytest.mark.parametrize(("codec", "off"), [("pcm_s24le", 0.002), ("ac3", 0.02), ("aac", 0.06)])
def test_surround_sound_of_24_bits_and_of_films_is_mixed_to_its_level(tmp_path, codec, off):
    path, layout = tmp_path / "a.mkv", "5.1"
    tone = 0.4 * np.sin(np.arange(96000) * 0.03).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48000, layout=layout)
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=48000, frame_size=size)
        whole = av.AudioFrame.from_ndarray(np.repeat(tone[None], 6, 0).copy(), format="fltp", layout=layout)
        whole.sample_rate = 48000
        for frame in [*resampler.resample(whole), *resampler.resample(None)]:
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    sound = read_sound(path)
    assert sound.duration == pytest.approx(2.0, abs=0.04) and sound.warnings == ()
    assert float(np.abs(sound.wave[4000:-4000]).max()) == pytest.approx(0.4, abs=off)


def test_sound_that_outlasts_the_picture_is_read_to_its_end(tmp_path):
    path = record(tmp_path / "a.mp4", clicks([1.0, 4.5], 5.0, 48000), "aac", 48000, picture=0.0)
    sound = read_sound(path, origin=origin_of(path))
    assert sound.duration == pytest.approx(5.0, abs=0.05) and sound.warnings == ()
    assert (peak(sound.wave, 0, 3), peak(sound.wave, 3, 5)) == (
        pytest.approx(1, abs=2e-3),
        pytest.approx(4.5, abs=2e-3),
    )


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("b.flac", "flac"), ("c.m4a", "aac")])
def test_a_sound_file_without_packets_is_named(tmp_path, name, codec):
    with av.open(str(tmp_path / name), "w") as container:
        container.add_stream(codec, rate=16000, layout="mono")
        container.start_encoding()
    with pytest.raises(MediaError, match="is empty; the file is damaged or was cut off|holds no sound track") as caught:
        read_sound(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_integers_of_64_bits_have_the_same_level_too(tmp_path):
    tone = 0.5 * np.sin(np.arange(16000) * 0.2)
    path = write_wav(tmp_path / "a.wav", (tone * 2.0**63).astype("<i8")[:, None])
    assert np.abs(read_sound(path).wave - tone).max() < 1e-4


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_equal_channels_are_as_loud_as_one(tmp_path, channels):
    tone = (20000 * np.sin(np.arange(44100) * 0.05)).astype("<i2")
    mono = read_sound(write_wav(tmp_path / "mono.wav", tone[:, None], 44100)).wave
    path = write_wav(tmp_path / "many.wav", np.repeat(tone[:, None], channels, 1), 44100)
    assert np.abs(read_sound(path).wave - mono).max() < 1e-5


@pytest.mark.parametrize("layout", ["stereo", "5.1", "7.1", "quad", "2.1"])
def test_a_mix_of_full_channels_does_not_clip(tmp_path, layout):
    channels = len(av.AudioLayout(layout).channels)
    tone = (0.999 * 2**31 * np.sin(np.arange(48000) * 0.05)).astype(np.int32)
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s32le", rate=48000, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, channels)[None], format="s32", layout=layout)
        frame.sample_rate, frame.pts = 48000, 0
        container.mux([*stream.encode(frame), *stream.encode()])
    assert float(np.abs(read_sound(path).wave[500:-500]).max()) == pytest.approx(0.999, abs=0.002)


def test_speech_in_the_centre_stays_louder_than_what_is_around(tmp_path):
    path = tmp_path / "a.flac"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=16000, layout="5.1")
        for number in range(6):  # FL FR FC LFE BL BR, one after the other
            samples = np.zeros((4608, 6), dtype=np.int16)
            samples[:, number] = 16384
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="5.1")
            frame.sample_rate, frame.pts = 16000, number * 4608
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    wave = read_sound(path).wave
    shares = [2 * float(wave[number * 4608 + 2304]) for number in range(6)]
    assert shares == pytest.approx([0.207, 0.207, 0.293, 0, 0.146, 0.146], abs=0.001)


def test_samples_that_are_no_numbers_become_zero(tmp_path):
    samples = np.full((4000, 2), 0.5, dtype="<f4")
    samples[1000, 0], samples[2000], samples[3000, 1] = np.nan, np.inf, -np.inf
    sound = read_sound(write_wav(tmp_path / "a.wav", samples))
    assert sound.warnings == ("samples of sound that were infinite or not numbers, set to 0: 4",)
    assert sound.wave[[999, 1000, 2000, 3000, 3001]].tolist() == [0.5, 0.25, 0, 0.25, 0.5]
    huge = read_sound(write_wav(tmp_path / "b.wav", np.array([[0.5], [1e300]])))
    assert huge.wave.tolist() == [0.5, 0] and huge.warnings[0].endswith("set to 0: 1")


def test_damaged_packets_are_silent_and_counted_and_the_rest_keeps_its_time(tmp_path):
    path = record(tmp_path / "a.mp4", noise(3, 48000) + clicks([2.5], 3, 48000), "aac", 48000)
    count = spoil(path, 1.0, 1.5)
    sound = read_sound(path)
    assert count > 20
    assert sound.warnings == (f"packets of sound that could not be decoded, replaced by silence: {count}",)
    assert not sound.wave[round(1.03 * SAMPLE_RATE) : round(1.5 * SAMPLE_RATE)].any()
    assert peak(sound.wave, 2, 3) == pytest.approx(2.5, abs=0.0002)
    assert read_sound(path, start=2).warnings == ()


def test_damage_that_ffmpeg_steps_over_is_told_as_a_gap(tmp_path):
    path = record(tmp_path / "a.flac", noise(3, 48000) + clicks([2.5], 3, 48000), "flac", 48000)
    spoil(path, 1.0, 1.5)
    sound = read_sound(path)
    assert sound.warnings == ("gaps in the sound, filled with silence: 1, 0.48 s in all",)
    assert peak(sound.wave, 2, 3) == pytest.approx(2.5, abs=0.0002)


def test_a_file_cut_short_gives_what_is_left(tmp_path):
    path = record(tmp_path / "a.flac", noise(4, 48000), "flac", 48000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sound = read_sound(path)
    assert 1.5 < sound.duration < 2.1
    assert sound.warnings[-1] == (
        f"the sound ends at second {sound.duration:.2f} of the 4.00 it declares: the file was cut short or its end is "
        "damaged"
    )
    assert read_sound(path, end=1.0).warnings == ()


def test_the_default_track_is_taken_and_told(tmp_path):
    tone = np.sin(np.arange(48000) * 0.05).astype(np.float32) * 0.1
    languages = ("eng", "deu", "zho")
    path = record(tmp_path / "a.mkv", tone, "flac", 48000, tracks=3, languages=languages, default=1)
    sound = read_sound(path)
    assert (sound.track, sound.tracks, sound_tracks(path)) == (1, 3, 3)
    assert sound.warnings == ("the file has 3 sound tracks; number 1 (deu) was taken, the file's default",)
    assert float(sound.wave.max()) == pytest.approx(0.2, abs=0.001)
    asked = read_sound(path, track=2)
    assert (asked.track, asked.warnings) == (2, ()) and float(asked.wave.max()) == pytest.approx(0.3, abs=0.001)


def test_without_a_default_the_first_track_is_taken(tmp_path):
    sound = read_sound(record(tmp_path / "a.ts", noise(0.5, 48000), "aac", 48000, tracks=2))
    assert (sound.track, sound.tracks) == (0, 2)
    assert sound.warnings == ("the file has 2 sound tracks; number 0 was taken, the first",)


@pytest.mark.parametrize(("track", "tracks", "highest"), [(3, 3, 2), (-1, 1, 0)])
def test_a_track_that_is_not_there_is_named(tmp_path, track, tracks, highest):
    path = record(tmp_path / "a.mkv", noise(0.1, 48000), "flac", 48000, tracks=tracks)
    text = rf"a\.mkv': sound track {track}; expected 0 to {highest}, for the file has {tracks}; choose one of these"
    with pytest.raises(MediaError, match=text):
        read_sound(path, track=track)


def test_tracks_without_a_decoder_are_passed_over(tmp_path):
    path = record(tmp_path / "a.mkv", noise(0.5, 48000), "flac", 48000, tracks=2)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"A_FLAC", b"A_XQZW", 1))
    sound = read_sound(path)
    assert (sound.track, sound.tracks, sound.warnings, sound_tracks(path)) == (1, 2, (), 2)
    with pytest.raises(MediaError, match=r"a\.mkv': FFmpeg has no decoder for sound track 0; convert the sound"):
        read_sound(path, track=0)
    path.write_bytes(content.replace(b"A_FLAC", b"A_XQZW"))
    with pytest.raises(MediaError, match=r"a\.mkv': FFmpeg has no decoder for any of its sound tracks; convert"):
        read_sound(path)


@pytest.mark.parametrize(("name", "codec"), [("a.flac", "flac"), ("b.mp3", "libmp3lame"), ("c.m4a", "aac")])
def test_bytes_are_read_as_the_file_that_holds_them(tmp_path, name, codec):
    path = record(tmp_path / name, noise(3.0, 44100), codec, 44100)
    held = SoundBytes(path.read_bytes(), "row 7")
    assert np.array_equal(read_sound(held).wave, read_sound(path).wave)
    assert np.array_equal(read_sound(held, start=1.0, end=2.0).wave, read_sound(path, start=1.0, end=2.0).wave)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", r"'row 7' is empty \(0 bytes\)"),
        (b"#EXTM3U\nfile:///etc/hostname\n", "'row 7' is text"),
        (bytes(500), "'row 7': not a sound"),
    ],
)
def test_bytes_that_are_no_sound_are_named(data, said):
    with pytest.raises(MediaError, match=said):
        read_sound(SoundBytes(data, "row 7"))


def test_a_sound_file_of_no_known_codec_is_named(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros((100, 1), np.int16))
    content = bytearray(path.read_bytes())
    content[20:22] = b"\xee\xee"  # the format tag
    path.write_bytes(content)
    with pytest.raises(MediaError, match="holds only sound \\(of no known codec\\)"), open_video(path):
        pass
    with pytest.raises(MediaError, match="FFmpeg has no decoder for any of its sound tracks"):
        read_sound(path)


def test_tags_in_an_old_encoding_do_no_harm(tmp_path):
    text = "高兴吗".encode("gbk")
    tags = b"LIST" + struct.pack("<I", 12 + len(text)) + b"INFOINAM" + struct.pack("<I", len(text)) + text
    assert read_sound(write_wav(tmp_path / "a.wav", np.zeros((100, 1), "<i2"), tags=tags)).wave.shape == (100,)


def test_a_picture_or_a_silent_video_has_no_sound_track(tmp_path):
    path = write_video(tmp_path / "a.mp4", count=4)
    assert sound_tracks(path) == 0
    with pytest.raises(MediaError, match=r"a\.mp4' \(mov,mp4.*\) holds no sound track; give a sound file or a video"):
        read_sound(path)


def _broken(tmp_path, kind):
    path = tmp_path / f"{kind}.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("#EXTM3U\nhttp://example.org/a.ts\n")
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes())
    elif kind == "damaged":
        spoil(record(path, noise(0.5, 48000), "aac", 48000), -1, 1)
    elif kind == "nothing":
        write_wav(path, np.zeros((0, 1), "<i2"))
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"missing\.mp4' does not exist; give the path"),
        ("empty", r"empty\.mp4' is empty \(0 bytes\)"),
        ("text", r"text\.mp4' is text \(it begins with '#EXTM3U'\)"),
        ("noise", r"noise\.mp4': not a sound or video file that FFmpeg can read \(Invalid data .*\); check the file"),
        ("damaged", r"damaged\.mp4': none of the 2\d packets of its sound track \(aac\) can be decoded; fetch"),
        ("nothing", r"nothing\.mp4': its sound track \(pcm_s16le\) is empty; the file is damaged or was cut off"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, kind, message):
    with pytest.raises(MediaError, match=message) as caught:
        read_sound(_broken(tmp_path, kind))
    assert "\n" not in str(caught.value)


def test_a_real_clip_has_sound_as_long_as_its_pictures(clips):
    path = clips / "single_face.mp4"
    origin = origin_of(path)
    sound = read_sound(path, origin=origin)
    assert sound.duration == pytest.approx(2.4, abs=0.1) and sound.wave.any() and sound.warnings == ()
    part = read_sound(path, origin=origin, start=1.0, end=2.0)
    assert np.corrcoef(part.wave, sound.wave[SAMPLE_RATE : 2 * SAMPLE_RATE])[0, 1] > 0.99


def test_a_real_clip_whose_sound_begins_late(clips):
    path = clips / "face_noface.mov"
    sound = read_sound(path, origin=origin_of(path))
    assert sound.duration == pytest.approx(6.4, abs=0.03) and sound.warnings == ()
    assert np.flatnonzero(sound.wave)[0] / SAMPLE_RATE == pytest.approx(2.43, abs=0.001)


@pytest.mark.parametrize("half", [False, True])
def test_channels_that_cancel_each_other_are_not_mixed(tmp_path, half):
    tone = 0.3 * np.sin(np.arange(32_000) / 9)
    right = np.where(np.arange(32_000) < 16_000, 1.0, -1.0) * tone if half else -0.9 * tone
    sound = read_sound(write_wav(tmp_path / "a.wav", np.stack([tone, right], 1).astype("<f4")))
    assert np.abs(sound.wave - tone).max() < 1e-4
    assert sound.warnings == ("the channels cancel each other when mixed; channel 1, the loudest, was read",)


def test_unrelated_and_single_channels_are_mixed_as_ever(tmp_path):
    left, right = np.random.default_rng(0).normal(0, 0.1, (2, 32_000))
    for number, pair in enumerate(([left, right], [left, 0 * left], [left, left])):
        sound = read_sound(write_wav(tmp_path / f"{number}.wav", np.stack(pair, 1).astype("<f4")))
        assert sound.warnings == () and np.abs(sound.wave - np.mean(pair, 0)).max() < 1e-5


def test_a_constant_offset_is_taken_out(tmp_path):
    tone = 0.2 * np.sin(2 * np.pi * np.arange(32_000) / 80)
    for number, pair in enumerate(([tone + 0.3], [tone + 0.3, -tone + 0.3])):
        sound = settled(read_sound(write_wav(tmp_path / f"{number}.wav", np.stack(pair, 1).astype("<f4"))))
        assert np.abs(sound.wave - tone).max() < 1e-3
        assert sound.warnings[-1] == "a constant offset of 0.3 of full scale was taken out of the sound"


def test_a_voice_far_too_quiet_or_too_loud_is_brought_to_a_usual_level(tmp_path, shared_data):
    table = pytest.importorskip("pyarrow.parquet").read_table(shared_data / "speech_emodb.parquet", columns=["audio"])
    voice = read_sound(SoundBytes(table["audio"][0].as_py(), "voice"))
    assert voice.warnings == ()
    for gain, told in ((0.005, "raised by"), (30.0, "lowered by")):
        sound = settled(read_sound(write_wav(tmp_path / f"{gain}.wav", (gain * voice.wave[:, None]).astype("<f4"))))
        assert np.abs(sound.wave).max() == pytest.approx(0.5) and told in sound.warnings[0]
        assert np.corrcoef(sound.wave, voice.wave)[0, 1] > 0.9999
    noise = np.random.default_rng(0).normal(0, 1e-3, (32_000, 1))
    assert settled(read_sound(write_wav(tmp_path / "n.wav", noise.astype("<f4")))).warnings == ()
