import pytest

from emotion_qwen.media.timeline import frame_count
from emotion_qwen.media.video import frame_count as public_frame_count
from emotion_qwen.settings import ClipSettings


@pytest.mark.parametrize(
    ("total", "rate", "fps", "expected"),
    [
        (250, 25, 1, 10),  # official_release.md 1.4, run with the release's code
        (250, 25, 2, 20),
        (250, 25, 3, 30),
        (60, 30, 1, 4),
        (60, 30, 2, 4),
        (60, 30, 3, 6),
        (3, 30, 2, 2),
        (1_000_000, 25, 2, 768),
        (472, 24000 / 1001, 2, 38),
        (1, 25, 2, 1),  # beyond the release, which fails
        (2, 25, 2, 2),
    ],
)
def test_frame_count_is_the_release_rule(total, rate, fps, expected):
    assert frame_count(total, rate, ClipSettings(fps=fps)) == expected


def test_frame_count_rounds_limits_to_even():
    assert frame_count(100, 25, ClipSettings(min_frames=9, max_frames=32)) == 10
    assert frame_count(1000, 25, ClipSettings(max_frames=15)) == 14
    assert public_frame_count is frame_count
