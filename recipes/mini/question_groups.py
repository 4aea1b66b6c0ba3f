"""What mini is asked about the facts of a clip while it learns labels: one composed clip and several questions.

The facts are most of a question's tokens, so they are run once for all questions about the clip. Half of the questions
are closed, since their answers can be counted; the others are of all kinds, refusals included.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import torch
from torch import nn

from emotion_qwen.engine.engine import Engine
from emotion_qwen.verify.facts import facts_text
from recipes.mini.clip_facts import FactBank, draw_clip
from recipes.mini.clip_texts import ask_clip, kinds_for
from recipes.mini.shared_pass import SharedTokens

ASKED = 14
"""Questions about one clip."""
CLOSED = 0.6
"""Share of closed questions."""
BARE = 0.5
"""Share of clips of which only the emotions are told, so that their questions cost half."""
CHINESE = 0.4
LONGEST = 24
"""Tokens of an answer that are trained; accounts are longer and are practised elsewhere."""


@dataclass(frozen=True)
class QuestionGroup:
    """Questions about one clip.

    Attributes:
        facts: text of the system message.
        asked: pairs of a question and its answer.
    """

    facts: str
    asked: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class AskedTokens(SharedTokens):
    """Questions behind the facts that they are about.

    Attributes:
        ends: (N,) the place whose state predicts the first token of each answer.
        answers: tokens of each answer.
    """

    ends: torch.Tensor
    answers: list[list[int]]


def question_group(bank: FactBank, number: int, seed: int) -> QuestionGroup:
    """Compose a clip and questions about it; a function of the arguments alone."""
    rng = random.Random(f"{seed}/questions/{number}")
    language = "zh" if rng.random() < CHINESE else "en"
    facts = draw_clip(bank, language, rng)
    while not facts.people or (facts.still and rng.random() < 0.8):
        facts = draw_clip(bank, language, rng)
    if rng.random() < BARE:
        people = tuple(replace(person, face=()) for person in facts.people)
        facts = replace(facts, people=people, voice=(), words=())
    kinds = [kind for kind in kinds_for(facts) if kind not in ("account", "choice")]
    drawn = [("choice" if rng.random() < CLOSED else rng.choice(kinds)) for _ in range(ASKED)]
    asked = (ask_clip(facts, kind, rng) for kind in drawn)
    return QuestionGroup(facts_text(facts), tuple(dict.fromkeys((each.question, each.answer) for each in asked)))


def question_tokens(engine: Engine, group: QuestionGroup) -> AskedTokens:
    """Encode a group; answers end with the end of a turn."""
    tokenizer, embed = engine.processor.tokenizer, engine.model.get_input_embeddings()
    prompts, answers = [], []
    for question, answer in group.asked:
        turns = [{"role": "system", "content": group.facts}, {"role": "user", "content": question}]
        prompts.append(
            tokenizer.apply_chat_template(
                turns, chat_template=engine.processor.chat_template, add_generation_prompt=True, tokenize=True,
                return_dict=True,
            )["input_ids"]
        )  # fmt: skip
        written = tokenizer(answer, add_special_tokens=False)["input_ids"]
        answers.append([*written, tokenizer.eos_token_id][:LONGEST])
    shortest = min(map(len, prompts))
    shared = next(
        (place for place in range(shortest) if any(row[place] != prompts[0][place] for row in prompts)), shortest - 1
    )
    rows = [torch.tensor(prompt[shared:] + answer[:-1]) for prompt, answer in zip(prompts, answers, strict=True)]
    lengths = torch.tensor([len(row) for row in rows])
    places = shared + torch.arange(int(lengths.max()))
    return AskedTokens(
        embed(torch.tensor(prompts[0][:shared])),
        embed(nn.utils.rnn.pad_sequence(rows, batch_first=True)),
        places.expand(3, len(rows), -1),
        lengths,
        torch.tensor([len(prompt) - shared - 1 for prompt in prompts]),
        answers,
    )
