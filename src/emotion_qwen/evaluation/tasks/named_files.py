"""Sets whose labels are part of the names of files or folders: CREMA-D, EmoDB, ArtPhoto, FI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks.clips import Labelled, LabelledFiles, with_presets
from emotion_qwen.evaluation.tasks.files import PICTURES, SOUNDS, VIDEOS, Media, ReadRows, counted
from emotion_qwen.evaluation.tasks.scorers import LabelScores
from emotion_qwen.records import EVOKED
from emotion_qwen.taxonomy import label_set


@dataclass(frozen=True)
class NamedFiles(LabelledFiles):
    """Files with a label in their names.

    Attributes:
        pattern: regular expression over the folder and the name without suffix ("amusement/picture_1"), with the groups
            `label` and, where the name tells it, `person`; the bootstrap draws a person's files together. If it begins
            with the label, the folder is part of the id.
        codes: written label, in lower case -> label of the set; empty if they are the same.
        suffixes: of the files.
        published: number of files; 0 if unknown.
        example: a path to name in errors.
    """

    pattern: str = ""
    codes: Mapping[str, str] = field(default_factory=dict)
    suffixes: frozenset[str] = VIDEOS
    published: int = 0
    example: str = ""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, others, form = ReadRows(), list[str](), re.compile(self.pattern)
        media = Media(home, self.suffixes, depth=1)
        for path in sorted(media.paths(), key=lambda path: path.name):  # the order must not depend on the folders
            match = form.fullmatch(f"{path.parent.name}/{path.stem}")
            written = match["label"].lower() if match else ""
            label = self.codes.get(written, "" if self.codes else written)
            if match is None:
                others.append("name not as in this set")
            elif label not in self.labels.labels:
                table.fault("label outside the set", f"{path.name} ({written})")
            else:
                person = match.groupdict().get("person") or ""
                name = match[0] if self.pattern.startswith("(?P<label>") else path.stem
                table.add(name, Labelled(path, label, "", f"person {person}" if person else ""))
        if not table.rows:
            raise DataError(f"{str(home)!r} holds no file such as {self.example}; give the unpacked archive")
        if others:
            table.say("note", f"{len(others)} other files were not read: {counted(others)}")
        if self.published:
            table.expect("files", len(table.rows), self.published)
        return table


def _task(name: str, title: str, source: NamedFiles, needs: str, licence: str, access: str) -> Task:
    return with_presets(
        Task(
            name, title, "emotion", source, answered="text", score=LabelScores(source.labels), splits=("test",),
            needs=needs, licence=licence, access=access, about=source.about,
        )
    )  # fmt: skip


def _cremad(
    name: str, title: str, folders: tuple[str, ...], place: str, suffixes: frozenset[str], example: str
) -> Task:
    """Return a task on the films or the recordings of CREMA-D."""
    codes = {"ang": "anger", "dis": "disgust", "fea": "fear", "hap": "happiness", "neu": "neutral", "sad": "sadness"}
    source = NamedFiles(
        folders, set_name="fer7", subset=tuple(codes.values()), codes=codes, suffixes=suffixes, published=7442,
        pattern=place + r"/(?P<person>\d{4})_[A-Z]{3}_(?P<label>[A-Z]{3})_[A-Z]{2}", example=example,
    )  # fmt: skip
    access = "https://github.com/CheyneyComputerScience/CREMA-D (git-lfs)"
    return _task(name, title, source, f"{example} and the others", "Open Database License", access)


_MIKELS = "|".join(label_set("mikels8").labels)
TASKS: tuple[Task, ...] = (
    _cremad("cremad", "CREMA-D, 6 emotions", ("cremad", "CREMA-D"), r".*", VIDEOS, "VideoFlash/1001_DFA_ANG_XX.flv"),
    _cremad(
        "cremad_voices", "CREMA-D voices, 6 emotions", ("cremad_voices", "cremad", "CREMA-D"), "AudioWAV", SOUNDS,
        "AudioWAV/1001_DFA_ANG_XX.wav",
    ),
    _task(
        "emodb_files", "EmoDB from its WAV files, 7 emotions",
        NamedFiles(
            ("emodb_files", "emodb", "EmoDB"), set_name="emodb7",
            pattern=r".*/(?P<person>\d\d)[ab]\d\d(?P<label>[A-Z])[a-z]",
            codes={"w": "anger", "l": "boredom", "e": "disgust", "a": "fear", "f": "happiness", "n": "neutral",
                   "t": "sadness"},
            suffixes=SOUNDS, published=535, example="wav/03a01Fa.wav",
        ),
        "the folder wav with 03a01Fa.wav and the others", "CC0-1.0 as published by audEERING",
        "http://emodb.bilderbar.info",
    ),
    _task(
        "artphoto", "ArtPhoto, 8 evoked emotions",
        NamedFiles(
            ("artphoto", "ArtPhoto", "testImages_artphoto"), set_name="mikels8", about=EVOKED,
            pattern=rf".*/(?P<label>{_MIKELS})_\d+", suffixes=PICTURES, published=806,
            example="testImages_artphoto/amusement_0001.jpg",
        ),
        "testImages_artphoto with amusement_0001.jpg and the others", "no licence stated; photographs of artists",
        "https://www.imageemotion.org",
    ),
    _task(
        "fi", "FI, 8 evoked emotions",
        NamedFiles(
            ("fi", "FI", "emotion_dataset"), set_name="mikels8", about=EVOKED,
            pattern=rf"(?P<label>{_MIKELS})/.+", suffixes=PICTURES, published=23308,
            example="amusement/amusement_00001.jpg",
        ),
        "one folder per emotion with its pictures; all of them, because the owners publish no split",
        "pictures of Flickr and Instagram under their owners' terms",
        "https://qzyou.github.io (You et al., AAAI 2016, request)",
    ),
)  # fmt: skip
