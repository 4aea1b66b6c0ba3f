"""What the documents say is checked: commands, options, make targets, printed trees, configuration files and links."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.documents import DOCUMENTS, FENCE, READMES, ROOT, calls, fault, fenced_lines, name

PACKAGE = ROOT / "src" / "emotion_qwen"
ARCHITECTURE = ROOT / "docs" / "concepts" / "architecture.md"
LINK = re.compile(r"(?:\]\(|<img[^>]*?src=\")(?!https?:|mailto:|#)([^)\s\"#]+)")


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def named_targets(text: str) -> set[str]:
    """Return the make targets named in code, fenced or inline."""
    code = "\n".join([*fenced_lines(text), *re.findall(r"`([^`\n]+)`", FENCE.sub("", text))])
    found = set()
    for rest in re.findall(r"(?:^|\s|;)make((?:[ ]+[\w./=\"' -]+)?)", code, re.MULTILINE):
        words = re.findall(r"(?:^|\s)([a-z][\w-]*)(?=\s|$)", rest.partition("=")[0])
        found |= set(words[:1])
    return found


def printed_tree(text: str) -> dict[str, set[str]]:
    """Read a printed tree: `"faces" -> {"detect.py", ...}`; a module at the top stands with an empty set."""
    for block in FENCE.findall(text):
        first, _, rest = block.partition("\n")
        if first.strip() == "src/emotion_qwen/":
            break
    else:
        return {}
    tree: dict[str, set[str]] = {}
    for line in rest.splitlines():
        entry = re.match(r"^  (\w+)(/|\.py)", line)
        if not line.startswith(" ") and line.strip():
            break  # the tree of the package ends where a folder of the repository stands at the margin
        if entry:
            last = entry.group(1)
            tree[last] = set()
        if tree and not (entry and entry.group(2) == ".py"):
            tree[last] |= set(re.findall(r"[\w./]+\.(?:py|json|safetensors|md)\b", line))
    return tree


@pytest.mark.parametrize("path", READMES, ids=name)
def test_a_readme_says_something_and_its_commands_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.strip(), f"{name(path)} is empty"
    found = list(calls(text))
    assert found, f"{name(path)} shows no emotion-qwen command in a fenced block"
    assert not [why for why in map(fault, found) if why]
    assert {"analyze", "test"} <= named_targets(text), f"{name(path)} must show make analyze and make test"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_a_document_names_what_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.strip(), f"{name(path)} is empty"
    assert not named_targets(text) - targets()
    assert not [why for why in map(fault, calls(text)) if why]
    assert not [link for link in LINK.findall(text) if not (path.parent / link).exists()]


@pytest.mark.parametrize("path", [p for p in [*READMES, ARCHITECTURE] if p.is_file()], ids=name)
def test_the_printed_tree_is_the_tree(path: Path) -> None:
    tree = printed_tree(path.read_text(encoding="utf-8"))
    if path != ARCHITECTURE and not tree:
        return
    missing = [part for part in tree if not (PACKAGE / part).is_dir() and not (PACKAGE / f"{part}.py").is_file()]
    missing += [
        f"{part}/{file}" for part, files in tree.items() for file in files if not (PACKAGE / part / file).is_file()
    ]
    assert not missing, f"{name(path)} prints what is not there"
    packages = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    modules = {p.stem for p in PACKAGE.glob("*.py")}
    assert not (packages | modules) - set(tree), f"{name(path)} leaves out what is there"


@pytest.mark.parametrize(
    "path", sorted([*(ROOT / "configs").rglob("*.y*ml"), *(ROOT / "recipes").rglob("*.y*ml")]), ids=name
)
def test_a_configuration_is_yaml(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.sh")), ids=name)
def test_a_recipe_is_a_shell_script(path: Path) -> None:
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_readers_read() -> None:
    text = (
        '`make lint`\n```sh\nmake analyze CLIP="my clip.mp4"  # words\n$ emotion-qwen doctor | head\n'
        "make test\n```\nmake sure\n"
    )
    assert list(calls(text)) == [["doctor"]]
    assert named_targets(text) == {"lint", "analyze", "test"}
    assert fault(["doctor", "--help"]) is None and fault(["--debug", "doctor"]) is None
    assert fault(["doctor", "--colour"]) == "doctor --colour: doctor has no option --colour"
    assert fault(["doktor"]) == "doktor: no command doktor"
    tree = printed_tree(
        "```\nsrc/emotion_qwen/\n  errors.py   all.py errors\n  faces/      detect.py track.py   faces\n"
        "              capture.py\nconfigs/\n```"
    )
    assert tree == {"errors": set(), "faces": {"detect.py", "track.py", "capture.py"}}
    assert LINK.findall("[a](b.md#c) [d](https://e) ![f](g.png)") == ["b.md", "g.png"]
