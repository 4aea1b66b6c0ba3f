"""A folder becomes one line per clip; what is there is kept, what is not is made, and nothing is mixed or lost."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.conftest import write_clip
from tests.disk import room
from tests.processes import start_command

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.features import FeatureFile, read_features
from emotion_qwen.analysis.reader import ViewReader
from emotion_qwen.analysis.request import Request
from emotion_qwen.batch.folder import Results, analyze_all, made_by
from emotion_qwen.cli import main
from emotion_qwen.errors import DataError, MediaError, StorageError, printable
from emotion_qwen.faces import CenterFaceDetector, Detections

pytestmark = pytest.mark.usefixtures("nano_in_commands")


class EveryFace:
    """Sees one face in the middle of every frame, so that tests need no network of faces."""

    def __call__(self, frame):
        height, width = frame.shape[:2]
        box = [[width * 0.25, height * 0.2, width * 0.7, height * 0.8]]
        return Detections(np.array(box, np.float32), np.array([0.9], np.float32))


@pytest.fixture(scope="module")
def analyzer(shallow):
    """Runs over folders are the same for a model of one layer."""
    return Analyzer(shallow, EveryFace())


@pytest.fixture(scope="module")
def deep(nano):
    """The model that commands load, and one whose labels are no ties that rounding decides."""
    return Analyzer(nano, EveryFace())


@pytest.fixture
def clips(tmp_path):
    """Five clips of different sizes and lengths, the third of which is no video."""
    folder, noise = tmp_path / "clips", np.random.default_rng(0)
    folder.mkdir()
    for number, (count, side) in enumerate([(5, 64), (10, 48), (0, 0), (7, 56), (5, 64)]):
        if not count:
            (folder / f"{number}.mp4").write_text("no video at all\n" * 30)
            continue
        picture = noise.integers(0, 255, (1, side, side, 3), dtype=np.uint8)
        write_clip(folder / f"{number}.mp4", picture.repeat(count, 0))
    return sorted(folder.iterdir())


def same(one, other) -> None:
    """Compare two reports; only the time that they took and the last digits may differ."""
    assert (one.label, one.summary, len(one.cues)) == (other.label, other.summary, len(other.cues))
    assert one.distribution == pytest.approx(other.distribution, abs=1e-4)
    assert one.gate == pytest.approx(other.gate, abs=1e-4)
    for mine, theirs in zip(one.people, other.people, strict=True):
        assert mine.distribution == pytest.approx(theirs.distribution, abs=1e-4)
    for mine, theirs in zip(one.channels, other.channels, strict=True):
        assert mine.moved == pytest.approx(theirs.moved, abs=1e-3)
    for mine, theirs in zip(one.cues, other.cues, strict=True):
        assert mine.measures == pytest.approx(theirs.measures, abs=1e-4)


def test_together_is_as_one_by_one(deep, clips):
    request = Request(context="They have just won.")
    found = list(analyze_all(deep, clips, request, workers=0))
    assert [file for file, _ in found] == clips
    assert isinstance(found[2][1], MediaError) and "2.mp4" in str(found[2][1])
    for file, one in found[:2] + found[3:]:
        same(one.report, deep.analyze(file, context=request.context))
        assert one.report.provenance["took"] > 0


def test_other_processes_prepare_what_this_one_would(analyzer, clips):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyzer, "detector", CenterFaceDetector())
        plain, spread = (list(analyze_all(analyzer, clips, Request(), workers=number)) for number in (0, 2))
    assert [file for file, _ in spread] == clips and str(spread[2][1]) == str(plain[2][1])
    for (_, one), (_, other) in zip(plain[:2], spread[:2], strict=True):
        same(one.report, other.report)


def test_a_view_is_asked_once_and_clips_share_batches(analyzer, clips, monkeypatch):
    asked = []
    score = analyzer.engine.score
    monkeypatch.setattr(analyzer.engine, "score", lambda v, *a: asked.append(len(v)) or score(v, *a))
    good = [clips[0], clips[1], clips[3], clips[4]]
    for file in good:
        analyzer.analyze(file)
    alone, asked[:] = list(asked), []
    list(analyze_all(analyzer, good, Request(), workers=0))
    assert len(asked) == 3, "blank pictures, views, covered faces"
    assert sum(asked) == sum(alone) - 3, "all crops have one size, so that one blank picture serves four clips"


def test_blank_pictures_outlive_views(shallow):
    reader = ViewReader(shallow, "Emotion?", ["happy", "sad"])
    view = {"type": "image", "image": np.zeros((48, 48, 3), np.uint8)}
    before = reader.scores([view])[0]
    reader.forget()
    assert not reader._answers and len(reader._blanks) == 1
    assert reader.scores([view])[0].tolist() == before.tolist()


def go_on(analyzer, files, output, request=Request(), features=None) -> list:  # noqa: B008  frozen
    results = Results(made_by(analyzer, request), output, features)
    waiting = results.waiting(files)
    for file, found in analyze_all(analyzer, waiting, request, workers=0):
        results.add(file, found)
    results.close()
    return waiting


def lines(output) -> list[dict]:
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_a_second_run_makes_what_is_missing_and_nothing_else(analyzer, clips, tmp_path):
    output = tmp_path / "reports.jsonl"
    go_on(analyzer, clips[:3], output)
    first = output.read_bytes().splitlines()
    assert [set(line) == {"source", "error"} for line in lines(output)] == [False, False, True]
    output.write_bytes(output.read_bytes() + first[0][:50])  # half a line, as a crash leaves it
    assert go_on(analyzer, clips, output) == clips[2:], "failures are tried again"
    after = output.read_bytes().splitlines()
    assert after[:2] == first[:2] and len(after) == 5
    assert [line["source"] for line in lines(output)] == [str(clip) for clip in (*clips[:2], *clips[2:])]


def test_a_clip_that_changed_is_analyzed_anew(analyzer, clips, tmp_path):
    output = tmp_path / "reports.jsonl"
    go_on(analyzer, clips[:2], output)
    shutil.copy(clips[3], clips[0])
    assert go_on(analyzer, clips[:2], output) == clips[:1]
    assert [line["source"] for line in lines(output)] == [str(clips[1]), str(clips[0])]


def test_lines_made_otherwise_are_named_and_left_alone(analyzer, clips, tmp_path):
    output = tmp_path / "reports.jsonl"
    go_on(analyzer, clips[:1], output)
    before = output.read_bytes()
    with pytest.raises(DataError, match=r"holds 1 lines made otherwise \(line 1, '.*0\.mp4': asked\); give another"):
        go_on(analyzer, clips, output, Request(context="They have won."))
    with pytest.raises(DataError, match="label_set 'dfew7', now 'mer6'"):
        go_on(analyzer, clips, output, Request(labels="mer6"))
    made = {**made_by(analyzer, Request()), "weights": "ffff"}
    with pytest.raises(DataError, match=r"weights '\w{16}', now 'ffff'"):
        Results(made, output, None)
    assert output.read_bytes() == before
    output.write_text('{"a": 1}\n')
    with pytest.raises(DataError, match="line 1: not a line of `analyze --output`"):
        go_on(analyzer, clips, output)


def test_features_say_what_the_answer_was_made_of(analyzer, shallow, clips, tmp_path):
    output, path = tmp_path / "reports.jsonl", tmp_path / "out.safetensors"
    go_on(analyzer, clips[:3], output, features=path)
    sources, found = read_features(path)
    width = shallow.model.config.text_config.hidden_size
    assert sources == [str(clip) for clip in clips[:2]]
    assert {name: rows.shape for name, rows in found.items()} == {
        "visual": (2, width), "audio": (2, width), "pooled": (2, width), "gate": (2, 2)
    }  # fmt: skip
    assert np.isnan(found.pop("audio")).all()  # the clips are silent
    assert all(np.isfinite(rows).all() for rows in found.values())
    prepared = analyzer.prepare(clips[0])
    (person,) = prepared.people
    views = [[{"type": "image", "image": crop}] for crop in person.crops]
    encoded = shallow.encoder().views(views)
    visual = np.stack([parts[0]["image"].tokens.mean(0).numpy() for parts in encoded]).mean(0)
    reader = analyzer.reader(Request())
    hidden = shallow.score(views, reader.question, reader.names).hidden.mean(0).numpy()
    assert shallow.processor.settings.person_weight == 1  # the people alone decide, so that their mean is the clip's
    np.testing.assert_allclose(found["visual"][0], visual, atol=1e-4)
    np.testing.assert_allclose(found["pooled"][0], hidden, atol=1e-3)
    head = shallow.model.lm_head.weight.float().detach().numpy()
    words = [shallow.processor.tokenizer(name, add_special_tokens=False)["input_ids"][0] for name in reader.names]
    logits = shallow.score(views, reader.question, reader.names).hidden.numpy() @ head.T
    shares = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    told = shallow.score(views, reader.question, reader.names).log_likelihood.numpy()
    np.testing.assert_allclose(shares[:, words], told, atol=1e-3)


def test_features_and_lines_go_on_together(analyzer, clips, tmp_path):
    output, path = tmp_path / "reports.jsonl", tmp_path / "out.safetensors"
    go_on(analyzer, clips[:1], output, features=path)
    go_on(analyzer, clips[:2], output)  # a line without a row
    assert go_on(analyzer, clips[:2], output, features=path) == clips[1:2]
    assert read_features(path)[0] == [line["source"] for line in lines(output)] == [str(clip) for clip in clips[:2]]
    made = made_by(analyzer, Request(labels="mer6"))
    with pytest.raises(DataError, match="holds features made otherwise"):
        FeatureFile(path, made, resume=True)
    alien = tmp_path / "alien.safetensors"
    alien.write_text("nothing")
    with pytest.raises(DataError, match="cannot be read as features"):
        FeatureFile(alien, made, resume=False)


def test_a_run_that_is_killed_leaves_whole_lines_and_goes_on(clips, tmp_path):
    """Kill -9 after the first line; the next run ends with the lines of an undisturbed one."""
    output, folder = tmp_path / "reports.jsonl", tmp_path / "many"
    folder.mkdir()
    picture = np.random.default_rng(1).integers(0, 255, (1, 48, 48, 3), dtype=np.uint8)
    for number in range(18):  # more than come together
        write_clip(folder / f"{number:02}.mp4", picture)
    command = ["analyze", str(folder), "--output", str(output), "--workers", "0"]
    run = start_command(tmp_path / "run.log", *command)
    until = time.monotonic() + 120
    while not (output.exists() and output.read_bytes().count(b"\n")) and run.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    run.kill()
    assert run.wait(60) == -signal.SIGKILL
    kept = output.read_bytes().rpartition(b"\n")[0].splitlines()
    assert 0 < len(kept) < 18
    assert main(command) == 0
    assert output.read_bytes().splitlines()[: len(kept)] == kept
    assert [os.path.basename(line["source"]) for line in lines(output)] == [f"{number:02}.mp4" for number in range(18)]


def test_the_command_counts_names_and_says_so_in_its_exit_code(clips, tmp_path, capsys):
    output = tmp_path / "reports.jsonl"
    command = ["analyze", str(clips[0].parent), "--output", str(output), "--workers", "0"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out == "" and "2.mp4" in err and f"4 clips analyzed, 0 before, 1 failed: {output}" in err
    assert main([*command, "--strict"]) == 2
    assert "0 clips analyzed, 4 before, 1 failed" in capsys.readouterr().err
    assert main([*command, "--picture", str(tmp_path / "a.svg")]) == 2
    assert "--output asks for another; choose one" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(clips, tmp_path, capsys, monkeypatch):
    output, add = tmp_path / "reports.jsonl", Results.add

    def stop(self, file, found):
        if file == clips[1]:
            raise KeyboardInterrupt
        add(self, file, found)

    monkeypatch.setattr(Results, "add", stop)
    assert main(["analyze", str(clips[0].parent), "--output", str(output), "--workers", "0"]) == 130
    assert "has 1 complete lines; run the same command again to continue" in capsys.readouterr().err
    assert len(lines(output)) == 1


def test_request_names_everything_that_is_asked(analyzer):
    made = made_by(analyzer, Request())
    assert made == json.loads(json.dumps(made))
    assert set(made["asked"]) == {
        "language", "start", "end", "fps", "window", "context", "abstain_below",
        "sound", "words", "audio", "audio_track", "transcript", "subtitle_track",
        "encoding", "recognizer", "reasoning", "about",
    }  # fmt: skip
    assert made_by(analyzer, replace(Request(), start=1.0)) != made


def failing(analyzer, monkeypatch, bad, most=16, error=None):
    """Let the model fail at some clips, and at more than `most` clips together; return the sizes of the batches."""
    read, sizes = analyzer.read, []

    def limited(reader, clips, *arguments, **options):
        sizes.append(len(clips))
        if len(clips) > most or any(os.path.basename(clip.clip.source) in bad for clip in clips):
            raise error or torch.OutOfMemoryError("CUDA out of memory.\nTried")
        return read(reader, clips, *arguments, **options)

    monkeypatch.setattr(analyzer, "read", limited)
    return sizes


def test_a_fault_of_the_model_costs_its_clip_and_nothing_else(analyzer, clips, tmp_path, monkeypatch):
    output = tmp_path / "reports.jsonl"
    with monkeypatch.context() as patched:
        sizes = failing(analyzer, patched, {"1.mp4"})
        go_on(analyzer, clips, output)
        assert sizes == [4, 2, 1, 1, 2], "in halves, down to the one"
    told = {os.path.basename(line["source"]): line.get("error") for line in lines(output)}
    assert [name for name, error in told.items() if not error] == ["0.mp4", "3.mp4", "4.mp4"]
    assert (
        "1.mp4': the model failed at this clip (OutOfMemoryError: CUDA out of memory. Tried); shorten" in told["1.mp4"]
    )
    assert go_on(analyzer, clips, output) == clips[1:3], "only what failed is tried again"
    assert sum("error" in line for line in lines(output)) == 1


def test_a_batch_too_large_for_the_device_is_divided(analyzer, clips, monkeypatch):
    good = [clips[0], clips[1], clips[3], clips[4]]
    plain = [found.report for _, found in analyze_all(analyzer, good, Request(), workers=0)]
    sizes = failing(analyzer, monkeypatch, set(), most=1, error=MemoryError("no room"))
    divided = [found.report for _, found in analyze_all(analyzer, good, Request(), workers=0)]
    assert sizes == [4, 2, 1, 1, 2, 1, 1]
    for one, other in zip(plain, divided, strict=True):
        same(one, other)


def test_a_device_that_is_lost_ends_the_run(analyzer, clips, monkeypatch):
    failing(analyzer, monkeypatch, {"0.mp4"}, error=torch.AcceleratorError("device-side assert"))
    with pytest.raises(torch.AcceleratorError):
        list(analyze_all(analyzer, clips, Request(), workers=0))


def test_a_full_disk_is_an_error_and_leaves_complete_lines(analyzer, clips, tmp_path):
    output = tmp_path / "reports.jsonl"
    go_on(analyzer, clips[:1], output)
    first = output.read_bytes()
    with room(len(first) + 500), pytest.raises(StorageError, match="reports.jsonl' cannot be written .*; free space"):
        go_on(analyzer, clips, output)
    assert output.read_bytes() == first
    go_on(analyzer, clips, output)
    assert output.read_bytes().startswith(first) and len(lines(output)) == 5


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="only root may mount a small disk")
def test_a_small_disk_ends_the_command_in_one_line(clips, tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", disk], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        command = ["analyze", str(clips[0].parent), "--output", str(disk / "r.jsonl"), "--workers", "0"]
        assert main(command) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("error: ") and "No space left on device" in last and "free space and run again" in last
        kept = (disk / "r.jsonl").read_bytes()
        assert kept.endswith(b"\n") and all(json.loads(line) for line in kept.splitlines())
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_second_run_on_one_output_is_refused_in_one_line(deep, clips, tmp_path, capsys):
    output, path = tmp_path / "reports.jsonl", tmp_path / "out.safetensors"
    go_on(deep, clips[:1], output)
    before = output.read_bytes()
    holder = Results(made_by(deep, Request()), output, path)
    for target in (["--output", str(output)], ["--features", str(path)]):
        assert main(["analyze", str(clips[1]), *target]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: another run is writing to ") and line.endswith("or give another output")
    assert output.read_bytes() == before
    holder.close()
    assert main(["analyze", str(clips[0]), "--output", str(output)]) == 0


def test_names_that_are_no_text_become_lines_and_rows_and_are_found_again(analyzer, clips, tmp_path):
    chinese = clips[0].with_name(os.fsdecode("愤怒".encode("gbk") + b".mp4"))
    clips[0].rename(chinese)
    bad = clips[2].with_name(os.fsdecode(b"\xb2\xe2.mp4"))
    clips[2].rename(bad)
    output, path = tmp_path / "reports.jsonl", tmp_path / "out.safetensors"
    go_on(analyzer, [chinese, clips[1], bad], output, features=path)
    assert b"\\udc" in output.read_bytes() and b'"\\udc' not in output.read_bytes().replace(b"\\\\", b"")
    assert read_features(path)[0] == [line["source"] for line in lines(output)[:2]] == [
        printable(chinese), str(clips[1])
    ]  # fmt: skip
    assert go_on(analyzer, [chinese, clips[1], bad], output, features=path) == [bad]


def test_features_have_the_permissions_of_other_files(analyzer, clips, tmp_path):
    path = tmp_path / "out.safetensors"
    go_on(analyzer, clips[:1], None, features=path)
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_output_with_the_suffix_of_a_table_is_a_table(clips, tmp_path, capsys):
    folder = str(clips[0].parent)
    assert main(["analyze", folder, "--output", str(tmp_path / "study.csv"), "--workers", "0"]) == 0
    assert f"4 clips analyzed, 0 before, 1 failed: {tmp_path / 'study.csv'}" in capsys.readouterr().err
    with (tmp_path / "study.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    stored = lines(tmp_path / "study.jsonl")
    assert [row["file"] for row in table] == [line["source"] for line in stored] and len(table) == 5
    assert [row["label"] or None for row in table] == [line.get("label") for line in stored]
    assert [bool(row["error"]) for row in table] == ["error" in line for line in stored]
    assert main(["analyze", folder, "--output", str(tmp_path / "study.csv"), "--workers", "0"]) == 0
    assert "0 clips analyzed, 4 before, 1 failed" in capsys.readouterr().err


def test_an_output_with_another_suffix_is_refused(clips, tmp_path, capsys):
    assert main(["analyze", str(clips[0]), "--output", str(tmp_path / "study.txt")]) == 2
    err = capsys.readouterr().err
    assert "study.txt': unknown suffix '.txt'; expected .jsonl for a report per line, or .csv .xlsx .parquet" in err
    assert err.count("\n") == 1 and not list(tmp_path.glob("study*"))
