"""Emotion words: the label sets of the field, the concepts behind them, and the one matcher from free text to a label.

A benchmark writes `happy`, another `joy`; both mean the concept `happiness`. `LABEL_SETS` holds the labels exactly as
the benchmarks write them, `CONCEPTS` the words by which people name each concept in English and Chinese. `match_label`
is the only place where a reply becomes a label: it hears negation and refuses to choose between two labels. It does not
translate near concepts into each other: `worried` is no label of a set that has only `fear`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from emotion_qwen.errors import SettingsError, unknown_choice


@dataclass(frozen=True)
class LabelSet:
    """A closed set of emotion labels.

    Attributes:
        name: how settings and commands call it.
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
        _check_language(language)
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
    """

    name: str
    english: tuple[str, ...]
    chinese: tuple[str, ...]
    valence: float
    arousal: float
    dominance: float


def _labels(name: str, english: str, chinese: str, source: str) -> LabelSet:
    return LabelSet(name, tuple(english.split()), tuple(chinese.split()), source)


def _concept(name: str, vad: tuple[float, float, float], english: str, chinese: str) -> Concept:
    return Concept(name, tuple(english.split(", ")), tuple(chinese.split()), *vad)


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
# An alias belongs to one concept only (a test holds that), so that no reply has two readings by table alone.
_CONCEPTS = (
    _concept(
        "happiness",
        (0.9, 0.4, 0.4),
        "happy, happier, happiest, happiness, happily, joy, joyful, joyfully, joyous, glad, gladness, gladly, "
        "cheerful, cheerfully, cheerfulness, delighted, delight, pleased, elated, elation, ecstatic, overjoyed, bliss",
        "高兴 开心 快乐 幸福 喜悦 愉快 愉悦 欢乐 欢喜 欣喜 快活 欢快 喜气洋洋 兴高采烈",
    ),
    _concept(
        "sadness",
        (-0.8, -0.4, -0.5),
        "sad, sadder, saddest, sadness, sadly, saddened, sorrow, sorrowful, sorrowfully, unhappy, unhappiness, "
        "unhappily, depressed, depression, melancholy, melancholic, gloomy, gloom, miserable, misery, heartbroken, "
        "dejected, despondent, downcast",
        "悲伤 伤心 难过 悲痛 悲哀 忧伤 哀伤 沮丧 忧郁 抑郁 心碎 伤感",
    ),
    _concept(
        "neutral",
        (0.0, -0.2, 0.0),
        "neutral, neutrality, neutrally, calm, calmly, calmness, expressionless, emotionless, unemotional, impassive, "
        "no emotion, no emotions, no strong emotion, no particular emotion, no clear emotion, no specific emotion, "
        "no visible emotion, no obvious emotion, lack of emotion, without emotion, without any emotion",
        "中性 平静 中立 冷静 淡定 平和 面无表情 毫无表情 没有表情 无表情 没有情绪 无情绪 没有明显情绪 没有明显的情绪 "
        "无明显情绪 没有特别的情绪 没有任何情绪",
    ),
    _concept(
        "anger",
        (-0.7, 0.8, 0.4),
        "anger, angry, angrier, angriest, angrily, angered, furious, furiously, fury, rage, enraged, irate, mad, "
        "livid, outraged, outrage, wrath, wrathful, indignant, indignation",
        "愤怒 生气 气愤 恼怒 恼火 发怒 暴怒 发火 怒气 怒火 愤慨 怒不可遏 大怒",
    ),
    _concept(
        "surprise",
        (0.2, 0.8, -0.2),
        "surprise, surprised, surprises, surprising, surprisedly, astonished, astonishment, amazed, amazement, "
        "shocked, shock, startled, stunned, taken aback",
        "惊讶 吃惊 惊奇 诧异 震惊 惊愕 惊喜 意外 讶异 错愕",
    ),
    _concept(
        "disgust",
        (-0.7, 0.3, 0.1),
        "disgust, disgusted, disgusting, disgustedly, revulsion, revolted, repulsed, repulsion, nauseated, loathing, "
        "aversion",
        "厌恶 恶心 反感 嫌恶 憎恶 嫌弃 作呕",
    ),
    _concept(
        "fear",
        (-0.7, 0.7, -0.7),
        "fear, fears, fearful, fearfully, fearfulness, afraid, scared, frightened, fright, terrified, terror, "
        "horrified, horror, panic, panicked, dread",
        "恐惧 害怕 惧怕 惊恐 恐慌 惊慌 畏惧 惊吓 胆怯",
    ),
    _concept(
        "worry",
        (-0.5, 0.4, -0.4),
        "worry, worried, worries, worrying, worriedly, anxious, anxiously, anxiety, concerned, uneasy, uneasiness, "
        "apprehensive, apprehension",
        "担忧 担心 忧虑 焦虑 不安 忧心 发愁 焦急",
    ),
    _concept("amusement", (0.7, 0.4, 0.3), "amusement, amused, amusing, amusedly", "逗乐 好笑 有趣 滑稽 搞笑 娱乐"),
    _concept("boredom", (-0.4, -0.7, -0.3), "boredom, bored, boring, boredly, wearied", "无聊 厌倦 乏味 百无聊赖"),
    _concept("awe", (0.5, 0.5, -0.4), "awe, awed, awestruck, awe-struck", "敬畏 震撼 惊叹 赞叹"),
    _concept(
        "contentment",
        (0.7, -0.5, 0.4),
        # Bare "content" is left out: in replies about pictures it mostly means what the picture holds.
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
    _concept("grief", (-0.9, 0.0, -0.7), "grief, grieving, mourning, mournful, bereaved", "哀痛 哀悼 悲恸"),
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


def label_set(name: str) -> LabelSet:
    """Return the label set of that name.

    Raises:
        SettingsError: no such set; the message lists all and names the nearest.
    """
    if name not in LABEL_SETS:
        raise SettingsError(unknown_choice("label set", name, LABEL_SETS))
    return LABEL_SETS[name]


def concept(label: str) -> str:
    """Return the name of the concept behind a label or alias: `happy`, `joy` and `开心` are "happiness".

    Raises:
        SettingsError: no concept has that word.
    """
    word = label.strip().lower()
    found = _concept_of_word().get(word)
    if found is None:
        raise SettingsError(unknown_choice("emotion word", label, CONCEPTS))
    return found


@cache
def _concept_of_word() -> dict[str, str]:
    return {word: c.name for c in _CONCEPTS for word in (c.name, *c.english, *c.chinese)}


@dataclass(frozen=True)
class _Grammar:
    """How one language names and denies emotions; regular expressions over normalised text.

    Attributes:
        mention: every alias, the longest first.
        idiom: phrases that look like a denial or an emotion and are none; blanked before anything else.
        negator: what denies the words after it.
        subject: negators that make a subject ("nobody is ..."), which a verb does not stop.
        stop: where a clause and with it a denial ends.
        verb: begins a new statement, which ends a denial unless it stands right behind it or after `opinion`.
        opinion: verbs through which a denial reaches a further statement ("I do not think he is ...").
        denied_after: a denial that follows the word ("happiness is absent").
        joiner: all that may stand between two members of one list.
        conjunction: the joiners that make a denial reach over the list.
        reach: how many characters a denial reaches.
    """

    mention: re.Pattern[str]
    idiom: re.Pattern[str]
    negator: re.Pattern[str]
    subject: re.Pattern[str]
    stop: re.Pattern[str]
    verb: re.Pattern[str]
    opinion: re.Pattern[str]
    denied_after: re.Pattern[str]
    joiner: re.Pattern[str]
    conjunction: re.Pattern[str]
    reach: int


@dataclass(frozen=True)
class _Mention:
    concept: str
    start: int
    end: int


@cache
def _english() -> _Grammar:
    words = sorted((word for c in _CONCEPTS for word in c.english), key=len, reverse=True)
    hide = r"(?:hide|conceal|contain|suppress|mask|control|help(?: but)?)"
    return _Grammar(
        mention=re.compile(rf"(?<![a-z])(?:{'|'.join(map(re.escape, words))})(?![a-z])"),
        idiom=re.compile(
            r"\bnot (?:only|just|merely|simply)\b|\b(?:no|without(?: a| any)?) doubt\b|\bnothing (?:but|less than)\b"
            r"|\bmore than (?=happy|glad|pleased)|\bno \w* ?emotions? (?:other than|but|except)\b"
            rf"|\b(?:cannot|can not|can't|could not|couldn't|unable to|barely|hardly|not|doesn't|didn't) {hide}\b"
            r"|\bcould(?: not|n't) be more\b|\bcould(?: not|n't) be (?=happier|sadder|angrier)"
            r"|\b(?:sadly|happily|surprisingly|gladly),|\bi(?:'m| am) afraid(?= (?:that|i|we|not|so|the)\b)"
            r"|\b(?:happy|glad|pleased|love) to (?:help|assist)\b|\bas far as .{0,20} concerned\b"
        ),
        negator=re.compile(
            r"\b(?:not|no|never|without|neither|nor|nobody|none|nothing|cannot|hardly|barely|scarcely|lack(?:s|ed|ing)?"
            r"|absence|free (?:of|from)|far from|rather than|instead of|than|unlike|except|non|un"
            r"|(?:is|are|was|were|do|does|did|has|have|ca|could|would|wo)n'?t)\b"
        ),
        subject=re.compile(r"no|none|nobody|nothing|neither"),
        stop=re.compile(
            r"[.;:!?()\[\]\n,]|\b(?:but|however|although|though|yet|just|only|simply|merely|whereas|while|because"
            r"|still|instead(?! of)|rather(?! than)|and(?= (?:\w+ ){0,4}(?:is|are|looks?|seems?|shows?|feels?)\b))\b"
        ),
        verb=re.compile(r"\b(?:is|are|was|were|looks?|seems?|appears?|feels?|feeling|shows?|expresses|conveys)\b"),
        opinion=re.compile(r"\b(?:think|believe|say|mean|claim|suggests?|indicates?|sure|clear|certain|if|whether)\b"),
        denied_after=re.compile(
            r"\s*(?:-free\b|\?\s*no\b|(?:is|are|was|were|seems|appears)?\s*(?:not|n't|never)\s+(?:\w+\s+)?(?:present|visible"
            r"|shown|evident|there|detected|correct|right|it)\b|(?:is|was|seems|appears)\s+(?:absent|missing|lacking|wrong)\b)"
        ),
        joiner=re.compile(r"(?:[\s,/&]|\b(?:or|nor|and|even|very|really|any|signs?|of|particularly|too|overly)\b)*"),
        conjunction=re.compile(r"\b(?:or|nor|and)\b|[/&]"),
        reach=60,
    )


@cache
def _chinese() -> _Grammar:
    words = sorted((word for c in _CONCEPTS for word in c.chinese), key=len, reverse=True)
    return _Grammar(
        mention=re.compile("|".join(map(re.escape, words))),
        idiom=re.compile(
            "毫不掩饰|毫无疑问|不难(?:看出|发现)|(?:忍|禁|掩饰|掩|藏|抑制|压抑|按捺|止)不住|不由得?|不禁|不得不|不自觉|说不出的"
            "|不仅仅?|不但|不只|不光|不单|无不|无疑|无比|非常|没错|不错|不料|不断|不停|不时|不久|不少|不同|未来|无论|不管"
            "|不知(?:不觉|为何)|无奈|无声|生气勃勃|生机|喜怒哀乐|悲喜交加|出乎意外|意外(?:事故|伤害)"
        ),
        negator=re.compile("没有?人|无人|与其说|而非|并非|没有?|不|未|无|非|缺乏|缺少|毫无|别"),
        subject=re.compile("没有?人|无人"),
        stop=re.compile("[，。；：！？、,.;:!?（）()\n]|而是|但是?|却|反而|只是|不如说?|而(?!且|非|不)|因为"),
        verb=re.compile("显得|看起来|看上去|感到|表现得|流露出|是(?!否)"),
        opinion=re.compile("认为|觉得|以为|确定|清楚|说(?!话)"),
        denied_after=re.compile(
            "(?:的?(?:样子|感觉|情绪|表情|神情|迹象)?)(?:不起来|并?不(?:明显|存在|正确)|不对|？不)"
        ),
        joiner=re.compile("(?:[、，,\\s]|和|与|或者?|以?及|也|很|的|情绪|之情|神情|感|任何)*"),
        conjunction=re.compile("[、和与或及]"),
        reach=14,
    )


def _check_language(language: str) -> None:
    if language not in ("en", "zh"):
        raise SettingsError(unknown_choice("language", language, ("en", "zh")))


def match_label(text: str, labels: LabelSet, language: str | None = None) -> str | None:
    """Read which label of a set a reply states.

    English is matched at word boundaries, Chinese by the longest alias. A denied emotion ("not happy", 没有生气) does
    not count; what is left must be exactly one label.

    Args:
        text: the reply of a model or a person.
        labels: the set to choose from; words of other concepts are passed over.
        language: "en" or "zh" to read only that language; None reads both.

    Returns:
        The label as `labels.labels` spells it, or None where the reply states none or more than one.

    Raises:
        SettingsError: another language.
    """
    stated = stated_concepts(text, language)
    found = [label for label in labels.labels if concept(label) in stated]
    return found[0] if len(found) == 1 else None


def stated_concepts(text: str, language: str | None = None) -> set[str]:
    """Return the names of all concepts that a text states and does not deny, read as `match_label` reads.

    Raises:
        SettingsError: another language than "en", "zh" or None (both).
    """
    if language is not None:
        _check_language(language)
    plain = re.sub(r"[*_`\"“”‘]", " ", text.lower().replace("’", "'"))
    plain = re.sub(r"[^\S\n]+", " ", plain)
    stated: set[str] = set()
    if language != "zh":
        stated |= _stated(plain, _english())
    if language != "en":
        stated |= _stated(plain, _chinese())
    return stated


def _stated(text: str, grammar: _Grammar) -> set[str]:
    """Return the concepts that a text states and does not deny."""
    text = grammar.idiom.sub(lambda m: "~" * len(m.group()), text)
    words = _concept_of_word()
    mentions = [_Mention(words[m.group()], m.start(), m.end()) for m in grammar.mention.finditer(text)]
    stated, denied = set(), False
    for place, mention in enumerate(mentions):
        start = mentions[place - 1].end if place else 0
        if not (denied and _in_denied_list(text, mentions, place, grammar)):
            denied = _denied(text, start, mention, grammar)
        if not denied:
            stated.add(mention.concept)
    return stated


def _in_denied_list(text: str, mentions: list[_Mention], place: int, grammar: _Grammar) -> bool:
    """Say whether a mention goes on with the denied list before it, as in "not sad, angry or afraid"."""
    gap = text[mentions[place - 1].end : mentions[place].start]
    while grammar.joiner.fullmatch(gap):
        if grammar.conjunction.search(gap):
            return True
        place += 1
        if place == len(mentions):
            return False
        gap = text[mentions[place - 1].end : mentions[place].start]
    return False


def _denied(text: str, start: int, mention: _Mention, grammar: _Grammar) -> bool:
    """Say whether a mention is denied by the words behind it, or before it since `start` in the same clause."""
    if grammar.denied_after.match(text, mention.end):
        return True
    begin = max([start, *(m.end() for m in grammar.stop.finditer(text, start, mention.start))])
    for negator in grammar.negator.finditer(text, begin, mention.start):
        between = text[negator.end() : mention.start]
        if len(between) > grammar.reach:
            continue
        verb = grammar.verb.search(between)
        # "does not look happy" denies through its verb; "who does not smile is sad" has begun a new statement.
        right_behind = verb is None or not between[: verb.start()].strip()
        subject = grammar.subject.fullmatch(negator.group())
        if right_behind or subject or grammar.opinion.search(between):
            return True
    return False
