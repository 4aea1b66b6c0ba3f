"""Clips as cameras, recorders and broken downloads leave them: right times and orientation, or one line and code 2."""

from __future__ import annotations

import json
import os
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from emotion_qwen.cli import main
from emotion_qwen.errors import printable

pytestmark = pytest.mark.usefixtures("nano_in_commands")


def run(capsys, *arguments) -> tuple[int, list[str], list[str]]:
    capsys.readouterr()
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out.strip().splitlines(), err.strip().splitlines()


def analyzed(capsys, path: Path, *options) -> dict:
    code, out, err = run(capsys, "analyze", "--json", path, *options)
    assert code == 0 and len(out) == 1, err
    return json.loads(out[0])


def refused(capsys, path: Path, *options) -> str:
    code, out, err = run(capsys, "analyze", path, *options)
    assert code == 2 and not out and len(err) == 1 and err[0].startswith("error: "), err
    return err[0]


def film(
    path: Path,
    picture: np.ndarray,
    codec: str = "libx264",
    stamps: list[int] | None = None,
    rotation: float | None = None,
    tracks: int = 0,
    options: dict[str, str] | None = None,
    pixels: str = "yuv420p",
    loud: float = 0.0,
) -> Path:
    """Encode a still picture at times of milliseconds, with tracks of sound as long again as the pictures."""
    stamps = stamps or list(range(0, 1000, 100))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width, stream.pix_fmt, stream.gop_size = *picture.shape[:2], pixels, 5
        stream.codec_context.time_base = Fraction(1, 1000 if stamps[-1] % 40 or codec == "libx265" else 25)
        if rotation is not None:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a display matrix")
            stream.set_display_rotation(rotation)
        sounds = [container.add_stream("aac", rate=16000, layout="mono") for _ in range(tracks)]
        for stamp in stamps:
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = (
                int(Fraction(stamp, 1000) / stream.codec_context.time_base),
                (stream.codec_context.time_base),
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for sound in sounds:
            for number in range(2 * (stamps[-1] + 100) * 16 // 1024):
                wave = np.random.default_rng(number).normal(0, loud, (1, 1024)).astype(np.float32)
                frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16000, 1024 * number
                container.mux(sound.encode(frame))
            container.mux(sound.encode())
    return path


@pytest.fixture
def face(astronaut) -> np.ndarray:
    """The face in the middle of a picture that is wider than high."""
    return np.asarray(Image.fromarray(astronaut[:256, 64:448]).resize((240, 160)))


@pytest.mark.parametrize(("codec", "pixels"), [("libx264", "yuv420p"), ("libx265", "yuv420p10le")])
def test_a_phone_held_upright_at_a_changing_rate(capsys, tmp_path, face, codec, pixels):
    """Stored lying on its side, with a matrix that sets it upright: the face is found, at the times of its frames."""
    lying = np.ascontiguousarray(np.rot90(face, -1))
    stamps = [0, 33, 66, 400, 433, 800, 833, 1105]
    report = analyzed(capsys, film(tmp_path / "phone.mov", lying, codec, stamps, rotation=90, pixels=pixels))
    assert report["provenance"]["size"] == [160, 240] and report["provenance"]["seconds"] == [0.0, 1.105]
    assert len(report["people"]) == 1 and report["people"][0]["start"] == 0.0
    x1, y1, x2, y2 = report["people"][0]["box"]
    assert 0 <= x1 < x2 <= 240 and 0 <= y1 < y2 <= 160


def test_an_interlaced_recording_with_several_sound_tracks(capsys, tmp_path, face):
    options = {"x264-params": "interlaced=1:tff=1"}
    path = film(tmp_path / "tape.ts", face, stamps=list(range(0, 2000, 40)), tracks=2, options=options)
    report = analyzed(capsys, path)
    assert report["provenance"]["seconds"] == [0.0, 1.96] and len(report["people"]) == 1
    assert any("interlaced; one field of each was read" in line for line in report["provenance"]["warnings"])


def test_words_in_gbk_that_overlap_come_early_or_late(capsys, tmp_path, face):
    path = film(tmp_path / "a.mp4", face)
    cues = (
        "1\n-00:00:01,000 --> 00:00:00,300\n太好了我们赢了\n\n2\n00:00:00,200 --> 00:00:00,900\n真的吗我不相信\n\n"
        "3\n00:00:00,500 --> 00:00:00,100\n是真的\n\n4\n00:05:00,000 --> 00:05:01,000\n以后再说\n\n"
    )
    (tmp_path / "a.srt").write_bytes(cues.encode("gb18030"))
    report = analyzed(capsys, path, "--transcript", tmp_path / "a.srt")
    said = [(one["start"], one["end"], one["text"]) for one in report["utterances"]]
    assert said[:2] == [(0.0, 0.3, "太好了我们赢了"), (0.2, 0.9, "真的吗我不相信")]
    assert len(said) == 3 and said[2][0] == 0.5 and said[2][1] <= 1.05
    warnings = " | ".join(report["provenance"]["warnings"])
    for told in (
        "read as gb18030",
        "begin before the clip",
        "do not end after they begin",
        "begin after the clip ends",
    ):
        assert told in warnings


@pytest.mark.parametrize("encoding", ["gbk", "utf-16"])
def test_a_name_in_gbk_with_subtitles_in_another_encoding_than_utf_8(capsys, tmp_path, face, encoding):
    stem, words = os.fsdecode("愤怒的采访".encode("gbk")), "太好了我们赢了"
    path = film(tmp_path / "a.mp4", face).rename(tmp_path / f"{stem}.mp4")
    subtitles = f"1\n00:00:00,100 --> 00:00:00,900\n{words}\n\n2\n00:00:01,000 --> 00:00:02,000\nGood.\n\n"
    (tmp_path / f"{stem}.srt").write_bytes(subtitles.encode(encoding))
    output = tmp_path / "reports.jsonl"
    assert run(capsys, "analyze", tmp_path, "--output", output)[0] == 0
    for report in (analyzed(capsys, path), json.loads(output.read_bytes())):
        (said,) = (one for one in report["utterances"] if one["start"] == 0.1)
        assert said["text"] == words and report["source"] == printable(path), encoding
        assert report["provenance"]["words_from"] == printable(path.with_suffix(".srt"))
    code, out, err = run(capsys, "analyze", path, "--verbose")
    assert code == 0 and words in "".join(out) and not any("Traceback" in line for line in err)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.97])
@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("b.mkv", "libx265"), ("c.ts", "mpeg2video")])
def test_a_download_that_broke_off_gives_a_report_or_one_line(capsys, tmp_path, face, name, codec, share):
    path = film(tmp_path / name, face, codec, stamps=list(range(0, 1000, 40)))
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    code, out, err = run(capsys, "analyze", "--json", path)
    assert (code, len(out)) in ((0, 1), (2, 0))
    assert code == 0 or (len(err) == 1 and err[0].startswith("error: ") and name in err[0])


def test_a_file_without_packets_and_a_deaf_model_asked_to_hear(capsys, tmp_path, face, deaf_folder):
    with av.open(str(tmp_path / "none.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    assert "none.avi': its picture stream has no frames" in refused(capsys, tmp_path / "none.avi")
    path = film(tmp_path / "a.mp4", face, tracks=2)
    assert "has no audio input; leave --audio and --audio-track out" in refused(
        capsys, path, "--model", deaf_folder, "--audio-track", 1
    )
    assert "subtitle" in refused(capsys, path, "--subtitle-track", 3)


@pytest.fixture
def speech_model(tmp_path, monkeypatch) -> Path:
    """A folder as of a speech model, and a stand-in of the package that reads it."""
    folder = tmp_path / "whisper-tiny"
    folder.mkdir()
    for file in ("config.json", "model.bin", "tokenizer.json"):
        (folder / file).touch()
    segment = SimpleNamespace(start=0.2, end=0.8, text=" We won! ", avg_logprob=-0.2, no_speech_prob=0.0)
    module = ModuleType("faster_whisper")
    module.WhisperModel = lambda path, **options: SimpleNamespace(
        transcribe=lambda audio: (iter([segment]), SimpleNamespace(language="en"))
    )
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    return folder


def test_words_are_recognised_where_asked_and_said_to_be(capsys, tmp_path, face, speech_model, deaf_folder):
    path = film(tmp_path / "a.mp4", face, tracks=1, loud=0.1)
    plain = analyzed(capsys, path)
    assert plain["utterances"] == [] and plain["provenance"]["words_from"] == ""
    report = analyzed(capsys, path, "--transcribe", speech_model, "--model", deaf_folder)
    (said,) = report["utterances"]
    assert said["text"] == "We won!" and said["start"] == pytest.approx(0.2, abs=0.1)
    provenance = report["provenance"]
    assert provenance["words_from"].startswith("recognised by faster-whisper") and "words" in provenance["channels"]
    assert provenance["heard_seconds"] == 0.0  # the model has no audio input, its words are recognised all the same
    assert any("whisper-tiny" in line and "they may be wrong" in line for line in provenance["warnings"])
    code, out, _ = run(capsys, "ask", path, "How does the person feel?", "--transcribe", speech_model)
    assert code == 0 and out


def test_recognition_that_cannot_be_is_one_line(capsys, tmp_path, face, speech_model, monkeypatch):
    path = film(tmp_path / "a.mp4", face, tracks=1)
    assert "'nowhere' is not a folder" in refused(capsys, path, "--transcribe", "nowhere")
    both = refused(capsys, path, "--transcribe", speech_model, "--transcript", tmp_path / "a.srt")
    assert "--transcribe recognises the words; leave --transcript and --subtitle-track out" in both
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    assert "pip install 'emotion-qwen[asr]'" in refused(capsys, path, "--transcribe", speech_model)


def test_a_real_recording_of_a_phone(capsys, shared_data):
    """HEVC; faces come and go."""
    report = analyzed(capsys, shared_data / "clips" / "face_noface.mov")
    with av.open(str(shared_data / "clips" / "face_noface.mov")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "hevc"
        stamps = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
    assert report["provenance"]["seconds"] == [0.0, round(float((stamps[-1] - stamps[0]) * stream.time_base), 3)]
    assert report["people"] and all(one["end"] <= report["provenance"]["seconds"][1] for one in report["people"])
