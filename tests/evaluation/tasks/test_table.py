"""The table of tasks as a whole: what a listing tells, that scoring is light, that every task scores right answers."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.evaluation.benchmark_files import loaded

from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.task import DOMAINS
from emotion_qwen.evaluation.tasks import TASKS, listing
from emotion_qwen.settings import ClipSettings

from .. import benchmark_files as files
from ..all_files import BENCHMARKS, WRITERS, with_wheels

EMOTION = (
    *("dfew", "mer2024_semi", "mer2024_noise", "mafw", "ravdess", "emoset", "emer", "mer_unibench", "ver", "folder"),
)
GENERAL = ("pope", "mme", "mmbench", "mmbench_circular", "scienceqa", "seedbench", "textvqa", "vqav2")


@pytest.fixture(params=BENCHMARKS)
def benchmark(request, tmp_path):
    """A task with its folder of invented files."""
    return with_wheels(request.param, tmp_path / "wheels")[0], BENCHMARKS[request.param](tmp_path / "set")


def test_every_task_of_the_issue_is_there_and_written_for():
    assert set(files.WRITERS) == {*EMOTION, *GENERAL}
    assert all(TASKS[name].domain == ("emotion" if name in EMOTION else "general") for name in files.WRITERS)
    assert all(task.name == name and task.domain in DOMAINS for name, task in TASKS.items())
    assert set(WRITERS) == set(TASKS)


def test_a_listing_says_what_is_needed_on_which_terms_and_where_from():
    rows = listing()
    assert [row["name"] for row in rows] == list(TASKS)
    assert not [(row["name"], key) for row in rows for key in ("title", "needs", "licence", "access") if not row[key]]
    dfew = next(row for row in rows if row["name"] == "dfew")
    assert dfew["prompts"].startswith("ours, release, r1-omni") and "agreement" in dfew["access"]
    assert "label set" in next(row for row in rows if row["name"] == "folder")["options"]
    assert not [row for row in rows if "\n" in "".join(row.values())]


def test_every_task_scores_and_fixes_settings_that_exist():
    assert all(task.score for task in TASKS.values())
    assert all(set(task.frames) <= set(ClipSettings.model_fields) for task in TASKS.values())


def test_tasks_and_their_scorers_load_nothing_heavy():
    code = (
        "import sys\nfrom emotion_qwen.evaluation.tasks import TASKS, listing\nlisting()\n"
        "from emotion_qwen.evaluation.scoring.records import Response as Answer, ScoredItem\n"
        "r = TASKS['pope'].score([ScoredItem('1', ('yes',), ('yes', 'no'))], [Answer('1', 'yes')])\n"
        "print(r['accuracy'].value, [m for m in ('torch', 'transformers', 'pyarrow', 'av', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "1.0 []\n", done.stderr


def test_items_are_whole(benchmark):
    task, home = benchmark
    for language in task.languages:
        items = task.items(home, side=48, languages=(language,))
        assert items and len({one.id for one in items}) == len(items)
        for one in items:
            assert one.language == language and one.question.strip()
            assert one.answer in one.choices or not one.choices
            assert not one.options or len(one.options) == len(one.choices)
            # MMMU alone has questions about several pictures; its findings count them.
            assert sum(part["type"] in ("image", "video") for part in one.parts) <= 1 or task.name == "mmmu"
        assert len(loaded(items[0].parts)) == len(items[0].parts)
        assert {one.id for one in task.items(home, side=48, languages=(language,), limit=1)} <= {
            one.id for one in items
        }


def test_right_answers_are_right_in_every_wording_and_language(benchmark):
    task, home = benchmark
    for prompt in task.prompts:
        asked = task.with_prompt(prompt)
        for language in asked.languages:
            items = asked.items(home, side=48, languages=(language,))
            scored = [one.scored() for one in items]
            result = asked.score(scored, [Answer(one.id, one.answer) for one in items])
            assert result.tally.parse_rate == 1 and not result.tally.strays
            assert all(one.points == pytest.approx(1) for one in result.judged), (prompt, language)


def test_likelihoods_of_choices_are_scored_where_there_are_choices(benchmark):
    task, home = benchmark
    for language in task.languages:
        items = [one for one in task.items(home, side=48, languages=(language,)) if one.choices]
        if items:
            shares = [{choice: float(choice == one.answer) for choice in one.choices} for one in items]
            answers = [Answer(one.id, scores=one.scores(share)) for one, share in zip(items, shares, strict=True)]
            result = task.score([one.scored() for one in items], answers)
            assert all(one.points == 1 for one in result.judged)


def test_silence_is_wrong_and_stays_in_the_denominator(benchmark):
    task, home = benchmark
    scored = [one.scored() for one in task.items(home, side=48, languages=task.languages[:1])]
    result = task.score(scored, [Answer(one.id, error="timed out") for one in scored[:1]])
    assert result.tally.items == len(scored) and result.tally.failures == 1 and result.tally.coverage == 0
    assert not any(one.points for one in result.judged)
    if task.as_released is not None:
        assert task.as_released(scored, [Answer(one.id, error="timed out") for one in scored]) == {}


def test_findings_are_one_line_each(benchmark):
    task, home = benchmark
    findings = task.check(home)
    assert findings and all("\n" not in finding.text for finding in findings)
    assert {finding.kind for finding in findings} <= {"missing", "fault", "differs", "note"}
    (nothing,) = task.check(None)
    assert nothing.kind == "missing" and "--data" in nothing.text


def test_the_guide_lists_every_benchmark_with_its_terms():
    guide = Path(__file__).parents[3] / "docs" / "guides" / "benchmark_tasks.md"
    rows = [line for line in guide.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    for name in BENCHMARKS:
        row = next(row for row in rows if f"`{name}`" in row.split("|")[1])
        assert TASKS[name].licence in row and TASKS[name].access in row, name
    named = " ".join(row.split("|")[1] for row in rows).replace("`moments...`", "`moments`")
    assert not [name for name in TASKS if f"`{name}`" not in named and not name.startswith("moments_")]
