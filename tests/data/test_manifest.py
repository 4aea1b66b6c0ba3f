"""Manifests: what is read, what is a fault and why, and that nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emotion_qwen.data.faults import list_faults
from emotion_qwen.data.manifest import Check, Fault, check_manifest, read_manifest, write_manifest
from emotion_qwen.data.rules import sample_of
from emotion_qwen.errors import DataError
from emotion_qwen.records import Sample

ASK, SAY = {"role": "user", "content": "How?"}, {"role": "assistant", "content": "happy"}


def picture(path: Path, seed: int = 0, size: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)).save(path)
    return path


def seen(path: str, text: str = "How?", kind: str = "image") -> dict:
    return {"role": "user", "content": [{"type": kind, kind: path}, {"type": "text", "text": text}]}


def record(identity: str = "a", *messages: dict, **more) -> dict:
    return {"id": identity, "messages": list(messages or (ASK, SAY)), **more}


def written(folder: Path, *lines: object, name: str = "m.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x, ensure_ascii=False)) + "\n" for x in lines))
    return path


def reason(value: object) -> str:
    with pytest.raises(DataError) as caught:
        sample_of(value)
    return str(caught.value)


def test_a_manifest_is_read_with_absolute_media(tmp_path):
    picture(tmp_path / "p" / "a.png")
    full = record("b", seen("p/a.png"), SAY, labels={"emotion": "happy"}, split="test", source="made", license="CC0")
    path = written(tmp_path, record(), "", full)
    text, shown = read_manifest(path)
    assert text == Sample("a", (ASK, SAY))
    assert shown.messages[0]["content"][0] == {"type": "image", "image": str(tmp_path / "p" / "a.png")}
    assert (shown.labels, shown.split, shown.source, shown.license) == ({"emotion": "happy"}, "test", "made", "CC0")
    assert [s.id for s in read_manifest(path, split="test")] == ["b"]
    assert not (tmp_path / "rejected.jsonl").exists()


def test_another_media_root_and_absolute_paths(tmp_path):
    inside, outside = picture(tmp_path / "root" / "a.png"), picture(tmp_path / "b.png")
    path = written(tmp_path, record("a", seen("a.png"), SAY), record("b", seen(str(outside)), SAY))
    samples = read_manifest(path, media_root=tmp_path / "root", decode=True)
    assert [s.messages[0]["content"][0]["image"] for s in samples] == [str(inside), str(outside)]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([1], "the line is [1] (list); expected an object with the keys id, messages"),
        (record(lables={}), "unknown key 'lables'; expected one of: id, labels, license, messages, source, split. Did"),
        ({"id": "a"}, "'messages' is missing; the keys are ['id'], add 'messages'"),
        ({"messages": [ASK, SAY]}, "'id' is missing; the keys are ['messages'], add 'id'"),
        (record(7), "id is 7 (int); expected text that is not empty"),
        (record(""), 'id is "" (str); expected text that is not empty'),
        ({"id": "a", "messages": "hi"}, 'messages is "hi" (str); expected a list of at least one turn'),
        ({"id": "a", "messages": []}, "messages is [] (list); expected a list of at least one turn"),
        (record(split=3), "split is 3 (int); expected text"),
        (record(split="tran"), "unknown split 'tran'; expected one of: test, train, validation. Did you mean 'train'?"),
        (record(labels=["happy"]), 'labels is ["happy"] (list); expected an object such as'),
        (record(labels={"emotion": 3}), "labels.emotion is 3 (int); expected text"),
        (record(labels={"emotion": "Happyness"}), "labels.emotion is 'Happyness'; expected a label of dfew7, mer6,"),
        (record(labels={"emotion": "Happyness"}), "did you mean 'happiness'?"),
        (record(labels={"emotion": "xyz"}), "labels.emotion is 'xyz'; expected a label of"),
        (record("a", "hi", SAY), 'messages[0] is "hi" (str); expected an object with role and content'),
        (record("a", {"role": "user", "text": "x"}), "messages[0]: unknown key 'text'; expected one of: content, role"),
        (record("a", {"role": "user"}), "messages[0] has no 'content'; its keys are ['role'], add 'content'"),
        (
            record("a", {"role": "human", "content": "x"}),
            "messages[0]: unknown role 'human'; expected one of: assistant",
        ),
        (record("a", {"role": ["user"], "content": "x"}), "messages[0]: unknown role ['user']; expected one of"),
        (record("a", {"role": "user", "content": 3}, SAY), "messages[0].content is 3 (int); expected text or a list"),
        (record("a", ASK, SAY, {"role": "system", "content": "x"}), "messages[2] is a system turn; expected only as"),
        (record("a", ASK, ASK, SAY), "messages[1] is user and follows user; user and assistant must alternate"),
        (record("a", SAY, ASK, SAY), "messages[0] is assistant and begins the conversation; user and assistant must"),
        (record("a", {"role": "system", "content": "x"}, SAY), "messages[1] is assistant and follows system"),
        (record("a", ASK), "messages[0], the last turn, is user; expected assistant, for training learns only from"),
        (
            record("a", ASK, {"role": "assistant", "content": " \n"}),
            "messages[1] (assistant) is empty; expected an answer",
        ),
        (
            record("a", {"role": "user", "content": []}, SAY),
            "messages[0] (user) is empty; expected a question or a medium",
        ),
        (
            record("a", ASK, {**seen("a.png"), "role": "assistant"}),
            "messages[1] (assistant) holds a part of type 'image'",
        ),
        (
            record("a", {**seen("a"), "role": "system"}, ASK, SAY),
            "messages[0] (system) holds a part of type 'image'; exp",
        ),
        (
            record("a", {"role": "user", "content": ["x"]}, SAY),
            'messages[0] part 0 is "x" (str); expected an object with',
        ),
        (
            record("a", seen("a", kind="imge"), SAY),
            "messages[0] part 0: unknown part type 'imge'; expected one of: image",
        ),
        (record("a", {"role": "user", "content": [{"type": "video"}]}, SAY), "messages[0] part 0 of type 'video' has"),
        (
            record("a", seen(""), SAY),
            "messages[0] part 0 of type 'image' has image \"\" (str); expected the path of the",
        ),
        (
            record("a", {"role": "user", "content": [{"type": "image", "image": "a", "vidoe": "b"}]}, SAY),
            "messages[0] part 0: unknown key 'vidoe'; expected one of: image, type.",
        ),
        (record("a", {"role": "user", "content": "\ud83d"}, SAY), "a text holds '\\ud83d', half of a character; write"),
    ],
)
def test_every_rule_names_what_came_and_where(value, told):
    assert told in reason(value)


def test_system_first_and_several_turns_and_pictures_are_fine():
    parts = [{"type": "image", "image": "a"}, {"type": "text", "text": "x"}, {"type": "image", "image": "b"}]
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}, SAY, ASK, SAY]
    assert [m["role"] for m in sample_of(record("a", *chat)).messages] == [m["role"] for m in chat]
    assert sample_of(record("a", ASK, {"role": "assistant", "content": [{"type": "text", "text": "ok"}]}))
    assert sample_of(record(labels={"emotion": "高兴", "topic": "any"}))


def test_lines_that_are_no_json_and_what_else_may_stand_in_a_file(tmp_path):
    path = tmp_path / "m.jsonl"
    good = json.dumps(record("语", {"role": "user", "content": "a\u2028b 情绪"}, SAY), ensure_ascii=False).encode()
    path.write_bytes(b"\xef\xbb\xbf" + good + b"\r\n\r\n{nope\n\xff\xfe\n" + b"[" * 100_000)
    check = check_manifest(path)
    assert [s.id for s in check.samples] == ["语"]
    assert [fault.line for fault in check.faults] == [3, 4, 5]
    assert [fault.reason.partition(" (")[0] for fault in check.faults] == ["not JSON"] * 3
    assert "Expecting property name" in check.faults[0].reason and "can't decode byte 0xff" in check.faults[1].reason
    assert check.faults[0].raw == "{nope" and check.faults[0].place == f"{path}:3"


def test_the_same_id_or_the_same_content_twice(tmp_path):
    other = {"role": "user", "content": [{"type": "text", "text": "How?"}]}
    path = written(tmp_path, record("a"), record("a", {"role": "user", "content": "x"}, SAY), record("b", other, SAY))
    check = check_manifest(path)
    assert [(f.line, f.id) for f in check.faults] == [(2, "a"), (3, "b")]
    assert check.faults[0].reason == "id 'a' came already in line 1; give each sample its own"
    assert check.faults[1].reason == "same media and messages as 'a' in line 1; expected once, remove one of them"


def test_media_that_are_missing_or_cannot_be_read(tmp_path, gray_clip):
    good = picture(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:300])
    (tmp_path / "cut.mp4").write_bytes(gray_clip.read_bytes()[:100])
    (tmp_path / "empty.jpg").touch()
    names = [("image", "good.png"), ("video", "gray.mp4"), ("image", "gone.png"), ("image", "cut.png")]
    names += [("video", "cut.mp4"), ("image", "empty.jpg"), ("video", "good.png"), ("image", "gray.mp4"), ("image", "")]
    names[-1] = ("image", ".")
    path = written(tmp_path, *(record(f"{n}", seen(name, kind=kind), SAY) for n, (kind, name) in enumerate(names)))
    check = check_manifest(path)
    assert [s.id for s in check.samples] == ["0", "1"]
    told = [f.reason for f in check.faults]
    assert told[0].startswith(f"messages[0] part 0: image '{tmp_path}/gone.png' does not exist; correct the path")
    assert f"image '{tmp_path}/cut.png'" in told[1] and "damaged" in told[1] and "fetch it again" in told[1]
    assert f"video '{tmp_path}/cut.mp4': an MP4 without its index" in told[2]
    assert f"image '{tmp_path}/empty.jpg' is empty (0 bytes)" in told[3]
    assert f"video '{tmp_path}/good.png' is a picture; expected a video" in told[4]
    assert f"image '{tmp_path}/gray.mp4' is no picture that can be read" in told[5]
    assert f"image '{tmp_path}' is a folder" in told[6]
    assert len(check_manifest(path, decode=False).faults) == 2


def test_only_the_media_of_the_wanted_split_are_looked_for(tmp_path):
    path = written(tmp_path, record("a"), record("b", seen("gone.png"), SAY, split="test"))
    assert [s.id for s in read_manifest(path, split="train")] == ["a"]
    with pytest.raises(DataError, match="gone.png' does not exist"):
        read_manifest(path, split="test")


def test_too_many_bad_samples_are_one_line_and_a_list(tmp_path):
    path = written(tmp_path, record("a"), record("b", ASK), "{", record("c", {"role": "user", "content": "é"}, SAY))
    before = path.read_bytes()
    with pytest.raises(DataError) as caught:
        read_manifest(path)
    rejected = tmp_path / "rejected.jsonl"
    assert str(caught.value) == (
        f"2 of 4 samples cannot be used, 0 allowed; the first: {path}:2 (b): messages[0], the last turn, is user; "
        f"expected assistant, for training learns only from answers; all are listed in '{rejected}', correct or remove "
        "them, or allow more (max_rejected, --max-rejected)"
    )
    entries = [json.loads(line) for line in rejected.read_text().splitlines()]
    assert [(e["file"], e["line"], e["id"]) for e in entries] == [(str(path), 2, "b"), (str(path), 3, "")]
    assert json.loads(entries[0]["raw"]) == record("b", ASK) and entries[1]["raw"] == "{"
    assert [s.id for s in read_manifest(path, max_rejected=2)] == ["a", "c"]
    assert path.read_bytes() == before
    read_manifest(path, max_rejected=2, rejected=tmp_path / "elsewhere" / "bad.jsonl")
    assert (tmp_path / "elsewhere" / "bad.jsonl").read_text() == rejected.read_text()


def test_two_manifests_share_a_list_and_keep_their_own_entries(tmp_path, monkeypatch):
    first, second = written(tmp_path, "{", record()), written(tmp_path, record(), "[", name="n.jsonl")
    rejected = tmp_path / "rejected.jsonl"
    rejected.write_text("a line of somebody else\n")
    for path in (first, second, first):
        read_manifest(path, max_rejected=1)
    monkeypatch.chdir(tmp_path)
    read_manifest("n.jsonl", max_rejected=1)  # the same file by another name
    lines = rejected.read_text().splitlines()
    assert lines[0] == "a line of somebody else"
    assert [json.loads(line)["file"] for line in lines[1:]] == [str(first), str(second)]
    list_faults([], rejected, {str(first)})
    assert str(first) not in rejected.read_text() and str(second) in rejected.read_text()


def test_a_list_that_cannot_be_written_says_so(tmp_path):
    path = written(tmp_path, "{", record())
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written to '.*file/bad.jsonl' \(.*\); name another file"):
        read_manifest(path, max_rejected=1, rejected=tmp_path / "file" / "bad.jsonl")


def test_a_file_without_what_was_asked_for(tmp_path):
    with pytest.raises(DataError, match=r"manifest '.*gone.jsonl' does not exist; give a file with one JSON object"):
        read_manifest(tmp_path / "gone.jsonl")
    path = written(tmp_path, record())
    with pytest.raises(DataError, match="unknown split 'val'; expected one of: test, train, validation"):
        read_manifest(path, split="val")
    with pytest.raises(DataError, match=r"m.jsonl': no sample of split 'test'; it has train; give another file"):
        read_manifest(path, split="test")
    with pytest.raises(DataError, match=r"empty.jsonl': no sample; give another file"):
        read_manifest(written(tmp_path, name="empty.jsonl"))


def test_written_manifests_are_read_back_and_can_move(tmp_path):
    home, beside = picture(tmp_path / "set" / "media" / "a.png"), picture(tmp_path / "other" / "b.png")
    parts = [
        {"type": "image", "image": str(home)},
        {"type": "image", "image": beside},
        {"type": "text", "text": "两张"},
    ]
    sample = Sample("a", ({"role": "user", "content": parts}, SAY), {"emotion": "sad"}, "validation", "made", "CC0")
    path = write_manifest([sample], tmp_path / "set" / "m.jsonl")
    line = json.loads(path.read_text(encoding="utf-8"))
    assert [part.get("image") for part in line["messages"][0]["content"]] == ["media/a.png", "../other/b.png", None]
    assert "两张" in path.read_text(encoding="utf-8")
    back = read_manifest(path, decode=True)[0]
    assert (back.labels, back.split, back.source, back.license) == ({"emotion": "sad"}, "validation", "made", "CC0")
    assert back.messages[0]["content"][1]["image"] == str(beside)
    (tmp_path / "set").rename(tmp_path / "moved")
    assert read_manifest(tmp_path / "moved" / "m.jsonl", decode=True)[0].id == "a"


def test_a_failed_write_leaves_the_old_manifest(tmp_path):
    path = write_manifest([Sample("a", (ASK, SAY))], tmp_path / "m.jsonl")
    before = path.read_bytes()
    shown = {"role": "user", "content": [{"type": "image", "image": np.zeros((8, 8, 3), np.uint8)}]}
    with pytest.raises(DataError, match=r"sample 'c', messages\[0\]: image is a ndarray; a manifest holds paths, save"):
        write_manifest([Sample("b", (ASK, SAY)), Sample("c", (shown, SAY))], path)
    with pytest.raises(DataError, match=r"sample 'd': messages\[0\], the last turn, is user"):
        write_manifest([Sample("d", (ASK,))], path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["m.jsonl"]


def test_counts_and_progress(tmp_path, gray_clip):
    picture(tmp_path / "a.png")
    both = {"role": "user", "content": [*seen("a.png")["content"], {"type": "video", "video": "gray.mp4"}]}
    lines = [record("a", license="CC0"), record("b", seen("a.png"), SAY, labels={"emotion": "sad"}, split="test")]
    path = written(tmp_path, *lines, record("c", both, SAY), "{")
    told: list[tuple[int, int]] = []
    check = check_manifest(path, progress=lambda done, total: told.append((done, total)))
    assert isinstance(check, Check) and isinstance(check.faults[0], Fault)
    assert check.counts == {
        "medium": {"text": 1, "image": 1, "image and video": 1},
        "label": {"none": 2, "sad": 1},
        "split": {"train": 2, "test": 1},
        "license": {"not stated": 2, "CC0": 1},
    }
    assert len(told) == 4 and told[-1] == (path.stat().st_size, path.stat().st_size)
    assert not (tmp_path / "rejected.jsonl").exists()  # checking writes nothing
