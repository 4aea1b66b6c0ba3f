"""Items that end their process, or take too long, get the rows of a lost item; the other items are done."""

from __future__ import annotations

import os
import signal
import time

import pytest

from emotion_qwen.errors import StorageError
from emotion_qwen.ver.pools import local_pool, outcomes
from emotion_qwen.ver.store.table import Postponed


class Scripted:
    """Does what an item says."""

    def __call__(self, item):
        if item["do"] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if item["do"] == "hang":
            time.sleep(60)
        if item["do"] == "wait":
            raise Postponed("later")
        if item["do"] == "full":
            raise StorageError("no room")
        return [{"done": item["do"]}]

    def lost(self, item, reason):
        return [{"lost": item["do"], "reason": reason}]


def run(*names):
    items = [{"do": name} for name in names]
    return {item["do"]: rows for item, rows in outcomes(local_pool(2)(Scripted()), Scripted(), items, seconds=4.0)}


def test_lost_items_have_rows_and_the_rest_is_done():
    found = run("a", "die", "b", "hang", "wait", "c")
    (died,), (hung,) = found["die"], found["hang"]
    assert died == {"lost": "die", "reason": "the process that read it was ended by signal 9; "
                                             "there may be too little memory for it"}  # fmt: skip
    assert hung == {"lost": "hang", "reason": "it took longer than 4 s"}
    assert isinstance(found["wait"], Postponed) and str(found["wait"]) == "later"
    assert [found[name] for name in "abc"] == [[{"done": name}] for name in "abc"]


def test_a_full_disk_in_a_process_ends_the_step():
    with pytest.raises(StorageError, match="no room"):
        run("a", "full", "b")
