"""Models that are asked in words alone: an endpoint or a local model, by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emotion_qwen.client import ENDPOINT
from emotion_qwen.evaluation.run.answerers import EndpointSettings

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Asker:
    """A model that answers prompts.

    Attributes:
        name: in results.
        identity: address or weights; distinguishes models with the same name.
        ask: returns the answer to a prompt, given the system text ("" for none), the maximum length in tokens and a
            JSON schema or None; raises RemoteError if there is none.
        at_once: number of concurrent prompts.
        is_local: whether decoding is greedy and local, so that another try gives the same answer.
    """

    name: str
    identity: str
    ask: Callable[[str, str, int, Schema | None], str]
    at_once: int = 1
    is_local: bool = False


def asker(name: str, settings: EndpointSettings) -> Asker:
    """Return the model with a name, as `--model` names it.

    Raises:
        SettingsError: the address is invalid.
        CheckpointError: there is no such model.
    """
    if name.startswith(ENDPOINT):
        from emotion_qwen.evaluation.run.answerers.endpoint import client_at

        client = client_at(name, settings)

        def call(text: str, system: str, tokens: int, schema: Schema | None) -> str:
            messages = [{"role": "system", "content": system}] if system else []
            messages.append({"role": "user", "content": text})
            return client.ask({**settings.extra, "messages": messages, "temperature": 0}, tokens, schema).text.strip()

        return Asker(client.service.model, client.service.url, call, settings.concurrency)
    from emotion_qwen.engine.engine import Engine

    engine = Engine.load(name)

    def write(text: str, system: str, tokens: int, schema: Schema | None) -> str:
        messages: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": text}]}]
        if system:
            messages.insert(0, {"role": "system", "content": system})
        return engine.chat(messages, tokens)

    return Asker(engine.name, str(engine.provenance()["weights"]), write, is_local=True)
