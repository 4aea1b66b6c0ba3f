import pytest
from pydantic import Field

from emotion_qwen.errors import SettingsError
from emotion_qwen.settings import ClipSettings, Settings, read_yaml


def test_every_fault_is_listed_at_once():
    with pytest.raises(SettingsError) as caught:
        ClipSettings.of({"fsp": 2, "max_frames": 0}, "nano")
    assert "nano: " in str(caught.value)
    assert "unknown key 'fsp'" in str(caught.value) and "Did you mean 'fps'?" in str(caught.value)
    assert "max_frames = 0" in str(caught.value)


def test_a_missing_value_is_named_without_all_the_others():
    class Needed(Settings):
        output: str
        limit: int = 0

    with pytest.raises(SettingsError) as caught:
        Needed.of({"limit": 3}, "options")
    assert str(caught.value) == "options: output is missing; give it a value"


def test_overrides_reach_into_groups(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("optim:\n  steps: 3\nname: x\n", encoding="utf-8")
    values = read_yaml(file, ["optim.learning_rate=2.0e-5", "name=情绪"])
    assert values == {"optim": {"steps": 3, "learning_rate": 2e-5}, "name": "情绪"}


def test_wrong_files_and_overrides_are_named(tmp_path):
    with pytest.raises(SettingsError, match="gone.yaml' does not exist"):
        read_yaml(tmp_path / "gone.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="the top level is a list"):
        read_yaml(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="not valid YAML"):
        read_yaml(tmp_path / "bad.yaml")
    (tmp_path / "good.yaml").write_text("a: 1\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="override 'steps' has no '='"):
        read_yaml(tmp_path / "good.yaml", ["steps"])


def test_an_override_reaches_into_lists(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("data: [{name: a}, {name: b}]\nsteps: [1, 2]\n", encoding="utf-8")
    assert read_yaml(path, ["data.1.name=c", "steps.0=7"]) == {"data": [{"name": "a"}, {"name": "c"}], "steps": [7, 2]}
    with pytest.raises(SettingsError, match=r"override 'data\.2\.name=c': '2' is no place in a list of 2"):
        read_yaml(path, ["data.2.name=c"])


class Inner(Settings):
    learning_rate: float = 1.0
    steps: int = 1


class Entry(Settings):
    path: str = ""
    weight: float = 1.0


class Outer(Settings):
    inner: Inner = Inner()
    maybe: Inner | None = None
    entries: list[Entry] = Field(default_factory=list)
    named: dict[str, Entry] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"lr": 1}}, "unknown key 'inner.lr'; expected one of: learning_rate, steps. "
                               "Did you mean 'inner.learning_rate'?"),
        ({"maybe": {"max_steps": 1}}, "unknown key 'maybe.max_steps'; expected one of: learning_rate, steps. "
                                      "Did you mean 'maybe.steps'?"),
        ({"entries": [{}, {"wieght": 2}]}, "unknown key 'entries.1.wieght'; expected one of: path, weight. "
                                           "Did you mean 'entries.1.weight'?"),
        ({"named": {"a": {"pat": ""}}}, "unknown key 'named.a.pat'; expected one of: path, weight. "
                                        "Did you mean 'named.a.path'?"),
        ({"iner": {}}, "unknown key 'iner'; expected one of: entries, inner, maybe, named. Did you mean 'inner'?"),
        ({"inner": {"xyz": 1}}, "unknown key 'inner.xyz'; expected one of: learning_rate, steps."),
    ],
)  # fmt: skip
def test_an_unknown_key_lists_the_keys_of_its_own_group(values, message):
    with pytest.raises(SettingsError) as caught:
        Outer.of(values, "run.yaml")
    assert str(caught.value) == f"run.yaml: {message}"


def test_an_override_steps_only_into_groups(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("stage: hybrid\nadapter:\n", encoding="utf-8")
    assert read_yaml(path, ["adapter.rank=8", "new.deep.key=1"]) == {
        "stage": "hybrid", "adapter": {"rank": 8}, "new": {"deep": {"key": 1}},
    }  # fmt: skip
    with pytest.raises(SettingsError, match="'stage' is the value 'hybrid', not a group of settings"):
        read_yaml(path, ["stage.name=x"])
    with pytest.raises(SettingsError, match="not valid YAML; put it in quotes"):
        read_yaml(path, ["adapter=[1"])
