"""Regular expressions for how English and Chinese name, deny, doubt and ask about emotions.

Both apply to text normalised by `statements.plain`: lower case, half-width punctuation, simplified characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from emotion_qwen.taxonomy import CONCEPTS


@dataclass(frozen=True)
class Grammar:
    """The expressions of one language.

    Attributes:
        mention: every alias, the longest first.
        idiom: phrases that only look like a denial or an emotion; blanked first.
        negator: denies the words after it, or marks a feeling as pretended, wished for or doubted.
        far: negators that a verb does not stop ("nobody is ...", "impossible to say that he is ...").
        stop: ends a clause, and so a denial.
        verb: starts a new statement, which ends a denial unless it directly follows the denial or `opinion`.
        opinion: verbs through which a denial extends to the next statement ("I do not think he is ...").
        denied_after: a denial that follows the word ("happiness is absent").
        joiner: anything allowed between two members of a list.
        conjunction: joiners that extend a denial to the whole list.
        denied_list: a negator with everything it denies, commas included ("no tears, frown or other sign of anger").
        reach: range of a denial in characters.
    """

    mention: re.Pattern[str]
    idiom: re.Pattern[str]
    negator: re.Pattern[str]
    far: re.Pattern[str]
    stop: re.Pattern[str]
    verb: re.Pattern[str]
    opinion: re.Pattern[str]
    denied_after: re.Pattern[str]
    joiner: re.Pattern[str]
    conjunction: re.Pattern[str]
    denied_list: re.Pattern[str]
    reach: int


def _aliases(words: list[str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


_CANNOT = r"(?:cannot|can not|can't|could not|couldn't|unable to|barely|hardly|not|doesn't|didn't)"
_HIDE = r"(?:hide|conceal|contain|suppress|mask|control|deny|doubt|miss|overlook|help(?: but)?)"
_IF = r"\bif\b(?! (?:i|you|we|one) (?:had|have|must))"
_WOULD = r"(?:\bwould|'d) (?:be|feel|look)"
# Bounded, so that a long text is read in linear time.
_NEAR, _CLAUSE = r"[^.;!?\n]{0,60}", r"[^.,;!?\n]{0,60}"
_LATER = r"(?:gone|absent|missing|lacking|nowhere|over|ruled out|excluded|rejected|replaced|unlikely|inconsistent)"
_TAKEN_FOR = (
    r"mistak(?:e|es|en|ing) (?:(?:this|it|him|her|them|that|his \w+|her \w+|the \w+) )?(?:for|as)"
    r"|(?:confused?|confusable) with|mis(?:read|interpreted|taken|labell?ed|classified) as|taken for"
    r"|(?:one|you|some|someone|people|many|viewers?|observers?) (?:may|might|could|would|can) (?:\w+ )?"
    r"(?:read|take|interpret|see|mistake|think|label|call|assume|expect|suspect|perceive|confuse)"
    r"|(?:though|although|while|even if) (?:it|this|that|he|she|they|one|some|(?:the|his|her) \w+) (?:may|might"
    r"|could|can)"
    r"|(?:first|initially|briefly) (?:considered|thought|suspected)|at first (?:glance|sight)|on the surface"
    r"|superficially|outwardly"
)
_FAR_ENGLISH = (
    r"no|none|nobody|nothing|neither|not that|whether|false that|wonders? (?:if|whether)"
    r"|(?:hope|wish)(?:e?s)?(?: that)?"
    r"|(?:impossible|hard|difficult) to (?:say|tell|know|judge|determine|call|claim)"
)
# A denied list ends with a new statement, contrast or consequence.
_LIST_ENDS = (
    r"\b(?:but|however|although|though|yet|because|whereas|while|instead|rather|so|just|only|simply|is|are|was|were"
    r"|looks?|seems?|appears?|feels?|shows?|suggests|points?|indicates)\b"
    r"|, (?:he|she|it|they|his|her|their|the|this|i|which|leaving|remaining|making|with|even|and (?:he|she|it|they"
    r"|the))\b"
)
_POLITE = (  # an offer at the end of a reply
    r"\b(?:happy|glad|pleased|delighted|love|excited) to (?:help|assist|explain|elaborate|clarify|provide|answer"
    r"|analy[sz]e"
    r"|discuss|take|look|try|continue|describe|share|offer|do|go|support)\b"
    r"|\b(?:please )?(?:let me know|feel free|(?:do not|don't) hesitate)\b[^.!?\n]{0,200}"
)
_THINGS = (  # an emotion word before one of these describes a thing, not a person
    r"(?:music|songs?|melod(?:y|ies)|tunes?|soundtrack|lyrics|movies?|films?|clips?|videos?|stor(?:y|ies)|tales?|news"
    r"|books?|poems?|jokes?|memor(?:y|ies)|occasions?|events?|situations?|endings?)"
)


@cache
def english() -> Grammar:
    """Return the grammar of English."""
    words = _aliases([word for c in CONCEPTS.values() for word in c.english])
    return Grammar(
        mention=re.compile(rf"(?<![a-z])(?:{words})(?![a-z])(?<!confused(?= with))"),
        idiom=re.compile(
            r"(?<!, )\bnot (?:only|just|merely|simply)\b|\bnot without\b"
            r"|\b(?:no|without(?: a| any)?) (?:doubt|question)\b|\bno wonder\b"
            r"|\bnothing (?:but|less than)\b|\bmore than (?=happy|glad|pleased)|\bmore or less\b"
            rf"|\bno \w* ?emotions? (?:other than|but|except)\b|\b{_CANNOT} {_HIDE}\b"
            r"|\b(?:no|cannot|can't|hardly) (?:denying|mistaking|be (?:denied|mistaken|missed))\b"
            r"|\b(?:never|not|doesn't|don't|didn't) (?:stop(?:s|ped)? being|(?:fail|cease)(?:s|ed)? to)\b"
            r"|\b(?:impossible|hard|difficult) (?:not to|to (?:miss|overlook|hide|deny))\b"
            r"|\bcould(?: not|n't) be more\b|\bcould(?: not|n't) be (?=happier|sadder|angrier)|\bfear not\b"
            r"|\b(?:sadly|happily|surprisingly|gladly),|\bi(?:'m| am) afraid(?= (?:that|i|we|not|so|the)\b)"
            r"|\bas far as .{0,20} concerned\b"
            r"|\bhappy (?:birthday|new year|holidays|anniversary|hour|ending|meal)\b|\bmerry christmas\b"
            rf"|{_POLITE}"
            r"|\bmad (?:about (?:him|her|you|them|it|each other)|scientist)\b"
            r"|\bno (?:\w+ )?(?:emotions?|expressions?) (?:can|could)(?:not)? be\b"
            rf"|\b(?:{words})(?= {_THINGS}\b)"
            r"|\bsurprise (?:party|guest|visit|gift)\b"
            # a condition and its consequence; "if I had to choose, it would be ..." is an answer
            rf"|{_IF}{_NEAR}{_WOULD}\b{_CLAUSE}|{_WOULD}\b{_CLAUSE}{_IF}{_CLAUSE}"
        ),
        negator=re.compile(
            rf"\b(?:(?:{_FAR_ENGLISH})|{_TAKEN_FOR}|as opposed to|distinct from|different from|in contrast (?:to|with)"
            r"|used to (?:be|feel|look)|no longer|not|never|without|nor|cannot|hardly|barely|scarcely|lack(?:s|ed|ing)?"
            r"|absence|free (?:of|from)|far from|rather than|instead of|than|unlike|except|non|un|less|anything but"
            r"|unable to|fail(?:s|ed)? to|too \w+ to|stop(?:s|ped)? being|den(?:y|ies|ied|ying)|rul(?:e|es|ed|ing) out"
            r"|(?:wrong|incorrect|inaccurate|misleading|a mistake) to|pretend(?:s|ed|ing)?(?: to)?|feign(?:s|ed"
            r"|ing)?|fak(?:e|es|ed|ing)"
            r"|(?:want|wish|hope)(?:s|ed|es)? (?:to|(?:s?he|they) (?:was|were))"
            r"|(?:is|are|was|were|do|does|did|has|have|ca|could|would|wo)n'?t)\b"
        ),
        far=re.compile(_FAR_ENGLISH),
        stop=re.compile(
            r"[.;:!?()\[\]\n,]|\b(?:(?<!anything )but|however|although|though|yet|(?<!not )(?:just|only|simply|merely)"
            r"|whereas|while|because|still|instead(?! of)|rather(?! than)"
            r"|and(?= (?:\w+ ){0,4}(?:is|are|looks?|seems?|shows?|feels?)\b))\b"
        ),
        verb=re.compile(r"\b(?:is|are|was|were|looks?|seems?|appears?|feels?|feeling|shows?|expresses|conveys)\b"),
        opinion=re.compile(r"\b(?:think|believe|say|mean|claim|suggests?|indicates?|sure|clear|certain|if|whether)\b"),
        denied_after=re.compile(
            r"\s*(?:-free\b|(?:is|are|was|were|seems|appears)?\s*(?:not|n't|never)\s+(?:\w+\s+)?"
            r"(?:present|visible|shown|evident|there|detected|correct|right|it)\b"
            rf"|(?:is|was|are|were|seems|appears|has been|have been|being)\s+(?:now |already |also "
            rf"|completely )?{_LATER}\b"
            r"|(?:is|was) wrong\b|can be (?:ruled out|excluded)\b|of nothing\b|at first (?:glance|sight)\b"
            r"|(?:has |have |had )?(?:faded|vanished|disappeared|subsided|passed|given way|gives way)\b"
            r"|(?:label |category )?(?:does|do|did)(?:\s+not|n't) (?:\w+ )?(?:apply|fit|match|describe|seem|suit)\b"
            r"|(?:that )?(?:he|she|they|it) (?:may|might) (?:have|feel)\b)"
        ),
        joiner=re.compile(r"(?:[\s,/&]|\b(?:or|nor|and|even|very|really|any|signs?|of|particularly|too|overly)\b)*"),
        conjunction=re.compile(r"\b(?:or|nor|and)\b|[/&]"),
        denied_list=re.compile(
            rf"\b(?:no|not|without|neither|lack(?:s|ed|ing)?|absence of|(?:does|do|did|is|are)n't)\b"
            rf"(?:(?!{_LIST_ENDS})[^.;:!?\n]){{1,200}}\b(?:or|nor)\b(?:(?!{_LIST_ENDS})[^.,;:!?\n]){{1,60}}"
            rf"|\b(?:no|any) (?:\w+ ){{0,3}}(?:signs?|evidence|indications?|traces?|hints?|displays?|expressions?"
            rf"|cues?) "
            rf"of\b(?:(?!{_LIST_ENDS})[^.;:!?\n]){{1,200}}\band\b(?:(?!{_LIST_ENDS})[^.,;:!?\n]){{1,30}}"
        ),
        reach=60,
    )


_CHINESE_LIST_ENDS = "但|却|而|只|反|因此|所以|显得|看起来|是(?!否)|为中性|无(?:论|比|疑)"
_FAR_CHINESE = "没有?人|无人|是否|看不出来?|看不到|看不见|希望|但愿|祝愿?"


@cache
def chinese() -> Grammar:
    """Return the grammar of Chinese."""
    words = _aliases([word for c in CONCEPTS.values() for word in c.chinese])
    return Grammar(
        mention=re.compile(words),
        idiom=re.compile(
            "毫不掩饰|毫无疑问|不难(?:看出|发现)|(?:忍|禁|掩饰|掩|藏|抑制|压抑|按捺|止)不住|不由得?|不禁|不得不"
            "|不自觉|说不出的"
            "|(?:不可|无法|不能|毋庸)(?:否认|置疑)|难以(?:掩饰|掩盖|抑制|平复)|不仅仅?|不但|不只|不光|不单|无不|无疑"
            "|无比|非常|没错"
            "|不错|不料|不断|不停|不时|不久|不少|不同|未来|无论|不管|不知(?:不觉|为何)|无声|生气勃勃|生机|喜怒哀乐"
            "|悲喜交加"
            "|出乎意外|意外(?:事故|伤害)|(?:生日|新年|节日|周末)快乐|开心果|感谢(?:您|你)?的?(?:提问|问题|耐心|理解"
            "|咨询)"
            "|(?:如果|假如|要是)(?!.{0,4}[选说答])[^。.!?;\n]{0,20}会[^。.!?;,\n]{0,20}"
            f"|(?:{words})的?(?=(?:音乐|歌曲?|乐曲|旋律|曲子|电影|影片|故事|消息|新闻|往事|回忆|生活|场景|事情|节日"
            f"|童年))"
            "|(?:很|非常|十分|随时)?(?:高兴|乐意|开心|荣幸|愿意)(?:继续)?(?:能够?|可以)?(?:继续)?(?:为您|为你"
            "|帮助?您|帮助?你|协助|解答|回答)"
            "|(?:识|特|区|分|类|级|性|个|差|告|鉴|甄)别"
        ),
        negator=re.compile(
            f"{_FAR_CHINESE}|不(?:完全|太|怎么|单纯)?(?:像是?|是因为|是由于|是出于|是)|误(?:认|解|判|以)为?(?:是"
            f"|成)?|(?:会|起初|原本?|本|曾|一度|最初)以为|会(?:觉得是|认为是)"
            "|看似(?=[^。]{0,20}(?:实|其实|但|却))|乍一?看(?:像是?|上去)?|表面上?|比起|相比(?:于|起)?|不同于|区别于"
            "|有别于|不再"
            "|(?:之前|先前|原本|原来|曾经|起初)的?(?=[^。]{0,20}(?:现在|如今|消失|此刻|已))|与其说|而非|并非|没有?"
            "|不|未|无|非|缺乏|缺少|毫无|别|排除|难以|很难|假装|装作|装出|佯装|故作"
        ),
        far=re.compile(_FAR_CHINESE),
        stop=re.compile("[。、,.;:!?()\n]|而是|但是?|却|反而|只是|不如说?|而(?!且|非|不)|因为"),
        verb=re.compile("显得|看起来|看上去|感到|表现得|流露出|是(?!否)"),
        opinion=re.compile("认为|觉得|以为|确定|清楚|判断|断定|识别|说(?!话)"),
        denied_after=re.compile(
            "(?:的?(?:样子|感觉|情绪|表情|神情|迹象)?)(?:不起来|并?不(?:明显|存在|正确|成立|适用|符合)|不对|无关"
            "|已?经?(?:消失|消退|散去|平息|褪去|退去|被排除)|(?:可以)?被?排除)"
        ),
        joiner=re.compile("(?:[、,\\s]|和|与|或者?|还是|以?及|也|很|的|情绪|之情|神情|感|任何)*"),
        conjunction=re.compile("[、和与或及]|还是"),
        denied_list=re.compile(
            f"(?:没有|并无|无|未|看不出|不带|缺乏|毫无)(?:(?!{_CHINESE_LIST_ENDS})[^。,.;:!?\n]){{1,60}}"
            f"(?:、|或|和|以及|与)(?:(?!{_CHINESE_LIST_ENDS})[^。,.;:!?\n]){{1,16}}"
        ),
        reach=14,
    )
