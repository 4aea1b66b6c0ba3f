"""Labelled faces, pictures or clips of anyone: one subfolder per label, or clips with tiers of an annotator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks.clips import Labelled, LabelledFiles
from emotion_qwen.evaluation.tasks.files import PICTURES, VIDEOS, ReadRows
from emotion_qwen.evaluation.tasks.scorers import LabelScores
from emotion_qwen.export.annotations import READERS, chosen_tier, labelled_spans, read_tiers
from emotion_qwen.files import files_below, is_hidden
from emotion_qwen.matching.answer import match_label
from emotion_qwen.taxonomy import label_set


@dataclass(frozen=True)
class LabelledFolder(LabelledFiles):
    """All pictures and clips of a folder; `set_name` is the label set.

    Attributes:
        tier: name of the tier with labels in the ELAN file or TextGrid of the same name next to each clip; each of its
            spans is an item. Empty for one subfolder per label.
    """

    tier: str = ""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`; hidden files and folders are skipped."""
        return self._read_tiers(home) if self.tier else self._read_folders(home)

    def _read_tiers(self, home: Path) -> ReadRows:
        """Read the labelled spans of all clips.

        Raises:
            DataError: there are none, or a tier file cannot be read or lacks the tier.
        """
        table = ReadRows()
        clips = [path for path in files_below(home) if path.suffix.lower() in VIDEOS]
        for clip in clips:
            name = clip.relative_to(home).as_posix()
            files = [path for path in sorted(clip.parent.glob("*")) if path.stem == clip.stem]
            annotations = [path for path in files if path.suffix.lower() in READERS]
            if not annotations:
                table.fault("no ELAN file or TextGrid next to it", name)
                continue
            spans, unknown = labelled_spans(
                chosen_tier(read_tiers(annotations[0]), self.tier, annotations[0]), self.labels
            )
            for text in unknown:
                table.fault(f"not a label of {self.labels.name}", f"{text} in {name}")
            for span in spans:
                seconds = (span.start / 1000, span.end / 1000)
                table.add(f"{name} {seconds[0]:.3f}-{seconds[1]:.3f}", Labelled(clip, span.text, "", name, seconds))
        if not table.rows:
            raise DataError(
                f"{str(home)!r} contains no labelled span; expected clips, each with a file of the same name (.eaf, "
                f".TextGrid) whose tier {self.tier!r} has labels of {self.labels.name}"
            )
        return table

    def _read_folders(self, home: Path) -> ReadRows:
        table, labels = ReadRows(), self.labels
        folders = sorted(path for path in home.iterdir() if path.is_dir() and not is_hidden(path, home))
        for folder in folders:
            name = folder.name.strip().lower()
            label = name if name in labels.labels else match_label(name.replace("_", " ").replace("-", " "), labels)
            files = files_below(folder)
            if label is None:
                table.fault(f"folder {folder.name!r} is not a label of {labels.name}", f"{len(files)} files")
                continue
            for path in files:
                place = path.relative_to(home).as_posix()
                if path.suffix.lower() not in PICTURES | VIDEOS:
                    table.fault("suffix is not that of a picture or clip", place)
                elif not path.stat().st_size:
                    table.fault("empty file", place)
                else:
                    table.add(place, Labelled(path, label, ""))
        if not table.rows:
            raise DataError(
                f"{str(home)!r} holds no labelled picture or clip; expected one folder per label of {labels.name}: "
                f"{', '.join(labels.labels)}"
            )
        return table


def folder_task(labels: str = "fer7", tier: str = "") -> Task:
    """Make the task for a label set, with labels from subfolders or a tier; see `LabelledFolder`.

    Raises:
        SettingsError: the label set is unknown.
    """
    return Task(
        "folder",
        "A folder of labelled faces or clips",
        "emotion",
        LabelledFolder((), set_name=label_set(labels).name, tier=tier),
        score=LabelScores(label_set(labels)),
        splits=("test",),
        needs="a folder with one subfolder per label, or with clips and their ELAN files or TextGrids",
        licence="yours",
        access="your own files",
        options={
            "labels": "label set, such as fer7, dfew7 or mer6",
            "tier": "name of the tier with labels in the ELAN file or TextGrid beside each clip",
        },
        make=folder_task,
    )


TASK = folder_task()
