"""Reasoning in the forms of `analysis.forms`, written from a clip's measured facts, in English and Chinese.

Every step follows from the facts. Two forms ask for things that are not measured: `triplet`, whose background is
unknown, is not written here, and the reply of `reply` is drawn from a few sentences that fit the emotion.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from emotion_qwen.analysis.forms import MOST_ACTIONS, form_named
from emotion_qwen.analysis.reasoning import Prompt, safe_text
from emotion_qwen.faces.face_claims import PHRASES
from emotion_qwen.questions import LANGUAGES
from emotion_qwen.strings import in_language
from emotion_qwen.taxonomy import CONCEPTS, LabelSet, concept, feeling_word
from emotion_qwen.verify.facts import FACTS, ClipFacts
from recipes.mini.clip_texts import choose_claims, noun, phrase_of, plain_list, say
from recipes.mini.evidence import speaking_against, speaking_for
from recipes.nano.questions import Exchange

SHARES = {"steps": 0.4, "reflect": 0.2, "tree": 0.2, "cause": 0.1, "reply": 0.1}
"""Form -> how often it is drawn where a clip allows it."""
LONGEST_QUOTE = 120
"""Characters of an utterance in a step."""
EXPRESSIONS = {
    "en": ("The face looks {word}.", "Together they make {noun} likely.", "This is how a face looks that is {word}."),
    "zh": ("这张脸看起来很{word}。", "合在一起像是{word}。", "{word}的脸就是这样。"),
}
REACTIONS = {
    "en": "A person would feel {word}; the feeling is {pleasant}, its arousal {arousal}.",
    "zh": "人会感到{word}；这种感受{pleasant}，唤醒度{arousal}。",
}
PLEASANT = {
    "en": ("unpleasant", "neither pleasant nor unpleasant", "pleasant"),
    "zh": ("令人不快", "谈不上愉快或不快", "令人愉快"),
}
AROUSAL = {"en": ("low", "moderate", "high"), "zh": ("低", "中等", "高")}
LINKS = {
    "en": ("Who says this is probably {word}.", "These words speak for {noun}.", "Such words go with {noun}."),
    "zh": ("说这话的人多半很{word}。", "这句话说明{word}。", "这样的话与{word}相符。"),
}
SITUATIONS = {"en": ("Somebody looks {word}.", "The person in front of me is {word}."), "zh": ("有人看起来很{word}。",)}
OTHER = {
    "en": ("The person feels {word}.", "The person feels {word}: {evidence}."),
    "zh": ("对方感到{word}。", "对方感到{word}：{evidence}。"),
}
"""Without and with evidence."""
OWN: dict[str, dict[str, tuple[str, ...]]] = {
    "pleasant": {"en": ("I am glad about it.", "It makes me glad, too."), "zh": ("我也替对方高兴。",)},
    "unpleasant": {"en": ("It touches me.", "I am concerned."), "zh": ("我感到担心。", "我很同情。")},
    "neither": {"en": ("I feel calm about it.",), "zh": ("我心情平静。",)},
}
MANAGING = {
    "en": ("I stay calm and listen.", "I put my own feeling aside and pay attention."),
    "zh": ("我保持冷静，认真倾听。", "我先放下自己的感受。"),
}
INFLUENCE: dict[str, dict[str, tuple[str, ...]]] = {
    "pleasant": {"en": ("Sharing the joy helps.",), "zh": ("一起分享喜悦会有帮助。",)},
    "unpleasant": {"en": ("Being heard and taken seriously helps.",), "zh": ("被倾听、被重视会有帮助。",)},
    "neither": {"en": ("A friendly question helps to go on.",), "zh": ("一个友好的问题有助于继续交谈。",)},
}
REPLIES: dict[str, dict[str, tuple[str, ...]]] = {
    "happiness": {"en": ("That is lovely to see! What made you so happy?", "I am happy for you. Tell me more!"),
                  "zh": ("看到你这么高兴真好！发生了什么好事？", "真为你高兴，快跟我说说！")},
    "sadness": {"en": ("I am sorry that you are sad. Do you want to talk about it?",
                       "That sounds hard. I am here and I listen."),
                "zh": ("看到你难过，我很心疼。想聊聊吗？", "这一定很不容易，我在听。")},
    "anger": {"en": ("I can see that this upsets you. What happened?",
                     "You have a reason to be angry. Tell me about it."),
              "zh": ("看得出来你很生气，发生了什么？", "你生气是有原因的，跟我说说吧。")},
    "fear": {"en": ("You are not alone with this. What worries you most?",
                    "That is frightening. Let us look at it together."),
             "zh": ("你不是一个人。你最担心什么？", "这确实让人害怕，我们一起来看看。")},
    "surprise": {"en": ("You did not expect that, did you? What is it?", "What a surprise! Tell me what happened."),
                 "zh": ("没想到吧？发生了什么？", "真是意外！快说说怎么回事。")},
    "disgust": {"en": ("That must be unpleasant. Shall we leave it?",
                       "I understand that you dislike this. What is it?"),
                "zh": ("这一定让人不舒服，要不要离开？", "我理解你不喜欢这个，是什么呢？")},
    "neutral": {"en": ("How are you doing today?", "What would you like to talk about?"),
                "zh": ("你今天怎么样？", "你想聊点什么？")},
}  # fmt: skip
SMALL = 0.25
"""Valence and arousal below this count as neither."""


def forms_for(facts: ClipFacts) -> list[str]:
    """Return the forms that a clip's facts can fill."""
    if not facts.people or len(facts.likeliest) < 2:
        return []
    possible = {"steps": True, "reflect": True, "tree": bool(facts.people[0].face), "cause": bool(facts.words)}
    possible["reply"] = concept(facts.likeliest[0][0]) in REPLIES
    return [form for form in SHARES if possible[form]]


def draw_form(facts: ClipFacts, rng: random.Random) -> str:
    """Draw one of the forms that a clip's facts can fill; there must be one."""
    forms = forms_for(facts)
    return rng.choices(forms, weights=[SHARES[form] for form in forms])[0]


def think(facts: ClipFacts, form: str, labels: LabelSet, rng: random.Random) -> Exchange:
    """Write the steps of a form, one of `forms_for`.

    Args:
        facts: of a clip with a person.
        form: key of `SHARES`.
        labels: one of which is the clip's likeliest emotion.
        rng: draws phrasings.
    """
    prompt = prompt_for(facts, form, labels)
    emotion = concept(facts.likeliest[0][0])
    written = _WRITERS[form](facts, emotion, rng)
    written["conclusion"] = labels.names(facts.language)[[concept(name) for name in labels.labels].index(emotion)]
    answer = {step.name: written[step.name] for step in prompt.steps}
    return Exchange(prompt.question, json.dumps(answer, ensure_ascii=False), facts.language, form)


def prompt_for(facts: ClipFacts, form: str, labels: LabelSet) -> Prompt:
    """Return the question for the steps of a form, as `analysis.writing` asks a model that reads facts."""
    channels = {"picture": facts.people, "sound": facts.voice, "words": facts.words}
    utterances = tuple(dict.fromkeys(safe_text(each.text) for each in facts.words))
    present = tuple(name for name, has in channels.items() if has)
    return Prompt(form_named(form), present, labels, facts.language, False, utterances)


def _steps(facts: ClipFacts, emotion: str, rng: random.Random) -> dict[str, str]:
    face = plain_list(facts, choose_claims(facts.people[0].face, 3, rng), rng)
    steps = {"seen": face or say("no_face", facts, rng), "meaning": _meaning(facts, emotion, rng)}
    if facts.voice:
        steps["heard"] = plain_list(facts, choose_claims(facts.voice, 2, rng), rng)
    if facts.words:
        steps["said"] = safe_text(facts.words[0].text)[:LONGEST_QUOTE]
    return steps


def _reflect(facts: ClipFacts, emotion: str, rng: random.Random) -> dict[str, str]:
    """The trigger is the spoken words or, without words, the strongest evidence of the emotion."""
    trigger = _evidence(facts, emotion, rng) or say("no_face", facts, rng)
    if facts.words and rng.random() < 0.6:
        quote = safe_text(rng.choice(facts.words).text)[:LONGEST_QUOTE]
        trigger = f"“{quote}”"
    return {"trigger": trigger, "reaction": _reaction(emotion, facts.language)}


def _evidence(facts: ClipFacts, emotion: str, rng: random.Random) -> str:
    """Return the two observations that are the strongest evidence of an emotion, or the first two; "" without any."""
    words = list(dict.fromkeys(claim.word for claim in (*facts.people[0].face, *facts.voice)))
    fitting = speaking_for(emotion, words)[:2] or words[:2]
    joint = "，" if facts.language == "zh" else " and "
    return joint.join(phrase_of(word, facts.language, rng) for word in fitting)


def _reaction(emotion: str, language: str) -> str:
    affect = CONCEPTS[emotion]
    levels = [1 + (value > SMALL) - (value < -SMALL) for value in (affect.valence, affect.arousal)]
    return REACTIONS[language].format(
        word=feeling_word(emotion, language),
        pleasant=PLEASANT[language][levels[0]],
        arousal=AROUSAL[language][levels[1]],
    )


def _tree(facts: ClipFacts, emotion: str, rng: random.Random) -> dict[str, str]:
    words = dict.fromkeys(claim.word for claim in facts.people[0].face)
    phrases = [PHRASES[word][LANGUAGES.index(facts.language)][0] for word in words][:MOST_ACTIONS]
    return {
        "actions": in_language(FACTS, facts.language)["and"].join(phrases),
        "expression": _filled(EXPRESSIONS[facts.language], emotion, facts.language, rng),
    }


def _cause(facts: ClipFacts, emotion: str, rng: random.Random) -> dict[str, str]:
    return {
        "utterance": safe_text(rng.choice(facts.words).text),
        "link": _filled(LINKS[facts.language], emotion, facts.language, rng),
    }


def _reply(facts: ClipFacts, emotion: str, rng: random.Random) -> dict[str, str]:
    valence = CONCEPTS[emotion].valence
    kind = "pleasant" if valence > SMALL else "unpleasant" if valence < -SMALL else "neither"
    language, evidence = facts.language, _evidence(facts, emotion, rng)
    return {
        "situation": facts.context or _filled(SITUATIONS[language], emotion, language, rng),
        "other": OTHER[language][bool(evidence)].format(word=feeling_word(emotion, language), evidence=evidence),
        "own": rng.choice(OWN[kind][language]),
        "managing": rng.choice(MANAGING[language]),
        "influence": rng.choice(INFLUENCE[kind][language]),
        "answer": rng.choice(REPLIES[emotion][language]),
    }


def _filled(forms: tuple[str, ...], emotion: str, language: str, rng: random.Random) -> str:
    word = feeling_word(emotion, language)
    return rng.choice(forms).format(word=word, noun=noun(word, language))


def _meaning(facts: ClipFacts, emotion: str, rng: random.Random) -> str:
    """State which of the observations are evidence for an emotion, and which against it."""
    claims = [*facts.people[0].face, *facts.voice]
    words = list(dict.fromkeys(claim.word for claim in claims))
    chinese, feeling = facts.language == "zh", noun(feeling_word(emotion, facts.language), facts.language)
    parts = []
    for chosen, english, form in (
        (speaking_for, "this speaks for {0}: {1}", "{1}，说明{0}"),
        (speaking_against, "{1}, which does not fit {0}", "{1}，与{0}不符"),
    ):
        fitting = chosen(emotion, words)[:2]
        if fitting:
            listed = ("、" if chinese else " and ").join(phrase_of(word, facts.language, rng) for word in fitting)
            parts.append((form if chinese else english).format(feeling, listed))
    first, second = facts.likeliest[:2]
    parts.append(f"比{second[0]}更像{first[0]}" if chinese else f"{first[0]} is likelier than {second[0]}")
    return ("；" if chinese else "; ").join(parts)


_WRITERS: dict[str, Callable[[ClipFacts, str, random.Random], dict[str, str]]] = {
    "steps": _steps, "reflect": _reflect, "tree": _tree, "cause": _cause, "reply": _reply,
}  # fmt: skip
