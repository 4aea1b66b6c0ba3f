"""Our model as a model of lmms-eval 0.7.3. Loaded by the harness only; needs it to be installed.

Requests are answered in windows: within one, items of a task are put into batches as under `emotion-qwen eval`, and a
window bounds how many pictures are in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from lmms_eval.api.model import lmms
from rich.console import Console
from rich.progress import Progress

from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import MediaError, SettingsError
from emotion_qwen.evaluation.run.answerers.local import BATCH, LocalModel
from emotion_qwen.evaluation.run.plan import device_of_process
from emotion_qwen.integrations.lmms_eval.asking import HarnessRequest, answer_of, harness_context, harness_request

WINDOW = 256
LOG = logging.getLogger(__name__)  # the harness silences warnings


class EmotionQwenLmms(lmms):
    """For tasks that give words and visuals, and for those that compare likelihoods (`--force_simple`).

    Args:
        pretrained: "nano", a model folder or hub name.
        device: "auto", "cpu", "cuda", "cuda:1", "mps"; with several processes, "auto" and "cuda" take one GPU each.
        dtype: see `Engine.load`.
        batch_size: items answered together; None and "auto" are our default.
        max_batch_size: of "auto"; not used, the harness passes it on.
        others: none are known.

    Raises:
        SettingsError: an argument that is not known, or see `Engine.load`.
        CheckpointError: no model there, or one that does not fit.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str = "nano",
        device: str | None = None,
        dtype: str = "auto",
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        if others:
            raise SettingsError(f"model_args {', '.join(others)}; expected pretrained, device, dtype, batch_size")
        place = device_of_process("auto" if device in (None, "cuda") else str(device))
        self.engine = Engine.load(pretrained, place, dtype)
        self.local = LocalModel(self.engine, batch=_batch(batch_size))

    @property
    def device(self) -> Any:
        """The device of the model; needed when several processes run."""
        return self.engine.device

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answer in words, greedily; a failure gives an empty reply and a warning.

        Raises:
            SettingsError: see `asking.asked`.
        """
        replies: list[str] = []
        bar = Progress(*Progress.get_default_columns(), console=Console(stderr=True), transient=True)
        with bar:
            step = bar.add_task(self.engine.name, total=len(requests))
            for start in range(0, len(requests), WINDOW):
                window = [harness_request(request.args, self.task_dict) for request in requests[start : start + WINDOW]]
                replies += self._window(window, lambda done: bar.advance(step, done))
        return replies

    def _window(self, window: Sequence[HarnessRequest], advance: Any) -> list[str]:
        replies = dict.fromkeys(window, "")
        alike: dict[tuple[str, ...], list[HarnessRequest]] = {}
        for request in window:
            if request.talk:
                replies[request] = self._continued(request)
                advance(1)
            else:
                alike.setdefault(request.key, []).append(request)
        for group in alike.values():
            task, by_item = group[0].task, {request.item: request for request in group}
            for batch in self.local.batches(task, list(by_item)):
                for item, prediction in zip(batch, self.local.answer(task, batch), strict=True):
                    if prediction.error or prediction.unanswered:
                        LOG.warning(f"{task.name}, item {item.id!r}: {prediction.error or prediction.unanswered}")
                    else:  # where a task compares likelihoods, the likeliest choice is the reply
                        replies[by_item[item]] = by_item[item].cut(prediction.predicted or prediction.text or "")
                advance(len(batch))
        return list(replies.values())

    def _continued(self, request: HarnessRequest) -> str:
        try:
            return request.cut(self.engine.chat(request.talk, request.task.max_new_tokens))
        except MediaError as error:
            LOG.warning(f"{request.task.name}, item {request.item.id!r}: {error}")
            return ""

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Return for every request the loss of the answer, and whether greedy writing begins with it.

        The loss is minus the log-likelihood, summed over tokens: the harness's base class speaks of log-likelihoods,
        but its models return losses and its choice among answers takes the smallest.

        Raises:
            SettingsError: see `asking.context_of`.
            ShapeError: a question with several visuals.
        """
        losses: list[tuple[float, bool]] = []
        for start in range(0, len(requests), WINDOW):
            losses += self._losses([request.args for request in requests[start : start + WINDOW]])
        return losses

    def _losses(self, window: Sequence[Sequence[Any]]) -> list[tuple[float, bool]]:
        # Answers to one question share what is seen; questions with the same answers are scored together.
        questions: dict[tuple[str, ...], list[int]] = {}
        for row, (context, _, *place) in enumerate(window):
            questions.setdefault((str(context), *map(str, place[1:])), []).append(row)
        alike: dict[tuple[str, ...], list[tuple[list[dict[str, Any]], str, list[int]]]] = {}
        for rows in questions.values():
            parts, question = harness_context(window[rows[0]], self.task_dict)
            answers = tuple(answer_of(window[row], self.task_dict) for row in rows)
            alike.setdefault(answers, []).append((parts, question, rows))
        losses = [(0.0, False)] * len(window)
        for answers, asked_of in alike.items():
            views, words = [parts for parts, _, _ in asked_of], [question for _, question, _ in asked_of]
            scores = self.engine.score(views, words, answers)
            begun = self.engine.write(views, words, int(scores.tokens.max()))
            for (_, _, rows), row_scores, text in zip(asked_of, scores.log_likelihood.tolist(), begun, strict=True):
                for row, answer, score in zip(rows, answers, row_scores, strict=True):
                    losses[row] = -score, text.startswith(answer)
        return losses

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refuse, because tasks of several rounds are made for agents.

        Raises:
            SettingsError: always.
        """
        raise SettingsError("tasks of several rounds are not answered by this model; choose tasks of one round")


class EmotionQwenChat(EmotionQwenLmms):
    """For tasks that give messages: several visuals, several turns, words between pictures."""

    is_simple = False


def _batch(size: int | str | None) -> int:
    if size is None or size == "auto":
        return BATCH
    try:
        number = int(size)
    except ValueError:
        number = 0
    if number < 1:
        raise SettingsError(f"batch_size {size!r}; expected a whole number from 1, or auto")
    return number
