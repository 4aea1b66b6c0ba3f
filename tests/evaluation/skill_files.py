"""Generated files of general skill: about two rows of every kind, and three that cannot be used."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def row(suite: str, number: int, question: str, choices=(), answer=-1, text=None, meta=None, **more) -> dict:
    return {
        "id": f"{suite}/{number}", "suite": suite, "question": question, "choices": list(choices), "answer": answer,
        "answer_text": text, "meta": json.dumps(meta) if meta else "", "split": "validation", **more,
    }  # fmt: skip


CHECKS = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}], "key": 1}
RATINGS = {f"emotion{n}": name for n, name in enumerate(("Calm", "Sad", "Glad", "Bored"), 1)} | {
    f"emotion{n}_score": str(n) for n in range(1, 5)
}
ROWS = [
    *(row("arc_easy", n, f"What is {n} and {n}?", ("one", "two of them", "no"), n % 3) for n in range(5)),
    row("winogrande_dev", 7, "He took the _ because it was near.", ("bus", "old train"), 1),
    row("boolq_no_passage", 1, "is it true?", ("false", "true"), 1),
    row("social_iqa_dev", 1, "Why?", ("proud", "proud", "sad"), 0),
    row("lambada_openai", 1, "He found a way back on the", text="track"),
    row("gsm8k", 1, "What is 2 and 3?", text="5"),
    row("bbh", 1, "Which?\nOptions:\n(A) a\n(B) b", text="(B)"),
    row("ifeval", 1, "Write. Use no comma.", meta=CHECKS),
    row("eq_bench_v2", 1, "Rate.", meta={"reference_fullscale": RATINGS}),
    row("emobench_ea", 1, "她很难过。", ("安慰", "离开"), 0, meta={"subject": "她", "language": "zh"}),
    row("arc_easy", 9, "Unused?", ("one", "two"), 0, split="test"),
    row("arc_easy", 10, "Broken?", ("one", "two"), 5),
    row("hellaswag", 1, "Unknown", ("one", "two"), 0),
]


def write_skill_files(folder: Path) -> Path:
    """Write `skills.parquet` (14 items that can be asked) and `text_instructions.parquet` (3); return the folder."""
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "skills.parquet")
    prompts = [
        {"id": "m/1", "kind": "maths word problem", "prompt": "2 and 3?", "response": "2+3=5\n#### 5"},
        {"id": "m/2", "kind": "maths word problem", "prompt": "None?", "response": "There is none."},
        {"id": "m/3", "kind": "maths word problem", "prompt": "1 and 2?", "response": "1+2=3\nThe answer is $3.00."},
        {"id": "w/1", "kind": "prompt only: users", "prompt": "Say hello.", "response": None},
    ]
    table = pa.Table.from_pylist([{**one, "split": "validation"} for one in prompts])
    pq.write_table(table, folder / "text_instructions.parquet")
    return folder
