"""The stage `reinforcement`: group-relative policy optimisation on prompts with checkable answers.

A step samples several answers to each prompt, rewards them, and raises the likelihood of those that are better than the
others in their group. `rewards.jsonl` in the output folder has the figures of every draw, `answers.jsonl` some answers
to read.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from emotion_qwen.engine.drawing import AnswerLikelihoods, DrawnAnswer, draw_answers
from emotion_qwen.engine.encoding import View
from emotion_qwen.engine.engine import Engine
from emotion_qwen.engine.sampling import Sampling
from emotion_qwen.errors import TrainingError
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.training.answer_settings import CollapseSettings, ReinforcementSettings
from emotion_qwen.training.answers import AnswerTrainer, Journal, Prompts
from emotion_qwen.training.checkpoint import latest_checkpoint
from emotion_qwen.training.objectives import (
    answer_token_weights,
    clipped_objective,
    group_advantages,
    low_variance_kl,
    without_spread,
)
from emotion_qwen.training.plan import TrainSettings
from emotion_qwen.training.rewards import AnsweredSample, Reward, make_reward, reward_answers, text_of

FIGURES, ANSWERS = "rewards.jsonl", "answers.jsonl"
_SEEDS = 1_000_003
"""Distance between the seeds of two runs, so that no two steps of different runs have the same seed."""


@dataclass(frozen=True, eq=False)
class Rollout:
    """Drawn answers to the prompts of one forward pass, P prompts with G answers of at most T tokens.

    Attributes:
        prompts: with their media.
        answers: tokens, per prompt and answer.
        advantages: (P, G).
        old: of the model that drew the answers.
        start: (P, G, T) log-likelihoods by the start; None where it is not compared with.
    """

    prompts: Prompts
    answers: Sequence[Sequence[Sequence[int]]]
    advantages: torch.Tensor
    old: AnswerLikelihoods
    start: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class RewardedGroups:
    """Answers of one step with their rewards: P prompts with G answers.

    Attributes:
        answers: P lists of G answers.
        drawn: their tokens.
        rewards: name of a reward -> (P, G).
        total: (P, G) weighted sum.
    """

    answers: Sequence[Sequence[AnsweredSample]]
    drawn: Sequence[Sequence[DrawnAnswer]]
    rewards: dict[str, torch.Tensor]
    total: torch.Tensor


class CurrentModel:
    """Answers questions with the model at the current step of a run, for rewards that ask it again.

    Args:
        trainer: of the run.
    """

    def __init__(self, trainer: ReinforcementTrainer) -> None:
        self._trainer = trainer

    def write(self, views: Sequence[View], question: Sequence[str], max_new_tokens: int = 64) -> list[str]:
        """Return one greedy reply for each of the views; see `engine.Engine.write`."""
        engine = Engine(self._trainer.base, self._trainer.processor)
        with self._trainer.compute_loss_context_manager():
            return engine.write(views, question, max_new_tokens)


class ReinforcementTrainer(AnswerTrainer):
    """Trains on rewards for drawn answers."""

    chosen: ReinforcementSettings
    rewards: dict[str, Reward]
    seed: int

    def configure(self, settings: TrainSettings, processor: EmotionQwenProcessor) -> None:
        """See `AnswerTrainer`; errors are also those of `rewards.make_reward`."""
        super().configure(settings, processor)
        self.chosen, self.seed, self.updates = settings.rewarded, settings.seed, settings.rewarded.updates
        writer = CurrentModel(self)
        self.rewards = {reward.key: make_reward(reward.name, reward.options, writer) for reward in self.chosen.rewards}
        self._journals: tuple[Journal, Journal] | None = None
        self._dead_steps = 0
        self._rollouts: list[Rollout] = []

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """Read the prompts of a step, and draw and reward answers to them if those of an earlier step are used up."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.state.global_step % self.updates == 0:
            self._rollouts = self._roll_out(batches)
        weights = [answer_token_weights(rollout.old.present, self.chosen.loss).sum() for rollout in self._rollouts]
        return [{"rollout": rollout} for rollout in self._rollouts], torch.stack(weights).sum()

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the loss of drawn answers, as a share of that of all answers of the step."""
        rollout, chosen = inputs["rollout"], self.chosen
        new = self.likelihoods(self.base, rollout.prompts, rollout.answers, chosen.temperature)
        above = chosen.clip if chosen.clip_above is None else chosen.clip_above
        advantages = rollout.advantages[:, :, None]
        loss = -clipped_objective(new.tokens, rollout.old.tokens, advantages, chosen.clip, above)
        if chosen.kl:
            loss = loss + chosen.kl * low_variance_kl(new.tokens, rollout.start)
        loss = (loss * answer_token_weights(new.present, chosen.loss)).sum() / num_items_in_batch
        return (loss, None) if return_outputs else loss

    def _roll_out(self, batches: Sequence[dict[str, Any]]) -> list[Rollout]:
        """Draw and reward answers to the prompts of a step.

        Raises:
            TrainingError: the run has collapsed, or a reward is faulty.
        """
        step, first = self.state.global_step, 0
        rollouts, groups = [], []
        for batch in batches:
            prompts = self.prepared(batch)
            group = self._reward(prompts, self._draw(prompts, self.chosen.answers, first))
            groups.append(group)
            rollouts.append(self._compared(prompts, group))
            first += len(prompts.samples)
        figures = {"step": step + 1, **self._figures(groups, rollouts)}
        last = latest_checkpoint(Path(self.args.output_dir))
        journal, samples = self._opened(step)
        journal.write(figures)
        if (step // self.updates) % self.chosen.show_every == 0:
            for row in self._shown(groups):
                samples.write({"step": step + 1, **row})
        self.latest = {name: value for name, value in figures.items() if name != "step"}
        self._dead_steps = self._dead_steps + 1 if figures["dead_groups"] == 1 else 0
        if reason := collapse(figures, self._dead_steps, self.chosen.stop):
            raise TrainingError(f"step {step + 1}: {reason}. Last good folder: {last or 'none yet'}")
        return rollouts

    def _draw(self, prompts: Prompts, count: int, first: int, temperature: float | None = None):
        """Sample answers; the seed of each is derived from the run's seed, the step, and its position in the step."""
        heat = self.chosen.temperature if temperature is None else temperature
        sampling = Sampling(heat, (self.seed * _SEEDS + self.state.global_step) % 2**63)
        self.base.eval()
        with torch.no_grad(), self.compute_loss_context_manager():
            encoded = self.encoded(self.base, prompts)
            return draw_answers(
                self.base, prompts.inputs, encoded, count, sampling, self.chosen.max_new_tokens, self.ends, first
            )

    def _reward(self, prompts: Prompts, drawn: Sequence[Sequence[DrawnAnswer]]) -> RewardedGroups:
        texts = self.processor.tokenizer.batch_decode(
            [answer.tokens for group in drawn for answer in group], skip_special_tokens=True
        )
        answers = []
        for sample, group in zip(prompts.samples, drawn, strict=True):
            answers.append([AnsweredSample(sample, texts.pop(0).strip(), answer.finished) for answer in group])
        values = reward_answers(self.rewards, [answer for group in answers for answer in group])
        shape = (len(answers), -1)
        rewards = {name: torch.tensor(given).view(shape) for name, given in values.items()}
        total = sum(reward.weight * rewards[reward.key] for reward in self.chosen.rewards)
        return RewardedGroups(answers, drawn, rewards, total)  # type: ignore[arg-type]

    def _compared(self, prompts: Prompts, group: RewardedGroups) -> Rollout:
        """Add the log-likelihoods of the current model and of its start."""
        answers = [[answer.tokens for answer in answers] for answers in group.drawn]
        self.base.train()
        with torch.no_grad(), self.compute_loss_context_manager():
            old = self.likelihoods(self.base, prompts, answers, self.chosen.temperature)
            start = None
            if self.start is not None or hasattr(self.accelerator.unwrap_model(self.model), "disable_adapter"):
                with self.at_start() as model:
                    start = self.likelihoods(model, prompts, answers, self.chosen.temperature).tokens
        advantages = group_advantages(group.total, self.chosen.scaled).to(self.args.device)
        return Rollout(prompts, answers, advantages, old, start)

    def _figures(self, groups: Sequence[RewardedGroups], rollouts: Sequence[Rollout]) -> dict[str, float]:
        total = torch.cat([group.total for group in groups])
        figures = {"reward": _spread(total)[0], "reward_spread": _spread(total)[1]}
        for name in self.rewards:
            figures[name], figures[f"{name}_spread"] = _spread(torch.cat([group.rewards[name] for group in groups]))
        texts = [[answer.text for answer in answers] for group in groups for answers in group.answers]
        drawn = [answer for group in groups for answers in group.drawn for answer in answers]
        figures |= {
            "dead_groups": float(without_spread(total).float().mean()),
            "tokens": statistics.fmean(len(answer.tokens) for answer in drawn),
            "unfinished": statistics.fmean(not answer.finished for answer in drawn),
            "empty": statistics.fmean(not text for answers in texts for text in answers),
            "distinct": statistics.fmean(len(set(answers)) / len(answers) for answers in texts),
            "entropy": _token_mean([(rollout.old.entropy, rollout.old.present) for rollout in rollouts]),
        }
        if rollouts[0].start is not None:
            divergences = [
                (low_variance_kl(rollout.old.tokens, rollout.start), rollout.old.present)
                for rollout in rollouts if rollout.start is not None
            ]  # fmt: skip
            figures["kl"] = _token_mean(divergences)
        return figures

    def _shown(self, groups: Sequence[RewardedGroups]) -> list[dict[str, Any]]:
        rows = []
        for group in groups:
            for number, answers in enumerate(group.answers):
                sample = answers[0].sample
                listed = [
                    {"text": answer.text, "finished": answer.finished,
                     **{name: round(float(values[number, place]), 4) for name, values in group.rewards.items()}}
                    for place, answer in enumerate(answers)
                ]  # fmt: skip
                question = text_of(sample.messages[-2]["content"])
                rows.append({"sample": sample.id, "question": question, "taught": answers[0].taught, "answers": listed})
        return rows[: self.chosen.shown]

    def _opened(self, step: int) -> tuple[Journal, Journal]:
        """Return the journals; the first call truncates them to the checkpoint from which the run continues."""
        if self._journals is None:
            output = Path(self.args.output_dir)
            self._journals = Journal(output / FIGURES), Journal(output / ANSWERS)
            earlier = self._journals[0].rewind(step)
            self._journals[1].rewind(step)
            for row in reversed(earlier):
                if row["dead_groups"] < 1:
                    break
                self._dead_steps += 1
        return self._journals

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        """Log the mean of every reward for greedy answers to the validation samples of each domain."""
        metrics: dict[str, float] = {}
        for domain, subset in (eval_dataset or self.eval_dataset).items():
            values: dict[str, list[float]] = {name: [] for name in self.rewards}
            for start in range(0, len(subset), self.args.eval_batch_size):
                rows = range(start, min(start + self.args.eval_batch_size, len(subset)))
                prompts = self.prepared(self.data_collator([subset[row] for row in rows]))
                for name, given in self._reward(prompts, self._draw(prompts, 1, 0, 0.0)).rewards.items():
                    values[name] += given.flatten().tolist()
            metrics |= {f"{metric_key_prefix}_{domain}_{name}": statistics.fmean(v) for name, v in values.items()}
        return self.evaluated(metrics)


def collapse(figures: dict[str, float], dead_steps: int, stop: CollapseSettings) -> str:
    """Return why a run should stop, or "".

    Args:
        figures: of the latest draw.
        dead_steps: consecutive draws in which no group had a spread, the latest included.
        stop: the bounds.
    """
    if dead_steps >= stop.dead_steps:
        return (
            f"all answers of every group had the same reward for {dead_steps} steps (mean {figures['reward']:.3g}), so "
            "nothing is learned; stop here, raise reinforcement.temperature, or take another reward"
        )
    if figures["empty"] > stop.empty:
        return (
            f"{figures['empty']:.0%} of the answers are empty, more than {stop.empty:.0%} "
            "(reinforcement.stop.empty); lower optim.learning_rate, or add the reward 'form'"
        )
    if figures.get("kl", 0.0) > stop.kl:
        return (
            f"the model is {figures['kl']:.3g} nats per token from its start, more than {stop.kl:g} "
            "(reinforcement.stop.kl); lower optim.learning_rate, or raise reinforcement.kl"
        )
    return ""


def _spread(values: torch.Tensor) -> tuple[float, float]:
    """Return the mean of (P, G) rewards, and their standard deviation within a group, averaged over groups."""
    return float(values.mean()), float(values.std(1).mean())


def _token_mean(values: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Return the mean of (P, G, T) values over the tokens that are present."""
    return float(torch.cat([each[present] for each, present in values]).mean())
