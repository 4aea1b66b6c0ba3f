"""Invented files of general sets with pictures and videos, in the layouts of the hub. No real data."""

import json
from pathlib import Path

from .benchmark_files import clip, image, write_bytes, write_parquet


def write_mmmu(home: Path) -> Path:
    base = {"image_1": image(), "image_2": None, "image_3": None, "question_type": "multiple-choice", "answer": "B"}
    rows = [
        {**base, "id": "validation_Art_1", "question": "What is in <image 1>?", "options": "['a cat', 'a dog']"},
        {**base, "id": "validation_Art_2", "question": "<image 1> or <image 2>?", "options": "['this', 'that']",
         "image_2": image(10)},
        {**base, "id": "validation_Art_3", "question": "How many?", "options": "[]", "question_type": "open"},
        {**base, "id": "validation_Art_4", "question": "Which?", "options": "['x'", "answer": "A"},
    ]  # fmt: skip
    write_parquet(home / "Art" / "validation-00000-of-00001.parquet", rows)
    return home


def write_mathvista(home: Path) -> Path:
    base = {"decoded_image": image(), "image": "images/1.jpg", "unit": None, "precision": None, "choices": ["3", "4"]}
    free = {**base, "choices": None, "question_type": "free_form"}
    rows = [
        {
            **base,
            "pid": "1",
            "question": "How many?",
            "answer": "4",
            "question_type": "multi_choice",
            "answer_type": "text",
        },
        {**free, "pid": "2", "question": "Sum?", "answer": "1,200", "answer_type": "integer", "unit": "m"},
        {**free, "pid": "3", "question": "Mean?", "answer": "1.25", "answer_type": "float", "precision": 1.0},
        {**free, "pid": "4", "question": "Range?", "answer": "[0, 2]", "answer_type": "list"},
        {**base, "pid": "5", "question": "Odd?", "answer": "5", "question_type": "multi_choice", "answer_type": "text"},
    ]
    write_parquet(home / "data" / "testmini-00000-of-00001.parquet", rows)
    return home


def write_realworld(home: Path) -> Path:
    how = "Please answer directly with only the letter of the correct option and nothing else."
    word = "Please answer directly with a single word or number."
    rows = [
        {"image": image(), "question": f"Which way?\n\nA. Left\nB. Right\n{how}", "answer": "B"},
        {"image": image(), "question": f"How many cars?\n{word}", "answer": "2"},
        {"image": image(), "question": f"Is it day?\n{word}", "answer": "Yes"},
        {"image": image(), "question": f"Which way?\nA. Left\nB. Right\n{how}", "answer": "C"},
    ]
    write_parquet(home / "data" / "test-00000-of-00001.parquet", rows)
    return home


def write_videomme(home: Path) -> Path:
    base = {"videoID": "abc", "duration": "short", "question": "What?", "options": ["A. Apples.", "B. Candles."]}
    rows = [
        {**base, "question_id": "001-1", "answer": "B"},
        {**base, "question_id": "001-2", "answer": "E"},
        {**base, "question_id": "002-1", "answer": "A", "videoID": "gone", "duration": "long"},
    ]
    write_parquet(home / "videomme" / "test-00000-of-00001.parquet", rows)
    write_bytes(home / "data" / "abc.mp4", clip())
    return home


def write_mvbench(home: Path) -> Path:
    when = {"video": "2.mp4", "question": "When?", "candidates": ["first", "last"]}
    rows = [
        {"video": "1.webm", "question": "What?", "candidates": ["run", "walk"], "answer": "walk"},
        {
            "video": "2.mp4",
            "question": "When?",
            "candidates": ["first", "last"],
            "answer": "first",
            "start": 1,
            "end": 2.5,
        },
        {**when, "answer": "never"},
        {"video": "3.mp4"},
    ]
    write_bytes(home / "json" / "action_sequence.json", json.dumps(rows).encode())
    write_bytes(home / "video" / "star" / "2.mp4", clip())
    return home


WRITERS = {
    "mmmu": write_mmmu,
    "mathvista": write_mathvista,
    "realworldqa": write_realworld,
    "videomme": write_videomme,
    "mvbench": write_mvbench,
}
"""Task -> writer of its folder."""
