"""Scores of 2023 to 2026 against independent implementations: scikit-learn and plain loops after the owners' scripts.

The predictions are seeded and hold every awkward case: empty, unparsed, duplicate, missing, failed, several labels, and
replies in both languages. Where the owners have no rule for a missing answer, both sides are compared on whole answers.
"""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring import unibench
from emotion_qwen.evaluation.scoring.emotion_sets import (
    emobench_m_as_scripted,
    read_choice,
    read_joint,
    score_emobench_m,
    score_generation,
    score_pairs,
    score_steps,
    step_scores,
)
from emotion_qwen.evaluation.scoring.numbers import (
    EMOBANK,
    MOSI,
    SIMS,
    VALENCE_AROUSAL,
    Scale,
    read_numbers,
    score_mosi,
    score_numbers,
    score_sims,
)
from emotion_qwen.evaluation.scoring.records import Response, ScoredItem
from emotion_qwen.evaluation.scoring.text_overlap import bleu4, rouge_l
from emotion_qwen.matching.wheels import read_wheels
from emotion_qwen.matching.word_lists import words_of
from emotion_qwen.taxonomy import label_set

from .test_sets import FORMS, SYNONYMS, WHEELS, write_csv

EXACT = pytest.approx
TOLERANCE = {"abs": 1e-9, "rel": 0}


def values(result) -> dict[str, float]:
    return {score.name: score.value for score in result.scores}


def awkward(rng: random.Random, items, right, wrong):
    """Return replies: right and wrong ones, empty, unparsed, failed, missing, and some ids twice."""
    answers, read = [], {}
    for item in items:
        kind = rng.choice("rrrwwwedufm")
        text = {"r": right, "w": wrong, "d": right}.get(kind, lambda item: "")(item)
        if kind == "m":
            continue
        if kind == "f":
            answers.append(Response(item.id, error="timed out"))
            continue
        text = text if kind in "rwd" else {"e": " ", "u": "I cannot tell."}[kind]
        answers.append(Response(item.id, text))
        if kind == "d":
            answers.append(Response(item.id, wrong(item)))  # the first counts
        if kind in "rwd":
            read[item.id] = text
    answers.append(Response("stray", "happy"))
    rng.shuffle(answers)
    first = {}
    for answer in answers:  # the order decides which of two counts
        if answer.id in read:
            first.setdefault(answer.id, answer.text)
    return answers, first


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    for name, rows in {**WHEELS, "format": FORMS, "synonym": SYNONYMS}.items():
        write_csv(folder / f"{name}.csv", rows)
    return read_wheels(folder)


WORDS = ["gladly", "Glad", "gloom", "merry", "sadness", "neutral", "zebra", "content", "高兴"]


def loop_hit_rate(wheels, items, texts):
    """Follow MER-UniBench's loop over wheels and clips with plain sets."""
    means = []
    for wheel in wheels.rings:
        candidates = {wheels.group(item.references[0], wheel) for item in items} - {None}
        hits, shares = [], []
        for item in items:
            gold = wheels.group(item.references[0], wheel)
            if gold is None:
                continue
            given = {wheels.group(word, wheel) for word in words_of(texts.get(item.id, ""))} - {None}
            hits.append(float(gold in given))
            among = len(given & candidates)
            shares.append(hits[-1] / among if among else 0.0)
        means.append((np.mean(hits), np.mean(shares)))
    return np.mean(means, axis=0)


@pytest.mark.parametrize("seed", range(6))
def test_hit_rate_is_that_of_the_organisers_loop(wheels, seed):
    rng = random.Random(seed)
    items = [ScoredItem(str(n), (rng.choice(["glad", "gloomy", "neutral", "content"]),)) for n in range(60)]

    def listed(item):
        return rng.choice([", ", " and ", "\n- "]).join(rng.sample(WORDS, rng.randint(1, 4)))

    answers, texts = awkward(rng, items, lambda item: item.references[0], listed)
    texts |= {a.id: a.text for a in answers if a.text == "I cannot tell."}
    result = unibench.score_hit_rate(items, answers, wheels)
    hit, among = loop_hit_rate(wheels, items, texts)
    assert values(result)["hit rate"] == EXACT(hit, **TOLERANCE)
    assert values(result)["mscore"] == EXACT(among, **TOLERANCE)
    lengths = [len(words_of(texts.get(item.id, ""), wheels.knows)) for item in items]
    assert values(result)["mean length"] == EXACT(np.mean(lengths), **TOLERANCE)
    assert result.tally.items == 60 and result.tally.strays == ("stray",) and result.tally.failures
    assert any("whose label is on no wheel" in note for note in result.notes), "neutral has no group"


def test_a_long_list_hits_more_and_is_shown_as_long(wheels):
    items = [ScoredItem("1", ("glad",)), ScoredItem("2", ("gloomy",))]
    everything = values(unibench.score_hit_rate(items, [Response(n, "glad, gloomy, content") for n in "12"], wheels))
    assert everything["hit rate"] == 1 and everything["mscore"] == 0.5 and everything["mean length"] == 3


REPLIES = {
    "positive": ["positive", "The sentiment is positive.", "积极", "She is happy and proud.", "高兴"],
    "negative": ["Negative!", "消极", "sad, angry", "他很难过"],
    "neutral": ["neutral", "中性", "He is neutral."],
}


@pytest.mark.parametrize("seed", range(6))
def test_polarity_is_that_of_scikit_learn(seed):
    rng = random.Random(seed)
    items = [ScoredItem(str(n), (f"{rng.choice([-3, -1.2, -0.2, 0, 0, 0.4, 2.6])}",)) for n in range(80)]
    chosen = {item.id: rng.choice(list(REPLIES)) for item in items}
    answers = [Response(item.id, rng.choice(REPLIES[chosen[item.id]])) for item in items]
    result = unibench.score_polarity(items, answers)
    assert [judged.read for judged in result.judged] == [chosen[item.id] for item in items]
    kept = [item for item in items if float(item.references[0]) != 0]
    truth = [float(item.references[0]) > 0 for item in kept]
    given = [chosen[item.id] == "positive" for item in kept]
    assert values(result)["WAF"] == EXACT(f1_score(truth, given, average="weighted"), **TOLERANCE)
    assert values(result)["accuracy"] == EXACT(accuracy_score(truth, given), **TOLERANCE)
    assert result["WAF"].items == len(kept) and f"{80 - len(kept)} items with reference 0" in result.notes[0]


def weighted_f1(truth, given):
    """Return weighted F1 where None is an answer in no class."""
    total = 0.0
    for name in set(truth):
        both = sum(t == g == name for t, g in zip(truth, given, strict=True))
        below = truth.count(name) + given.count(name)
        total += truth.count(name) * (2 * both / below if below else 0)
    return total / len(truth)


def test_an_unread_polarity_is_wrong_and_no_class():
    items = [ScoredItem("1", ("2",)), ScoredItem("2", ("-1",)), ScoredItem("3", ("-2",)), ScoredItem("4", ("1",))]
    answers = [Response("1", "positive or negative"), Response("2", "negative"), Response("3", "")]
    got = values(unibench.score_polarity(items, answers))
    assert got["accuracy"] == 0.25 and got["WAF"] == EXACT(
        weighted_f1([1, 0, 0, 1], [None, 0, None, None]), **TOLERANCE
    )
    released = unibench.organisers_polarity(items, answers)
    assert released["accuracy"] == EXACT(2 / 3), "there, whatever is not the word positive counts as not positive"
    with pytest.raises(DataError, match="expected one number"):
        unibench.score_polarity([ScoredItem("1", ("good",))], [])


@pytest.mark.parametrize("seed", range(4))
def test_both_wheel_levels_make_track_2(wheels, seed):
    rng = random.Random(seed)
    items = [ScoredItem(str(n), tuple(rng.sample(WORDS, rng.randint(1, 3)))) for n in range(40)]
    answers, texts = awkward(
        rng, items, lambda item: ", ".join(item.references), lambda item: ", ".join(rng.sample(WORDS, 2))
    )
    levels = []
    for level in ("level1", "level2"):
        of_wheels = []
        for wheel in wheels.rings:
            precisions, recalls = [], []
            for item in items:
                gold = {wheels.group(word, wheel, level) for word in item.references} - {None}
                given = {wheels.group(word, wheel, level) for word in words_of(texts.get(item.id, ""))} - {None}
                if gold:
                    precisions.append(len(gold & given) / len(given) if given else 0.0)
                    recalls.append(len(gold & given) / len(gold))
            p, r = np.mean(precisions), np.mean(recalls)
            of_wheels.append(2 * p * r / (p + r) if p + r else 0.0)
        levels.append(np.mean(of_wheels))
    got = values(unibench.score_both_levels(items, answers, wheels))
    assert got["F1, level1"] == EXACT(levels[0], **TOLERANCE) and got["F1, level2"] == EXACT(levels[1], **TOLERANCE)
    assert got["track 2"] == EXACT(np.mean(levels), **TOLERANCE) and next(iter(got)) == "track 2"


MER6 = label_set("mer6")


@pytest.mark.parametrize("seed", range(4))
def test_mer2023_multi_is_waf_minus_a_quarter_of_the_squared_error(seed):
    rng = random.Random(seed)
    items, answers, truth, given, x, y = [], [], [], [], [], []
    for n in range(50):
        label, value = rng.choice(MER6.labels), round(rng.uniform(-5, 5), 2)
        said, guess = rng.choice(MER6.labels), round(rng.uniform(-5, 5), 2)
        chinese = MER6.chinese[MER6.labels.index(said)]
        form = rng.choice(
            ["emotion: {0}, valence: {1}", "情绪：{2}，效价：{1}", '{{"emotion": "{0}", "valence": {1}}}']
        )
        items.append(ScoredItem(str(n), (label, str(value))))
        answers.append(Response(str(n), form.format(said, guess, chinese)))
        truth, given, x, y = [*truth, label], [*given, said], [*x, value], [*y, guess]
    got = values(unibench.score_multi(items, answers, MER6))
    waf = f1_score(truth, given, average="weighted")
    error = np.mean((np.array(x) - np.array(y)) ** 2)
    assert got["WAF"] == EXACT(waf, **TOLERANCE) and got["MSE of valence"] == EXACT(error, **TOLERANCE)
    assert got["MER2023 score"] == EXACT(waf - 0.25 * error, **TOLERANCE)


def test_a_missing_valence_is_as_far_as_it_can_be():
    items = [ScoredItem("1", ("sad", "-3")), ScoredItem("2", ("happy", "4"))]
    got = values(unibench.score_multi(items, [Response("1", "sad"), Response("2", "valence: 4")], MER6))
    assert got["MSE of valence"] == EXACT((8**2 + 0) / 2) and got["accuracy"] == 0.5
    with pytest.raises(DataError, match="expected a label and a valence"):
        unibench.score_multi([ScoredItem("1", ("sad",))], [], MER6)


def scripted_preference(response):
    """Follow MERTools' postprocessing line by line."""
    response = response.lower()
    for name in ("a1", "a2", "same"):
        if response.startswith(name):
            return name
    places = [response.find(name) for name in ("a1", "a2", "same")]
    return (
        "same" if max(places) < 0 else ("a1", "a2", "same")[int(np.argmin([10000 if p == -1 else p for p in places]))]
    )


@pytest.mark.parametrize("seed", range(4))
def test_preferences_are_those_of_the_organisers(seed):
    rng = random.Random(seed)
    items = [ScoredItem(str(n), (rng.choice(["a1", "a2", "same"]),)) for n in range(70)]
    replies = ["a1", "A2.", "same", "I prefer a2", "A1 is better than a2", "neither", "", "两者相同"]
    answers = [Response(item.id, rng.choice(replies)) for item in items[:-3]]
    texts = {answer.id: answer.text for answer in answers}
    kept = [item for item in items if item.references[0] != "same" and item.id in texts]
    truth = [item.references[0] for item in kept]
    given = ["a1" if (name := scripted_preference(texts[item.id])) == "same" else name for item in kept]
    released = unibench.organisers_preferences(items, answers)
    assert released["WAF"] == EXACT(f1_score(truth, given, average="weighted"), **TOLERANCE)
    assert released["accuracy"] == EXACT(accuracy_score(truth, given), **TOLERANCE)
    result = unibench.score_preference(items, answers)
    wanted = {"a1": "a1", "A2.": "a2", "same": "a1", "I prefer a2": "a2", "两者相同": "a1"}
    kept = [item for item in items if item.references[0] != "same"]
    read = [wanted.get(texts.get(item.id, "")) for item in kept]
    truth = [item.references[0] for item in kept]
    assert values(result)["WAF"] == EXACT(weighted_f1(truth, read), **TOLERANCE)
    assert values(result)["accuracy"] == EXACT(np.mean([t == r for t, r in zip(truth, read, strict=True)]), **TOLERANCE)


def test_the_mean_of_nine_counts_every_set_the_same(wheels):
    sets = {}
    for name, primary in unibench.NINE.items():
        items = [ScoredItem(f"{name}{n}", ("1.5" if primary == "WAF" else "glad",)) for n in range(3)]
        text = "positive" if primary == "WAF" else "glad"
        answers = [Response(items[0].id, text)]
        score = {
            "hit rate": lambda i, a: unibench.score_hit_rate(i, a, wheels),
            "WAF": unibench.score_polarity,
            "F1": lambda i, a: unibench.score_open_vocabulary(i, a, wheels),
        }[primary]
        sets[name] = score(items, answers)
    mean, missing = unibench.unibench_mean(sets)
    each = [sets[name][primary].value for name, primary in unibench.NINE.items()]
    assert not missing and mean.value == EXACT(np.mean(each), **TOLERANCE) and mean.low < mean.value < mean.high
    del sets["unibench_mosi"]
    mean, missing = unibench.unibench_mean(sets)
    assert missing == ("unibench_mosi",) and mean.name == "MER-UniBench mean of 8 of 9 sets"
    assert "not comparable" in unibench.missing_note(missing) and unibench.unibench_mean({}) is None


def scripted_mosi(x, y):
    """Compute MMSA's figures with scikit-learn and numpy, prediction by prediction."""
    figures = {"MAE": np.mean(np.abs(x - y)), "PCC": np.corrcoef(x, y)[0][1]}
    for classes, edge in ((7, 3), (5, 2), (3, 1)):
        figures[f"Acc-{classes}"] = np.mean(np.round(np.clip(x, -edge, edge)) == np.round(np.clip(y, -edge, edge)))
    kept = x != 0
    for ending, truth, given in ((", non-negative", x >= 0, y >= 0), (", positive", x[kept] > 0, y[kept] > 0)):
        figures[f"Acc-2{ending}"] = accuracy_score(truth, given)
        figures[f"F1{ending}"] = f1_score(truth, given, average="weighted")
    return figures


@pytest.mark.parametrize("seed", range(6))
def test_mosi_is_as_mmsa_scores_it(seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([np.round(rng.uniform(-3, 3, 60), 1), [0, 0, 0.5, -0.5, 1.5, 2.5]])
    y = np.concatenate([np.round(rng.uniform(-3, 3, 60), 1), [0, 1, 0, 0, 2.5, 1.5]])
    items = [ScoredItem(str(n), (f"{value}",)) for n, value in enumerate(x)]
    forms = ["{}", "Sentiment: {}", "<think>maybe 3</think>{}", "情感：{}"]
    answers = [Response(str(n), forms[n % 4].format(value)) for n, value in enumerate(y)]
    got = values(score_mosi(items, answers))
    assert got == {name: EXACT(value, **TOLERANCE) for name, value in scripted_mosi(x, y).items()}


@pytest.mark.parametrize("seed", range(6))
def test_sims_is_as_mmsa_scores_it(seed):
    rng = np.random.default_rng(seed)
    x, y = (np.round(rng.uniform(-1, 1, 80), 1) for _ in range(2))
    x[:6], y[:6] = [0, 0.1, -0.1, 0.7, -0.7, 1], [0.1, 0, -0.1, 0.7, -0.7, -1]
    items = [ScoredItem(str(n), (f"{value}",)) for n, value in enumerate(x)]
    got = values(score_sims(items, [Response(str(n), f"{value}") for n, value in enumerate(y)]))
    wanted = {"MAE": np.mean(np.abs(x - y)), "PCC": np.corrcoef(x, y)[0][1]}
    for edges in ([-1.01, 0, 1.01], [-1.01, -0.1, 0.1, 1.01], [-1.01, -0.7, -0.1, 0.1, 0.7, 1.01]):
        sides = [[next(k for k in range(len(edges) - 1) if edges[k] < v <= edges[k + 1]) for v in s] for s in (x, y)]
        wanted[f"Acc-{len(edges) - 1}"] = accuracy_score(*sides)
        if len(edges) == 3:
            wanted["F1"] = f1_score(*sides, average="weighted")
    assert got == {name: EXACT(value, **TOLERANCE) for name, value in wanted.items()}


def test_an_answer_without_a_number_is_as_far_as_it_can_be():
    items = [ScoredItem("1", ("2.0",)), ScoredItem("2", ("-1.0",)), ScoredItem("3", ("0.5",))]
    answers = [Response("1", "very positive"), Response("2", "-1"), Response("3", "4.5")]
    got = values(score_mosi(items, answers))
    assert got["MAE"] == EXACT((5 + 0 + 3.5) / 3) and got["MAE, readable answers only"] == 0
    assert got["Acc-7"] == EXACT(1 / 3) and got["Acc-2, positive"] == EXACT(1 / 3)
    assert got["F1, positive"] == EXACT(weighted_f1([1, 0, 1], [None, 0, None]))
    result = score_mosi(items, answers)
    assert result.tally.unread == {"not the numbers asked for": 1, "number outside the scale": 1}


def loop_ccc(x, y):
    n, mx, my = len(x), sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / n
    spread = sum((a - mx) ** 2 for a in x) / n + sum((b - my) ** 2 for b in y) / n
    return 2 * covariance / (spread + (mx - my) ** 2)


@pytest.mark.parametrize("scale", [VALENCE_AROUSAL, EMOBANK], ids=["valence-arousal", "EmoBank"])
def test_continuous_affect_is_that_of_plain_loops(scale):
    rng = np.random.default_rng(3)
    shape = (70, len(scale.dimensions))
    x, y = (np.round(rng.uniform(scale.low, scale.high, shape), 3) for _ in range(2))
    items = [ScoredItem(str(n), tuple(f"{v}" for v in row)) for n, row in enumerate(x)]
    answers = [
        Response(str(n), json.dumps(dict(zip(scale.dimensions, row.tolist(), strict=True))))
        if n % 2
        else Response(str(n), ", ".join(map(str, row)))
        for n, row in enumerate(y)
    ]
    got = values(score_numbers(items, answers, scale))
    cccs = []
    for place, name in enumerate(scale.dimensions):
        a, b = x[:, place], y[:, place]
        cccs.append(loop_ccc(a.tolist(), b.tolist()))
        assert got[f"MAE of {name}"] == EXACT(np.abs(a - b).mean(), **TOLERANCE)
        assert got[f"RMSE of {name}"] == EXACT(np.sqrt(((a - b) ** 2).mean()), **TOLERANCE)
        assert got[f"PCC of {name}"] == EXACT(np.corrcoef(a, b)[0, 1], **TOLERANCE)
        assert got[f"CCC of {name}"] == EXACT(cccs[-1], **TOLERANCE)
        assert got[f"SAGR of {name}"] == EXACT((np.sign(a) == np.sign(b)).mean(), **TOLERANCE)
    assert got["CCC, mean"] == EXACT(np.mean(cccs), **TOLERANCE)


@pytest.mark.parametrize(
    ("text", "scale", "value"),
    [
        ("valence: 0.3, arousal: -0.2", VALENCE_AROUSAL, "0.3 -0.2"),
        ("arousal = .5; valence = −.25", VALENCE_AROUSAL, "-0.25 0.5"),
        ("效价 -0.5，唤醒度：0.2", VALENCE_AROUSAL, "-0.5 0.2"),
        ("0.1 0.2", VALENCE_AROUSAL, "0.1 0.2"),
        ("valence 0.1", VALENCE_AROUSAL, None),
        ("2/3", MOSI, None),
        ("40 %", MOSI, None),
        ("between 1 and 2", MOSI, None),
        ("<answer>-1.5</answer>", MOSI, "-1.5"),
        ("1.2", SIMS, None),
        ("", MOSI, None),
    ],
)
def test_numbers_are_read_only_where_they_are_clear(text, scale, value):
    assert read_numbers(text, scale).value == value


def test_references_that_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="expected numbers"):
        score_numbers([ScoredItem("1", ("much",))], [], Scale(("x",), 0, 1))
    with pytest.raises(DataError, match="one number for each of valence, arousal"):
        score_numbers([ScoredItem("1", ("0.1",))], [], VALENCE_AROUSAL)


def test_hallucination_pairs_need_both_answers():
    rng = random.Random(1)
    items = [
        ScoredItem(f"{n}{kind}", (kind,), ("yes", "no"), cluster=str(n)) for n in range(40) for kind in ("yes", "no")
    ]
    answers, texts = awkward(
        rng, items, lambda i: f"{i.references[0].title()}.", lambda i: "是的" if "no" in i.id else "否"
    )
    result = score_pairs(items, answers)
    right = {item.id: texts.get(item.id, "").lower().startswith(item.references[0]) for item in items}
    got = values(result)
    assert got["accuracy of pairs"] == EXACT(np.mean([right[f"{n}yes"] and right[f"{n}no"] for n in range(40)]))
    assert got["accuracy, basic"] == EXACT(np.mean([right[f"{n}yes"] for n in range(40)]), **TOLERANCE)
    assert got["accuracy, hallucinated"] == EXACT(np.mean([right[f"{n}no"] for n in range(40)]), **TOLERANCE)
    assert got["accuracy"] == EXACT(np.mean(list(right.values())), **TOLERANCE)
    with pytest.raises(DataError, match="expected one yes and one no"):
        score_pairs(items[:1], [])


SETS = {
    "MELD": ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"),
    "FGMSA": ("weak negative", "strong negative", "neutral", "strong positive", "weak positive"),
    "MC-EIU": tuple(f"{emotion}_{intent}" for emotion in ("happy", "neutral") for intent in ("wishing", "neutral")),
}


@pytest.mark.parametrize("seed", range(3))
def test_emobench_m_is_that_of_scikit_learn(seed):
    rng = random.Random(seed)
    items = [ScoredItem(f"{g}{n}", (rng.choice(c),), c, g) for g, c in SETS.items() for n in range(30)]
    plain = {item.id: rng.choice([*item.allowed, "who knows", ""]) for item in items}
    replies = {name: text.replace("_", ", ") if name.startswith("MC") else text.upper() for name, text in plain.items()}
    got = values(
        score_emobench_m(items, [Response(k, v) for k, v in replies.items()], {"MELD": "CEU", "MC-EIU": "CEU"})
    )
    accuracies = {}
    for group in SETS:
        truth = [item.references[0] for item in items if item.group == group]
        given = [plain[i.id] if plain[i.id] in i.allowed else None for i in items if i.group == group]
        accuracies[group] = np.mean([t == g for t, g in zip(truth, given, strict=True)])
        assert got[f"accuracy of {group}"] == EXACT(accuracies[group], **TOLERANCE)
        assert got[f"WAF of {group}"] == EXACT(weighted_f1(truth, given), **TOLERANCE)
    talk = (accuracies["MELD"] + accuracies["MC-EIU"]) / 2
    assert got["mean of CEU"] == EXACT(talk, **TOLERANCE)
    assert got["mean of dimensions"] == EXACT((talk + accuracies["FGMSA"]) / 2, **TOLERANCE)


@pytest.mark.parametrize("seed", range(3))
def test_emobench_m_as_scripted_drops_what_is_no_label(seed):
    rng = random.Random(seed)
    items = [ScoredItem(f"{g}{n}", (rng.choice(c),), c, g) for g, c in SETS.items() for n in range(30)]
    answers = [
        Response(i.id, rng.choice([*i.allowed, "", "It is joy.", f" {i.references[0].upper()}\n"])) for i in items
    ]
    released = emobench_m_as_scripted(items, answers)
    texts = {answer.id: answer.text.strip().lower() for answer in answers}
    for group in SETS:
        pairs = [(i.references[0], texts[i.id]) for i in items if i.group == group and texts[i.id] in i.allowed]
        truth, given = zip(*pairs, strict=True)
        assert released[f"dropped of {group}"] == 30 - len(pairs)
        assert released[f"accuracy of {group}"] == EXACT(accuracy_score(truth, given), **TOLERANCE)
        for name, measure in (("WAF", f1_score), ("precision", precision_score), ("recall", recall_score)):
            wanted = measure(truth, given, average="weighted", zero_division=0)
            assert released[f"{name} of {group}"] == EXACT(wanted, **TOLERANCE)


def test_choices_and_joint_answers_are_read_as_wholes():
    assert read_choice("It is weak positive.", SETS["FGMSA"]).value == "weak positive"
    assert read_choice("positive", SETS["FGMSA"]).value is None
    assert read_choice("joyful", SETS["MELD"]).value is None and read_choice("joy or fear", SETS["MELD"]).value is None
    for text in ("emotion: happy, intent: wishing", '{"emotion": "happy", "intent": "wishing"}', "happy_wishing"):
        assert read_joint(text, SETS["MC-EIU"]).value == "happy_wishing"
    assert read_joint("happy", SETS["MC-EIU"]).value is None and read_joint("", SETS["MC-EIU"]).value is None


GOLDEN = json.loads(Path(__file__).with_name("text_overlap_golden.json").read_text(encoding="utf-8"))


def test_bleu_and_rouge_are_those_of_nltk_and_rouge_score():
    assert "nltk" in GOLDEN["origin"] and len(GOLDEN["rows"]) == 25
    for reference, text, bleu, plain, _ in GOLDEN["rows"]:
        assert bleu4(reference, text) == EXACT(bleu, **TOLERANCE)
        assert rouge_l(reference, text) == EXACT(plain, **TOLERANCE)
    stems = pytest.importorskip("nltk.stem.porter", reason="nltk is not installed").PorterStemmer().stem
    for reference, text, _, _, stemmed in GOLDEN["rows"]:
        assert rouge_l(reference, text, stems) == EXACT(stemmed, **TOLERANCE)


def test_generated_texts_are_averaged_over_all_items():
    pytest.importorskip("nltk", reason="of the extra eval, not installed")
    rows = GOLDEN["rows"]
    items = [ScoredItem(str(n), (row[0],)) for n, row in enumerate(rows)]
    answers = [Response(str(n), row[1]) for n, row in enumerate(rows) if n != 3]
    result = score_generation(items, answers)
    got, (note,) = values(result), result.notes
    assert "BERTScore" in note and "bert-score" in note
    assert got["ROUGE-L"] == EXACT(sum(r[4] for n, r in enumerate(rows) if n != 3) / len(rows), **TOLERANCE)
    assert got["BLEU-4"] == EXACT(sum(r[2] for n, r in enumerate(rows) if n != 3) / len(rows), **TOLERANCE)
    assert got["ROUGE-L, unstemmed"] == EXACT(sum(r[3] for n, r in enumerate(rows) if n != 3) / len(rows), **TOLERANCE)


def test_steps_are_scored_as_mme_emotion_does():
    assert step_scores("<score>Step 1: 1/1, Step 2: 0/1, Step 3: 0/0</score>") == [1, 0, 0]
    assert step_scores("Step 1: 1/1") is None and step_scores("<score>none</score>") == []
    marks = {
        "1": "<score>Step 1: 1/1, Step 2: 0/1, Step 3: 1/1</score>",
        "2": "<score>Step 1: 1/1</score>",
        "3": "cannot say",
        "4": "<score></score>",
        "5": "Sure. <score>Step 1: 0/1, Step 2: 0/1</score>",
    }
    items = [ScoredItem(str(n), ("happy",)) for n in range(1, 7)]
    result = score_steps(items, marks)
    got = values(result)
    wanted = {"recognition": 2 / 3, "reasoning": (0.5 + 0 + 0) / 3, "CoT": (2 / 3 + 0.5 / 3) / 2}
    for name, value in wanted.items():
        assert got[name] == EXACT(value, **TOLERANCE)
        assert got[f"{name}, unmarked as 0"] == EXACT(value / 2, **TOLERANCE)
    assert got["mean steps"] == 2 and result.tally.unread == {"no readable <score> from the judge": 2, "missing": 1}
