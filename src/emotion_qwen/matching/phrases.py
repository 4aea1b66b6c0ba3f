"""Find fixed phrases in a text, to determine which of the possible claims it makes."""

from __future__ import annotations

import re
from collections.abc import Mapping

Phrases = tuple[tuple[str, ...], tuple[str, ...]]
"""In English and in Chinese."""


class PhraseFinder:
    """Finds the phrases of a table in texts.

    Args:
        table: word -> its phrases, in lower case; no phrase belongs to two words.
    """

    def __init__(self, table: Mapping[str, Phrases]) -> None:
        self._words = [
            {phrase: word for word, phrases in table.items() for phrase in phrases[column]} for column in (0, 1)
        ]
        # English phrases end at word boundaries; Chinese has none.
        self._patterns = [
            re.compile(edge + "(?:" + "|".join(map(re.escape, sorted(words, key=len, reverse=True))) + ")" + edge)
            for words, edge in zip(self._words, (r"\b", ""), strict=True)
        ]

    def words(self, text: str, language: str = "en") -> list[str]:
        """Return the words that a text claims, in its order.

        A longer phrase goes before a shorter one that it contains, so "the mouth smiles broadly" is one claim.
        """
        column = 0 if language == "en" else 1
        return [self._words[column][match.group()] for match in self._patterns[column].finditer(text.lower())]
