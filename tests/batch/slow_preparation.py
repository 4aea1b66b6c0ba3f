"""A job of worker processes that takes its time; this module is imported there, so it must be a light one."""

import time
from pathlib import Path

import numpy as np

from emotion_qwen.batch.preparation import Preparation
from emotion_qwen.prepare import PreparedClip
from emotion_qwen.records import Clip


class SlowPreparation(Preparation):
    """Takes 0.1 seconds per clip, and leaves a file beside it."""

    def __call__(self, path: Path) -> PreparedClip:
        time.sleep(0.1)
        path.with_suffix(".seen").touch()
        clip = Clip(np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1), str(path))
        return PreparedClip(clip, clip, ())
