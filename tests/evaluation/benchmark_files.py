"""Invented rows in the layouts that the owners of benchmarks publish, with every documented oddity. No real data."""

import base64
import csv
import io
import json
from functools import cache
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from emotion_qwen.evaluation.run.stored import Stored

DFEW_FOLDER = "EmoLabel_DataSplit/test(single-labeled)"
MAFW_FOLDER = "Train & Test Set/single/no_caption"


def loaded(parts):
    """Return message parts with stored pictures decoded; all others unchanged."""
    return [
        {**part, "image": part["image"].load()} if isinstance(part.get("image"), Stored) else part for part in parts
    ]


@cache
def picture(shade: int = 90, side: int = 32, mode: str = "RGB", kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (side, side), (shade, 255 - shade, 40)).convert(mode).save(data, kind)
    return data.getvalue()


@cache
def clip() -> bytes:
    data = io.BytesIO()
    with av.open(data, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for shade in range(10):
            frame = np.full((48, 64, 3), 100 + 5 * shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return data.getvalue()


def write_bytes(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def write_csv(path: Path, head: list[str], rows: list[list], delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerows([head, *rows])
    return path


def write_parquet(path: Path, rows: list[dict], group: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    return path


def image(shade: int = 90, name: str | None = None) -> dict:
    return {"bytes": picture(shade), "path": name}


def write_dfew(home: Path) -> Path:
    """Three of five folds; label 0, other heads, an id twice; clips padded, in capitals, twice, or not there."""
    write_csv(home / DFEW_FOLDER / "set_1.csv", ["video_name", "label"], [[1, 1], [2, 2], [3, 0], [4, 7]])
    write_csv(home / DFEW_FOLDER / "set_2.csv", ["", "video_name", "label"], [[0, "00005", 3], [1, "00001", 1]])
    write_csv(home / DFEW_FOLDER / "set_3.csv", ["order", "label"], [[6, 5], [7, 4], [8, 6], [9, "happy"]])
    write_csv(home / DFEW_FOLDER / "set_9.csv", ["video_name", "label"], [[10, 1]])
    for name in ("1.mp4", "00002.mp4", "5.MP4", "00006.mp4", "7.avi", "8.AVI"):
        write_bytes(home / "Clip" / "original" / name, clip())
    write_bytes(home / "Clip" / "smaller" / "00001.mp4", clip())
    return home


def write_mer2024(home: Path) -> Path:
    rows = [["samplenew3_00000001", "sad"], ["samplenew3_00000002", "worried"], ["samplenew3_00000003", "fear"]]
    write_csv(home / "reference-semi.csv", ["name", "discrete"], [*rows, ["samplenew3_00000001", "sad"]])
    write_csv(home / "reference-noise.csv", ["name", "discrete"], [["samplenew3_00000009", "Happy"]])
    write_bytes(home / "MER2024_semi" / "samplenew3_00000001.AVI", clip())
    write_bytes(home / "MER2024_noise" / "samplenew3_00000009.mp4", clip())
    return home


def write_mafw(home: Path) -> Path:
    lines = {
        1: "00001.mp4 anger\n00002.mp4 contempt\n",
        2: "00003.mp4 helplessness\n00004.mp4 3\n\n",
        6: "1.mp4 fear\n",
    }
    for number, text in lines.items():
        write_bytes(home / MAFW_FOLDER / f"set_{number}" / "test.txt", text.encode())
    for name in ("00001.mp4", "2.AVI"):
        write_bytes(home / "data" / "clips" / name, clip())
    return home


def write_ravdess(home: Path) -> Path:
    for name in ("01-01-01-01-01-01-01", "01-01-06-01-02-01-12", "02-01-06-01-02-01-12", "01-02-03-01-01-01-02"):
        write_bytes(home / f"Actor_{name[-2:]}" / f"{name}.mp4", clip())
    write_bytes(home / "01-01-05-02-02-02-24.MP4", clip())
    write_bytes(home / "Actor_01" / "03-01-01-01-01-01-01.wav", b"RIFF")
    write_bytes(home / "Actor_01" / "01-01-09-01-01-01-01.mp4", clip())
    write_bytes(home / "holiday.mp4", clip())
    return home


def emoset_entry(label: str) -> list[str]:
    return [label, f"{label}_0", f"image/{label}/{label}_0.jpg", f"annotation/{label}/{label}_0.json"]


def write_emoset(home: Path) -> Path:
    """Entries as the owners' page has them, one without an id, one without a picture."""
    rows: list = [emoset_entry("awe"), ["fear", *emoset_entry("fear")[2:]]]
    rows += [emoset_entry("joy"), ["awe"], ["awe", "awe_1", "annotation/awe_1.json"], emoset_entry("anger")]
    write_bytes(home / "test.json", json.dumps(rows).encode())
    write_bytes(home / "val.json", json.dumps(rows[:1]).encode())
    for name in ("awe", "fear"):
        write_bytes(home / "image" / name / f"{name}_0.jpg", picture(kind="JPEG"))
    return home


def write_emer(home: Path) -> Path:
    """An extra column, an empty subtitle, and "nan" as pandas writes one."""
    head = ["", "names", "emotions", "subtitles", "reasons"]
    english = [
        [0, "sample_00000001", "angry", "Leave me alone!", "In the video a man frowns, we can infer that he is angry."],
        [1, "sample_00000002", "sad", "", "In the video a woman lowers her head; she is sad."],
        [2, "sample_00000003", "happy", "nan", "In the video a child laughs, happy."],
        [3, "sample_00000004", "worried", "Well.", ""],
    ]
    chinese = [
        [0, "sample_00000001", "生气", "别烦我！", "在视频中，男人皱着眉头，推测他很生气。"],
        [1, "sample_00000002", "悲伤", "", "在视频中，女人低着头，她很悲伤。"],
        [2, "sample_00000003", "高兴", "", "在视频中，孩子在笑，很高兴。"],
    ]
    write_csv(home / "gt-eng.csv", head, english)
    write_csv(home / "gt-chi.csv", head, chinese)
    write_bytes(home / "video" / "sample_00000001.avi", clip())
    return home


def write_unibench(home: Path) -> Path:
    rows = [["a1", "['happy', 'excited']"], ["a2", "[sad]"], ["a3", "[]"]]
    write_csv(home / "ovlabel.csv", ["name", "openset"], rows)
    write_csv(home / "subtitle_eng.csv", ["name", "sentence"], [["a1", "What a day!"], ["a2", ""]])
    for name in ("a1", "a2"):
        write_bytes(home / "video" / f"{name}.mp4", clip())
    return home


def write_wheels(folder: Path) -> Path:
    rings = [["rest", "neutral", "calm"], ["joy", "happy", "excited"], ["sorrow", "sad", "low"]]
    write_csv(folder / "wheel1.csv", ["level1", "level2", "level3"], rings)
    words = ("happy", "glad", "excited", "sad", "low", "neutral")
    write_csv(folder / "format.csv", ["name", "format"], [[word, ""] for word in words])
    synonyms = [["happy", "['glad']"], ["sad", "[]"], ["excited", ""], ["low", ""], ["neutral", ""]]
    write_csv(folder / "synonym.csv", ["word_run1", "synonym_run1"], synonyms)
    return folder


def write_pope(home: Path) -> Path:
    told = [
        ("random", 1, "a", "yes"),
        ("random", 2, "a", "no"),
        ("popular", 1, "b", "no"),
        ("adversarial", 1, "b", "Yes"),
    ]
    told += [("random", 1, "a", "yes"), ("popular", 2, "b", "maybe"), ("gqa", 1, "b", "no")]
    rows = [
        {
            "id": str(number),
            "question_id": str(key),
            "question": "Is there a dog in the image?",
            "answer": answer,
            "image_source": f"COCO_val2014_{source}",
            "image": image(90 + ord(source)),
            "category": kind,
        }
        for number, (kind, key, source, answer) in enumerate(told)
    ]
    write_parquet(home / "data" / "test-00000-of-00001.parquet", rows)
    return home


def write_pope_json(home: Path) -> Path:
    row = {"question_id": 1, "image": "COCO_val2014_1.jpg", "text": "Is there a cat in the image?", "label": "no"}
    for kind in ("random", "popular", "adversarial"):
        write_bytes(home / f"coco_pope_{kind}.json", json.dumps(row).encode() + b"\n")
    return home


def write_mme(home: Path) -> Path:
    """Both questions of an image carry one id; one image has a single question; names that differ in case alone."""
    told = [("existence/1.jpg", "existence"), ("OCR/a.jpg", "OCR"), ("OCR/A.jpg", "OCR"), ("code_reasoning/1.png", "x")]
    rows = [
        {
            "question_id": key,
            "image": image(60 + number),
            "question": f"Is it {answer}? Please answer yes or no.",
            "answer": answer,
            "category": category,
        }
        for number, (key, category) in enumerate(told)
        for answer in ("Yes", "No")
    ]
    lone = {**rows[0], "question_id": "count/7.jpg", "category": "count"}
    strange = {**rows[0], "question_id": "riddles/7.jpg", "category": "riddles"}
    write_parquet(home / "data" / "test-00000-of-00001.parquet", [*rows, lone, strange])
    return home


MMBENCH = [
    {
        "index": 0,
        "question": "Which is round?",
        "hint": "Look closely.",
        "A": "ball",
        "B": "cube",
        "C": "cone",
        "D": "bar",
    },
    {"index": 1, "question": "Is it blue?", "hint": "nan", "A": "yes", "B": "no", "C": None, "D": None},
    {"index": 2, "question": "What is it?", "hint": None, "A": "a", "B": "b", "C": "c", "D": None, "answer": ""},
]


def mmbench_rows() -> list[dict]:
    rows = [{"answer": "B", "category": "shapes", "L2-category": "perception", **row} for row in MMBENCH]
    return [*rows, {**rows[1], "index": 1_000_001, "A": "no", "B": "yes", "answer": "A"}]


def write_mmbench(home: Path) -> Path:
    rows = [{**row, "image": image(70 + place)} for place, row in enumerate(mmbench_rows())]
    write_parquet(home / "en" / "dev-00000-of-00001.parquet", rows)
    chinese = [{**row, "question": "哪个是圆的？", "A": "球", "B": "立方体", "C": None, "D": None} for row in rows[:1]]
    write_parquet(home / "cn" / "dev-00000-of-00001.parquet", chinese)
    return home


def write_mmbench_tsv(home: Path) -> Path:
    """The second question's picture is that of the first, named by its index."""
    head = ["index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "l2-category"]
    rows = []
    for row in mmbench_rows():
        encoded = base64.b64encode(picture(70)).decode() if row["index"] == 0 else "0"
        told = {**row, "image": encoded, "l2-category": row["L2-category"]}
        rows.append(["" if told.get(name) is None else told[name] for name in head])
    write_csv(home / "mmbench_dev_20230712.tsv", head, rows, "\t")
    return home


def write_scienceqa(home: Path) -> Path:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [image(), None, {"bytes": None, "path": None}, image()]
    columns = {
        "image": pa.array(images, kind),
        "question": ["What is shown?", "What is water?", "Which is larger?", "Out of range?"],
        "choices": [
            ["a plant", "an animal"],
            ["a solid", "a liquid", "a gas", "none", "all"],
            ["sun", "moon"],
            ["x", "y"],
        ],
        "answer": [0, 4, 0, 7],
        "hint": ["The picture shows a leaf.", "", "", ""],
    }
    path = home / "data" / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=3)
    pq.write_table(pa.table(columns).slice(1, 2), path.with_name("validation-00000-of-00001.parquet"))
    return home


def write_seedbench(home: Path) -> Path:
    """Pictures stand in lists; a video is a list of eight."""
    base = {"question": "How many?", "choice_a": "One", "choice_b": "Two", "choice_c": "Three", "choice_d": "Four"}
    told = [
        ("101", 5, "image", 1, "B"),
        ("102", 1, "image", 1, "E"),
        ("v1", 10, "video", 8, "A"),
        ("101", 5, "image", 1, "C"),
    ]
    told += [("103", 44, "image", 1, "A"), ("104", 2, "image", 1, "d")]
    rows = [
        {
            **base,
            "question_id": key,
            "question_type_id": number,
            "data_type": kind,
            "data_id": f"data-{key}",
            "answer": answer,
            "image": [image(50 + place) for place in range(frames)],
        }
        for key, number, kind, frames, answer in told
    ]
    write_parquet(home / "data" / "test-00000-of-00001.parquet", rows)
    return home


def write_textvqa(home: Path) -> Path:
    base = {"image_id": "0a1b", "question": "what does the sign say?", "image": image()}
    rows = [
        {**base, "question_id": 34602, "answers": ["stop"] * 9 + ["stop sign"]},
        {**base, "question_id": 34603, "answers": ["red"] * 9},
        {**base, "question_id": 34604, "answers": [""] * 10},
    ]
    write_parquet(home / "data" / "validation-00000-of-00003.parquet", rows)
    return home


def write_textvqa_json(home: Path) -> Path:
    rows = [{"question_id": 1, "image_id": "0a1b", "question": "what is it?", "answers": ["cup"] * 10}]
    rows.append({**rows[0], "question_id": 2, "image_id": "ffff"})
    write_bytes(home / "TextVQA_0.5.1_val.json", json.dumps({"data": rows}).encode())
    write_bytes(home / "train_images" / "0a1b.jpg", picture(kind="JPEG"))
    return home


def write_vqav2(home: Path) -> Path:
    answers = [{"answer": "2", "answer_confidence": "yes", "answer_id": place} for place in range(1, 11)]
    row = {"question_id": 262148000, "image_id": 262148, "question": "How many dogs?", "answer_type": "number"}
    write_parquet(home / "data" / "validation-00000-of-00068.parquet", [{**row, "answers": answers, "image": image()}])
    return home


def write_vqav2_json(home: Path) -> Path:
    answers = [{"answer": "yes", "answer_id": place} for place in range(10)]
    asked = [
        {"image_id": 42, "question_id": 420, "question": "Is it?"},
        {"image_id": 43, "question_id": 430, "question": "So?"},
    ]
    told = {"image_id": 42, "question_id": 420, "answer_type": "yes/no", "answers": answers}
    write_bytes(home / "v2_OpenEnded_mscoco_val2014_questions.json", json.dumps({"questions": asked}).encode())
    write_bytes(home / "v2_mscoco_val2014_annotations.json", json.dumps({"annotations": [told]}).encode())
    write_bytes(home / "val2014" / "COCO_val2014_000000000042.jpg", picture(kind="JPEG"))
    return home


def ver_line(name: str, label: str = "happiness", split: str = "test", **labels) -> dict:
    asked = [{"type": "video", "video": f"clips/{name}.mp4"}, {"type": "text", "text": "How does the person feel?"}]
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": "She smiles; she is happy."}]
    return {"id": name, "messages": messages, "labels": {"emotion": label, **labels}, "split": split}


def write_ver(home: Path) -> Path:
    both = {"description_en": "He frowns and shouts.", "description_zh": "他皱眉大喊。", "words": "Stop it."}
    lines = [
        ver_line("v1"),
        ver_line("v2", "angry", **both),
        ver_line("v3", split="train"),
        ver_line("v4", "nostalgia"),
    ]
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + '\n{"id": "v5"}\nno json\n'
    write_bytes(home / "manifest.jsonl", text.encode())
    write_bytes(home / "clips" / "v1.mp4", clip())
    return home


def write_folder(home: Path) -> Path:
    write_bytes(home / "happiness" / "a.png", picture())
    write_bytes(home / "Angry" / "clips" / "b.mp4", clip())
    write_bytes(home / "sad" / "notes.txt", b"not a picture")
    write_bytes(home / "sad" / "empty.png", b"")
    write_bytes(home / "sad" / "c.jpg", picture(kind="JPEG"))
    write_bytes(home / "holidays" / "d.png", picture())
    return home


WRITERS = {
    "dfew": write_dfew,
    "mer2024_semi": write_mer2024,
    "mer2024_noise": write_mer2024,
    "mafw": write_mafw,
    "ravdess": write_ravdess,
    "emoset": write_emoset,
    "emer": write_emer,
    "mer_unibench": write_unibench,
    "ver": write_ver,
    "folder": write_folder,
    "pope": write_pope,
    "mme": write_mme,
    "mmbench": write_mmbench,
    "mmbench_circular": write_mmbench,
    "scienceqa": write_scienceqa,
    "seedbench": write_seedbench,
    "textvqa": write_textvqa,
    "vqav2": write_vqav2,
}
"""Task -> writer of its folder; every benchmark of `TASKS` has one."""
