"""Emotion words: the label sets of the field, and the concepts behind them.

One benchmark writes `happy`, another `joy`; both mean the concept `happiness`. `LABEL_SETS` contains the labels exactly
as the benchmarks write them, `CONCEPTS` the words for each concept in English and Chinese. Related concepts are not
translated into each other: `worried` is not a label of a set that has only `fear`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from emotion_qwen.errors import SettingsError, unknown_choice


@dataclass(frozen=True)
class LabelSet:
    """A closed set of emotion labels.

    Attributes:
        name: its name in settings and commands.
        labels: English names, spelled and ordered as `source` does.
        chinese: Chinese names in the same order.
        source: the publication that the set comes from.
    """

    name: str
    labels: tuple[str, ...]
    chinese: tuple[str, ...]
    source: str

    def names(self, language: str) -> tuple[str, ...]:
        """Return the names in "en" or "zh".

        Raises:
            SettingsError: another language.
        """
        if language not in ("en", "zh"):
            raise SettingsError(unknown_choice("language", language, ("en", "zh")))
        return self.labels if language == "en" else self.chinese


@dataclass(frozen=True)
class Concept:
    """An emotion, whatever a benchmark calls it.

    Attributes:
        name: canonical English noun.
        english: nouns, adjectives and adverbs that mean it, lower case.
        chinese: words that mean it, simplified characters.
        valence: unpleasant -1 to pleasant 1.
        arousal: asleep -1 to excited 1.
        dominance: helpless -1 to in control 1.
        broader: concept as which it counts if a label set has no label for it; empty for none.
    """

    name: str
    english: tuple[str, ...]
    chinese: tuple[str, ...]
    valence: float
    arousal: float
    dominance: float
    broader: str = ""


def _labels(name: str, english: str, chinese: str, source: str) -> LabelSet:
    return LabelSet(name, tuple(english.split()), tuple(chinese.split()), source)


def _concept(name: str, vad: tuple[float, float, float], english: str, chinese: str, broader: str = "") -> Concept:
    return Concept(name, tuple(english.split(", ")), tuple(chinese.split()), *vad, broader)


_SETS = (
    _labels(
        "dfew7",
        "happy sad neutral angry surprise disgust fear",
        "高兴 悲伤 中性 愤怒 惊讶 厌恶 恐惧",
        "DFEW, Jiang et al., ACM Multimedia 2020",
    ),
    _labels(
        "mer6",
        "neutral angry happy sad worried surprise",
        "中性 愤怒 高兴 悲伤 担忧 惊讶",
        "MER2023 and MER2024 challenges, Lian et al.",
    ),
    _labels(
        "fer7",
        "anger disgust fear happiness neutral sadness surprise",
        "愤怒 厌恶 恐惧 高兴 中性 悲伤 惊讶",
        "FER2013, Goodfellow et al., ICONIP 2013",
    ),
    _labels(
        "ferplus8",
        "neutral happiness surprise sadness anger disgust fear contempt",
        "中性 高兴 惊讶 悲伤 愤怒 厌恶 恐惧 轻蔑",
        "FER+, Barsoum et al., ICMI 2016",
    ),
    _labels(
        "ekman",
        "anger disgust fear joy neutral sadness surprise",
        "愤怒 厌恶 恐惧 喜悦 中性 悲伤 惊讶",
        "Ekman 1992, names as in GoEmotions' grouping, Demszky et al., ACL 2020",
    ),
    _labels(
        "emodb7",
        "anger boredom disgust fear happiness neutral sadness",
        "愤怒 无聊 厌恶 恐惧 高兴 中性 悲伤",
        "EmoDB, Burkhardt et al., Interspeech 2005",
    ),
    _labels(
        "mikels8",
        "amusement anger awe contentment disgust excitement fear sadness",
        "逗乐 愤怒 敬畏 满足 厌恶 兴奋 恐惧 悲伤",
        "Mikels et al., Behavior Research Methods 2005; pictures of You et al., AAAI 2016",
    ),
    _labels(
        "mafw11",
        "anger disgust fear happiness neutral sadness surprise contempt anxiety helplessness disappointment",
        "愤怒 厌恶 恐惧 高兴 中性 悲伤 惊讶 轻蔑 焦虑 无助 失望",
        "MAFW, Liu et al., ACM Multimedia 2022",
    ),
    _labels(
        "ravdess8",
        "neutral calm happy sad angry fearful disgust surprised",
        "中性 平静 高兴 悲伤 愤怒 恐惧 厌恶 惊讶",
        "RAVDESS, Livingstone and Russo, PLOS ONE 2018",
    ),
    _labels(
        "goemotions28",
        "admiration amusement anger annoyance approval caring confusion curiosity desire disappointment disapproval "
        "disgust embarrassment excitement fear gratitude grief joy love nervousness optimism pride realization relief "
        "remorse sadness surprise neutral",
        "钦佩 逗乐 愤怒 烦躁 赞同 关怀 困惑 好奇 渴望 失望 反对 厌恶 尴尬 兴奋 恐惧 感激 哀痛 喜悦 喜爱 紧张 乐观 自豪 "
        "领悟 释然 懊悔 悲伤 惊讶 中性",
        "GoEmotions, Demszky et al., ACL 2020",
    ),
)
LABEL_SETS: dict[str, LabelSet] = {labels.name: labels for labels in _SETS}

COORDINATES_SOURCE = (
    "valence and arousal placed after the circumplex of Russell 1980, dominance by our own judgement; "
    "our own reading, not measured, to be replaced by a cited lexicon"
)
# An alias belongs to one concept only (checked by a test), so that no reply has two readings by table alone.
_CONCEPTS = (
    _concept(
        "happiness",
        (0.9, 0.4, 0.4),
        "happy, happier, happiest, happiness, happily, joy, joyful, joyfully, joyous, glad, gladness, gladly, "
        "cheerful, cheerfully, cheerfulness, delighted, delight, delightedly, pleased, elated, elation, ecstatic, "
        "overjoyed, bliss, jubilant, blissful, gleeful, gleefully, glee, merry, merriment, jolly, jovial, cheery, "
        "euphoric, euphoria, exultant, exuberant, jubilation, rapturous, over the moon, on cloud nine, "
        "in high spirits, tickled pink",
        "高兴 开心 快乐 幸福 喜悦 愉快 愉悦 欢乐 欢喜 欣喜 快活 欢快 喜气洋洋 兴高采烈 高高兴兴 开开心心 快快乐乐 "
        "欢呼雀跃 欣喜若狂 喜出望外 眉开眼笑 笑逐颜开 心花怒放 乐呵呵 乐开了花 美滋滋 欢欣 雀跃 欢畅 喜极而泣",
    ),
    _concept(
        "sadness",
        (-0.8, -0.4, -0.5),
        "sad, sadder, saddest, sadness, sadly, saddens, saddened, sorrow, sorrowful, sorrowfully, unhappy, "
        "unhappiness, unhappily, depressed, depression, melancholy, melancholic, gloomy, gloom, miserable, misery, "
        "heartbroken, dejected, despondent, downcast, glum, glumly, crestfallen, forlorn, doleful, woeful, "
        "woebegone, dispirited, disheartened, heavy-hearted, broken-hearted, brokenhearted, heartache, "
        "inconsolable, low-spirited, in low spirits, down in the dumps, sorrowing",
        "悲伤 伤心 难过 悲痛 悲哀 忧伤 哀伤 沮丧 忧郁 抑郁 心碎 伤感 低落 难受 忧愁 心酸 哀愁 愁苦 黯然 垂头丧气 "
        "郁郁寡欢 消沉 悲凉 痛心 悲切 凄凉",
    ),
    _concept(
        "neutral",
        (0.0, -0.2, 0.0),
        "neutral, neutrality, neutrally, expressionless, emotionless, unemotional, impassive, deadpan, no emotion, "
        "no emotions, no strong emotion, no particular emotion, no clear emotion, no specific emotion, "
        "no visible emotion, no obvious emotion, lack of emotion, without emotion, without any emotion, "
        "poker-faced, poker face, stone-faced, straight-faced, devoid of emotion, void of emotion, no expression, "
        "without expression, blank expression, no discernible emotion, no apparent emotion, no noticeable emotion, "
        "no significant emotion, no strong emotions, no strong feelings, no particular emotions, "
        "no distinct emotion, lacks emotion, absence of emotion",
        "中性 中立 面无表情 没有任何表情 毫无表情 没有表情 无表情 没有情绪 无情绪 没有明显情绪 没有明显的情绪 "
        "无明显情绪 没有特别的情绪 没有任何情绪 没什么表情 没有什么表情 不带表情 无明显表情 没有明显表情 "
        "没有明显的表情 没什么情绪 毫无情绪 不带情绪 无特别情绪 没有特别情绪",
    ),
    _concept(
        "anger",
        (-0.7, 0.8, 0.4),
        "anger, angers, angry, angrier, angriest, angrily, angered, furious, furiously, fury, rage, enraged, "
        "infuriated, infuriates, irate, mad, livid, outraged, outrage, wrath, wrathful, indignant, indignation, "
        "pissed off, pissed, ticked off, fuming, seething, incensed, irately, raging, ire, hopping mad, "
        "hot under the collar, up in arms, seeing red",
        "愤怒 生气 气愤 恼怒 恼火 发怒 暴怒 发火 怒气 怒火 愤慨 怒不可遏 大怒 大发雷霆 火冒三丈 气得 气坏 气炸 "
        "气急败坏 愤恨 愤愤不平 愤然 火大 动怒 生闷气 暴跳如雷 恼羞成怒 愠怒 盛怒 震怒 激怒",
    ),
    _concept(
        "surprise",
        (0.2, 0.8, -0.2),
        "surprise, surprised, surprises, surprising, surprisedly, astonished, astonishment, amazed, amazement, "
        "shocked, shock, startled, stunned, taken aback, astounded, gobsmacked, flabbergasted, dumbfounded, "
        "dumbstruck, thunderstruck, stupefied, startle, startles, startling, astonish, caught off guard",
        "惊讶 吃惊 大吃一惊 目瞪口呆 惊奇 诧异 震惊 惊愕 惊喜 意外 讶异 错愕 惊得 惊呆 惊到 惊诧 惊异 愕然 "
        "瞠目结舌 吃了一惊 大感意外",
    ),
    _concept(
        "disgust",
        (-0.7, 0.3, 0.1),
        "disgust, disgusts, disgusted, disgusting, disgustedly, revulsion, revolted, repulsed, repulsion, "
        "nauseated, loathing, aversion, grossed out, repelled, sickened, revolting, repulsive, repugnance, "
        "repugnant, abhorrence, distaste",
        "厌恶 恶心 反感 嫌恶 憎恶 嫌弃 作呕 讨厌 反胃 厌弃 憎厌",
    ),
    _concept(
        "fear",
        (-0.7, 0.7, -0.7),
        "fear, fears, fearful, fearfully, fearfulness, afraid, scared, scares, scary, frightened, frightens, "
        "fright, frightening, terrified, terrifying, terror, horrified, horror, panic, panicked, panicking, dread, "
        "petrified, spooked, freaked out, panic-stricken, terror-stricken, horror-struck, scare, frighten, "
        "terrify, terrifies, timorous",
        "恐惧 害怕 惧怕 惊恐 恐慌 惊慌 畏惧 惊吓 胆怯 吓得 魂飞魄散 毛骨悚然 吓坏 吓傻 吓呆 吓哭 惊骇 骇然 惶恐 "
        "胆战心惊 心惊胆战 心惊肉跳 战战兢兢 惊魂未定 大惊失色 不寒而栗",
    ),
    _concept(
        "worry",
        (-0.5, 0.4, -0.4),
        "worry, worried, worries, worrying, worriedly, anxious, anxiously, anxiety, concerned, uneasy, uneasiness, "
        "apprehensive, apprehension, fretful",
        "担忧 担心 忧虑 焦虑 不安 忧心 发愁 焦急 着急 忧心忡忡",
    ),
    _concept(
        "calm",
        (0.3, -0.6, 0.3),
        "calm, calmly, calmness, composed, composure",
        "平静 冷静 淡定 平和 镇定",
        broader="neutral",
    ),
    _concept(
        "contempt",
        (-0.6, 0.2, 0.5),
        "contempt, contemptuous, contemptuously, scorn, scornful, scornfully, disdain, disdainful, derision, derisive",
        "轻蔑 蔑视 鄙视 鄙夷 不屑 藐视 瞧不起 看不起",
    ),
    _concept(
        "helplessness",
        (-0.7, -0.2, -0.8),
        "helplessness, helpless, helplessly, powerless",
        "无助 无奈 无力感 无能为力",
    ),
    _concept("amusement", (0.7, 0.4, 0.3), "amusement, amused, amusing, amusedly", "逗乐 好笑 有趣 滑稽 搞笑 娱乐"),
    _concept("boredom", (-0.4, -0.7, -0.3), "boredom, bored, boring, boredly, wearied", "无聊 厌倦 乏味 百无聊赖"),
    _concept("awe", (0.5, 0.5, -0.4), "awe, awed, awestruck, awe-struck", "敬畏 震撼 惊叹 赞叹"),
    _concept(
        "contentment",
        (0.7, -0.5, 0.4),
        # Bare "content" is left out: in replies about pictures, it mostly means the content of the picture.
        "contentment, contented, contentedly, satisfied, satisfaction, is content, feels content, feeling content, "
        "looks content, seems content",
        "满足 满意 知足 惬意 心满意足",
    ),
    _concept(
        "excitement",
        (0.7, 0.9, 0.3),
        "excitement, excited, excitedly, exciting, thrilled, exhilarated, exhilaration",
        "兴奋 激动 亢奋 振奋",
    ),
    _concept("admiration", (0.6, 0.3, -0.1), "admiration, admiring, admiringly", "钦佩 敬佩 佩服 崇拜 仰慕"),
    _concept(
        "annoyance",
        (-0.5, 0.4, 0.1),
        "annoyance, annoyed, annoying, irritated, irritation, frustrated, frustration",
        "烦躁 烦恼 厌烦 恼人 不耐烦 不满 心烦",
    ),
    _concept("approval", (0.5, 0.0, 0.3), "approval, approving, approvingly", "赞同 认可 赞成"),
    _concept("caring", (0.6, -0.1, 0.2), "caring, compassion, compassionate", "关怀 关爱 体贴"),
    _concept("confusion", (-0.3, 0.2, -0.4), "confusion, confused, puzzled, bewildered, perplexed", "困惑 疑惑 迷茫"),
    _concept("curiosity", (0.3, 0.4, 0.1), "curiosity, curious, curiously", "好奇"),
    _concept("desire", (0.4, 0.5, 0.1), "desire, desiring, longing, craving", "渴望 渴求 向往"),
    _concept("disappointment", (-0.6, -0.3, -0.3), "disappointment, disappointed, disappointing", "失望 失落"),
    _concept("disapproval", (-0.5, 0.2, 0.3), "disapproval, disapproving, disapprovingly", "反对 不赞成 不认可"),
    _concept("embarrassment", (-0.5, 0.4, -0.6), "embarrassment, embarrassed, ashamed, shame", "尴尬 难堪 羞愧 害羞"),
    _concept("gratitude", (0.7, 0.1, -0.1), "gratitude, grateful, gratefully, thankful", "感激 感恩 感谢"),
    _concept(
        "grief",
        (-0.9, 0.0, -0.7),
        "grief, grieving, mourning, mournful, bereaved, grief-stricken, heartrending",
        "哀痛 哀悼 悲恸",
        broader="sadness",
    ),
    _concept("love", (0.9, 0.3, 0.1), "love, loving, lovingly, affection, affectionate", "喜爱 爱意 爱慕 深情"),
    _concept("nervousness", (-0.4, 0.6, -0.5), "nervousness, nervous, nervously, tense, tension", "紧张 忐忑 局促"),
    _concept("optimism", (0.6, 0.2, 0.4), "optimism, optimistic, hopeful, hopefulness", "乐观 充满希望"),
    _concept("pride", (0.7, 0.3, 0.7), "pride, proud, proudly", "自豪 骄傲"),
    _concept("realization", (0.1, 0.3, 0.2), "realization, realisation, epiphany", "领悟 恍然大悟 醒悟"),
    _concept("relief", (0.6, -0.4, 0.2), "relief, relieved", "释然 如释重负 欣慰 松了一口气"),
    _concept(
        "remorse", (-0.6, 0.1, -0.4), "remorse, remorseful, regret, regretful, guilt, guilty", "懊悔 后悔 悔恨 内疚"
    ),
)
CONCEPTS: dict[str, Concept] = {concept.name: concept for concept in _CONCEPTS}


PICTOGRAPHS: dict[str, str] = {
    sign: name
    for name, signs in (
        ("happiness", "😀😃😄😁😆😊🙂😍🥰😂🤣😺☺😸"),
        ("sadness", "😢😭😞😔🙁☹😿😥"),
        ("neutral", "😐😑😶"),
        ("anger", "😡😠🤬💢👿"),
        ("surprise", "😲😮😯🤯"),
        ("disgust", "🤢🤮"),
        ("fear", "😱😨😰"),
        ("worry", "😟"),
        ("calm", "😌"),
        ("boredom", "🥱"),
        ("confusion", "😕"),
        ("embarrassment", "😳"),
    )
    for sign in signs
}
"""Pictographs of faces, each with the concept given by its Unicode name or usual use."""


def label_set(name: str) -> LabelSet:
    """Return the label set of that name.

    Raises:
        SettingsError: no such set; the message lists all and names the nearest.
    """
    if name not in LABEL_SETS:
        raise SettingsError(unknown_choice("label set", name, LABEL_SETS))
    return LABEL_SETS[name]


OWN = "given by the user"
"""Source of a label set that was made of a user's own labels; no model was trained on it."""
_SEPARATORS = re.compile("[,，、]")
_MOST_LABELS, _LONGEST_LABEL = 50, 40


def chosen_labels(labels: str | Sequence[str]) -> LabelSet:
    """Return a label set by its name, or one that is made of a user's own labels.

    Args:
        labels: name of a label set, or at least two labels, as a sequence or separated by commas; of one to 40 letters,
            digits, spaces, hyphens and apostrophes, in any script. They are the same in English and Chinese.

    Raises:
        SettingsError: no such set, or the labels are fewer than two or more than 50, or one of them is empty, too long,
            repeated, or has other characters.
    """
    if isinstance(labels, str) and not _SEPARATORS.search(labels):
        if labels not in LABEL_SETS:
            raise SettingsError(
                f"{unknown_choice('label set', labels, LABEL_SETS)} Separate labels of your own by commas."
            )
        return LABEL_SETS[labels]
    given = _SEPARATORS.split(labels) if isinstance(labels, str) else labels
    names = tuple(" ".join(unicodedata.normalize("NFC", label).split()) for label in given)
    for number, name in enumerate(names, 1):
        others = [letter for letter in name if letter not in " -'’" and unicodedata.category(letter)[0] not in "LMN"]
        if not name:
            raise SettingsError(f"label {number} of {len(names)} is empty; expected a word, remove the extra comma")
        if others:
            raise SettingsError(
                f"label {name!r} has the character {others[0]!r}; expected letters, digits, spaces, hyphens and "
                "apostrophes"
            )
        if len(name) > _LONGEST_LABEL:
            raise SettingsError(
                f"label {name!r} has {len(name)} characters; expected at most {_LONGEST_LABEL}, shorten it"
            )
        if name.casefold() in [other.casefold() for other in names[: number - 1]]:
            raise SettingsError(f"label {name!r} is there twice; expected different labels, remove one of them")
    if not 2 <= len(names) <= _MOST_LABELS:
        count = "one label" if len(names) == 1 else f"{len(names)} labels"
        raise SettingsError(f"{count} given; expected 2 to {_MOST_LABELS} to choose from, separated by commas")
    return LabelSet(",".join(names), names, names, OWN)


ADJECTIVES = {
    "happiness": "happy", "sadness": "sad", "anger": "angry", "surprise": "surprised", "disgust": "disgusted",
    "fear": "afraid", "contempt": "contemptuous", "boredom": "bored", "worry": "worried", "anxiety": "anxious",
    "helplessness": "helpless", "disappointment": "disappointed", "amusement": "amused", "contentment": "content",
    "excitement": "excited", "awe": "awed",
}  # fmt: skip
"""Concept -> the English adjective for a person who feels it, where the concept's name is a noun."""


def feeling_word(label: str, language: str) -> str:
    """Return a label as an adjective for a person who feels it: `anger` and `angry` are "angry" in English.

    In Chinese, and where no adjective is known, this is the first name of the concept. A label that is in no label set
    is returned unchanged, because a user's own label is used as given.
    """
    if label not in _labels_of_sets():
        return label
    name = concept(label)
    return CONCEPTS[name].chinese[0] if language == "zh" else ADJECTIVES.get(name, name)


def concept(label: str) -> str:
    """Return the name of the concept behind a label or alias: `happy`, `joy` and `开心` are "happiness".

    Raises:
        SettingsError: no concept has that word.
    """
    word = label.strip().lower()
    name = concept_of_word().get(word)
    if name is None:
        raise SettingsError(unknown_choice("emotion word", label, CONCEPTS))
    return name


@cache
def _labels_of_sets() -> frozenset[str]:
    return frozenset((*CONCEPTS, *(name for labels in _SETS for name in (*labels.labels, *labels.chinese))))


@cache
def concept_of_word() -> dict[str, str]:
    """Return the table from every name and alias, lower case, to the name of its concept."""
    return {word: c.name for c in _CONCEPTS for word in (c.name, *c.english, *c.chinese)}


def coordinates(label: str) -> tuple[float, float] | None:
    """Return valence and arousal of a label, each -1..1; None if it is no known emotion."""
    name = concept_of_word().get(label.strip().lower())
    return None if name is None else (CONCEPTS[name].valence, CONCEPTS[name].arousal)


def valence_arousal(distribution: Mapping[str, float]) -> tuple[float, float] | None:
    """Return the expected valence and arousal, each -1..1, of a distribution; see `COORDINATES_SOURCE`.

    Returns:
        None if a label is no known emotion.
    """
    places = {label: coordinates(label) for label in distribution}
    weighted = [(place, distribution[label]) for label, place in places.items() if place is not None]
    if len(weighted) < len(distribution):
        return None
    total = sum(share for _, share in weighted) or 1.0
    valence, arousal = (sum(place[axis] * share for place, share in weighted) for axis in (0, 1))
    return valence / total, arousal / total
