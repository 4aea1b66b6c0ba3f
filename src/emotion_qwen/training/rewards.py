"""The rewards of the stage `reinforcement`, as a table of functions of answers.

A reward reads all answers of a batch and returns a number for each. Its maker takes the options that the settings of a
run may give, which are its keyword-only parameters. Like kinds of data, a reward may come from a file of the user:
`FILE.py:NAME`.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_qwen.data.rules import content_parts
from emotion_qwen.errors import DataError, SettingsError, TrainingError, unknown_choice
from emotion_qwen.export.reports import ReportFiles
from emotion_qwen.extensions import load_file, split_file
from emotion_qwen.matching.answer import read_label
from emotion_qwen.matching.wheels import read_wheels
from emotion_qwen.matching.word_lists import set_f1, words_of
from emotion_qwen.records import EmotionReport, Sample
from emotion_qwen.taxonomy import LabelSet, chosen_labels, concept_of_word, coordinates, label_set
from emotion_qwen.verify.claims import UNSTORED, facts_of_report
from emotion_qwen.verify.explanations import explanation_of
from emotion_qwen.verify.facts import ClipFacts
from emotion_qwen.verify.ngrams import is_chinese
from emotion_qwen.verify.reflection import Writer
from emotion_qwen.verify.rewards import CLAIMS, WORDS, claims_reward, reflection_rewards, verifier_rewards
from emotion_qwen.verify.tree import steps_tree, tree_overlap
from emotion_qwen.verify.verifier import Verifier, emotion_of

NEUTRAL = 0.1
"""Valence closer to 0 than this counts as neither pleasant nor unpleasant."""
WRITER = "writer"
"""Parameter of a maker whose reward asks the model that is trained."""
_TAGGED = re.compile(r"\s*<think>.*\S.*</think>\s*<answer>.*\S.*</answer>\s*", re.DOTALL)


@dataclass(frozen=True)
class AnsweredSample:
    """A drawn answer, as a reward reads it.

    Attributes:
        sample: the annotated item, whose last message is the reference answer.
        text: of the answer, without special tokens.
        finished: whether it ended by itself.
    """

    sample: Sample
    text: str
    finished: bool = True

    @property
    def taught(self) -> str:
        """The text of the reference answer."""
        return text_of(self.sample.messages[-1]["content"])


Reward = Callable[[Sequence[AnsweredSample]], Sequence[float]]


def text_of(content: Any) -> str:
    """Return the text of a message's content, without its media."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def label_reward(*, labels: str | list[str] = "fer7") -> Reward:
    """Return 1 for an answer that gives the label of the sample, else 0.

    The answer is read like a reply in evaluation (`matching.answer`), so "joyful" is right if "happiness" is expected.

    Args:
        labels: label set of the question, or its labels; a sample may name its own as its label "set".
    """
    default = chosen_labels(labels)

    def reward(answer: AnsweredSample) -> float:
        choices = _choices(answer.sample, default)
        return float(read_label(answer.text, choices).label == _wanted(answer.sample, choices))

    return _each(reward)


def form_reward(*, form: str = "word", labels: str | list[str] = "fer7") -> Reward:
    """Return 1 for an answer in the requested form that ended by itself, else 0.

    Args:
        form: "word": nothing but one of the labels, in the language of the reference answer; "tags": reasoning between
            `<think>` tags, then an answer between `<answer>` tags.
        labels: as for `label_reward`.

    Raises:
        SettingsError: unknown form.
    """
    if form not in ("word", "tags"):
        raise SettingsError(unknown_choice("form", form, ("word", "tags")))
    default = chosen_labels(labels)

    def reward(answer: AnsweredSample) -> float:
        if form == "tags":
            return float(answer.finished and _TAGGED.fullmatch(answer.text) is not None)
        choices = _choices(answer.sample, default)
        languages = [choices.names(language) for language in ("en", "zh")]
        names = next((names for names in languages if answer.taught in names), languages[0] + languages[1])
        return float(answer.finished and answer.text in names)

    return _each(reward)


def polarity_reward(*, labels: str | list[str] = "fer7") -> Reward:
    """Return 1 for an answer whose label is as pleasant, unpleasant or neither as that of the sample, else 0.

    Args:
        labels: as for `label_reward`.

    Raises:
        SettingsError: a label whose valence is unknown.
    """
    default = chosen_labels(labels)
    for label in default.labels:
        _polarity(label)

    def reward(answer: AnsweredSample) -> float:
        choices = _choices(answer.sample, default)
        given = read_label(answer.text, choices).label
        return float(given is not None and _polarity(given) == _polarity(_wanted(answer.sample, choices)))

    return _each(reward)


def wheel_reward(*, wheels: str, alpha: float = 0.1, level: str = "level1") -> Reward:
    """Return the overlap of a list of words with the reference list, minus a penalty for longer lists.

    This is F - alpha max(0, n - m) / m for n given and m reference words, where F is the F1 of their groups, averaged
    over the wheels. Without the penalty, lists grow.

    Args:
        wheels: folder of the wheels; see `matching.wheels`.
        alpha: of the penalty; 0 leaves it out.
        level: "level1" (inner ring) or "level2".

    Raises:
        SettingsError: a penalty below 0, or an unknown level.
        DataError: the folder cannot be read.
    """
    if alpha < 0 or level not in ("level1", "level2"):
        raise SettingsError(f"alpha {alpha} and level {level!r}; expected at least 0, and level1 or level2")
    read = read_wheels(Path(wheels))

    def reward(answer: AnsweredSample) -> float:
        right, given = (words_of(text, lambda word: read.knows(word, level)) for text in (answer.taught, answer.text))
        if not right:
            raise DataError(f"sample {answer.sample.id!r}: the taught answer names no word; expected a list of words")
        overlaps = [set_f1(*(read.groups(words, ring, level) for words in (right, given))) for ring in read.rings]
        return sum(overlaps) / len(overlaps) - length_penalty(len(given), len(right), alpha)

    return _each(reward)


def verify_reward(*, labels: str | list[str] = "fer7", words: int = WORDS, verifier: str = "") -> Reward:
    """Return how clearly the explanation in an answer expresses the label of the sample; see `verify.rewards`.

    An answer without an explanation earns 0.

    Args:
        labels: as for `label_reward`.
        words: number of different words from which an explanation counts in full; with 0, short ones also count in
        full.
        verifier: folder of a verifier; "" uses the shipped one.

    Raises:
        SettingsError: a label that the verifier does not know, such as contempt.
        CheckpointError: the folder contains no verifier.
    """
    default, reader = chosen_labels(labels), Verifier.load(verifier or None)
    for label in default.labels:
        if emotion_of(label) is None:
            raise SettingsError(f"the verifier does not know the label {label!r}; leave out the reward 'verify'")

    def rewards(answers: Sequence[AnsweredSample]) -> list[float]:
        wanted = [_wanted(answer.sample, _choices(answer.sample, default)) for answer in answers]
        return verifier_rewards([explanation_of(answer.text) for answer in answers], wanted, reader, words)

    return rewards


def answer_tree_reward() -> Reward:
    """Return the F1 of the trees in an answer and in the reference answer, both JSON; 0 for anything but a JSON object.

    See `verify.tree`; lists in a text, such as the facial movements of the form "tree", are compared item by item.
    """

    def reward(answer: AnsweredSample) -> float:
        tree, right = _json_object(answer.text), _json_object(answer.taught)
        if right is None:
            raise DataError(f"sample {answer.sample.id!r}: the taught answer is no JSON object, which 'tree' compares")
        return 0.0 if tree is None else tree_overlap(steps_tree(tree), steps_tree(right)).f1

    return _each(reward)


def answer_claims_reward(*, reports: str, claims: int = CLAIMS) -> Reward:
    """Return the share of the claims in an answer that the measurements of the clip confirm; see `verify.rewards`.

    Claims about the voice and about times are left out, because a stored report does not contain enough to check them.
    An answer in a different language from the report earns 0.

    Args:
        reports: file or folder of reports about the clips of the samples, as `analyze --output` writes them.
        claims: number of different claims from which their share counts in full.

    Raises:
        DataError: the reports cannot be read, or there are none.
    """
    measured = _measured(Path(reports))

    def reward(answer: AnsweredSample) -> float:
        facts = next((measured[name] for name in _clip_names(answer.sample) if name in measured), None)
        if facts is None:
            raise DataError(f"sample {answer.sample.id!r}: {reports!r} has no report about its clip; analyze it, too")
        text = explanation_of(answer.text)
        if is_chinese(text) != (facts.language == "zh"):
            return 0.0
        return claims_reward(text, facts, claims, UNSTORED)

    return _each(reward)


def _measured(path: Path) -> dict[str, ClipFacts]:
    """Return the facts of clips by path, and by the name of the file where only one clip has it.

    Raises:
        DataError: the reports cannot be read, or there are none.
    """
    reports = {str(Path(r.source).absolute()): r for r in ReportFiles([path]) if isinstance(r, EmotionReport)}
    if not reports:
        raise DataError(f"{str(path)!r} has no report; expected what `emotion-qwen analyze --output` writes")
    names = Counter(Path(clip).name for clip in reports)
    facts = {clip: facts_of_report(report) for clip, report in reports.items()}
    return facts | {Path(clip).name: value for clip, value in facts.items() if names[Path(clip).name] == 1}


def _clip_names(sample: Sample) -> list[str]:
    """Return the path and the name of every medium of a sample that is a file, paths first."""
    parts = [part for message in sample.messages for part in content_parts(message["content"])]
    media = [part[part["type"]] for part in parts if part["type"] != "text"]
    paths = [Path(medium) for medium in media if isinstance(medium, str)]
    return [*(str(path.absolute()) for path in paths), *(path.name for path in paths)]


def answer_reflection_reward(*, writer: Writer, labels: str | list[str] = "fer7") -> Reward:
    """Return 1 for an answer that the model gives again from the explanation alone, else 0; see `verify.reflection`.

    The model at the current step of the run is asked greedily, without the clip. An answer without an explanation or
    without a label earns 0.

    Args:
        writer: the model that is trained; settings do not give it.
        labels: as for `label_reward`.
    """
    default = chosen_labels(labels)

    def rewards(answers: Sequence[AnsweredSample]) -> list[float]:
        values = [0.0] * len(answers)
        groups: dict[tuple[LabelSet, str], list[int]] = {}
        choices = [_choices(answer.sample, default) for answer in answers]
        texts = [explanation_of(answer.text) for answer in answers]
        for row, text in enumerate(texts):
            groups.setdefault((choices[row], "zh" if is_chinese(text) else "en"), []).append(row)
        for (chosen, language), rows in groups.items():
            given = [read_label(answers[row].text, chosen).label for row in rows]
            kept = reflection_rewards(writer, [texts[row] for row in rows], given, chosen, language)
            for row, value in zip(rows, kept, strict=True):
                values[row] = value
        return values

    return rewards


def length_penalty(given: int, taught: int, alpha: float) -> float:
    """Return alpha max(0, n - m) / m for a list of n words if the reference has m."""
    return alpha * max(0, given - taught) / taught


REWARDS: dict[str, Callable[..., Reward]] = {
    "label": label_reward,
    "form": form_reward,
    "polarity": polarity_reward,
    "wheel": wheel_reward,
    "verify": verify_reward,
    "tree": answer_tree_reward,
    "claims": answer_claims_reward,
    "reflection": answer_reflection_reward,
}
"""Name -> maker. A reward gets all answers of a forward pass together, so that one that asks a model can batch them."""


def reward_maker(name: str) -> Callable[..., Reward]:
    """Return the maker of a reward: a key of `REWARDS`, or `FILE.py:NAME`.

    Raises:
        SettingsError: unknown name, or a file without that function.
    """
    file = split_file(name)
    if file is None:
        if name not in REWARDS:
            raise SettingsError(f"{unknown_choice('reward', name, REWARDS)} Or name a file: FILE.py:NAME")
        return REWARDS[name]
    module = load_file(Path(file[0]), "train")
    if not callable(getattr(module, file[1], None)):
        makers = [key for key, value in vars(module).items() if inspect.isfunction(value) and key[0] != "_"]
        raise SettingsError(f"reward {name!r}: {unknown_choice('function', file[1], makers)}")
    return getattr(module, file[1])


def check_reward(name: str, options: Mapping[str, Any]) -> Callable[..., Reward]:
    """Return the maker of a reward whose options fit.

    Raises:
        SettingsError: unknown name or option, or a missing option.
    """
    maker = reward_maker(name)
    parameters = {key: value for key, value in inspect.signature(maker).parameters.items() if key != WRITER}
    for option in options:
        if option not in parameters:
            raise SettingsError(f"reward {name!r}: {unknown_choice('option', option, parameters)}")
    missing = [key for key, value in parameters.items() if value.default is value.empty and key not in options]
    if missing:
        raise SettingsError(f"reward {name!r} has no {missing[0]}; give it among the options")
    return maker


def make_reward(name: str, options: Mapping[str, Any], writer: Writer | None = None) -> Reward:
    """Make a reward with its options.

    Args:
        name: a key of `REWARDS`, or `FILE.py:NAME`.
        options: from the settings of a run.
        writer: the model that is trained, for makers with a parameter `writer`.

    Raises:
        SettingsError: see `check_reward`, or an option has a wrong value.
        DataError: a file that the reward needs cannot be read.
    """
    maker = check_reward(name, options)
    asks = WRITER in inspect.signature(maker).parameters
    return maker(**options, writer=writer) if asks else maker(**options)


def reward_answers(rewards: Mapping[str, Reward], answers: Sequence[AnsweredSample]) -> dict[str, list[float]]:
    """Return name of a reward -> a number for each answer.

    Raises:
        TrainingError: a reward returns another number of values, or one that is not finite.
        DataError: a sample lacks the data with which a reward compares answers.
    """
    values = {name: [float(value) for value in reward(answers)] for name, reward in rewards.items()}
    for name, given in values.items():
        if len(given) != len(answers):
            raise TrainingError(
                f"reward {name!r} returned {len(given)} values for {len(answers)} answers; return one each"
            )
        for value, answer in zip(given, answers, strict=True):
            if not math.isfinite(value):
                raise TrainingError(
                    f"reward {name!r} is {value} for the answer {answer.text[:60]!r} to sample {answer.sample.id!r}; "
                    "expected a finite number, correct the reward"
                )
    return values


def _each(reward: Callable[[AnsweredSample], float]) -> Reward:
    def rewards(answers: Sequence[AnsweredSample]) -> list[float]:
        return [reward(answer) for answer in answers]

    return rewards


def _choices(sample: Sample, default: LabelSet) -> LabelSet:
    return label_set(sample.labels["set"]) if "set" in sample.labels else default


def _wanted(sample: Sample, choices: LabelSet) -> str:
    """Return the label of a sample as spelt in the set.

    Raises:
        DataError: the sample has no emotion, or one that is not in the set.
    """
    given = sample.labels.get("emotion")
    if given is None:
        raise DataError(f"sample {sample.id!r} has no label 'emotion' to compare answers with; add it, or leave it out")
    same = [label for label in choices.labels if _meaning(label) == _meaning(given)]
    if not same:
        raise DataError(f"sample {sample.id!r}: {unknown_choice('label', given, choices.labels)}")
    return same[0]


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _meaning(label: str) -> str:
    return concept_of_word().get(label.lower(), label.lower())


def _polarity(label: str) -> int:
    """Return 1 for a pleasant label, -1 for an unpleasant one and 0 for one that is neither.

    Raises:
        SettingsError: the label is no known emotion.
    """
    place = coordinates(label)
    if place is None:
        raise SettingsError(f"the valence of label {label!r} is unknown; leave out the reward 'polarity'")
    return 0 if abs(place[0]) < NEUTRAL else (1 if place[0] > 0 else -1)
