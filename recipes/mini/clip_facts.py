"""Artificial clips made of real measurements, with a random sequence of faces, voices and words.

No data set here has several people, times, voices and words together. So clips are composed: every section uses
the measurements of a real face (and, if the clip has sound, of a real voice, and a real sentence) whose annotated
emotion is that of the section. Emotions, movements and the voice therefore occur together as in the data.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emotion_qwen.faces.face_claims import PLAIN, face_claims
from emotion_qwen.media.voice_claims import MEASURED
from emotion_qwen.records import Utterance
from emotion_qwen.taxonomy import concept, feeling_word
from emotion_qwen.verify.facts import ClipFacts, PersonFacts, Shares, Stretch
from recipes.mini.face_texts import FaceFacts, likeliest, mentioned

RELATIVE = ("relative level", "relative pitch", "relative rate")
"""Measurements that compare a section of a voice with the same speaker's usual voice."""
PEOPLE = {0: 0.06, 1: 0.68, 2: 0.2, 3: 0.06}
FEELINGS = {1: 0.35, 2: 0.35, 3: 0.2, 4: 0.1}
"""Number of people, and of emotions of a person, -> share of the clips."""


@dataclass(frozen=True)
class FactBank:
    """Measurements by annotated emotion.

    Attributes:
        faces: emotion -> faces.
        voices: emotion -> words of `voice_claims` of each voice.
        sentences: language -> emotion -> sentences.
    """

    faces: Mapping[str, Sequence[FaceFacts]]
    voices: Mapping[str, Sequence[Sequence[str]]]
    sentences: Mapping[str, Mapping[str, Sequence[str]]]


def draw_clip(bank: FactBank, language: str, rng: random.Random) -> ClipFacts:
    """Compose the facts of a clip, or of a picture in every fourth case."""
    if rng.random() < 0.25:
        return draw_picture(bank, language, rng)
    seconds = round(2 * 30 ** rng.random(), 1)
    count = rng.choices(list(PEOPLE), weights=list(PEOPLE.values()))[0]
    people = tuple(_person(number + 1, bank, seconds, language, rng) for number in range(count))
    emotions = [emotion for _, emotion in people] or [rng.choice(list(bank.faces))]
    facts = ClipFacts(language, seconds, tuple(person for person, _ in people))
    pairs = [person.likeliest for person, _ in people]
    heard = rng.choice(emotions) if rng.random() < 0.8 else rng.choice(list(bank.faces))
    if rng.random() < (0.6 if people else 0.85):
        facts = _spoken(facts, heard, bank, rng)
        if not pairs or heard not in emotions:  # the voice decides alone, or against the face
            pairs.insert(
                0, _drawn_shares(heard, [concept(name) for name, _ in pairs[0]] if pairs else [], language, rng)
            )
    return replace(facts, likeliest=pairs[0] if pairs else ())


def _drawn_shares(emotion: str, others: list[str], language: str, rng: random.Random) -> Shares:
    """Return shares for an emotion and the likeliest other, drawn."""
    other = next((name for name in others if name != emotion), "neutral" if emotion != "neutral" else "sadness")
    share = rng.uniform(0.4, 0.95)
    pair = ((emotion, share), (other, rng.uniform(0.2, 0.9) * min(share, 1 - share)))
    return tuple((feeling_word(name, language), part) for name, part in pair)


def draw_picture(bank: FactBank, language: str, rng: random.Random, face: FaceFacts | None = None) -> ClipFacts:
    """Compose the facts of a picture with one face (or that face), rarely with two or none."""
    if face is None and rng.random() < 0.06:
        return ClipFacts(language, 0.0)
    faces = [face or _face(bank, rng.choice(list(bank.faces)), rng)]
    if face is None and rng.random() < 0.15:
        faces.append(_face(bank, rng.choice(list(bank.faces)), rng))
    people = []
    for number, each in enumerate(faces):
        pair = shares_of(each, language)
        movements = tuple(Stretch(word) for word in _movements(each, rng))
        people.append(PersonFacts(number + 1, (Stretch(pair[0][0]),), pair, movements))
    return ClipFacts(language, 0.0, tuple(people), likeliest=people[0].likeliest)


def shares_of(face: FaceFacts, language: str) -> Shares:
    """Return a face's two likeliest emotions, as adjectives, with their shares of the votes."""
    names = likeliest(face.votes)
    return tuple((feeling_word(name, language), face.votes[name]) for name in names)


def _face(bank: FactBank, emotion: str, rng: random.Random) -> FaceFacts:
    return rng.choice(bank.faces[emotion])


BRIEF = 0.12
"""Share of movements that are seen in one frame only, as in clips of which few frames are read."""


def _movements(face: FaceFacts, rng: random.Random, most: int = 4) -> list[str]:
    """Return the facts about a face: usually the clearest claims, and seldom words that are true of most faces."""
    words = [claim.word for claim in mentioned(face_claims(face.values), rng, most)]
    return [word for word in words if word not in PLAIN or rng.random() < 0.3]


def _person(number: int, bank: FactBank, seconds: float, language: str, rng: random.Random) -> tuple[PersonFacts, str]:
    """Draw a person: emotions over time, and movements of a real face within each."""
    start = 0.0 if rng.random() < 0.7 else rng.uniform(0, 0.5) * seconds
    end = seconds if rng.random() < 0.7 else start + rng.uniform(0.4, 1.0) * (seconds - start)
    count = rng.choices(list(FEELINGS), weights=list(FEELINGS.values()))[0] if end - start > 3 else 1
    edges = [start, *sorted(start + (end - start) * (n + rng.uniform(-0.3, 0.3)) / count for n in range(1, count)), end]
    emotions: list[str] = []
    for _ in range(count):
        emotions.append(rng.choice([emotion for emotion in bank.faces if emotions[-1:] != [emotion]]))
    feelings, movements, shown = [], [], []
    for emotion, first, last in zip(emotions, edges, edges[1:], strict=False):
        face = _face(bank, emotion, rng)
        shown.append((last - first, face, emotion))
        feelings.append(Stretch(feeling_word(emotion, language), round(first, 1), round(last, 1)))
        for word in _movements(face, rng, most=3):
            begin = first + rng.choice((0.0, 0.1, 0.3)) * (last - first)
            stop = last - rng.choice((0.0, 0.0, 0.2)) * (last - first)
            stop = begin if rng.random() < BRIEF else stop
            movements.append(Stretch(word, round(begin, 1), round(stop, 1)))
    _, face, emotion = max(shown, key=lambda each: each[0])
    votes = dict(face.votes)
    if likeliest(votes)[0] != emotion:  # a face on which people disagree
        votes[emotion] = max(votes.values()) + 0.1
    pair = shares_of(replace(face, votes=votes), language)
    return PersonFacts(number, tuple(feelings), pair, tuple(_joined(movements))), emotion


def _joined(movements: Sequence[Stretch]) -> list[Stretch]:
    """Join sections with the same word that follow each other closely, in order of time."""
    joined: list[Stretch] = []
    for movement in sorted(movements, key=lambda each: (each.start, each.end)):
        same = [place for place, each in enumerate(joined) if each.word == movement.word]
        if same and movement.start - joined[same[-1]].end < 0.5:
            joined[same[-1]] = replace(joined[same[-1]], end=max(joined[same[-1]].end, movement.end))
        else:
            joined.append(movement)
    return joined


def _spoken(facts: ClipFacts, emotion: str, bank: FactBank, rng: random.Random) -> ClipFacts:
    """Add a voice, sometimes with a change within the clip, and words."""
    heard = rng.choice(bank.voices.get(emotion) or bank.voices["neutral"])
    words = [word for word in heard if MEASURED[word] not in RELATIVE]
    changes = [word for word in heard if MEASURED[word] in RELATIVE and "usual" not in word]
    chosen = rng.sample(words, min(len(words), rng.choice((1, 2, 2, 3))))
    voice = [Stretch(word, 0.0, facts.seconds) for word in words if word in chosen]
    if changes and facts.seconds > 4:
        start = rng.uniform(0, 0.6) * facts.seconds
        end = start + rng.uniform(0.15, 0.4) * facts.seconds
        voice.append(Stretch(rng.choice(changes), round(start, 1), round(end, 1)))
    said: list[Utterance] = []
    sentences = bank.sentences[facts.language].get(emotion) or bank.sentences[facts.language]["neutral"]
    if rng.random() < 0.6:
        times = sorted(rng.uniform(0, 0.8) * facts.seconds for _ in range(rng.choice((1, 1, 2))))
        said = [Utterance(round(time, 1), round(time + 1, 1), rng.choice(sentences)) for time in times]
    return replace(facts, voice=tuple(voice), words=tuple(said))
