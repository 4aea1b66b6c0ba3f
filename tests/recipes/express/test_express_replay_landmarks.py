"""The agreement of a replay with its clip: groups of actions, frames that count, and intervals."""

from __future__ import annotations

import numpy as np

from emotion_qwen.express.track import CHANNELS, channel_values
from recipes.express.replay_landmarks import GROUPS, agreement, compared, group_values


def test_a_series_agrees_with_itself_and_not_with_its_opposite() -> None:
    series = np.sin(np.arange(60) / 5.0)
    assert agreement(series, series) == {"r": 1.0, "interval": [1.0, 1.0]}
    assert agreement(series, -2 * series)["r"] == -1.0


def test_only_frames_in_which_all_faces_were_found_are_compared() -> None:
    smiles = np.linspace(0, 1, 40) ** 2
    frames = [channel_values({"mouthSmileLeft": s, "mouthSmileRight": s, "jawOpen": 1 - s, "browInnerUp": s,
                              "browDownLeft": s}).tolist() for s in smiles]  # fmt: skip
    clip = [group_values(dict(zip(CHANNELS, frame, strict=True))) for frame in frames]
    assert np.allclose(clip[-1], [1, 0, 1 / 3, 1 / 2]) and len(GROUPS) == 4
    drawn = [None if k < 3 else values for k, values in enumerate(clip)]
    seen = [k < 35 for k in range(40)]
    results = compared({"clip": clip, "drawn": drawn}, {"channels": list(CHANNELS), "frames": frames, "seen": seen})
    assert results["drawn"]["compared"] == 32 and results["drawn"]["detected"] == 37
    assert results["track"]["compared"] == 35 and results["drawn"]["jaw"]["r"] == 1.0
