"""MER2024-SEMI and MER2024-NOISE (Lian et al., 2024): Chinese clips, six labels; the NOISE track has noisy audio.

Read from `reference-semi.csv` and `reference-noise.csv` (`name,discrete`) and the clips `<name>.mp4`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emotion_qwen.evaluation.task import OURS, RELEASE, Task
from emotion_qwen.evaluation.tasks.clips import Labelled, LabelledFiles, compare_labels, put_clips
from emotion_qwen.evaluation.tasks.files import ReadRows, needed, read_csv
from emotion_qwen.evaluation.tasks.prompts import MER_RELEASE
from emotion_qwen.evaluation.tasks.scorers import LabelScores, released_mer
from emotion_qwen.taxonomy import label_set

PUBLISHED = {
    "semi": {"sad": 317, "happy": 246, "neutral": 201, "angry": 163, "worried": 159, "surprise": 83},
    "noise": {"sad": 295, "happy": 233, "neutral": 232, "angry": 236, "worried": 119, "surprise": 55},
}


@dataclass(frozen=True)
class Mer2024(LabelledFiles):
    """One track; `track` is "semi" or "noise"."""

    track: str = "semi"

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table = ReadRows()
        path = needed(home, f"**/reference-{self.track}.csv")[0]
        rows = read_csv(path, ("name", "discrete"))
        for row in rows:
            name, label = row["name"].strip(), row["discrete"].strip().lower()
            if label not in self.labels.labels:
                table.fault("label outside the six", f"{name} ({label or 'empty'})")
                continue
            table.add(name, Labelled(home, label, ""))
        table.expect(f"rows of {path.name}", len(rows), sum(PUBLISHED[self.track].values()))
        compare_labels(table, path.name, PUBLISHED[self.track])
        put_clips(table, home)
        return table


TASKS = tuple(
    Task(
        f"mer2024_{track}",
        f"MER2024-{track.upper()}, 6 emotions",
        "emotion",
        Mer2024((f"mer2024_{track}", "mer2024", "MER2024"), set_name="mer6", released=MER_RELEASE, track=track),
        answered="text",
        score=LabelScores(label_set("mer6")),
        headline="WAF",
        as_released=released_mer,
        frames={"fps": 3.0, "video_max_pixels": 602112},
        splits=("test",),
        prompts={OURS: ("en", "zh"), RELEASE: ("en",)},
        needs=f"reference-{track}.csv and the clips <name>.mp4",
        licence="EULA of the MER2024 challenge, research only",
        access="https://zeroqiaoba.github.io/MER2024-website (signed EULA)",
    )
    for track in PUBLISHED
)
