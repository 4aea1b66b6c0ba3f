"""The one chat template, its placeholders, and the label mask that follows from it.

The layout is Qwen2.5-VL's. The assistant's turns, including `<|im_end|>`, are inside a `generation` block, so that the
label mask follows from the template and the model learns to stop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from emotion_qwen.errors import DataError

IMAGE_PAD, VIDEO_PAD, AUDIO_PAD = PADS = ("<|image_pad|>", "<|video_pad|>", "<|audio_pad|>")
SYSTEM_TEXT = "You are a helpful assistant."
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    IMAGE_PAD, VIDEO_PAD, "<|audio_start|>", "<|audio_end|>", AUDIO_PAD,
)  # fmt: skip
AUDIO_TOKENS = SPECIAL_TOKENS[-3:]
"""Special tokens that Qwen2.5-VL's tokenizer does not have."""

_IN_ORDER = "{%- for part in content -%}"
_QUESTION_FIRST = (
    "{%- set seen = namespace(text=false, medium_behind=false) -%}{%- for part in content -%}"
    "{%- if part.type == 'text' -%}{%- set seen.text = true -%}"
    "{%- elif seen.text -%}{%- set seen.medium_behind = true -%}{%- endif -%}{%- endfor -%}"
    "{%- set moves = content | length > 1 and content[-1].type == 'text' and not seen.medium_behind -%}"
    "{%- if moves -%}{{ content[-1].text + '\n' }}{%- endif -%}"
    "{%- for part in (content[:-1] if moves else content) -%}"
)
CHAT_TEMPLATE = (
    "{%- macro parts(content) -%}"
    "{%- if content is string -%}{{ content }}{%- else -%}"
    + _IN_ORDER
    + "{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- elif part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>"
    "{%- elif part.type == 'audio' -%}<|audio_start|><|audio_pad|><|audio_end|>"
    "{%- elif part.type == 'text' -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{%- endmacro -%}"
    "{%- for message in messages -%}"
    "{%- if loop.first and message.role != 'system' -%}"
    "{{ '<|im_start|>system\n" + SYSTEM_TEXT + "<|im_end|>\n' }}{%- endif -%}"
    "{{ '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.role == 'assistant' -%}"
    "{% generation %}{{ parts(message.content) + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{%- else -%}{{ parts(message.content) + '<|im_end|>\n' }}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
QUESTION_FIRST_TEMPLATE = CHAT_TEMPLATE.replace(_IN_ORDER, _QUESTION_FIRST)
"""Like `CHAT_TEMPLATE`, but in a message of media followed by texts, the last text (the question) comes first. Views
with the same question then share its tokens, which the language model processes once. Messages in which a medium
follows a text keep their order.
"""


def harmless(text: str) -> str:
    """Neutralise special tokens in a user's text."""
    return text.replace("<|", "< |")


def expand(text: str, tokens: Mapping[str, Sequence[int]]) -> tuple[str, list[tuple[int, int]]]:
    """Repeat every placeholder by the number of tokens of its medium.

    Args:
        text: the rendered chat, one pad token per medium.
        tokens: pad token of `PADS` -> tokens of each medium of that kind, in order.

    Returns:
        The expanded text, and for every placeholder (place in the unexpanded text, characters added there).

    Raises:
        DataError: the numbers of placeholders and media differ.
    """
    left = {pad: list(tokens.get(pad, ())) for pad in PADS}
    for pad, counts in left.items():
        if text.count(pad) != len(counts):
            raise DataError(
                f"the chat has {text.count(pad)} {pad} placeholder(s) for {len(counts)} of them; "
                "give exactly one picture, video or sound per placeholder"
            )
    pieces, added, end = [], [], 0
    for match in re.finditer("|".join(map(re.escape, PADS)), text):
        pad = match.group()
        pieces += [text[end : match.start()], pad * left[pad].pop(0)]
        end = match.end()
        added.append((end, len(pieces[-1]) - len(pad)))
    return "".join([*pieces, text[end:]]), added


def moved(place: int, added: Sequence[tuple[int, int]]) -> int:
    """Return the position in the expanded text of a character of the unexpanded text."""
    return place + sum(more for where, more in added if where <= place)


def inside(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[int]:
    """Mark the tokens whose characters are in one of the spans: 1 inside, 0 outside."""
    return [int(any(s <= start and stop <= e and start < stop for s, e in spans)) for start, stop in offsets]
