from dataclasses import replace

import pytest
from tests.views.reports import nobody_seen, picture_only, shares, sound_only, two_people

from emotion_qwen.records import Moment, Person, Seen
from emotion_qwen.views.playhead import (
    box_at,
    clip_span,
    columns,
    has_picture,
    is_still,
    moment_at,
    sampling_step,
)

BOX = (0.0, 0.0, 0.2, 0.2)


def person(*times: float) -> Person:
    seen = tuple(Seen(time, (time / 10, 0.0, time / 10 + 0.2, 0.2), 0.9) for time in times)
    return Person(1, "happy", shares(0.6, 0.1), 0.0, 5.0, len(seen), BOX, {}, seen=seen)


def window(start: float, end: float) -> Moment:
    return Moment(start, end, "happy", shares(0.6, 0.1), shares(0.6, 0.1), (0.0, 0.0), ("picture",))


def test_a_box_moves_straight_between_sightings():
    assert box_at(person(0.0, 1.0), 0.25, 1.0) == pytest.approx((0.025, 0.0, 0.225, 0.2))
    assert box_at(person(0.0, 1.0), 1.0, 1.0) == pytest.approx((0.1, 0.0, 0.3, 0.2))


def test_a_box_is_hidden_while_the_face_is_not_seen():
    gone = person(0.0, 1.0, 4.0)
    assert box_at(gone, 1.4, 1.0) == gone.seen[1].box  # half a step beyond the last sighting before the hole
    assert box_at(gone, 2.5, 1.0) is None
    assert box_at(gone, 3.6, 1.0) == gone.seen[2].box
    assert box_at(gone, 4.6, 1.0) is None


def test_a_person_of_a_picture_stands_where_the_record_says():
    still = replace(person(), start=0.0, end=0.0)
    assert box_at(still, 0.0, 0.0) == BOX
    assert box_at(person(), 1.0, 1.0) is None  # a video without a track: a box that stands still would be made up


def test_of_overlapping_windows_the_nearest_centre_counts():
    timeline = (window(0, 2), window(0.5, 2.5), window(4, 6))
    assert moment_at(timeline, 1.3) is timeline[1] and moment_at(timeline, 1.2) is timeline[0]
    assert moment_at(timeline, 3.0) is None
    assert columns(timeline, 0, 6, 6) == [timeline[0], timeline[1], timeline[1], None, timeline[2], timeline[2]]


def test_the_span_comes_from_all_that_has_a_time():
    assert clip_span(two_people()) == (0.0, 20.0) and clip_span(sound_only()) == (0.0, 20.0)
    assert clip_span(picture_only()) == (0.0, 0.0)
    bare = replace(nobody_seen(), timeline=(), provenance={})
    assert clip_span(bare) == (0.0, 0.0)


def test_kinds_of_media_are_told_apart():
    assert is_still(picture_only()) and not is_still(two_people()) and not is_still(sound_only())
    assert has_picture(two_people()) and not has_picture(sound_only())
    assert has_picture(replace(two_people(), channels=()))


def test_the_sampling_step_is_the_usual_gap():
    assert sampling_step(two_people()) == 0.5
    assert sampling_step(replace(two_people(), people=())) == 0.5  # from the frames per second
    assert sampling_step(picture_only()) == 0.0
