"""Sets of emotion and sentiment whose labels are rows of a table, each as its owners publish it.

MER2023 (`test1-label.csv` ...), MER2025 and MER2026 (track 1), MELD, CMU-MOSI, CMU-MOSEI, CH-SIMS and CH-SIMS v2 in
MMSA's layout (`label.csv`, `meta.csv`), EmoBank, AffectNet, RAF-DB and FER+; and MER-UniBench's view of those that it
has. Layouts: github.com/zeroQiaoba/MERTools, github.com/thuiar/MMSA, github.com/declare-lab/MELD,
github.com/JULIELab/EmoBank, github.com/microsoft/FERPlus, and the owners' read-me files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from emotion_qwen.evaluation.scoring.numbers import EMOBANK, VALENCE_AROUSAL, score_mosi, score_numbers, score_sims
from emotion_qwen.evaluation.scoring.unibench import organisers_polarity, score_multi, score_polarity
from emotion_qwen.evaluation.task import OURS, Task
from emotion_qwen.evaluation.tasks.clips import MULTI, POLARITY, VALUES, WORDS, with_presets
from emotion_qwen.evaluation.tasks.files import PICTURES
from emotion_qwen.evaluation.tasks.prompts import (
    EMOBANK_OURS,
    OPEN,
    VALENCE_AROUSAL_OURS,
    listener_question,
    sentiment_question,
)
from emotion_qwen.evaluation.tasks.scorers import HitRates, LabelScores
from emotion_qwen.evaluation.tasks.tables import LabelledTable, Row, TableLayout
from emotion_qwen.taxonomy import label_set

FRAMES = {"fps": 3.0, "video_max_pixels": 602112}
_MER = {"en": "english", "zh": "chinese"}
_SUBTITLES = "subtitle_chieng.csv"
MER2023: dict[str, TableLayout] = {
    track: TableLayout(
        {"test": (f"{part}-label.csv",)}, published={"test": count}, label="discrete", places={"test": (part,)}
    )
    for track, part, count in (("multi", "test1", 411), ("noise", "test2", 412), ("semi", "test3", 834))
}
MER2024 = TableLayout({"test": ("reference-semi.csv",)}, published={"test": 1169}, label="discrete")
MER2025 = TableLayout(
    {"test": ("track1_test_dis.csv",)}, label="discrete", words=_MER, words_file=_SUBTITLES, places={"test": ("video",)}
)
# The words are those of the person who speaks, not of the one who is asked about.
MER2026 = replace(MER2025, files={"test": ("track1_test.csv",)}, words={}, words_file="")
MELD = TableLayout(
    {"test": ("test_sent_emo.csv",), "validation": ("dev_sent_emo.csv",)},
    name="dia{Dialogue_ID}_utt{Utterance_ID}",
    published={"test": 2610, "validation": 1109},
    label="Emotion",
    words={"en": "Utterance", "zh": "Utterance"},
    person="dialogue {Dialogue_ID}",
    media="dia{Dialogue_ID}_utt{Utterance_ID}",
    places={
        "test": ("output_repeated_splits_test", "test_splits", "test"),
        "validation": ("dev_splits_complete", "dev_splits", "dev"),
    },
)
_MMSA = TableLayout(
    {"test": ("label.csv",), "validation": ("label.csv",)},
    name="{video_id}/{clip_id}",
    values=("label",),
    words={"en": "text", "zh": "text"},
    where={"test": ("mode", "test"), "validation": ("mode", "valid")},
    person="{video_id}",
    media="{video_id}/{clip_id}",
    depth=1,
)
MMSA: dict[str, TableLayout] = {
    "mosi": replace(_MMSA, published={"test": 686, "validation": 229}),
    "mosei": replace(_MMSA, published={"test": 4659, "validation": 1871}),
    "sims": replace(_MMSA, published={"test": 457, "validation": 456}),
    "simsv2": replace(
        _MMSA,
        files={"test": ("meta.csv", "label.csv"), "validation": ("meta.csv", "label.csv")},
        published={"test": 1034, "validation": 647},
    ),
}
TEXTS = TableLayout(
    {"test": ("emobank.csv",), "validation": ("emobank.csv",)},
    name="{id}",
    published={"test": 1000, "validation": 1000},
    values=("V", "A", "D"),
    words={"en": "text", "zh": "text"},
    where={"test": ("split", "test"), "validation": ("split", "dev")},
    media="",
)
AFFECTNET8 = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
AFFECTNET = TableLayout(
    {"validation": ("validation.csv",)},
    name="{subDirectory_filePath}",
    published={"validation": 5500},
    label="expression",
    labels={str(code): label for code, label in enumerate(AFFECTNET8)},
    media="{subDirectory_filePath}",
    depth=1,
    suffixes=PICTURES,
)
AFFECTNET_VA = replace(AFFECTNET, label="", labels={}, values=("valence", "arousal"), missing_value=-2)
RAF7 = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
RAFDB = TableLayout(
    {"test": ("list_patition_label.txt", "list_partition_label.txt")},
    name="{picture}",
    published={"test": 3068},
    label="label",
    labels={str(code): label for code, label in enumerate(RAF7, 1)},
    where={"test": ("picture", "test")},
    media="{picture}",
    endings=("", "_aligned"),
    suffixes=PICTURES,
    head=("picture", "label"),
    delimiter=" ",
)
FERPLUS8 = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
FERPLUS = TableLayout(
    {"test": ("fer2013new.csv",), "validation": ("fer2013new.csv",)},
    name="{Image name}",
    published={"test": 3589, "validation": 3589},
    label="unknown",
    values=(*FERPLUS8, "unknown", "NF"),
    where={"test": ("Usage", "PrivateTest"), "validation": ("Usage", "PublicTest")},
    media="{Image name}",
    suffixes=PICTURES,
)
FEW_VOTES = 1
"""Labels with a single vote are removed before the majority is determined, as in the owners' code."""


@dataclass(frozen=True)
class FerPlus(LabelledTable):
    """FER+: the label is the one with more than half of ten votes, after votes of a single person are removed.

    Rows without such a label, and those voted "unknown" or "not a face", are left out (Barsoum et al., ICMI 2016,
    majority voting).
    """

    def label_of(self, row: Row) -> tuple[str, str]:
        """See `LabelledTable`."""
        names = (*FERPLUS8, "unknown", "NF")
        try:
            votes = {name: int(row[name]) for name in names}
        except (KeyError, ValueError):
            return "", "no votes"
        votes = {name: count if count > FEW_VOTES else 0 for name, count in votes.items()}
        best = max(votes, key=lambda name: votes[name])
        if 2 * votes[best] <= sum(votes.values()):
            return "", "no majority"
        return (best, "") if best in FERPLUS8 else ("", "voted unknown or not a face")


@dataclass(frozen=True)
class MerCross(LabelledTable):
    """MER2026's track 1: the emotion of the person who listens."""

    def ask(self, language: str) -> str:
        """See `LabelledFiles`."""
        return listener_question(self.labels, language) if self.prompt == OURS else super().ask(language)


@dataclass(frozen=True)
class Terms:
    """What a user needs to know about the files of a set: names of its folder, files, terms of use, source."""

    folders: tuple[str, ...]
    needs: str
    licence: str
    access: str


WHEELS = {"wheels": "folder of wheel1.xlsx to wheel5.xlsx, format.csv and synonym.xlsx"}
_CHALLENGE = "EULA of the MER challenges, research only"
TERMS: dict[str, Terms] = {
    "mer2023": Terms(
        ("mer2023", "MER2023"),
        "test1-label.csv, test2-label.csv, test3-label.csv and the folders test1, test2, test3 with the clips",
        _CHALLENGE,
        "https://huggingface.co/datasets/MERChallenge/MER2023 (signed EULA)",
    ),
    "mer2024": Terms(
        ("mer2024", "MER2024"),
        "reference-semi.csv and the clips <name>.mp4",
        _CHALLENGE,
        "https://huggingface.co/datasets/MERChallenge/MER2024 (signed EULA)",
    ),
    "mer2025": Terms(
        ("mer2025", "mer2025-dataset"),
        "track1_test_dis.csv, subtitle_chieng.csv and the folder video",
        _CHALLENGE,
        "https://huggingface.co/datasets/MERChallenge/MER2025 (signed EULA)",
    ),
    "mer2026": Terms(
        ("mer2026", "mer2026-dataset"),
        "track1_test.csv and the folder video",
        _CHALLENGE,
        "https://huggingface.co/datasets/MERChallenge/MER2026 (signed EULA)",
    ),
    "meld": Terms(
        ("meld", "MELD", "MELD.Raw"),
        "test_sent_emo.csv (or dev_sent_emo.csv) and the clips dia0_utt0.mp4 of MELD.Raw",
        "GPL-3.0 for the annotations; clips of a television series, not cleared",
        "https://github.com/declare-lab/MELD",
    ),
    "mosi": Terms(
        ("mosi", "MOSI"),
        "label.csv of MMSA and Raw/<video_id>/<clip_id>.mp4",
        "EULA of CMU, research only",
        "https://github.com/thuiar/MMSA (links)",
    ),
    "mosei": Terms(
        ("mosei", "MOSEI"),
        "label.csv of MMSA and Raw/<video_id>/<clip_id>.mp4",
        "EULA of CMU, research only",
        "https://github.com/thuiar/MMSA (links)",
    ),
    "sims": Terms(
        ("sims", "SIMS", "CH-SIMS"),
        "label.csv of MMSA and Raw/<video_id>/<clip_id>.mp4",
        "research only",
        "https://github.com/thuiar/MMSA (links)",
    ),
    "simsv2": Terms(
        ("simsv2", "ch-simsv2s", "SIMSv2"),
        "meta.csv of ch-simsv2s and Raw/<video_id>/<clip_id>.mp4",
        "research only",
        "https://github.com/thuiar/ch-sims-v2",
    ),
}


def _task(
    name: str,
    title: str,
    source: LabelledTable,
    terms: Terms,
    score: Any,
    splits: tuple[str, ...] = ("test",),
    **more: Any,
) -> Task:
    source = replace(source, folders=(name, *terms.folders))
    known = {"needs": terms.needs, "licence": terms.licence, "access": terms.access}
    return Task(name, title, "emotion", source, score=score, splits=splits, **{**known, "answered": "text", **more})


def _labelled(
    name: str,
    title: str,
    layout: TableLayout,
    terms: Terms,
    set_name: str,
    kind: Callable[..., LabelledTable] = LabelledTable,
    splits: tuple[str, ...] = ("test",),
    subset: tuple[str, ...] = (),
    **more: Any,
) -> Task:
    source = kind((), set_name=set_name, subset=subset, layout=layout)
    return with_presets(_task(name, title, source, terms, LabelScores(source.labels), splits, **more))


def unibench(name: str, layout: TableLayout, terms: Terms, title: str, wheels: str = "") -> Task:
    """Make MER-UniBench's view of a set with one label per clip: all words that fit, scored by hit rate."""
    source = LabelledTable((), form=WORDS, layout=layout)
    task = _task(
        f"unibench_{name}", f"MER-UniBench, {title}", source, terms, HitRates(wheels), tuple(layout.files),
        frames=FRAMES, extract="words", options=WHEELS, make=partial(unibench, name, layout, terms, title),
    )  # fmt: skip
    return replace(task, needs=f"{task.needs}; the emotion wheels (option wheels)")


def _polarity(name: str, layout: TableLayout, terms: Terms, title: str) -> Task:
    """Make MER-UniBench's view of a set of sentiment: positive or negative."""
    source = LabelledTable((), form=POLARITY, layout=layout)
    return _task(
        f"unibench_{name}", f"MER-UniBench, {title}", source, terms, score_polarity, ("test", "validation"),
        as_released=organisers_polarity, frames=FRAMES, extract="polarity",
        prompts={OURS: ("en", "zh"), OPEN: ("en", "zh")},
    )  # fmt: skip


_MER6 = label_set("mer6")
_SENTIMENTS = {"mosi": "CMU-MOSI", "mosei": "CMU-MOSEI", "sims": "CH-SIMS", "simsv2": "CH-SIMS v2"}


def _sentiment(name: str, title: str) -> Task:
    low, high, score = (-3, 3, score_mosi) if name.startswith("mos") else (-1, 1, score_sims)
    source = LabelledTable((), form=VALUES, values_question=sentiment_question(low, high), layout=MMSA[name])
    return _task(
        name,
        f"{title}, sentiment from {low} to {high}",
        source,
        TERMS[name],
        score,
        ("test", "validation"),
        frames=FRAMES,
    )


def _multi(track: str) -> Task:
    source = LabelledTable((), set_name="mer6", form=MULTI, layout=replace(MER2023[track], values=("valence",)))
    return _task(
        f"mer2023_{track}", f"MER2023-{track.upper()}, 6 emotions and valence", source, TERMS["mer2023"],
        partial(score_multi, labels=_MER6), frames=FRAMES,
    )  # fmt: skip


_FACES = Terms(
    ("affectnet", "AffectNet"),
    "validation.csv and Manually_Annotated_Images",
    "research only, signed agreement",
    "http://mohammadmahoor.com/affectnet (request)",
)
TASKS: tuple[Task, ...] = (
    *map(_multi, ("multi", "noise")),
    _labelled(
        "mer2023_semi", "MER2023-SEMI, 6 emotions", MER2023["semi"], TERMS["mer2023"], "mer6", frames=FRAMES,
        headline="WAF",
    ),
    _labelled(
        "mer2025_track1", "MER2025 track 1, 6 emotions", MER2025, TERMS["mer2025"], "mer6", frames=FRAMES,
        headline="WAF",
    ),
    _labelled(
        "mer2026_cross", "MER2026 MER-Cross, emotion of the listener", MER2026, TERMS["mer2026"], "mer6", MerCross,
        frames=FRAMES, headline="WAF",
    ),
    _labelled(
        "meld", "MELD, 7 emotions", MELD, TERMS["meld"], "ekman", splits=("test", "validation"), frames=FRAMES,
        headline="WAF",
    ),
    *(_sentiment(name, title) for name, title in _SENTIMENTS.items()),
    unibench("mer2023", MER2023["multi"], TERMS["mer2023"], "MER2023-MULTI"),
    unibench("mer2024", MER2024, TERMS["mer2024"], "MER2024-SEMI"),
    unibench("meld", MELD, TERMS["meld"], "MELD"),
    *(_polarity(name, MMSA[name], TERMS[name], title) for name, title in _SENTIMENTS.items()),
    _task(
        "emobank", "EmoBank, valence, arousal and dominance of texts",
        LabelledTable((), form=VALUES, values_question=EMOBANK_OURS, layout=TEXTS),
        Terms(("emobank", "EmoBank"), "emobank.csv", "CC BY-SA 4.0", "https://github.com/JULIELab/EmoBank"),
        partial(score_numbers, scale=EMOBANK), ("test", "validation"),
    ),
    _labelled(
        "affectnet", "AffectNet, 8 expressions", AFFECTNET, _FACES, "ferplus8", splits=("validation",),
        subset=AFFECTNET8,
    ),
    _task(
        "affectnet_va", "AffectNet, valence and arousal",
        LabelledTable((), form=VALUES, values_question=VALENCE_AROUSAL_OURS, layout=AFFECTNET_VA),
        _FACES, partial(score_numbers, scale=VALENCE_AROUSAL), ("validation",),
    ),
    _labelled(
        "rafdb", "RAF-DB, 7 expressions", RAFDB,
        Terms(
            ("rafdb", "RAF-DB", "basic"), "EmoLabel/list_patition_label.txt and the folder Image",
            "research only, signed agreement", "http://www.whdeng.cn/RAF/model1.html (request)",
        ),
        "fer7", subset=RAF7,
    ),
    _labelled(
        "ferplus", "FER+, 8 expressions", FERPLUS,
        Terms(
            ("ferplus", "FERPlus"), "fer2013new.csv and the pictures fer0000000.png that its tool makes of FER2013",
            "MIT for the labels; pictures of FER2013 without clear licence", "https://github.com/microsoft/FERPlus",
        ),
        "ferplus8", FerPlus, ("test", "validation"),
    ),
)  # fmt: skip
