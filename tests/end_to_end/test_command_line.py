"""The command line as a user meets it: what must succeed, what must fail with one clear line and exit code 2."""

import json
import shutil

import av
import numpy as np
import pytest
from PIL import Image
from tests.conftest import write_clip

from emotion_qwen.cli import main

pytestmark = pytest.mark.usefixtures("nano_in_commands")


def run(capsys, *arguments) -> tuple[int, list[str], list[str]]:
    capsys.readouterr()
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out.strip().splitlines(), err.strip().splitlines()


def analyzed(capsys, *paths, options=()) -> list[dict]:
    code, out, err = run(capsys, "analyze", "--json", *options, "--", *paths)
    assert code == 0, err
    return [json.loads(line) for line in out]


def refused(capsys, *arguments) -> str:
    code, _, err = run(capsys, "analyze", *arguments)
    errors = [line for line in err if line.startswith("error: ")]
    assert code == 2 and len(errors) == 1, err
    return errors[0]


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), dtype=np.uint8)


def test_names_with_blanks_quotes_and_chinese(capsys, tmp_path, gray_clip):
    names = ["a b.mp4", "情绪 片段.mp4", "it's [1].mp4"]
    for name in names:
        shutil.copy(gray_clip, tmp_path / name)
        (report,) = analyzed(capsys, tmp_path / name)
        assert report["source"].endswith(name)


def test_a_single_frame_and_a_single_pixel(capsys, tmp_path, frames):
    (one,) = analyzed(capsys, write_clip(tmp_path / "one.mp4", frames[:1]))
    assert one["provenance"]["frames"] == 1
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    (dot,) = analyzed(capsys, tmp_path / "dot.png")
    assert dot["provenance"]["size"] == [1, 1] and dot["people"] == []


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: None, "does not exist"),
        (lambda f: f.touch(), "is empty"),
        (lambda f: f.write_text("hello, this is no video\n" * 50), "text"),
    ],
)
def test_files_that_are_no_video(capsys, tmp_path, make, said):
    make(tmp_path / "x.mp4")
    line = refused(capsys, tmp_path / "x.mp4")
    assert "x.mp4" in line and said in line


def cut(path, share: float, **options):
    """Write a two-second MPEG-4 clip and keep the first `share` of its bytes."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 64, "yuv420p", 2
        noise = np.random.default_rng(1)
        for _ in range(20):
            picture = noise.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    return path


def test_a_clip_cut_short_is_read_with_a_warning(capsys, tmp_path):
    (report,) = analyzed(capsys, cut(tmp_path / "short.mp4", 0.6, movflags="faststart"))
    assert report["provenance"]["frames"] >= 2 and report["provenance"]["warnings"]


def test_a_clip_without_its_index_is_refused(capsys, tmp_path):
    assert "index" in refused(capsys, cut(tmp_path / "noindex.mp4", 0.6))


def test_sound_alone_is_refused(capsys, tmp_path):
    with av.open(str(tmp_path / "voice.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    assert "sound" in refused(capsys, tmp_path / "voice.wav")


def test_folder_without_media_and_no_input(capsys, tmp_path):
    assert str(tmp_path) in refused(capsys, tmp_path)
    assert "no input" in refused(capsys)


def test_aspect_ratio_over_200(capsys, tmp_path):
    Image.new("RGB", (402, 2)).save(tmp_path / "long.png")
    assert "402x2 pixels" in refused(capsys, tmp_path / "long.png")


def test_unknown_label_set_is_refused_before_anything_is_read(capsys, tmp_path):
    assert "unknown label set 'dfew'" in refused(capsys, tmp_path / "gone.mp4", "--labels", "dfew")


def test_model_folder_with_a_missing_shard(capsys, tmp_path, gray_clip):
    (tmp_path / "config.json").write_text('{"model_type": "emotion_qwen"}', encoding="utf-8")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (tmp_path / "model-00001-of-00002.safetensors").touch()
    line = refused(capsys, gray_clip, "--model", tmp_path)
    assert "1 of 2 shards missing: model-00002-of-00002.safetensors" in line


def test_in_a_folder_the_rest_goes_on(capsys, tmp_path, gray_clip):
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(gray_clip, folder / "a.mp4")
    (folder / "b.mp4").write_text("no video at all\n" * 30, encoding="utf-8")
    Image.new("RGB", (30, 30)).save(folder / "c.png")
    code, out, _ = run(capsys, "analyze", folder, "--json")
    lines = [json.loads(line) for line in out]
    assert code == 0 and [sorted(line) == ["error", "source"] for line in lines] == [False, True, False]
    assert run(capsys, "analyze", folder, "--json", "--strict")[0] == 2


def test_demo_and_chinese_view(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, out, err = run(capsys, "analyze", "--demo", "--language", "zh", "--verbose")
    assert code == 0 and "门控" in "\n".join(out), err
    assert list(tmp_path.iterdir()) == [], "the clip is removed"


def test_the_report_can_be_kept_as_a_picture(capsys, tmp_path, gray_clip):
    assert run(capsys, "analyze", gray_clip, "--picture", tmp_path / "report.svg")[0] == 0
    svg = (tmp_path / "report.svg").read_text(encoding="utf-8")
    assert svg.startswith("<svg") and "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert "choose one" in refused(capsys, gray_clip, "--json", "--picture", tmp_path / "b.svg")


def test_ask_answers_in_words(capsys, gray_clip):
    code, out, _ = run(capsys, "ask", gray_clip, "What do you see?")
    assert code == 0 and len(out) == 1


def test_faces_writes_pictures(capsys, tmp_path, astronaut):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    code, out, _ = run(capsys, "faces", tmp_path / "a.png", "--save", tmp_path / "seen")
    assert code == 0 and out[0].startswith("person 1: 1 of 1 frames")
    assert (tmp_path / "seen" / "boxes.png").is_file()


def test_debug_shows_the_traceback(gray_clip):
    from emotion_qwen.errors import SettingsError

    with pytest.raises(SettingsError):
        main(["--debug", "analyze", str(gray_clip), "--labels", "nothing"])


def test_views_never_replace_the_analyzed_file(capsys, tmp_path, gray_clip):
    before = gray_clip.read_bytes()
    code, _, err = run(capsys, "analyze", str(gray_clip), "--annotated", str(gray_clip.parent))
    assert code == 2 and "is the analyzed file itself; choose another file or folder" in err[-1]
    assert gray_clip.read_bytes() == before
    code, _, err = run(capsys, "analyze", str(gray_clip), "--markdown", str(tmp_path / "a" / "r.md"))
    assert code == 0 and (tmp_path / "a" / "r.md").read_text().strip()


def test_pages_of_several_clips_have_an_index_that_a_second_run_extends(capsys, tmp_path, gray_clip):
    clips = tmp_path / "clips"
    clips.mkdir()
    options = ("--html", tmp_path / "pages", "--output", tmp_path / "reports.jsonl", "--workers", "0")
    for name in ("a #1.mp4", "情绪.mp4"):
        shutil.copy(gray_clip, clips / name)
    (clips / "broken.mp4").write_text("only words")
    assert run(capsys, "analyze", clips, *options)[0] == 0
    index = tmp_path / "pages" / "index.html"
    text = index.read_text(encoding="utf-8")
    assert text.count("<tr ") - 1 == 3 and 'href="a%20%231.html"' in text and "is text" in text
    (clips / "broken.mp4").unlink()
    shutil.copy(gray_clip, clips / "later.mp4")
    assert run(capsys, "analyze", clips, *options)[0] == 0
    text = index.read_text(encoding="utf-8")
    assert text.count("<tr ") - 1 == 3 and 'href="later.html"' in text and text.count("data:image/jpeg") == 3


@pytest.mark.usefixtures("nano_in_commands")
def test_progress_leaves_nothing_in_a_log(tmp_path, capfd, gray_clip):
    assert main(["analyze", str(gray_clip), "--json", "--every-frame", str(tmp_path / "frames.csv")]) == 0
    assert capfd.readouterr().err == ""
