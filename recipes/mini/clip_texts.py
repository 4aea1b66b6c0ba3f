"""Questions about a clip and their answers, written from its measured facts, in English and Chinese.

Every answer follows from the facts that the model gets as text (`verify.facts`): who, when, how it changed, why, what
speaks against it. A question that the facts do not answer is refused. Phrasing and language are drawn from the
generator that is passed in.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from emotion_qwen.faces.face_claims import PHRASES as FACE_PHRASES
from emotion_qwen.media.voice_claims import PHRASES as VOICE_PHRASES
from emotion_qwen.questions import LANGUAGES, QUESTIONS
from emotion_qwen.taxonomy import CONCEPTS, concept, feeling_word
from emotion_qwen.verify.facts import ClipFacts, PersonFacts, Shares, Stretch
from recipes.mini.evidence import speaking_against, speaking_for
from recipes.mini.face_texts import CLEAR, FORMS, MOST
from recipes.nano.questions import Exchange

Texts = dict[str, tuple[str, ...]]
NUMBERS = {"en": ("none", "one", "two", "three"), "zh": ("零", "一", "两", "三")}
ASK: dict[str, Texts] = {
    "account": {
        "en": (QUESTIONS["account"]["en"], "Describe the clip.", "What happens with the feelings here, and why?"),
        "zh": (QUESTIONS["account"]["zh"], "描述这个片段。", "这里的感受如何？依据是什么？"),
    },
    "when": {
        "en": ("When does {who} look {word}?", "At what time is {who} {word}?", "From when to when is {who} {word}?",
               "In which part of the clip does {who} look {word}?"),
        "zh": ("{who}什么时候看起来{word}？", "{who}在哪段时间{word}？", "{who}从什么时候到什么时候看起来{word}？"),
    },
    "when_claim": {
        "en": ("When can it be seen that {phrase}?", "From when to when: {phrase}?"),
        "zh": ("什么时候能看到{phrase}？", "“{phrase}”出现在什么时间？"),
    },
    "who": {
        "en": ("Who looks {word}?", "Who is {word}?", "Which person looks {word}?", "Which of the people is {word}?"),
        "zh": ("谁看起来{word}？", "哪个人{word}？", "看起来{word}的是谁？"),
    },
    "change": {
        "en": ("How does {who} change?", "How do the feelings of {who} change?"),
        "zh": ("{who}的情绪如何变化？", "{who}有什么变化？"),
    },
    "direction": {
        "en": ("Do the feelings of {who} become better or worse?", "Does the mood of {who} get better or worse?",
               "Which way does the mood of {who} change?", "Does {who} feel better or worse at the end?"),
        "zh": ("{who}的情绪变好了还是变差了？", "{who}的心情是变好还是变差？", "到最后，{who}的情绪更好还是更差？"),
    },
    "at": {
        "en": ("What does {who} feel at {time:.1f} s?", "How does {who} look at {time:.1f} s?",
               "Which emotion does {who} show at {time:.1f} s?"),
        "zh": ("{time:.1f}秒时{who}的感受是什么？", "{who}在{time:.1f}秒时看起来怎样？",
               "{who}在{time:.1f}秒时表现出什么情感？"),
    },
    "first": {
        "en": ("What comes first, {word} or {other}?", "Is {who} {word} before or after being {other}?",
               "What does {who} show first, {word} or {other}?"),
        "zh": ("先是{word}还是先是{other}？", "{who}先表现出{word}还是{other}？"),
    },
    "why": {
        "en": ("Why {word}?", "What speaks for {noun}?", "Why does {who} look {word}?"),
        "zh": ("为什么说是{word}？", "哪些迹象说明{word}？"),
    },
    "against": {
        "en": ("What speaks against {noun}?", "Is there anything that does not fit {noun}?"),
        "zh": ("有什么迹象与{word}不符？", "哪些地方不支持{word}？"),
    },
    "sure": {"en": ("How sure is it that this is {noun}?", "Could it be something else?"),
             "zh": ("有多确定？", "有没有别的可能？")},
    "count": {"en": ("How many people are seen?", "How many persons are there?"), "zh": ("能看到几个人？",)},
    "voice": {"en": ("How does the voice sound?", "Describe the voice."), "zh": ("声音听起来怎么样？", "描述声音。")},
    "words": {"en": ("What is said?", "What are the words?"), "zh": ("说了什么？", "说的是什么话？")},
    "feel": {
        "en": (QUESTIONS["describe"]["en"], "How does {who} feel?"),
        "zh": (QUESTIONS["describe"]["zh"], "{who}感觉如何？"),
    },
}  # fmt: skip
UNKNOWN = {
    "en": (
        "What is the name of the person?", "How old is the person?", "Where was this filmed?", "Who took the video?",
        "What happened before?", "What will the person do next?", "What is the person thinking about?",
        "Is the person married?", "What is the person's job?", "Why did the person come here?",
        "Is the person lying?", "Which country is the person from?",
    ),
    "zh": (
        "这个人叫什么名字？", "这个人多大年纪？", "这是在哪里拍的？", "视频是谁拍的？", "之前发生了什么？",
        "这个人接下来会做什么？", "这个人在想什么？", "这个人结婚了吗？", "这个人做什么工作？", "这个人在说谎吗？",
    ),
}  # fmt: skip
REFUSE = {
    "en": ("That was not measured and cannot be told from the {clip}.", "The {clip} does not tell that."),
    "zh": ("这一点没有测到，无法从{clip}中判断。", "从{clip}中看不出来。"),
}
SAY: dict[str, Texts] = {
    "nobody": {
        "en": ("Nobody is seen, so nothing can be said about a face.", "No face is seen here."),
        "zh": ("看不到人，因此无法判断面部。", "这里看不到人脸。"),
    },
    "silent": {"en": ("No voice is heard.",), "zh": ("听不到人声。",)},
    "no_face": {
        "en": ("No clear movement of the face was measured.",), "zh": ("没有测到明显的面部动作。",)
    },
    "wordless": {"en": ("No words are known.",), "zh": ("没有已知的话语。",)},
    "never": {"en": ("At no time.", "Never in this {clip}."), "zh": ("没有这样的时间。", "始终没有。")},
    "nobody_is": {"en": ("Nobody.",), "zh": ("没有人。",)},
    "throughout": {"en": ("Throughout.",), "zh": ("自始至终。",)},
    "no_change": {
        "en": ("It stays the same: {word}.", "{Who} is {word} throughout."), "zh": ("没有变化，一直是{word}。",)
    },
    "no_evidence": {
        "en": ("Nothing that was measured speaks clearly for {noun}.",),
        "zh": ("测得的内容都不能明确说明{word}。",),
    },
    "no_counter": {
        "en": ("Nothing that was measured speaks against {noun}.",), "zh": ("测得的内容中没有与{word}不符的。",)
    },
    "same": {"en": ("Neither: it stays {word}.",), "zh": ("都不是，一直是{word}。",)},
    "better": {"en": ("Better: from {word} to {other}.",), "zh": ("变好了：从{word}到{other}。",)},
    "worse": {"en": ("Worse: from {word} to {other}.",), "zh": ("变差了：从{word}到{other}。",)},
    "level": {"en": ("Neither clearly: from {word} to {other}.",), "zh": ("没有明显好坏之分：从{word}到{other}。",)},
}  # fmt: skip
CERTAIN: dict[str, Texts] = {
    "clear": {
        "en": ("Taken together, this is clearly {first_noun}.", "All in all this speaks for {first_noun}.",
               "Together this means {first_noun}; other feelings are unlikely."),
        "zh": ("综合来看，明显是{first}。", "总体上说明{first}。"),
    },
    "likely": {
        "en": ("Most likely this is {first_noun}, perhaps {second_noun}.",
               "This speaks for {first_noun} rather than {second_noun}."),
        "zh": ("很可能是{first}，也可能是{second}。", "这更像{first}，而不是{second}。"),
    },
    "open": {
        "en": ("It is hard to tell: {first} is a little likelier than {second}.",
               "It is not clear; {first} is only a little likelier than {second}."),
        "zh": ("很难断定：{first}比{second}略有可能。",),
    },
}  # fmt: skip


def ask_clip(facts: ClipFacts, kind: str, rng: random.Random) -> Exchange:
    """Write a question of a kind, a key of `KINDS`, about a clip, and its answer."""
    question, answer = KINDS[kind](facts, rng)
    return Exchange(question, answer[:1].upper() + answer[1:], facts.language, kind)


def account(facts: ClipFacts, rng: random.Random) -> str:
    """Describe a clip in two to five sentences: feelings over time, face, voice, words, and what it adds up to."""
    parts: list[str] = []
    for person in facts.people:
        parts.append(_feelings(facts, person, rng))
        movements = choose_claims(person.face, 3 if len(facts.people) == 1 else 2, rng)
        if movements:
            parts.append(_listed(facts, movements, rng))
    parts += [] if facts.people else [say("nobody", facts, rng)]
    if facts.voice:
        parts.append(_listed(facts, choose_claims(facts.voice, 2, rng), rng))
    if facts.words and rng.random() < 0.7:
        form = "The words are “{text}”" if facts.language == "en" else "说的话是“{text}”"
        parts.append(form.format(text=rng.choice(facts.words).text.strip()))
    if facts.likeliest:
        parts.append(_certainty(facts, facts.likeliest, rng))
    return _sentences(parts, facts.language)


def _account(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    return _ask("account", facts, rng), account(facts, rng)


def _when(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    person, word = _someone(facts, rng), ""
    present = [stretch.word for stretch in person.feelings]
    word = rng.choice(present) if rng.random() < 0.8 else _absent(present, facts, rng)
    question = _ask("when", facts, rng, who=_who(person, facts), word=word)
    return question, _times(facts, [s for s in person.feelings if s.word == word], rng)


def _when_claim(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    claims = [stretch for person in facts.people[:1] for stretch in person.face] or list(facts.voice)
    words = {stretch.word for stretch in claims}
    table = FACE_PHRASES if facts.people and facts.people[0].face else VOICE_PHRASES
    word = rng.choice(sorted(words)) if words and rng.random() < 0.8 else rng.choice(sorted(set(table) - words))
    question = _ask("when_claim", facts, rng, phrase=phrase_of(word, facts.language, rng))
    return question, _times(facts, [s for s in claims if s.word == word], rng)


def _who_is(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    words = [stretch.word for person in facts.people for stretch in person.feelings]
    word = rng.choice(words) if words and rng.random() < 0.85 else _absent(words, facts, rng)
    them = [person for person in facts.people if word in [stretch.word for stretch in person.feelings]]
    names = [_who(person, facts, numbered=True) for person in them]
    joined = (" and " if facts.language == "en" else "和").join(names)
    end = "." if facts.language == "en" else "。"
    return _ask("who", facts, rng, word=word), joined + end if names else say("nobody_is", facts, rng)


def _change(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    person = _someone(facts, rng)
    question = _ask("change", facts, rng, who=_who(person, facts))
    if len(person.feelings) < 2:
        return question, say("no_change", facts, rng, word=person.feelings[0].word, who=_who(person, facts))
    return question, _sentences([_feelings(facts, person, rng)], facts.language)


def _direction(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    person = _someone(facts, rng)
    first, last = person.feelings[0].word, person.feelings[-1].word
    question = _ask("direction", facts, rng, who=_who(person, facts))
    if first == last:
        return question, say("same", facts, rng, word=first)
    moved = CONCEPTS[concept(last)].valence - CONCEPTS[concept(first)].valence
    way = "better" if moved > 0.25 else "worse" if moved < -0.25 else "level"
    return question, say(way, facts, rng, word=first, other=last)


def _at(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    person = _someone(facts, rng)
    stretch = rng.choice(person.feelings)
    time = stretch.start + rng.uniform(0.15, 0.85) * (stretch.end - stretch.start)
    question = _ask("at", facts, rng, who=_who(person, facts), time=time)
    words = [word.word for word in _during(person.face, time)]
    answer = [stretch.word, *([_listed(facts, [Stretch(w) for w in words[:2]], rng)] if words else [])]
    return question, _sentences(answer, facts.language)


def _first(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    person = _someone(facts, rng)
    words = list(dict.fromkeys(stretch.word for stretch in person.feelings))
    if len(words) < 2:
        return _change(facts, rng)
    pair = rng.sample(words[:3], 2)
    question = _ask("first", facts, rng, who=_who(person, facts), word=pair[0], other=pair[1])
    earlier = min(pair, key=words.index)
    if "before" in question:
        return question, "Before." if earlier == pair[0] else "After."
    return question, _sentences([earlier], facts.language)


def _why(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    return _evidence(facts, rng, "why", speaking_for, "no_evidence")


def _against(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    return _evidence(facts, rng, "against", speaking_against, "no_counter")


def _evidence(
    facts: ClipFacts, rng: random.Random, kind: str, chosen: Callable[..., list[str]], nothing: str
) -> tuple[str, str]:
    """Ask for the evidence for or against an emotion while it lasts."""
    person = _someone(facts, rng)
    stretch = rng.choice(person.feelings)
    around = facts.during(person.face, stretch.start, stretch.end)
    claims = [*around, *(facts.voice if len(person.feelings) == 1 and len(facts.people) == 1 else ())]
    words = chosen(concept(stretch.word), [claim.word for claim in claims])
    question = _ask(kind, facts, rng, who=_who(person, facts), word=stretch.word)
    if not words:
        return question, say(nothing, facts, rng, word=stretch.word)
    return question, _sentences([_listed(facts, [c for c in claims if c.word in words][:3], rng)], facts.language)


def _sure(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    question = _ask("sure", facts, rng, word=facts.likeliest[0][0])
    return question, _sentences([_certainty(facts, facts.likeliest, rng)], facts.language)


def _count(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    number = NUMBERS[facts.language][len(facts.people)]
    form = {"en": ("{0}.", "{0} in all."), "zh": ("{0}个人。",)}[facts.language]
    answer = rng.choice(form).format(number) if facts.people else say("nobody_is", facts, rng)
    return _ask("count", facts, rng), answer


def _voice(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    question = _ask("voice", facts, rng)
    if not facts.voice:
        return question, say("silent", facts, rng)
    return question, _sentences([_listed(facts, choose_claims(facts.voice, 3, rng), rng)], facts.language)


def _words(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    question = _ask("words", facts, rng)
    if not facts.words:
        return question, say("wordless", facts, rng)
    quoted = " ".join(f"“{utterance.text.strip()}”" for utterance in facts.words)
    return question, quoted


def _unknown(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    clip = {"en": ("clip", "picture"), "zh": ("片段", "图片")}[facts.language][facts.still]
    return rng.choice(UNKNOWN[facts.language]), rng.choice(REFUSE[facts.language]).format(clip=clip)


def _feel(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    if not facts.people:
        return _ask("feel", facts, rng, who=_who(None, facts)), say("nobody", facts, rng)
    person = _someone(facts, rng)
    question = _ask("feel", facts, rng, who=_who(person, facts))
    if len(facts.people) == 1 and len(person.feelings) == 1:  # all channels together decide
        person = replace(person, feelings=(replace(person.feelings[0], word=facts.likeliest[0][0]),))
    return question, _sentences([_feelings(facts, person, rng, short=True)], facts.language)


def _missing(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    """Ask about the feelings of somebody who is not seen."""
    word = rng.choice([feeling_word(name, facts.language) for name in ("happiness", "sadness", "anger", "fear")])
    kind = rng.choice(("when", "why", "feel", "change"))
    return _ask(kind, facts, rng, who=_who(None, facts), word=word), say("nobody", facts, rng)


def _choice(facts: ClipFacts, rng: random.Random) -> tuple[str, str]:
    """Ask one of the other questions with options to choose from."""
    person = _someone(facts, rng)
    words = list(dict.fromkeys(stretch.word for stretch in person.feelings))
    kinds = ["at", "direction", "when", "first"] if not facts.still else ["feel"]
    kind = rng.choice([*kinds, *(["who"] if len(facts.people) > 1 else [])])
    others = [
        w
        for name in ("happiness", "sadness", "anger", "fear", "surprise", "neutral")
        if (w := feeling_word(name, facts.language)) not in words
    ]
    stretch = rng.choice(person.feelings)
    fields: dict[str, object] = {"who": _who(person, facts), "word": stretch.word}
    if kind in ("at", "feel"):
        fields["time"] = stretch.start + rng.uniform(0.2, 0.8) * (stretch.end - stretch.start)
        right, options = stretch.word, [*words, *rng.sample(others, 2)]
    elif kind == "when":
        once = [s for s in person.feelings if sum(other.word == s.word for other in person.feelings) == 1]
        if len(words) < 2 or not once:
            return _at(facts, rng)
        stretch = rng.choice(once)
        fields["word"] = stretch.word
        right, options = _range(stretch, facts.language), [_range(each, facts.language) for each in person.feelings]
    elif kind == "first":
        if len(words) < 2:
            return _at(facts, rng)
        right, options = words[0], words[:2]
        fields["word"], fields["other"] = rng.sample(words[:2], 2)
    elif kind == "direction":
        names = {"en": ("better", "worse", "about the same"), "zh": ("变好", "变差", "差不多")}[facts.language]
        last = CONCEPTS[concept(person.feelings[-1].word)].valence - CONCEPTS[concept(person.feelings[0].word)].valence
        right, options = names[0 if last > 0.25 else 1 if last < -0.25 else 2], list(names)
    else:
        them = [each for each in facts.people if stretch.word in [s.word for s in each.feelings]]
        if len(them) != 1:
            return _at(facts, rng) if not facts.still else _count(facts, rng)
        right = _who(them[0], facts, numbered=True)
        options = [_who(each, facts, numbered=True) for each in facts.people]
    question = _ask(kind, facts, rng, **fields)
    if kind == "first" and "before" in question:
        right, options = ("before" if right == fields["word"] else "after"), ["before", "after"]
    options = list(dict.fromkeys(options))
    rng.shuffle(options)
    offer = {"en": " Choose one: {0}.", "zh": "请选择一个：{0}。"}[facts.language]
    joined = (", " if facts.language == "en" else "、").join(options)
    return question + offer.format(joined), right


KINDS: dict[str, Callable[[ClipFacts, random.Random], tuple[str, str]]] = {
    "account": _account, "when": _when, "when_claim": _when_claim, "who": _who_is, "change": _change,
    "direction": _direction, "at": _at, "first": _first, "why": _why, "against": _against, "sure": _sure,
    "count": _count, "voice": _voice, "words": _words, "unknown": _unknown, "feel": _feel, "missing": _missing,
    "choice": _choice,
}  # fmt: skip
TIMED = ("when", "when_claim", "change", "direction", "at", "first")
"""Kinds that need time."""


def kinds_for(facts: ClipFacts) -> list[str]:
    """Return the kinds of questions that a clip allows."""
    if not facts.people:
        return ["account", "count", "voice", "words", "unknown", "missing", "feel"]
    kinds = [kind for kind in KINDS if kind != "missing" and not (facts.still and kind in TIMED)]
    kinds = [kind for kind in kinds if kind != "feel" or len(facts.people) == 1]
    return [kind for kind in kinds if not (facts.still and kind in ("voice", "words"))]


def _feelings(facts: ClipFacts, person: PersonFacts, rng: random.Random, short: bool = False) -> str:
    """Say what a person feels over time."""
    who, chinese = _who(person, facts), facts.language == "zh"
    words = [stretch.word for stretch in person.feelings]
    if facts.still or len(words) == 1:
        span = person.feelings[0]
        whole = facts.still or short or (span.start <= 0 and span.end >= facts.seconds)
        if chinese:
            return f"{who}看起来{words[0]}" if whole else f"{who}在{_range(span, 'zh')}看起来{words[0]}"
        look = rng.choice(("looks", "seems"))
        return f"{who} {look} {words[0]}" if whole else f"{who} {look} {words[0]} {_range(span, 'en')}"
    if short:
        joint = "，然后" if chinese else ", then "
        return f"{who}先是{joint.join(words)}" if chinese else f"{who} is first {joint.join(words)}"
    if rng.random() < 0.5:
        pieces = [
            f"{_range(s, facts.language)}{s.word}" if chinese else f"{s.word} {_range(s, 'en')}"
            for s in person.feelings
        ]
        return f"{who}在{'，'.join(pieces)}" if chinese else f"{who} looks {_and(pieces)}"
    pieces = [
        f"从{s.start:.1f}秒起{s.word}" if chinese else f"{s.word} from {s.start:.1f} s on" for s in person.feelings[1:]
    ]
    if chinese:
        return f"{who}起初{words[0]}，{'，'.join(pieces)}"
    return f"at first {who} is {words[0]}, then {', then '.join(pieces)}"


def _listed(facts: ClipFacts, claims: Sequence[Stretch], rng: random.Random) -> str:
    """Put claims into one sentence, with times if they are not true throughout."""
    phrases = []
    for claim in claims:
        phrase = phrase_of(claim.word, facts.language, rng)
        timed = not facts.still and claim.end > 0 and not (claim.start <= 0 and claim.end >= facts.seconds)
        if timed:
            time = _range(claim, facts.language)
            phrase = f"{time}{phrase}" if facts.language == "zh" else f"{phrase} {time}"
        phrases.append(phrase)
    return rng.choice(FORMS[facts.language][len(phrases)]).format(*phrases).rstrip(".。")


def plain_list(facts: ClipFacts, claims: Sequence[Stretch], rng: random.Random) -> str:
    """Put claims into one clause without times."""
    joint = "，" if facts.language == "zh" else ", "
    return joint.join(phrase_of(claim.word, facts.language, rng) for claim in claims)


def _certainty(facts: ClipFacts, shares: Shares, rng: random.Random) -> str:
    (first, share), (second, _) = shares[:2]
    kind = "clear" if share >= CLEAR else "likely" if share >= MOST else "open"
    who = _who(None, facts)
    form = rng.choice(CERTAIN[kind][facts.language])
    nouns = {"first_noun": noun(first, facts.language), "second_noun": noun(second, facts.language)}
    return form.format(first=first, second=second, who=who, Who=who[:1].upper() + who[1:], **nouns).rstrip(".。")


def _times(facts: ClipFacts, stretches: Sequence[Stretch], rng: random.Random) -> str:
    if not stretches:
        return say("never", facts, rng)
    if any(s.start <= 0 and s.end >= facts.seconds for s in stretches):
        return say("throughout", facts, rng)
    ranges = [_range(stretch, facts.language) for stretch in stretches]
    return _sentences([_and(ranges) if facts.language == "en" else "和".join(ranges)], facts.language)


def _range(stretch: Stretch, language: str) -> str:
    instant = f"{stretch.start:.1f}" == f"{stretch.end:.1f}"  # seen in one frame only
    if language == "zh":
        return f"{stretch.start:.1f}秒时" if instant else f"{stretch.start:.1f}秒到{stretch.end:.1f}秒"
    return f"at {stretch.start:.1f} s" if instant else f"from {stretch.start:.1f} to {stretch.end:.1f} s"


def phrase_of(word: str, language: str, rng: random.Random) -> str:
    """Draw a phrase for a movement of the face or a quality of the voice."""
    table = FACE_PHRASES if word in FACE_PHRASES else VOICE_PHRASES
    return rng.choice(table[word][LANGUAGES.index(language)])


def _who(person: PersonFacts | None, facts: ClipFacts, numbered: bool = False) -> str:
    """Return the name of a person: by number if several are seen."""
    chinese = facts.language == "zh"
    if person is None or (len(facts.people) == 1 and not numbered):
        return "这个人" if chinese else "the person"
    return f"人物{person.person}" if chinese else f"person {person.person}"


def _someone(facts: ClipFacts, rng: random.Random) -> PersonFacts:
    return rng.choice(facts.people)


def _during(stretches: Sequence[Stretch], time: float) -> list[Stretch]:
    return [stretch for stretch in stretches if stretch.start <= time <= stretch.end]


def choose_claims(stretches: Sequence[Stretch], most: int, rng: random.Random) -> list[Stretch]:
    """Return at most this many sections, in order of time, each word once."""
    unique = list({stretch.word: stretch for stretch in reversed(stretches)}.values())[::-1]
    places = sorted(rng.sample(range(len(unique)), min(len(unique), most)))
    return [unique[place] for place in places]


def _absent(words: Sequence[str], facts: ClipFacts, rng: random.Random) -> str:
    names = ("happiness", "sadness", "anger", "fear", "surprise", "disgust", "neutral")
    return rng.choice([w for name in names if (w := feeling_word(name, facts.language)) not in words])


def _ask(kind: str, facts: ClipFacts, rng: random.Random, **words: object) -> str:
    nouns = {"noun": noun(str(words["word"]), facts.language)} if "word" in words else {}
    return rng.choice(ASK[kind][facts.language]).format(**{"who": _who(None, facts), **words, **nouns})


def say(kind: str, facts: ClipFacts, rng: random.Random, **words: str) -> str:
    """Draw a sentence of `SAY`."""
    clip = {"en": ("clip", "picture"), "zh": ("片段", "图片")}[facts.language][facts.still]
    who = words.get("who", "")
    nouns = {"noun": noun(words["word"], facts.language)} if "word" in words else {}
    return rng.choice(SAY[kind][facts.language]).format(clip=clip, Who=who[:1].upper() + who[1:], **words, **nouns)


def noun(word: str, language: str) -> str:
    """Return the name of a feeling: `happiness` for "happy"; in Chinese, the word itself."""
    name = concept(word)
    return word if language == "zh" else "a neutral mood" if name == "neutral" else name


def _sentences(parts: Sequence[str], language: str) -> str:
    """Join clauses to sentences, each with a capital and a full stop."""
    if language == "zh":
        return "".join(part if part.endswith("。") else part + "。" for part in parts)
    return " ".join(part[:1].upper() + part[1:] + ("" if part.endswith((".", "?", "!")) else ".") for part in parts)


def _and(pieces: Sequence[str]) -> str:
    return pieces[0] if len(pieces) == 1 else f"{', '.join(pieces[:-1])} and {pieces[-1]}"
