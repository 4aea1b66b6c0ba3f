"""Made-up reports for the tests of everything that shows one: each kind that a user can meet, the same every time."""

from __future__ import annotations

import math
from dataclasses import replace

from emotion_qwen.records import (
    GENERATED,
    MEASURED,
    Channel,
    Cue,
    EmotionReport,
    Episode,
    FacialMovement,
    Gap,
    Moment,
    Person,
    Seen,
    Sentence,
    Uncertainty,
    Utterance,
)
from emotion_qwen.taxonomy import LABEL_SETS, valence_arousal

SECONDS, TURN, STEP = 20.0, 9.0, 0.5
LABELS = LABEL_SETS["dfew7"].labels
HOSTILE = "</script><img src=x onerror=alert(1)> & \"quoted\" 'single' [red]\x1b[31m@someone | **bold**"


def shares(happy: float, sad: float) -> dict[str, float]:
    """Return a distribution over DFEW's seven labels; what is left goes to the other five, unequally."""
    rest, weights = 1 - happy - sad, {"neutral": 5, "angry": 2, "surprise": 4, "disgust": 1, "fear": 3}
    return {name: {"happy": happy, "sad": sad}.get(name, rest * weights.get(name, 0) / 15) for name in LABELS}


def lead(distribution: dict[str, float]) -> str:
    return max(distribution, key=lambda name: distribution[name])


def happy_at(time: float, turn: float = TURN) -> float:
    """Return how happy the clip is at a time, 0..1: sad first, then turning within about two seconds."""
    return 1 / (1 + math.exp(-(time - turn) * 1.6))


def moments(turn: float = TURN, start: float = 0.0, end: float = SECONDS, hop: float = STEP) -> tuple[Moment, ...]:
    """Return windows of two seconds whose answer turns from sad to happy."""
    found = []
    for number in range(int((end - start - 2) / hop) + 1):
        first = start + number * hop
        part = happy_at(first + 1, turn)
        wobble = 0.05 * math.sin(2.3 * first)
        smoothed = shares(0.08 + 0.66 * part, 0.70 - 0.64 * part)
        raw = shares(0.10 + 0.62 * part + wobble, 0.66 - 0.56 * part - wobble)
        held = ("picture", "sound", "words") if 3 < first < 17 else ("picture", "sound")
        found.append(Moment(first, first + 2, lead(smoothed), smoothed, raw, valence_arousal(smoothed), held))
    return tuple(found)


def episodes(turn: float = TURN, start: float = 0.0, end: float = SECONDS) -> tuple[Episode, ...]:
    return (Episode("sad", start, turn, start + 2.5, 0.70), Episode("happy", turn, end, end - 3.0, 0.74))


def frame_shares(time: float, turn: float = TURN) -> dict[str, float]:
    """Return what a face shows in one frame: it turns as the windows do, with other numbers."""
    part = happy_at(time, turn)
    return shares(0.05 + 0.80 * part, 0.81 - 0.78 * part)


def sightings(
    x: float, y: float, side: float, start: float, end: float, hidden: tuple[float, float]
) -> tuple[Seen, ...]:
    """Return a face that drifts through a picture of 16:9, and is not seen between the two times of `hidden`."""
    found = []
    for number in range(round((end - start) / STEP) + 1):
        time = start + number * STEP
        left, top = x + 0.04 * math.sin(time / 3), y + 0.02 * math.cos(time / 2)
        if not hidden[0] < time < hidden[1]:
            box = (left, top, left + side, top + side * 16 / 9)
            found.append(Seen(time, box, 0.9, frame_shares(time)))
    return tuple(found)


def face() -> tuple[FacialMovement, ...]:
    """Return what a face does: more than views show, with plain and with brief movements."""
    return (
        FacialMovement("jaw", "mouth closed", 0.0, 9.0, 4.0, 0.01),
        FacialMovement("eyelids", "eyes open", 0.0, SECONDS, 3.0, 0.02),
        FacialMovement("inner brows", "inner brows raised", 1.0, 8.0, 2.5, 0.57),
        FacialMovement("roll", "head tilted right", 3.0, 3.0, 3.0, 12.2),
        FacialMovement("yaw", "head left", 3.5, 3.5, 3.5, -32.4),
        FacialMovement("pressed lips", "lips pressed", 4.0, 6.5, 5.0, 0.31),
        FacialMovement("smile", "smile", 9.0, 9.5, 9.0, 0.53),
        FacialMovement("smile", "broad smile", 10.0, 19.5, 17.0, 0.93),
        FacialMovement("jaw", "mouth open", 10.0, 12.0, 11.0, 0.27),
        FacialMovement("outer brows", "brows raised", 11.0, 11.5, 11.0, 0.36),
    )


def two() -> tuple[Person, ...]:
    """Return a person on the right for the whole clip, and one on the left for a part of it."""
    right, left = sightings(0.62, 0.22, 0.2, 0, SECONDS, (12, 14)), sightings(0.15, 0.3, 0.14, 4, 15, (99, 99))
    mine, other = shares(0.55, 0.28), shares(0.22, 0.21)
    return (
        Person(
            1, "happy", mine, 0.0, SECONDS, len(right), right[10].box, {"general": 0.31, "emotion": 0.69},
            valence_arousal(mine), right, moments(8.5), episodes(8.5),
        ),
        Person(
            2, lead(other), other, 4.0, 15.0, len(left), left[4].box, {"general": 0.44, "emotion": 0.56},
            valence_arousal(other), left, moments(11.0, 4.0, 15.0), episodes(11.0, 4.0, 15.0),
        ),
    )  # fmt: skip


def cues() -> tuple[Cue, ...]:
    """Return cues of every channel, one of them written by the model."""
    face = {"share": 0.7, "share without mouth": 0.31, "share without brow": 0.66}
    voice = {"pitch, Hz": 241.3, "clip's pitch, Hz": 198.2, "level, dB of full scale": -18.4}
    return (
        Cue("picture", 0.0, 8.5, "Mouth: covering this part lowers sad from 70% to 31%.", MEASURED, face, 1,
            (0.66, 0.45, 0.78, 0.57)),
        Cue("sound", 15.0, 17.0, "Voice at 241 Hz (clip: 198 Hz), +3 dB relative to the clip.", MEASURED, voice),
        Cue("words", 9.5, 12.0, "“It worked!”: without words happy would have 41% instead of 55%.", MEASURED,
            {"share": 0.55, "share without words": 0.41}),
        Cue("context", 0.0, SECONDS, "“Exam results”: without this context happy would have 50%.", MEASURED,
            {"share": 0.55, "share without context": 0.5}),
        Cue("picture", 10.0, 13.0, "A broad smile spreads after the news.", GENERATED, {}, 2, (0.15, 0.3, 0.29, 0.55)),
    )  # fmt: skip


def provenance(**changes: object) -> dict[str, object]:
    facts = {
        "model": "nano", "weights": "0f3a9c1e", "label_set": "dfew7", "prompt": "9be1",
        "channels": ["picture", "sound"], "frames": 41, "fps": 2.0, "seconds": [0.0, SECONDS],
        "size": [360, 640], "clip_settings": {"max_frames": 64},
        "warnings": ["2 of 43 frames could not be decoded and are left out"], "took": 4.2,
    }  # fmt: skip
    return {**facts, **changes}


def two_people() -> EmotionReport:
    """Return the fullest report: two people, sad turning happy, sound, words and context, cues of every channel."""
    mine = shares(0.55, 0.24)
    return EmotionReport(
        source="clips/interview.mp4",
        label="happy",
        distribution=mine,
        people=two(),
        gate={"general": 0.35, "emotion": 0.65},
        summary="Two people hear good news; one wipes away tears and begins to smile.",
        language="en",
        valence_arousal=valence_arousal(mine),
        timeline=moments(),
        episodes=episodes(),
        cues=cues(),
        words=("relieved", "overjoyed", "moved"),
        rationale=(
            Sentence("Mostly sad from 0.0 to 9.0 s, peaking at 2.5 s (70%, smoothed).", MEASURED),
            Sentence("The words alone say sad, not happy.", MEASURED),
            Sentence("The tears at the start are of tension, which the news dissolves.", GENERATED),
        ),
        channels=(
            Channel("picture", "happy", shares(0.61, 0.2), math.log(1.8), True, 0.7),
            Channel("sound", "happy", shares(0.42, 0.3), math.log(1.1), True, 0.1),
            Channel("words", "sad", shares(0.2, 0.52), math.log(0.83), False, 0.2),
            Channel("context", "", {}, 0.0, False),
        ),
        uncertainty=Uncertainty(0.55, 0.62, True, 0.4, False),
        utterances=(
            Utterance(3.0, 5.5, "I was so afraid that it had all been for nothing."),
            Utterance(6.0, 8.4, "And then the letter came."),
            Utterance(9.5, 12.0, "It worked! It really worked."),
        ),
        context="Exam results are announced.",
        reasoning={"observe": "Eyes are wet, mouth turns up.", "weigh": "The voice rises; the words look back."},
        provenance=provenance(),
    )


def abstaining() -> EmotionReport:
    """Return a report that does not know."""
    mine = shares(0.24, 0.22)
    doubt = Uncertainty(0.24, 0.97, False, 0.4, True, "confidence 24% is below 40%")
    return replace(two_people(), label=lead(mine), distribution=mine, uncertainty=doubt, valence_arousal=(0.0, -0.01))


def chinese() -> EmotionReport:
    """Return the full report in Chinese."""
    english = two_people()
    return replace(
        english,
        source="片段/采访.mp4",
        language="zh",
        summary="两个人听到好消息，其中一人擦去眼泪，露出笑容。",
        cues=tuple(replace(one, text="嘴部：遮住这一部分，悲伤的份额从 70% 变为 31%。") for one in english.cues),
        words=("释然", "喜悦"),
        rationale=(Sentence("0.0 秒至 9.0 秒以悲伤为主。", MEASURED), Sentence("泪水来自紧张。", GENERATED)),
        utterances=(Utterance(3.0, 5.5, "我真怕一切都白费了。"), Utterance(9.5, 12.0, "成功了！真的成功了。")),
        context="公布考试成绩。",
        reasoning={"观察": "眼眶湿润，嘴角上扬。"},
    )


def picture_only() -> EmotionReport:
    """Return a report of a photograph with two people."""
    people = tuple(
        replace(
            one,
            start=0.0,
            end=0.0,
            frames=1,
            seen=(Seen(0.0, one.box, 0.9, one.distribution),),
            timeline=(),
            episodes=(),
        )
        for one in two()
    )
    still = tuple(replace(one, start=0.0, end=0.0) for one in cues() if one.modality == "picture")
    return replace(
        two_people(), source="family.jpg", people=people, timeline=(), episodes=(), cues=still, utterances=(),
        context="", channels=two_people().channels[:1], reasoning={},
        provenance=provenance(frames=1, fps=None, seconds=[0.0, 0.0], channels=["picture"], warnings=[]),
    )  # fmt: skip


def sound_only() -> EmotionReport:
    """Return a report of a voice recording: no people, no frames, no gate."""
    full = two_people()
    return replace(
        full, source="voice.wav", people=(), gate={"general": 0.0, "emotion": 0.0},
        cues=tuple(one for one in full.cues if one.modality in ("sound", "words")),
        channels=(replace(full.channels[0], label="", distribution={}, moved=0.0), *full.channels[1:3]),
        provenance=provenance(frames=0, fps=None, seconds=[], channels=["sound", "words"], size=[0, 0]),
    )  # fmt: skip


def nobody_seen() -> EmotionReport:
    """Return a report of a clip in which no face was found, answered from whole frames as asked."""
    full = two_people()
    return replace(
        full, source="landscape.mp4", about="whole", people=(), cues=(), words=(), rationale=(),
        channels=full.channels[:1],
        uncertainty=None, utterances=(), context="", reasoning={}, provenance=provenance(warnings=[]),
    )  # fmt: skip


def gapped() -> EmotionReport:
    """Return a report of a clip in which nobody is seen or heard from 9 s to 13 s."""
    full, reason = two_people(), "no face was found, and no voice was heard"
    person = replace(
        two()[0], seen=sightings(0.62, 0.22, 0.2, 0, SECONDS, (9.0, 13.0)),
        timeline=(*moments(99.0, 0.0, 9.0), *moments(-99.0, 13.0, SECONDS)),
    )  # fmt: skip
    return replace(
        full, source="gap.mp4", people=(person,), timeline=person.timeline, gaps=(Gap(9.0, 13.0, reason),), cues=(),
        episodes=(Episode("sad", 0.0, 9.0, 4.0, 0.71), Episode("happy", 13.0, SECONDS, 15.0, 0.73)), utterances=(),
    )  # fmt: skip


def unanswered() -> EmotionReport:
    """Return a report of a photograph in which no face was found."""
    doubt = Uncertainty(None, None, True, 0.4, True, "no face was found")
    return EmotionReport(
        "truck.jpg", None, {}, (), {"general": 0.0, "emotion": 0.0}, "", "en", uncertainty=doubt,
        provenance=provenance(frames=1, fps=None, seconds=[0.0, 0.0], channels=[], warnings=[]),
    )  # fmt: skip


def unanswered_clip() -> EmotionReport:
    """Return a report of a clip with music and without a person."""
    reason = "no face was found, and no voice was heard"
    doubt = Uncertainty(None, None, True, 0.4, True, reason)
    return replace(
        unanswered(), source="music.mp4", gaps=(Gap(0.0, SECONDS, reason),), uncertainty=doubt,
        provenance=provenance(channels=[], warnings=["no voice was heard in the sound; it was ignored"]),
    )  # fmt: skip


def evoked() -> EmotionReport:
    """Return a report of what a photograph evokes."""
    full = two_people()
    return replace(
        full, source="sunset.jpg", about="evoked", people=(), timeline=(), episodes=(), cues=(), utterances=(),
        context="", reasoning={}, channels=full.channels[:1], summary="",
        provenance=provenance(frames=1, fps=None, seconds=[0.0, 0.0], channels=["picture"], warnings=[]),
    )  # fmt: skip


def hostile() -> EmotionReport:
    """Return a report in which every text tries to be something else than text."""
    full = two_people()
    return replace(
        full, source=f"a{HOSTILE}.mp4", summary=HOSTILE, context=HOSTILE, words=(HOSTILE,),
        utterances=(Utterance(1.0, 2.0, HOSTILE),),
        cues=(replace(full.cues[0], text=HOSTILE, measures={HOSTILE: 1.0}),),
        rationale=(Sentence(HOSTILE, GENERATED), Sentence(HOSTILE, MEASURED)), reasoning={HOSTILE: HOSTILE},
        provenance=provenance(model=HOSTILE, warnings=[HOSTILE], **{HOSTILE: HOSTILE}),
    )  # fmt: skip


def moving() -> EmotionReport:
    """Return the full report by a model that measures facial actions; of the second person nothing can be claimed."""
    first, second = two()
    return replace(two_people(), people=(replace(first, face=face()), second))


KINDS = {
    "two_people": two_people,
    "abstaining": abstaining,
    "chinese": chinese,
    "picture_only": picture_only,
    "sound_only": sound_only,
    "nobody_seen": nobody_seen,
    "gapped": gapped,
    "unanswered": unanswered,
    "unanswered_clip": unanswered_clip,
    "evoked": evoked,
    "hostile": hostile,
    "moving": moving,
}
