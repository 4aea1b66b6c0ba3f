"""A vision model behind an endpoint as teacher and reader."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from emotion_qwen.taxonomy import LabelSet, label_set
from emotion_qwen.ver.settings import DescribeSettings
from emotion_qwen.ver.store.columns import Row
from emotion_qwen.ver.teachers.calls import Caller
from emotion_qwen.ver.teachers.description import (
    Description,
    Unusable,
    parse_description,
    parse_judgement,
    parse_reading,
)
from emotion_qwen.ver.teachers.evidence import facts, messages_for
from emotion_qwen.ver.teachers.prompts import (
    CORRECT,
    JUDGE,
    OBJECT,
    READ,
    UNCLEAR,
    answer_schema,
    judgement_schema,
    reading_schema,
)

Message = dict[str, Any]
Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class EndpointTeacher:
    """A model behind an endpoint; errors of calls are those of `Caller.ask`."""

    caller: Caller
    settings: DescribeSettings
    folder: str
    revises: bool = True

    @property
    def name(self) -> str:
        """The model's name at the endpoint."""
        return self.caller.teacher.model

    @property
    def labels(self) -> LabelSet:
        """The labels to choose from."""
        return label_set(self.settings.labels)

    def describe(self, item: Row, language: str, objections: Sequence[str] = ()) -> Description:
        """Ask the endpoint; see `Teacher`."""
        messages = messages_for(item, Path(self.folder), self.settings, language)
        if objections:
            faults = "\n".join(f"- {objection}" for objection in objections)
            messages[1]["content"].append({"type": "text", "text": OBJECT[language].format(faults=faults)})

        def revised(answer: str, fault: str) -> list[Message]:
            again = {"role": "user", "content": CORRECT[language].format(fault=fault)}
            return [*messages, {"role": "assistant", "content": answer[:4000] or "-"}, again]

        return self._ask(
            messages, answer_schema(self.labels, language), self.settings.repairs, f"{language} answer",
            lambda text: parse_description(text, self.labels, language), revised,
        )  # fmt: skip

    def read(self, text: str, language: str) -> str:
        """Ask the endpoint; see `Teacher`."""
        names = ", ".join(self.labels.names(language))
        prompt = {"role": "user", "content": READ[language].format(labels=names, unclear=UNCLEAR[language], text=text)}
        return self._ask(
            [prompt], reading_schema(self.labels, language), 1, "reading",
            lambda text: parse_reading(text, self.labels, language),
            lambda answer, fault: [prompt, {"role": "assistant", "content": answer[:400] or "-"}, prompt],
        )  # fmt: skip

    def judge(self, item: Row, record: Description, language: str) -> tuple[str, str]:
        """Ask the endpoint for its judgement of a description; see `critic.DescriptionJudge`."""
        messages = messages_for(item, Path(self.folder), self.settings, language)
        shown = json.dumps({"description": record.description, "reasoning": record.reasoning,
                            "emotions": record.emotions, "valence": record.valence, "arousal": record.arousal},
                           ensure_ascii=False)  # fmt: skip
        content = messages[1]["content"]
        content[-1] = {"type": "text", "text": facts(item, [], language)}
        content.append({"type": "text", "text": JUDGE[language].format(text=shown)})
        return self._ask(
            messages, judgement_schema(), 1, "judgement", parse_judgement,
            lambda answer, fault: [
                *messages, {"role": "assistant", "content": answer[:400] or "-"},
                {"role": "user", "content": CORRECT[language].format(fault=fault)},
            ],
        )  # fmt: skip

    def _ask(
        self,
        messages: list[Message],
        schema: dict[str, Any],
        repairs: int,
        what: str,
        parse: Callable[[str], Parsed],
        revised: Callable[[str, str], list[Message]],
    ) -> Parsed:
        """Ask until an answer is usable; `revised` makes the next request from an answer and its fault."""
        fault = ""
        for _ in range(repairs + 1):
            answer = self.caller.ask(messages, schema)
            try:
                return parse(answer.text)
            except Unusable as error:
                fault = str(error)
                if answer.cut:
                    most = self.caller.teacher.answer_tokens
                    fault = f"cut off after {most} tokens, the teacher's answer_tokens may be too low; {fault}"
                self.caller.ledger.count(f"unusable {what.split()[-1]}")
                messages = revised(answer.text, fault)
        raise Unusable(f"no usable {what} after {repairs + 1} tries: {fault}")
