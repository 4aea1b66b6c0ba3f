"""The documentation site: its navigation, links, translations and generated pages; the build itself is a slow test."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from tests.documents import FENCE, ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))
TASKS = ("index", "study", "export", "own_labels", "finetune", "ver", "embed", "serving_gpu", "express", "limits")
"""Pages that exist in English and Chinese."""
LINK = re.compile(r"(?<!!)\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def module(name: str):
    """Import a tool of the documentation, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def settings() -> dict:
    """Read mkdocs.yml; what it takes from Python modules is left out."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
    return yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)


def navigation(entries) -> list[str]:
    if isinstance(entries, str):
        return [entries]
    values = entries if isinstance(entries, list) else entries.values()
    return [page for entry in values for page in navigation(entry)]


def anchors(text: str) -> list[str]:
    """Return the anchors of the headings of a page, by the rule of GitHub and of the site."""
    plain = [re.sub(r"\[([^\]]+)\]\([^)]*\)|[`*]", r"\1", title) for title in HEADING.findall(FENCE.sub("", text))]
    return [re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in plain]


def test_every_page_is_in_the_navigation_once() -> None:
    pages = navigation(settings()["nav"])
    assert len(pages) == len(set(pages))
    assert set(pages) == {path.relative_to(DOCS).as_posix() for path in PAGES if not path.name.endswith(".zh.md")}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_links_lead_to_pages_and_headings(path: Path) -> None:
    broken = []
    for target, anchor in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        page = (path.parent / target).resolve() if target else path
        if path.name.endswith(".zh.md") and target and page.with_suffix(".zh.md").is_file():
            page = page.with_suffix(".zh.md")  # the site shows the page in the language of the link
        if not page.exists():
            broken.append(target)
        elif anchor and page.suffix == ".md" and anchor not in anchors(page.read_text(encoding="utf-8")):
            broken.append(f"{target}#{anchor}")
    assert not broken


def test_task_pages_are_translated_section_by_section() -> None:
    chinese = {path.name.removesuffix(".zh.md"): path for path in PAGES if path.name.endswith(".zh.md")}
    assert set(chinese) == set(TASKS)
    for name, path in chinese.items():
        english = path.with_name(f"{name}.md").read_text(encoding="utf-8")
        text = path.read_text(encoding="utf-8")
        if name != "export":  # its English page also has a section on Python
            assert len(anchors(text)) == len(anchors(english)), name
        prose = FENCE.sub("", text)
        assert len(re.findall(r"[\u4e00-\u9fff]", prose)) > 300, f"{name}: hardly any Chinese"


def test_the_titles_of_task_pages_are_translated() -> None:
    site = settings()
    languages = next(plugin["i18n"]["languages"] for plugin in site["plugins"] if "i18n" in plugin)
    titles = next(language["nav_translations"] for language in languages if language["locale"] == "zh")
    tasks = next(entry["Tasks"] for entry in site["nav"] if "Tasks" in entry)
    assert not [title for entry in tasks for title in entry if title not in titles]
    assert not [title for entry in site["nav"] for title in entry if title not in titles]


def test_the_guide_to_the_fields_is_that_of_the_schema() -> None:
    guide = module("field_guide")
    schema = json.loads(guide.SCHEMA.read_text(encoding="utf-8"))
    assert guide.PAGE.read_text(encoding="utf-8") == guide.field_guide(schema), "run python docs/field_guide.py"
    del schema["$defs"]["Gap"]["properties"]["reason"]["description"]
    with pytest.raises(KeyError, match="description"):
        guide.field_guide(schema)


def test_the_guide_knows_every_key_of_provenance() -> None:
    known = module("field_guide").PROVENANCE
    source = (ROOT / "src" / "emotion_qwen" / "analysis" / "analyzer.py").read_text(encoding="utf-8")
    made = source[source.index("def made_by") : source.index("def _model")]
    keys = set(re.findall(r'^            "(\w+)":|facts\["(\w+)"\] =', made, re.MULTILINE))
    keys = {first or second for first, second in keys} - {"evoked", "channel"}  # kinds of what is untrained
    assert len(keys) >= 15 and not keys - set(known)


def test_links_out_of_the_documentation_become_text() -> None:
    hook = module("site_hooks").on_page_markdown
    page = SimpleNamespace(file=SimpleNamespace(src_uri="guides/a.md"))
    text = "[test](../../tests/test_cli.py) [b](../limits.md#x) ![c](../images/page.png)"
    assert hook(text, page) == "test (`tests/test_cli.py`) [b](../limits.md#x) ![c](../images/page.png)"


@pytest.mark.slow
def test_the_site_is_built_strictly_and_needs_no_network(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("the extra docs is not installed; `make docs` installs it")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("index.html", "zh/index.html", "reference/python.html", "reference/cli.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"https?:", text), name
    assert "emotion-qwen analyze" in (tmp_path / "reference" / "cli.html").read_text(encoding="utf-8")


def test_the_guide_to_reasoning_lists_every_form():
    from emotion_qwen.analysis.forms import FORMS

    page = (DOCS / "guides" / "reasoning.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| `")]
    assert [(row[0].strip(" `"), row[2].strip()) for row in rows] == [
        (form.name, form.checked) for form in FORMS.values()
    ]
    assert all(row[1].count(";") + 1 <= len(FORMS[row[0].strip(" `")].steps) for row in rows)
