"""The Chinese tokens added to mini's tokenizer: SmolLM2's writes most characters as two or three bytes.

    python -m recipes.mini.chinese_tokens --data DATA --source SMOLLM2.gguf > tokens.txt

First the names of the labels as whole words, then the characters of our own Chinese sentences, then the characters that
are most frequent in the training texts. Whatever is one token already is left out.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import click
import pyarrow.parquet as pq

from emotion_qwen import questions, strings
from emotion_qwen.console import run_command
from emotion_qwen.convert.text_sources import read_language
from emotion_qwen.faces import face_claims
from emotion_qwen.media import voice_claims
from recipes.mini import clip_texts, face_texts
from recipes.mini.label_choices import SETS
from recipes.nano import questions as asked

COUNT = 900


def is_chinese(letter: str) -> bool:
    """Whether a character is a CJK ideograph or a mark used with them."""
    return "\u3400" <= letter <= "\u9fff" or letter in "，。！？、：；“”（）～…"


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="folder of the Parquet files")
@click.option("--source", type=click.Path(path_type=Path), required=True, help="text-only folder or GGUF file")
@click.option("--count", default=COUNT, show_default=True, help="tokens in all")
def main(data: Path, source: Path, count: int) -> None:
    """Print one token per line."""
    tokenizer = read_language(source).tokenizer
    labels = dict.fromkeys(name for labels in SETS.values() for name in labels.chinese)
    own = "".join(
        str(vars(module)) for module in (questions, strings, face_claims, voice_claims, clip_texts, face_texts)
    )
    own += str(vars(asked))
    ours = dict.fromkeys(letter for letter in own if is_chinese(letter))
    rows = pq.read_table(data / "text_emotion_zh.parquet", columns=["text", "split"]).to_pylist()
    frequent = Counter(
        letter for row in rows if row["split"] == "train" for letter in row["text"] if is_chinese(letter)
    )
    tokens = dict.fromkeys([*labels, *ours, *(letter for letter, _ in frequent.most_common())])
    missing = [token for token in tokens if len(tokenizer(token, add_special_tokens=False)["input_ids"]) > 1]
    click.echo("\n".join(missing[:count]))


if __name__ == "__main__":
    sys.exit(run_command(main))
