"""Decoding in processes that die, hang or run out of memory."""

from __future__ import annotations

import asyncio
import os

import numpy as np
import pytest
from tests.serving.conftest import picture_bytes, png

from emotion_qwen.media.clip import read_clip
from emotion_qwen.serving.decoders import Decoders
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.settings import ClipSettings


def decode(path, **settings):
    async def run():
        decoders = Decoders(ServeSettings.of({"decoders": 1, **settings}))
        folder = decoders.folder
        try:
            return await decoders.decode(path, "the picture", ClipSettings()), decoders
        finally:
            await decoders.close()
            assert not folder.exists()

    return asyncio.run(run())


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(0))
    return path


def test_a_clip_comes_back_as_it_is_read_here(picture):
    found, _ = decode(picture)
    own = read_clip(picture, ClipSettings())
    assert np.array_equal(found.frames, own.frames) and found.size == own.size and found.still
    assert found.source == "the picture" and found.wave is None


def test_a_medium_that_takes_more_memory_than_there_is_is_refused(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(picture_bytes(np.zeros((6000, 6000, 3), np.uint8)))  # 108 MB decoded, 100 kB as a file
    with pytest.raises(ApiError) as caught:
        decode(path, decode_bytes=2**28)
    assert caught.value.status in (413, 422), "it says so, or it dies of it"
    assert "memory" in str(caught.value) or "stopped" in str(caught.value)


def test_a_decoder_that_takes_too_long_is_ended(picture):
    with pytest.raises(ApiError, match="decoding took longer than 0.01 s; give a smaller medium") as caught:
        decode(picture, decode_seconds=0.01)
    assert caught.value.status == 422


def test_a_file_that_never_ends_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ApiError) as caught:
        decode(tmp_path / "pipe", decode_seconds=3.0)
    assert caught.value.status in (400, 422)


def test_errors_name_the_medium_and_no_path(tmp_path):
    (tmp_path / "words.png").write_text("only words")
    with pytest.raises(ApiError) as caught:
        decode(tmp_path / "words.png")
    assert "the picture is text" in str(caught.value) and str(tmp_path) not in str(caught.value)
