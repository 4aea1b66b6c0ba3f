"""Budgets for the clips of a run, so that a long or large clip fits into a row instead of stopping the run."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from emotion_qwen.errors import SettingsError
from emotion_qwen.settings import ClipSettings, Settings

FRAME_FLOOR = 1.3
"""A small frame of a video is enlarged to at most this many times `video_min_pixels`, with both sides rounded up to
whole patches, if no side is more than 8 times the other; see `processing.patches.smart_resize`."""


class ClipBudgets(Settings):
    """Limits that replace those of the processor. They are saved with the trained model, which must see such clips."""

    fps: float | None = Field(None, gt=0)
    """Frames sampled per second of video."""
    frames: int | None = Field(None, ge=2)
    """Most frames per video."""
    pixels: int | None = Field(None, gt=0)
    """Largest area of a frame or picture, pixels."""
    tokens: int | None = Field(None, ge=4)
    """Most tokens per video or picture: limits the area of all its frames together and, as every frame has a smallest
    area, their number. Holds if no side of a frame is more than 8 times the other."""

    def settings(self, before: ClipSettings, factor: int) -> dict[str, Any]:
        """Return the changed values of `ClipSettings`.

        Args:
            before: settings of the processor.
            factor: patch size times merge size: side of the area of one token, pixels.

        Raises:
            SettingsError: too few tokens for even the smallest number of frames.
        """
        changed: dict[str, Any] = {}
        if self.fps is not None:
            changed["fps"] = self.fps
        most = self.frames or before.max_frames
        if self.pixels is not None:
            changed |= {"video_max_pixels": self.pixels, "image_max_pixels": self.pixels}
        if self.tokens is not None:
            area = self.tokens * factor**2
            changed["video_total_pixels"] = min(area, before.video_total_pixels)
            changed["image_max_pixels"] = min(area, changed.get("image_max_pixels", before.image_max_pixels))
            floor = min(before.video_min_pixels, changed.get("video_max_pixels", before.video_min_pixels))
            fitting = int(2 * area / max(FRAME_FLOOR * floor, factor**2)) // 2 * 2
            if fitting < 2:
                raise SettingsError(
                    f"clip.tokens {self.tokens} is less than the {int(FRAME_FLOOR * floor / factor**2) + 1} tokens of "
                    "the smallest pair of frames; raise it, or lower clip.pixels"
                )
            most = min(most, fitting)
        changed["max_frames"] = most
        changed["min_frames"] = min(before.min_frames, most)
        for kind in ("video", "image"):
            largest = changed.get(f"{kind}_max_pixels", getattr(before, f"{kind}_max_pixels"))
            changed[f"{kind}_min_pixels"] = min(getattr(before, f"{kind}_min_pixels"), largest)
        return {name: value for name, value in changed.items() if value != getattr(before, name)}
