"""Measure whether VER's critic finds planted faults: swap a share of the labels, boxes or claims of a set with known
truth.

    python -m recipes.critic --data DATA --output critic.json

A fault is found if the critic revises or discards the description. Three sets: `people`, descriptions of television
clips by people (EMER; labels); `faces`, photographs with the votes of ten people (FER+; labels against the shipped
model's reading of the face, without any words); `composed`, descriptions that are composed of drawn measurements
(labels, boxes, claims about the voice). A swap with an equal value is not a fault: swapped labels and claims always
differ; boxes always come from another clip, which may show its person on the same side.
"""

from __future__ import annotations

import io
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from emotion_qwen.console import run_command
from emotion_qwen.files import write_whole
from emotion_qwen.matching.answer import match_label
from emotion_qwen.media.prosody import Prosody
from emotion_qwen.media.voice_claims import PHRASES, voice_claims
from emotion_qwen.taxonomy import CONCEPTS, concept, label_set
from emotion_qwen.ver.settings import CheckSettings, CriticSettings
from emotion_qwen.ver.steps.critic import ACCEPT, CriticizeClip
from emotion_qwen.ver.teachers.description import Description
from emotion_qwen.ver.teachers.prompts import PLACES

SHARE = 0.2
"""Share of the clips with a planted fault."""
SEEDS = 5
VOTES = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "no face",
)  # fmt: skip
"""Columns of FER+'s votes."""
SURE = 8
"""Fewest of ten people who agree on a face."""
_FEELS = {
    "en": "Taken together the person is {name}.",
    "zh": "综合来看，此人的情绪是{name}。",
}
_SEEN = {
    "en": ("Person 1 is seen {place}.", "The face of person 1 is clearly visible for the whole clip."),
    "zh": ("人物1位于画面{place}。", "整段视频中人物1的脸都清晰可见，光线均匀。"),
}
Clip = tuple[dict[str, Description], dict[str, Any]]
"""Descriptions by language, and the measurements."""
Plant = Callable[[list[Clip], set[int], random.Random], list[Clip]]
"""Returns clips with faults in those of the given numbers."""


def measured(clips: Sequence[Clip], labels: str, plant: Plant) -> dict[str, Any]:
    """Plant faults with several seeds and return precision and recall, each as mean, least and most over seeds."""
    precisions, recalls, false_alarms, sound = [], [], 0, 0
    for seed in range(SEEDS):
        draw = random.Random(seed)
        wrong = set(draw.sample(range(len(clips)), round(SHARE * len(clips))))
        flagged = set()
        for number, (records, item) in enumerate(plant(list(clips), wrong, draw)):
            critic = CriticizeClip(CriticSettings.of({}), CheckSettings.of({"shortest": 1}), labels, tuple(records))
            if critic.criticize(records, item).verdict != ACCEPT:
                flagged.add(number)
        hits = len(flagged & wrong)
        precisions.append(hits / max(len(flagged), 1))
        recalls.append(hits / len(wrong))
        false_alarms += len(flagged - wrong)
        sound += len(clips) - len(wrong)
    return {
        "clips": len(clips), "planted": round(SHARE * len(clips)), "seeds": SEEDS,
        "precision": _spread(precisions), "recall": _spread(recalls), "false_alarms": round(false_alarms / sound, 3),
    }  # fmt: skip


def exchanged_labels(clips: list[Clip], wrong: set[int], draw: random.Random) -> list[Clip]:
    """Give clips the label of a drawn other clip with another label."""
    frequent = [next(iter(records.values())).emotions[0] for records, _ in clips]
    for number in sorted(wrong):
        records, item = clips[number]
        own = next(iter(records.values())).emotions[0]
        other = draw.choice([label for label in frequent if concept(label) != concept(own)])
        clips[number] = {key: replace(one, emotions=(other,)) for key, one in records.items()}, item
    return clips


def exchanged_boxes(clips: list[Clip], wrong: set[int], draw: random.Random) -> list[Clip]:
    """Give clips the boxes of the next clip with a fault."""
    order = sorted(wrong)
    tracks = [clips[number][1]["tracks"] for number in order]
    for number, other in zip(order, tracks[1:] + tracks[:1], strict=True):
        clips[number] = clips[number][0], {**clips[number][1], "tracks": other}
    return clips


def exchanged_claims(clips: list[Clip], wrong: set[int], draw: random.Random) -> list[Clip]:
    """Give clips the description of the voice of a drawn clip whose voice differs in words."""
    for number in sorted(wrong):
        records, item = clips[number]
        own = next(iter(records.values())).voice
        other = draw.choice([records for records, _ in clips if next(iter(records.values())).voice != own])
        clips[number] = {key: replace(one, voice=other[key].voice) for key, one in records.items()}, item
    return clips


def described_by_people(data: Path) -> dict[str, list[Clip]]:
    """Return split -> clips of EMER whose emotion is one of seven, one language each."""
    labels, clips = label_set("fer7"), dict[str, list[Clip]](train=[], validation=[])
    for row in pq.read_table(data / "text_mer_descriptions.parquet").to_pylist():
        label = match_label(row["emotion"], labels) if row["emotion"] else None
        if label:
            item = _item(people=99, most_people=0, level=-20.0, words=json.dumps([[0, 1, row["subtitle"]]]))
            clips[row["split"]].append(({row["lang"]: _record(row["description"], label, people=1)}, item))
    return clips


def sure_faces(data: Path, most: int) -> list[Clip]:
    """Return FER+ validation faces on which people agree, with the shipped model's readings; no words."""
    from emotion_qwen.analysis.reader import label_reader
    from emotion_qwen.engine.engine import Engine

    rows = pq.read_table(data / "faces_ferplus.parquet", filters=[("split", "=", "validation")]).to_pylist()
    sure = [row for row in rows if max(row["votes"]) >= SURE and int(np.argmax(row["votes"])) < 7]
    random.Random(0).shuffle(sure)
    labels = label_set("fer7")
    reader = label_reader(Engine.load(device="cpu"), labels, "en")
    clips: list[Clip] = []
    for row in sure[:most]:
        with Image.open(io.BytesIO(row["image"])) as picture:
            scores, _ = reader.scores([{"type": "image", "image": np.asarray(picture.convert("RGB"))}])
        shares = scores[0].double().softmax(-1).tolist()
        label = match_label(VOTES[int(np.argmax(row["votes"]))], labels) or ""
        item = _item(shares=json.dumps(dict(zip(labels.labels, shares, strict=True))))
        clips.append(({"en": _record(_SEEN["en"][1], label)}, item))
    return clips


def composed(count: int, seed: int = 0) -> list[Clip]:
    """Return descriptions in both languages, composed of drawn measurements of one face and a voice."""
    draw, labels, clips = random.Random(seed), label_set("fer7"), list[Clip]()
    for _ in range(count):
        prosody = Prosody(-20.0, draw.choice([110.0, 180.0, 260.0]), draw.choice([1.0, 2.5, 5.0]), 0.6,
                          draw.choice([1.5, 3.5, 6.0]), draw.choice([0, 1, 4]), 0.3)  # fmt: skip
        side, label = draw.randrange(3), draw.choice(labels.labels)
        left = side / 3 + 0.08 + draw.random() * 0.05
        boxes = [[left, 0.2, left + 0.12, 0.6]] * 2
        item = _item(level=-20.0, prosody=json.dumps(asdict(prosody)),
                     tracks=json.dumps([{"times": [0, 2], "boxes": boxes}]))  # fmt: skip
        records = {}
        for number, language in enumerate(("en", "zh")):
            name = labels.names(language)[labels.labels.index(label)]
            where, plain = _SEEN[language]
            place = PLACES[language][side]
            voice = "".join(_sentence(PHRASES[claim.word][number][0], language) for claim in voice_claims(prosody))
            texts = [where.format(place=place), plain, _FEELS[language].format(name=name)]
            text = (" " if language == "en" else "").join(texts)
            records[language] = replace(_record(text, label), voice=voice.strip())
        clips.append((records, item))
    return clips


def _sentence(phrase: str, language: str) -> str:
    return f"{phrase[0].upper()}{phrase[1:]}. " if language == "en" else f"{phrase}。"


def _record(text: str, label: str, people: int = 1) -> Description:
    meaning = CONCEPTS[concept(label)]
    return Description(people, 0, (), "", "", "", "", text, text, (label,), meaning.valence, meaning.arousal)


def _item(**values: Any) -> dict[str, Any]:
    return {
        "clip": "", "people": 1, "most_people": 1, "speaker": None, "level": None, "smile": None, "words": "[]",
        "seconds": 3.0, "tracks": "[]", "known": "", **values,
    }  # fmt: skip


def _spread(values: list[float]) -> list[float]:
    return [round(value, 3) for value in (sum(values) / len(values), min(values), max(values))]


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the Parquet files.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="JSON file to write.")
@click.option("--faces", type=int, default=600, show_default=True, help="Number of faces.")
def main(data: Path, output: Path, faces: int) -> None:
    """Measure precision and recall of the critic on planted faults."""
    drawn = composed(300)
    results = {
        **{f"people, {split}: labels": measured(clips, "fer7", exchanged_labels)
           for split, clips in described_by_people(data).items()},
        "composed: labels": measured(drawn, "fer7", exchanged_labels),
        "composed: boxes": measured(drawn, "fer7", exchanged_boxes),
        "composed: claims": measured(drawn, "fer7", exchanged_claims),
    }  # fmt: skip
    if faces:
        results["faces: labels"] = measured(sure_faces(data, faces), "fer7", exchanged_labels)
    write_whole(output, json.dumps(results, indent=2) + "\n")
    for name, values in results.items():
        click.echo(f"{name}: {values}")


if __name__ == "__main__":
    sys.exit(run_command(main))
