"""Cues: evidence against which an answer can be checked, each with its measurements.

A face cue covers a region of the face with the blank colour, in the frame with the episode's largest share, and scores
that frame again: the decrease of the label's share measures the contribution of the region. A voice cue compares level
and pitch around an episode's peak with the whole clip, where a voice is active; another compares the voice of the whole
clip with recordings of other people. A cue from words or context gives the change of the share when they are omitted; a
change below `EFFECT` gives no cue. Of each utterance, the word that is the strongest evidence of an emotion is another
cue (`verify.word_table`). All sentences are composed from the measurements, never written by the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emotion_qwen.analysis.presence import is_voiced
from emotion_qwen.analysis.reader import BLANK
from emotion_qwen.analysis.reading import PICTURE, ClipReading
from emotion_qwen.engine.encoding import View
from emotion_qwen.faces.capture import RIGHTED_FROM
from emotion_qwen.media.voice import Voice, measure
from emotion_qwen.media.voice_claims import LEVEL_UNITS, REFERENCE, level_measures, voice_levels
from emotion_qwen.prepare import PersonPictures
from emotion_qwen.records import MEASURED, Cue, Episode, FaceTrack, Utterance
from emotion_qwen.strings import SENTENCES, VOICE_LEVELS, in_language
from emotion_qwen.taxonomy import label_set
from emotion_qwen.verify.verifier import EMOTIONS
from emotion_qwen.verify.word_table import LARGEST, WordTable

REGIONS: dict[str, tuple[float, float]] = {"brows and eyes": (0.15, 0.5), "mouth": (0.62, 1.0)}
"""Region of an upright face crop -> its first and last row, as shares of the crop's side."""
TELLING = 0.1
"""Smallest decrease of a share for which a region is named."""
EFFECT = 0.01
"""Smallest change of a share for which words or context become a cue."""
MARGIN = 1.0
"""Seconds of sound before and after an episode's peak that are measured."""


def face_cues(reading: ClipReading, person: PersonPictures, episodes: Sequence[Episode]) -> list[Cue]:
    """Measure which part of the face accounts for each episode of a person, at its peak."""
    return [_face_cue(reading, person, rows, episode) for episode, rows in _peaks(reading, person, episodes)]


def covered_views(reading: ClipReading, person: PersonPictures, episodes: Sequence[Episode]) -> list[View]:
    """Return the views that `face_cues` needs, so that they can be scored together with those of other clips."""
    return [view for _, rows in _peaks(reading, person, episodes) for row in rows for view in _covered(reading, row)]


def _peaks(
    reading: ClipReading, person: PersonPictures, episodes: Sequence[Episode]
) -> list[tuple[Episode, list[int]]]:
    """Return the episodes in which a person is seen, each with the glimpses of the frame with its largest share."""
    peaks = []
    number = person.track.person
    for episode in episodes:
        column = reading.labels.labels.index(episode.label)
        times = [time for time in np.unique(person.times).tolist() if episode.onset <= time <= episode.offset]
        if times:
            peak = max(times, key=lambda time: reading.frame(number, time)[column])
            peaks.append((episode, reading.rows_at(number, peak)))
    return peaks


def _covered(reading: ClipReading, row: int) -> list[View]:
    """Return the picture of a glimpse unchanged and with each region covered; cached, so that views stay identical."""
    if row not in reading.covered:
        picture = reading.glimpses[row].picture
        assert picture is not None  # glimpses of a person have a picture
        pictures = [_cover(picture["image"], *span) for span in REGIONS.values()]
        reading.covered[row] = [[picture], *([{"type": "image", "image": covered}] for covered in pictures)]
    return reading.covered[row]


def _face_cue(reading: ClipReading, person: PersonPictures, rows: Sequence[int], episode: Episode) -> Cue:
    time, language, still = reading.glimpses[rows[0]].time, reading.language, reading.prepared.clip.still
    column = reading.labels.labels.index(episode.label)
    # One row is the crop, another its mirror image, if used.
    each = [reading.ask(_covered(reading, row), PICTURE)[0][:, column] for row in rows]
    shares = np.mean(each, axis=0).tolist()
    clip, track = reading.prepared.clip, person.track
    near = int(np.abs(clip.times[track.frames] - time).argmin())
    height, width = clip.frames.shape[1:3]
    x1, y1, x2, y2 = (float(v) for v in track.boxes[near])
    box = (x1 / width, y1 / height, x2 / width, y2 / height)
    name = reading.labels.names(language)[column]
    texts = in_language(SENTENCES, language)
    frame = "" if still else texts["cue_frame"].format(time=time)
    falls = {region: shares[0] - after for region, after in zip(REGIONS, shares[1:], strict=True)}
    telling = max(falls, key=lambda region: falls[region])
    measures = {"share": shares[0]} | {
        f"share without {region}": s for region, s in zip(REGIONS, shares[1:], strict=True)
    }
    if falls[telling] < TELLING:
        text = texts["cue_face"].format(label=name, before=shares[0], frame=frame)
    else:
        first, last = REGIONS[telling]
        if not is_righted(track, near):  # regions are horizontal strips of the upright crop
            box = (box[0], box[1] + first * (box[3] - box[1]), box[2], box[1] + last * (box[3] - box[1]))
        region = texts[telling]
        text = texts["cue_region"].format(
            region=region, label=name, before=shares[0], after=shares[0] - falls[telling], frame=frame
        )
    return Cue("picture", episode.onset, episode.offset, text, MEASURED, measures, track.person, box)


def is_righted(track: FaceTrack, place: int) -> bool:
    """Whether the crop of a face was rotated upright; `place` is the index of a detection in the track."""
    return track.rolls is not None and abs(float(track.rolls[place])) >= RIGHTED_FROM


def _cover(crop: np.ndarray, first: float, last: float) -> np.ndarray:
    covered = crop.copy()
    covered[round(first * len(crop)) : round(last * len(crop))] = BLANK
    return covered


def voice_cues(reading: ClipReading, episodes: Sequence[Episode]) -> list[Cue]:
    """Compare the voice around each episode's peak with the whole clip, for peaks at which a voice is active."""
    clip = reading.prepared.clip
    if clip.wave is None or "sound" not in reading.channels:
        return []
    whole = measure(clip.wave, clip.sample_rate)
    if clip.still:
        return [_voice_cue(reading, (episodes[0].onset, episodes[0].offset), whole)]
    spans = [(max(e.onset, e.peak - MARGIN), min(e.offset, e.peak + MARGIN)) for e in episodes]
    return [_voice_cue(reading, span, whole) for span in spans if is_voiced(reading.prepared.voice, *span)]


def _voice_cue(reading: ClipReading, span: tuple[float, float], whole: Voice) -> Cue:
    clip = reading.prepared.clip
    assert clip.wave is not None  # checked by the caller
    first, last = (round((time - clip.wave_start) * clip.sample_rate) for time in span)
    here = measure(clip.wave[max(first, 0) : max(last, 0)], clip.sample_rate)
    louder = here.level - whole.level
    texts = in_language(SENTENCES, reading.language)
    text = (
        texts["cue_voice"].format(pitch=here.pitch, usual=whole.pitch, level=louder)
        if here.voiced > 0
        else texts["cue_unpitched"].format(level=louder)
    )
    measures = {
        "level, dB of full scale": here.level,
        "pitch, Hz": here.pitch,
        "pitch spread, semitones": here.spread,
        "voiced share": here.voiced,
        "clip's pitch, Hz": whole.pitch,
        "clip's level, dB of full scale": whole.level,
    }
    return Cue("sound", span[0], span[1], text, MEASURED, measures)


def level_cues(reading: ClipReading) -> list[Cue]:
    """Compare the voice of the whole clip with recordings of acted speech; nothing if it is as usual."""
    clip, spans = reading.prepared.clip, reading.prepared.voice
    if clip.wave is None or not spans or "sound" not in reading.channels:
        return []
    start, end = spans[0][0], spans[-1][1]
    first, last = (max(round((time - clip.wave_start) * clip.sample_rate), 0) for time in (start, end))
    measures = level_measures(clip.wave[first:last], clip.sample_rate)
    texts, names = (in_language(table, reading.language) for table in (SENTENCES, VOICE_LEVELS))
    unusual = [level for level in voice_levels(measures) if level.level != "middle"]
    sentences = [
        texts[f"level_{level.level}"].format(
            name=names[level.name], value=f"{level.value:.{0 if level.value >= 100 else 1}f}",
            unit=LEVEL_UNITS[level.name], low=f"{REFERENCE[level.name][0]:g}", high=f"{REFERENCE[level.name][1]:g}",
        )
        for level in unusual
    ]  # fmt: skip
    if not sentences:
        return []
    text = texts["cue_levels"].format(levels=texts["level_and"].join(sentences))
    values = {f"{name}, {LEVEL_UNITS[name]}": value for name, value in measures.items()}
    return [Cue("sound", start, end, text, MEASURED, values)]


def text_cues(reading: ClipReading, column: int) -> list[Cue]:
    """Measure how omitting the words changes the answer while they are said, and the context that of the clip.

    Args:
        reading: of the clip.
        column: index of the clip's label; words are measured by the leading label while they are said.
    """
    clip, everything = reading.prepared.clip, reading.channels
    cues = []
    rest = [name for name in everything if name != "words"]
    if "words" in everything and rest:
        shares, without = reading.shares(everything), reading.shares(rest)
        for utterance in clip.utterances:
            spoken = [row for row, glimpse in enumerate(reading.glimpses) if utterance in glimpse.utterances]
            rows = [row for row in spoken if not np.isnan(without[row, 0])]
            if rows:
                leading = int(shares[rows].mean(0).argmax())
                cues += _text_cue(reading, "words", utterance, leading, shares[rows].mean(0), without[rows].mean(0))
    rest = [name for name in everything if name != "context"]
    if "context" in everything and rest:
        utterance = Utterance(0.0, clip.duration, reading.context.strip())
        cues += _text_cue(reading, "context", utterance, column, reading.clip(everything), reading.clip(rest))
    return cues


def word_cues(reading: ClipReading) -> list[Cue]:
    """Return the strongest word of each utterance with how much more frequent it is in texts of one emotion."""
    table, texts = WordTable.load(), in_language(SENTENCES, reading.language)
    names = dict(zip(EMOTIONS, label_set("fer7").names(reading.language), strict=True))
    cues = []
    for utterance in reading.prepared.clip.utterances if "words" in reading.channels else ():
        for strongest in table.evidence(utterance.text)[:1]:
            form = "cue_word" if strongest.ratio <= LARGEST else "cue_frequent_word"
            ratio = min(strongest.ratio, LARGEST)
            text = texts[form].format(word=strongest.word, ratio=ratio, label=names[strongest.emotion])
            measures = {"times as frequent": strongest.ratio}
            cues.append(Cue("words", utterance.start, utterance.end, text, MEASURED, measures))
    return cues


def _text_cue(
    reading: ClipReading, channel: str, utterance: Utterance, column: int, shares: np.ndarray, without: np.ndarray
) -> list[Cue]:
    before, after = float(shares[column]), float(without[column])
    if abs(before - after) < EFFECT:
        return []
    label = reading.labels.names(reading.language)[column]
    text = in_language(SENTENCES, reading.language)[f"cue_{channel}"].format(
        said=utterance.text, label=label, before=before, after=after
    )
    measures = {"share": before, f"share without {channel}": after}
    return [Cue(channel, utterance.start, utterance.end, text, MEASURED, measures)]
