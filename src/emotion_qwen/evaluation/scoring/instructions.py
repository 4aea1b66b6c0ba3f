"""Checks of instructions that can be verified by rule: IFEval (Zhou et al. 2023, arXiv:2311.07911).

All instructions of IFEval are covered; tests compare the rules with verdicts of the published checkers. The strict
check uses the reply unchanged. The loose check passes if the reply or one of seven variants passes: without its first
line, without its last line, without both, and each of these four without asterisks (section 2.2). An empty reply
follows no instruction.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chardet

from emotion_qwen.errors import DataError

Rule = Callable[..., bool]
"""A reply and the arguments of the instruction -> whether it is followed."""
RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "at least": lambda count, bound: count >= bound,
    "less than": lambda count, bound: count < bound,
}
SCRIPTS = {
    "ar": "ARABIC", "bn": "BENGALI", "el": "GREEK", "fa": "ARABIC", "gu": "GUJARATI", "he": "HEBREW",
    "hi": "DEVANAGARI", "ja": "HIRAGANA", "kn": "KANNADA", "ko": "HANGUL", "ml": "MALAYALAM", "mr": "DEVANAGARI",
    "ne": "DEVANAGARI", "pa": "GURMUKHI", "ta": "TAMIL", "te": "TELUGU", "th": "THAI", "ur": "ARABIC", "zh": "CJK",
    "bg": "CYRILLIC", "ru": "CYRILLIC", "uk": "CYRILLIC",
}  # fmt: skip
"""Language -> beginning of the Unicode names of its letters. Languages that share a script are not distinguished."""
SCRIPT_SHARE = {"HIRAGANA": 0.2}
"""Minimum share of a reply's letters in the script, where it is not one half: Japanese uses several scripts."""
_SENTENCE_END = re.compile(
    r"(?<!\b[A-Z]\.)(?<!\b[a-z]\.[a-z]\.)(?<!\b(?:Mr|Ms|Dr|St|Jr|vs|No)\.)(?<!\b(?:Mrs|Inc)\.)(?<!\bProf\.)"
    r"(?<=[.!?])[\"'”’)\]}*]*(?:(?<!\.\.\.)\s+|\s+(?![a-z]))|(?<=[。！？])[”’」]*"
)
_TOKEN_ENDS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~“”‘’…"
_TOKEN_BREAKS = re.compile(
    r"[\s,:;?!@#$%&()\[\]{}<>\"“”…]+|--+|(?<=\w)(?=['’](?:S|M|D|LL|RE|VE)\b)|(?<=\w)(?=N['’]T\b)"
)
CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def follows(reply: str, instructions: Sequence[str], arguments: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Check a reply strictly.

    Args:
        reply: the reply.
        instructions: ids, keys of `RULES`.
        arguments: the arguments of each instruction; those that are None are left out.

    Raises:
        DataError: an instruction is unknown, or its rule does not accept the arguments.
    """
    followed = []
    for name, given in zip(instructions, arguments, strict=True):
        if name not in RULES:
            raise DataError(f"instruction {name!r} has no rule; expected one of: {', '.join(RULES)}")
        values = {key: value for key, value in (given or {}).items() if value is not None}
        try:
            followed.append(bool(reply.strip()) and RULES[name](reply, **values))
        except (TypeError, KeyError) as error:
            raise DataError(f"instruction {name!r}: cannot be checked with {values} ({error}); fix the item") from error
    return followed


def follows_loosely(reply: str, instructions: Sequence[str], arguments: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Check a reply and its seven variants; an instruction is followed if one of them follows it. See `follows`."""
    checked = [follows(variant, instructions, arguments) for variant in _variants(reply)]
    return [any(results) for results in zip(*checked, strict=True)]


def _variants(reply: str) -> list[str]:
    lines = reply.split("\n")
    shortened = [reply, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*shortened, *(text.replace("*", "") for text in shortened)]


def _occurrences(text: str, keyword: str) -> int:
    return len(re.findall(re.escape(keyword), text, re.IGNORECASE))


def _has_keywords(text: str, keywords: Sequence[str]) -> bool:
    return all(_occurrences(text, keyword) for keyword in keywords)


def _keyword_frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return RELATIONS[relation](_occurrences(text, keyword.strip()), frequency)


def _no_forbidden(text: str, forbidden_words: Sequence[str]) -> bool:
    return not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in forbidden_words)


def _letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return RELATIONS[let_relation](text.lower().count(letter.lower()), let_frequency)


def _in_language(text: str, language: str) -> bool:
    """Check the share of letters of the language's script; without a script of its own, what chardet detects."""
    script = SCRIPTS.get(language)
    if script is None:
        # chardet's result depends on the case of the letters
        return chardet.detect(text.lower().encode())["language"] == language
    letters = [unicodedata.name(sign, "") for sign in text if sign.isalpha()]
    written = sum(name.startswith(script) for name in letters)
    return bool(letters) and written >= SCRIPT_SHARE.get(script, 0.5) * len(letters)


def _paragraphs(text: str, num_paragraphs: int) -> bool:
    """Paragraphs are separated by the line `***`; only the first and the last part may be empty."""
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    if not all(parts[1:-1]):
        return False
    return sum(map(bool, parts)) == num_paragraphs


def _word_count(text: str, num_words: int, relation: str) -> bool:
    """Words are runs of letters, digits and underscores, so that "don't" is two."""
    return RELATIONS[relation](len(re.findall(r"\w+", text)), num_words)


def _sentence_count(text: str, num_sentences: int, relation: str) -> bool:
    return RELATIONS[relation](len(sentences_of(text)), num_sentences)


def sentences_of(text: str) -> list[str]:
    """Split a text at the ends of sentences; a line break alone does not end one.

    A full stop does not end a sentence after an initial, an abbreviation such as p.m. or a common title, or where no
    space follows; three of them do not end one before a small letter. The published checkers use NLTK's trained Punkt,
    which needs data of its own.
    """
    return [piece for piece in _SENTENCE_END.split(text) if piece.strip()]


def _first_word_of_paragraph(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Paragraphs are separated by two line breaks; the word ends at a blank or at a sign of punctuation.

    Quotation marks before it are ignored, other marks belong to it: "**Dear" is not "Dear".
    """
    parts = text.split("\n\n")
    filled = sum(bool(part.strip()) for part in parts)
    if filled != num_paragraphs or nth_paragraph > filled or not parts[nth_paragraph - 1].strip():
        return False
    word = parts[nth_paragraph - 1].split()[0].lstrip("'").lstrip('"')
    return re.split(r"[.,?!'\"]", word)[0].lower() == first_word.lower()


def _postscript(text: str, postscript_marker: str) -> bool:
    letters = [letter for letter in postscript_marker if letter.isalpha()]
    marker = r"\.?\s?".join(map(re.escape, letters))
    # "P.P.S" is not "P.S."
    return re.search(rf"(?<!\bp\.)(?<!\bp\. )\b{marker}\b", text, re.IGNORECASE) is not None


def _placeholders(text: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= num_placeholders


def _bullets(text: str, num_bullets: int) -> bool:
    return len(re.findall(r"^\s*(?:\*(?!\*)|-).*\S", text, re.MULTILINE)) == num_bullets


def _title(text: str) -> bool:
    return any(title.strip("<> ") for title in re.findall(r"<<[^\n]+>>", text))


def _highlights(text: str, num_highlights: int) -> bool:
    marked = re.findall(r"\*\*[^\n*]+\*\*|\*[^\n*]+\*", text)
    return sum(bool(part.strip("* ")) for part in marked) >= num_highlights


def _sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+\s?", text)) >= num_sections


def _json(text: str) -> bool:
    bare = re.sub(r"^```(?:json)?|```$", "", text.strip(), flags=re.IGNORECASE).strip()
    try:
        json.loads(bare)
    except ValueError:
        return False
    return True


def _repeats(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _two_responses(text: str) -> bool:
    """Check for two different responses separated by `******`; only the first and the last part may be empty."""
    parts = [part.strip() for part in text.split("******")]
    if not all(parts[1:-1]):
        return False
    responses = [part for part in parts if part]
    return len(responses) == 2 and responses[0] != responses[1]


def _capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """Words are separated by blanks, brackets, commas and the like; full stops and hyphens inside belong to them."""
    tokens = [token.strip(_TOKEN_ENDS) for token in _TOKEN_BREAKS.split(text)]
    return RELATIONS[capital_relation](sum(token.isupper() for token in tokens), capital_frequency)


def _ends_with(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').strip().lower().endswith(end_phrase.strip().lower())


def _quoted(text: str) -> bool:
    bare = text.strip()
    return len(bare) > 1 and bare[0] == bare[-1] == '"'


RULES: dict[str, Rule] = {
    "keywords:existence": _has_keywords,
    "keywords:frequency": _keyword_frequency,
    "keywords:forbidden_words": _no_forbidden,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _in_language,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _word_count,
    "length_constraints:number_sentences": _sentence_count,
    "length_constraints:nth_paragraph_first_word": _first_word_of_paragraph,
    "detectable_content:postscript": _postscript,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:title": _title,
    "detectable_format:constrained_response": lambda text: any(phrase in text for phrase in CONSTRAINED),
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "combination:repeat_prompt": _repeats,
    "combination:two_responses": _two_responses,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": lambda text: text.isupper() and _in_english(text),
    "change_case:english_lowercase": lambda text: text.islower() and _in_english(text),
    "startend:end_checker": _ends_with,
    "startend:quotation": _quoted,
    "punctuation:no_comma": lambda text: "," not in text,
}
"""Id of an instruction -> its rule."""


def _in_english(text: str) -> bool:
    """Return whether a text is in Latin script, which suffices: few replies to English prompts are in another such
    language.
    """
    letters = [unicodedata.name(sign, "") for sign in text if sign.isalpha()]
    return 2 * sum(name.startswith("LATIN") for name in letters) >= len(letters) > 0
