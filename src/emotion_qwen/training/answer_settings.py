"""The settings of the stages `reinforcement` and `preference`, which learn from whole answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from emotion_qwen.settings import Settings


class RewardSettings(Settings):
    """One reward."""

    name: str
    """A key of `rewards.REWARDS`, or `FILE.py:NAME`, with FILE next to these settings or in the working directory."""
    weight: float = 1.0
    options: dict[str, Any] = Field(default_factory=dict)
    """The keyword-only parameters of its maker, see `training.rewards`."""

    @property
    def key(self) -> str:
        """Its name in logs: without the file that it comes from."""
        return self.name.rpartition(":")[2]


class CollapseSettings(Settings):
    """Conditions for stopping a run because nothing can be learned, or the model has moved too far from its start."""

    dead_steps: int = Field(50, ge=1)
    """Consecutive draws in which all answers of every group have the same reward."""
    kl: float = Field(10.0, gt=0)
    """Mean divergence from the start per token, nats."""
    empty: float = Field(0.5, gt=0, le=1)
    """Share of answers without text in one step."""


def _default_rewards() -> list[RewardSettings]:
    return [RewardSettings.of({"name": "label"}), RewardSettings.of({"name": "form", "weight": 0.1})]


class ReinforcementSettings(Settings):
    """Settings for learning from rewards for the model's own answers."""

    rewards: list[RewardSettings] = Field(default_factory=_default_rewards, min_length=1)
    answers: int = Field(8, ge=2)
    """Answers per prompt."""
    max_new_tokens: int = Field(32, ge=1)
    temperature: float = Field(1.0, ge=0.01, le=100)
    updates: int = Field(1, ge=1)
    """Steps of the optimizer per draw of answers."""
    clip: float = Field(0.2, gt=0, lt=1)
    """The ratio of new and old likelihood is clipped to 1 - `clip` and 1 + `clip`."""
    clip_above: float | None = Field(None, gt=0)
    """Replaces `clip` above 1."""
    kl: float = Field(0.04, ge=0)
    """Weight of the divergence from the start."""
    scaled: bool = True
    """Divide advantages by the standard deviation of their group."""
    loss: Literal["answer", "token"] = "answer"
    """Whether all answers or all tokens have the same weight."""
    show_every: int = Field(10, ge=1)
    """Steps between samples written to `answers.jsonl`."""
    shown: int = Field(4, ge=0)
    """Prompts per sample."""
    stop: CollapseSettings = Field(default_factory=lambda: CollapseSettings.of({}))


class PreferenceSettings(Settings):
    """Settings for learning from pairs of a chosen and a rejected answer (direct preference optimisation)."""

    beta: float = Field(0.1, gt=0)
    """Strength with which the model is kept close to its start."""
