"""The page's files without a browser: every word in two languages, every name used is there, nothing from elsewhere."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from emotion_qwen.serving.http.page import FILES, SCRIPTS, document, script_data
from emotion_qwen.serving.http.texts import TEXTS
from emotion_qwen.serving.limits import ServeSettings

WEB = files("emotion_qwen.serving") / "web"
SOURCES = {name: (WEB / name).read_text(encoding="utf-8") for name in ("index.html", *FILES)}
ALL = "\n".join(SOURCES.values())


def test_every_text_stands_in_both_languages_with_the_same_values():
    for name, (english, chinese) in TEXTS.items():
        assert english.strip() and re.search(r"[\u4e00-\u9fff]", chinese), name
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese)), name


def test_every_text_that_the_page_uses_is_there():
    used = set(re.findall(r'data-(?:say|hint|label)="(\w+)"', ALL)) | set(re.findall(r'\bsay\("(\w+)"', ALL))
    used |= set(re.findall(r'\b(?:tell|state|stageSays)\("(\w+)"', ALL))
    assert len(used) > 60 and used <= set(TEXTS)


def test_every_text_is_used():
    codes = re.compile(r"(invalid|media|request|queue|server|host|origin|internal)_\w+|\w+Error")  # said by their names
    assert [name for name in TEXTS if not codes.fullmatch(name) and f'"{name}"' not in ALL] == []


def test_every_element_that_a_script_names_is_there():
    ids = set(re.findall(r'\bid="([\w-]+)"', SOURCES["index.html"]))
    named = set(re.findall(r'byId\("([\w-]+)"\)', ALL))
    assert len(named) > 40 and named <= ids
    for name in ("aria-controls", "aria-labelledby", "aria-describedby"):
        assert set(re.findall(rf'{name}="([\w-]+)"', SOURCES["index.html"])) <= ids


def test_every_file_is_served_and_nothing_comes_from_elsewhere():
    assert {path.name for path in WEB.iterdir()} == {"index.html", *FILES}
    assert {name for name in SOURCES if name.endswith(".js")} == set(SCRIPTS)
    for name, text in SOURCES.items():
        addresses = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not addresses, (name, addresses)
        assert "innerHTML" not in text and "eval(" not in text and "document.write" not in text
    inside = set(re.findall(r'["(](/web/[\w./-]+)', ALL)) | set(re.findall(r'from "\./(\w+\.js)"', ALL))
    assert {path.removeprefix("/web/") for path in inside} <= set(FILES)


def test_the_document_carries_the_limits_of_the_server():
    told = script_data(ServeSettings.of({"media_bytes": 2048, "live": 0}))
    assert told["media_bytes"] == 2048 and told["live"] is False
    text = document(ServeSettings())
    assert "FACTS" not in text and text.count("</script>") == 2


@pytest.mark.parametrize("name", ["consent", "not_a_feeling", "limit_person", "limit_decide", "live_consent"])
def test_what_everybody_must_know_stands_in_the_page_itself(name):
    assert f'data-say="{name}"' in SOURCES["index.html"]
