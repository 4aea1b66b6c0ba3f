"""Correct misspelt emotion words and pictographs, for replies in which no correctly spelt word states a label.

A word that is one edit away from an emotion word (a letter missing, added, replaced or swapped with its neighbour) is
read as that word, unless it is itself a word: "scard" is read as "scared", but "shared" is not.
"""

from __future__ import annotations

import re
from functools import cache

from rapidfuzz.distance import OSA

from emotion_qwen.taxonomy import CONCEPTS, PICTOGRAPHS

_SHORTEST = 6
"""Minimum length of the longer of two compared words, because short words have too many neighbours."""
_EXAMINED = 400
"""Number of words at the start of a reply that are examined, which bounds the time for a long reply."""
# Words with other meanings that are one edit from an emotion word, among 275,000 English words (npm package
# an-array-of-english-words 2.0.0) and the 74,763 of GoEmotions, MELD, EmoBank, ISEAR, ESConv and benchmark questions.
_OWN_WORD_LIST = (
    "abused abusing angels angler anglers baring boding boning booing bowing boxing bring caging caking caning "
    "caping carding carina carious carping carting carving casing caving charing cheeky cheers cheesy cherry "
    "compose composer composes composted concerted confuted consented contended contested contused contusion "
    "coring craking craning craping crating crazing curing curios decision decisive defected delighter desired "
    "detected elution encaged engaged euphonic excised excising exited exiting faming fight flight forworn "
    "freight furry fusing glom gloopy glumpy graceful gracefully grumly helmless hippier hippiest hoppier "
    "incense incenses irrigated irrigation jolley lathing living livingly lobing lodging logging looing loping "
    "losing losingly lounging lowing lunging miser miserly misers mistery morning neural optimise optimist "
    "outage outrace outraced outrange passed pleaded please pleaser pleases pleated possed powderless prided "
    "puzzler racing raking ranging raring rasing rating raving razing realisations rebelled regrew relied relier "
    "relies relieve reliever relived repealed respelled revelled revolved revolving revoting sacred saddler "
    "sander satisficed scaled scales scapes scarce scarfed scarfs scarps scarred scars scarves scored scores "
    "seared shacked shared shares shocker shucked shunned silkened slickened smocked snared snares soared socked "
    "soddened spared spares spoked spoofed spooled spooned stared stares starling started starting stocked "
    "stunner stunted sunned tankful tensed tenser tenses terroir thriller trilled tumorous wraith wreath"
)
_OWN_WORDS = frozenset(_OWN_WORD_LIST.split())
_WORD = re.compile(r"[a-z]{4,}")
_RUN = re.compile(r"(.)\1+")


def corrected(text: str) -> str:
    """Return plain text (see `statements.plain`) with pictographs replaced by words and emotion words corrected."""
    for sign, name in PICTOGRAPHS.items():
        if sign in text:
            text = text.replace(sign, f" {CONCEPTS[name].english[0]} ")
    examined = 0

    def correct(word: re.Match[str]) -> str:
        nonlocal examined
        examined += 1
        return _corrected(word.group()) if examined <= _EXAMINED else word.group()

    return _WORD.sub(correct, text)


@cache
def _aliases() -> dict[str, str]:
    """Return all single English words of the concepts, keyed by their spelling without doubled letters."""
    words = (word for c in CONCEPTS.values() for word in c.english if word.isalpha())
    return {_RUN.sub(r"\1", word): word for word in words}


@cache
def _corrected(word: str) -> str:
    known = _aliases()
    if word in known.values() or word in _OWN_WORDS:
        return word
    single = _RUN.sub(r"\1", word)  # "saaad" is "sad", "angryyy" is "angry"
    if single in known:
        return known[single]
    near = [
        alias
        for alias in known.values()
        if alias[0] == word[0]
        and max(len(alias), len(word)) >= _SHORTEST
        and OSA.distance(alias, word, score_cutoff=1) <= 1
    ]
    return near[0] if near else word
