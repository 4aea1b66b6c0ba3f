"""Prompts that are asked once: replies of a model in words, kept on disk by the content of the prompt."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from emotion_qwen.errors import RemoteError
from emotion_qwen.evaluation.run.predictions import text_digest
from emotion_qwen.files import json_line, write_whole


def fenced(text: str) -> str:
    """Return a text without the brackets that fence it in a prompt, so that it cannot close them.

    Runs are removed as a whole: without the "<<<" in the middle of "><<<>>", a ">>>" would remain.
    """
    return re.sub("[<>]{3,}", "", text)


@dataclass(frozen=True)
class ReplyCache:
    """Replies of one model.

    Attributes:
        ask: sends a prompt; raises RemoteError if there is no reply.
        folder: for the replies.
        tries: maximum number of times that a prompt is sent until the reply is accepted.
        asker: what identifies the model, such as its name and address; part of every key.
    """

    ask: Callable[[str], str]
    folder: Path
    tries: int
    asker: Mapping[str, str]

    def reply(self, prompt: str, accepts: Callable[[str], bool]) -> dict[str, str]:
        """Return "reply" with "date", or "error" with "date" if the model did not answer.

        An accepted reply is kept; a later call with the same prompt returns it without asking again. If none is
        accepted, the last one is returned and not kept.
        """
        path = self.folder / (text_digest("\n".join((*self.asker.values(), prompt))) + ".json")
        mine = {**self.asker, "prompt": prompt}
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if {key: kept[key] for key in mine} == mine:
                return {"reply": kept["reply"], "date": kept["date"]}
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not asked yet, or an incomplete file: ask
        day, answer = datetime.datetime.now(datetime.UTC).date().isoformat(), ""
        for _ in range(self.tries):
            try:
                answer = self.ask(prompt)
            except RemoteError as error:
                return {"error": str(error), "date": day}
            if accepts(answer):
                write_whole(path, json_line({**mine, "date": day, "reply": answer}))
                break
        return {"reply": answer, "date": day}
