"""The GitHub Action: its scripts, run as GitHub runs them, on a repository of ours whose prompt changes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from lxml import etree

from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCHEMA = etree.XMLSchema(etree.parse(ROOT / "tests" / "fixtures" / "junit.xsd"))
# What the models of the simulation answer: right on a share that follows the system prompt.
MODEL = "answer(request, 0.9 if 'colour' in system(request) else 0.3)"


@dataclass
class Outcome:
    """How a step of the action ended."""

    status: int
    log: str
    summary: str
    outputs: Mapping[str, str]

    @property
    def comment(self) -> str:
        return Path(self.outputs["comment"]).read_text()


def script_of(step: str) -> dict[str, Any]:
    (found,) = (one for one in ACTION["runs"]["steps"] if one.get("id") == step)
    return found


def value_of(expression: str, context: Mapping[str, str]) -> str:
    """The value of `${{ a || b }}`: the first of its names that is not empty."""
    (names,) = re.fullmatch(r"\$\{\{ (.+) \}\}", expression).groups()  # type: ignore[union-attr]
    return next((context[name] for name in names.split(" || ") if context[name]), "")


class Repository:
    """A git repository whose project lies in the folder `task`, and the runner that the action sees."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "repository"
        self.temp = folder / "temp"
        self.temp.mkdir(parents=True)
        self.project = write_simulation(self.folder / "task", {"small": MODEL}, n_cases=200, rungs=["baseline"])
        (self.project / ".gitignore").write_text(".tuneworthy/\n__pycache__/\n")
        self.git("init", "-q", "-b", "main")
        self.base = self.commit()

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.com"]
        done = subprocess.run(["git", *identity, *words], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "Change the project")
        return self.git("rev-parse", "HEAD")

    def write_prompt(self, text: str) -> None:
        file = self.project / "tuneworthy.toml"
        file.write_text(re.sub(r'system = ".*"', f'system = "{text}"', file.read_text()))
        self.commit()

    def run(self, step: str = "compare", event: Mapping[str, str] | None = None, **inputs: str) -> Outcome:
        """Run the script of a step: bash, and the environment that GitHub sets."""
        context = {f"inputs.{name}": str(value["default"]) for name, value in ACTION["inputs"].items()}
        context |= {"inputs.project": "task"} | {f"inputs.{name}": value for name, value in inputs.items()}
        pull_request = {"github.event.pull_request.base.sha": self.base, "github.event.before": ""}
        context |= pull_request | (event or {})
        found = script_of(step)
        script, outputs, summary = (self.temp / name for name in ("script.sh", "outputs", "summary"))
        script.write_text(found["run"])
        outputs.write_text("")
        summary.write_text("")
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(self.temp),
            "GITHUB_OUTPUT": str(outputs),
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_WORKSPACE": str(self.folder),
            "GITHUB_ACTION_PATH": str(ROOT),
            "RUNNER_TEMP": str(self.temp),
            "TUNEWORTHY_TRUST": str(self.folder),
            **{name: value for name, value in os.environ.items() if name == "PYTHONPATH"},
            **{name: value_of(text, context) for name, text in found.get("env", {}).items()},
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        pairs = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
        return Outcome(done.returncode, done.stdout + done.stderr, summary.read_text(), pairs)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("action")
    Repository(folder)
    return folder


@pytest.fixture
def repository(original: Path, tmp_path: Path) -> Repository:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    made = Repository.__new__(Repository)
    made.folder, made.temp, made.project = tmp_path / "repository", tmp_path / "temp", tmp_path / "repository" / "task"
    made.base = made.git("rev-parse", "HEAD")
    return made


def test_a_worse_prompt_fails_with_a_readable_comment_and_a_valid_junit_file(repository: Repository) -> None:
    repository.write_prompt("Name the shape.")
    outcome = repository.run()
    assert outcome.status == 3, outcome.log
    assert outcome.outputs["answer"] == "worse"
    lines = outcome.comment.splitlines()
    assert lines[0] == "### B is worse than A."
    assert re.fullmatch(
        r"Difference: -\d\d\.\d points \(95% interval \\\[-\d\d\.\d, -\d\d\.\d\\\]\)\. n = .*", lines[7]
    )
    assert re.match(r"Broken by B \(\d+\): `", lines[9])
    assert "shape" not in outcome.log  # questions of dev stay out of the log
    assert outcome.summary == outcome.comment and "of 1 changed files" in outcome.comment
    top = etree.parse(outcome.outputs["junit"])
    SCHEMA.assertValid(top)
    assert top.getroot().get("failures") == "1"


@pytest.mark.slow
def test_an_equal_prompt_passes(repository: Repository) -> None:
    repository.write_prompt("Name the colour, please.")
    outcome = repository.run()
    assert (outcome.status, outcome.outputs["answer"]) == (0, "no_worse"), outcome.log
    SCHEMA.assertValid(etree.parse(outcome.outputs["junit"]))


def track_a_store(repository: Repository) -> None:
    (repository.project / "Sub" / ".Tuneworthy").mkdir(parents=True)
    (repository.project / "Sub" / ".Tuneworthy" / "responses.sqlite").write_bytes(b"forged")


def track_a_store_in_a_large_repository(repository: Repository) -> None:
    track_a_store(repository)
    repository.commit()
    blob = repository.git("hash-object", "-w", "task/tuneworthy.toml")
    rows = "".join(f"100644 {blob}\tzoo/{i:0100}\n" for i in range(6000))  # more than a pipe takes at once
    subprocess.run(["git", "update-index", "--index-info"], cwd=repository.folder, input=rows, text=True, check=True)


def replace_the_project_by_a_link(repository: Repository) -> None:
    repository.project.rename(repository.folder / "other")
    repository.project.symlink_to("other")


def replace_the_project_by_another_repository(repository: Repository) -> None:
    shutil.rmtree(repository.project / ".git", ignore_errors=True)
    subprocess.run(["git", "init", "-q", str(repository.project)], check=True)


@pytest.mark.parametrize(
    "tamper",
    [
        track_a_store,
        track_a_store_in_a_large_repository,
        replace_the_project_by_a_link,
        replace_the_project_by_another_repository,
    ],
)
def test_a_change_that_brings_answers_or_moves_its_project_is_refused(
    tamper: Callable[[Repository], None], repository: Repository
) -> None:
    tamper(repository)
    if tamper in {track_a_store, replace_the_project_by_a_link}:
        repository.commit()
    outcome = repository.run()
    assert (outcome.status, outcome.outputs["answer"]) == (3, "refused"), outcome.log
    assert outcome.summary.startswith("### tuneworthy does not judge this change: ")


@pytest.mark.slow
def test_edited_graders_and_cases_do_not_judge(repository: Repository) -> None:
    file = repository.project / "tuneworthy.toml"
    file.write_text(file.read_text().replace("[task]", "[task]\nmargin = 0.9"))
    repository.write_prompt("Name the shape.")
    outcome = repository.run()
    assert outcome.status == 3 and outcome.outputs["answer"] == "worse", outcome.log
    (repository.project / "cases.jsonl").write_text("")
    repository.write_prompt("Name a shape.")
    outcome = repository.run()
    assert outcome.status == 3 and "cannot judge this change" in outcome.summary, outcome.log


@pytest.mark.slow
def test_a_better_prompt_passes(repository: Repository) -> None:
    repository.write_prompt("Name the shape.")
    repository.base = repository.git("rev-parse", "HEAD")
    repository.write_prompt("Name the colour.")
    outcome = repository.run()
    assert (outcome.status, outcome.outputs["answer"]) == (0, "better"), outcome.log


@pytest.mark.slow
def test_a_change_of_something_else_passes_without_a_call(repository: Repository) -> None:
    (repository.folder / "README.md").write_text("Hello.\n")
    repository.commit()
    outcome = repository.run()
    assert (outcome.status, outcome.outputs["answer"]) == (0, "same"), outcome.log
    assert outcome.summary.startswith("### A and B are the same variant, so there is nothing to compare.\n")


@pytest.mark.slow
def test_an_inconclusive_comparison_fails_unless_it_may_pass(repository: Repository) -> None:
    file = repository.project / "world.py"
    file.write_text(file.read_text().replace("0.3", "0.88, 'x'") + "\n")
    repository.base = repository.commit()
    repository.write_prompt("Name the shape.")
    outcome = repository.run()
    assert (outcome.status, outcome.outputs["answer"]) == (4, "unresolved"), outcome.log
    assert "Next: add cases" in outcome.summary
    assert repository.run(undecided="pass").status == 0


@pytest.mark.slow
def test_a_push_is_compared_with_what_it_follows_and_a_named_variant_comes_first(repository: Repository) -> None:
    repository.write_prompt("Name the shape.")
    push = {"github.event.pull_request.base.sha": "", "github.event.before": repository.base}
    first = repository.run(event=push)
    assert first.status == 3, first.log
    exported = repository.temp / "exported"
    command = ["export", "variant", "current", "--project", str(repository.project), "--out", str(exported)]
    assert invoke(command) == 0
    again = repository.run(baseline=str(exported / "variant.json"))
    assert (again.status, again.outputs["answer"]) == (0, "same"), again.log


@pytest.mark.slow
def test_a_shallow_checkout_fetches_the_base(repository: Repository) -> None:
    repository.write_prompt("Name the shape.")
    origin = repository.folder.rename(repository.folder.with_name("origin"))
    repository.folder.mkdir()
    repository.git("clone", "-q", "--depth=1", origin.as_uri(), ".")
    outcome = repository.run()
    assert outcome.status == 3, outcome.log


@pytest.mark.slow
def test_a_base_without_the_project_passes(repository: Repository) -> None:
    repository.git("checkout", "-q", "--orphan", "other")
    repository.git("rm", "-rq", "--cached", ".")
    (repository.folder / "README.md").write_text("Hello.\n")
    repository.git("add", "README.md")
    repository.git("commit", "-q", "-m", "Begin")
    repository.base = repository.git("rev-parse", "HEAD")
    repository.commit()
    outcome = repository.run()
    assert (outcome.status, outcome.outputs["answer"]) == (0, "none"), outcome.log


@pytest.mark.slow
def test_the_first_push_of_a_branch_follows_nothing_and_passes(repository: Repository) -> None:
    outcome = repository.run(event={"github.event.pull_request.base.sha": "", "github.event.before": "0" * 40})
    assert (outcome.status, outcome.outputs["answer"]) == (0, "none"), outcome.log
    assert "the branch is new" in outcome.summary


@pytest.mark.slow
def test_a_base_that_cannot_be_fetched_is_shown_in_the_summary(repository: Repository) -> None:
    outcome = repository.run(event={"github.event.pull_request.base.sha": "no-such-revision"})
    assert outcome.status != 0 and outcome.outputs["answer"] == "error", outcome.log
    assert "origin" in outcome.summary


@pytest.mark.parametrize("event", ["", "--upload-pack=touch hacked"])
def test_a_base_that_is_no_revision_is_refused(event: str, repository: Repository) -> None:
    outcome = repository.run(event={"github.event.pull_request.base.sha": event})
    assert outcome.status == 2 and "::error::There is no base revision." in outcome.log


@pytest.mark.slow
def test_a_fault_is_shown_in_the_summary_and_no_line_of_it_is_a_workflow_command(repository: Repository) -> None:
    file = repository.project / "tuneworthy.toml"
    file.write_text(file.read_text() + "\n[x]\n'''\n::error::planted")
    outcome = repository.run()
    assert outcome.status == 2 and outcome.outputs["answer"] == "error", outcome.log
    assert outcome.summary.startswith("### tuneworthy gives no answer (exit status 2)\n\n    ")
    assert "junit" not in outcome.outputs
    token = re.search(r"::stop-commands::(\w{32})\n", outcome.log).group(1)  # type: ignore[union-attr]
    assert f"\n::{token}::\n" in outcome.log


@pytest.mark.parametrize("extras", ["local]==0.1 evil[", "; touch hacked", "$(touch hacked)"])
def test_extras_are_names_alone(extras: str, repository: Repository) -> None:
    outcome = repository.run("install", extras=extras)
    assert outcome.status == 2 and "::error::" in outcome.log
    assert not (repository.folder / "hacked").exists()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["install", "compare"])
def test_no_module_of_the_checkout_runs(step: str, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull request may bring a file json.py: Python would import it from the folder that the runner works in."""
    for name in ("json", "secrets", "pip", "sitecustomize"):
        (repository.folder / f"{name}.py").write_text("open('hacked', 'w')\nfrom _json import *\n")
    repository.commit()
    monkeypatch.setattr(sys.modules[__name__], "ROOT", repository.folder / "nowhere")  # where pip finds nothing
    outcome = repository.run(step)
    assert not (repository.folder / "hacked").exists(), outcome.log
    assert outcome.outputs.get("answer") == {"install": None, "compare": "same"}[step], outcome.log


def expressions(path: Path) -> list[str]:
    """The scripts of a workflow or action that hold an expression: text of strangers would become code there."""
    found = yaml.safe_load(path.read_text())
    jobs = [found["runs"]] if "runs" in found else found["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "${{" in step.get("run", "")]


def unpinned(path: Path) -> list[str]:
    """The actions of a workflow that another commit can come under."""
    return re.findall(r"uses: (?!\S+@[0-9a-f]{40}\s+# v\d)(\S+)", path.read_text())


@pytest.mark.parametrize("path", [ROOT / "action.yml", *WORKFLOWS], ids=lambda path: path.name)
def test_no_script_holds_an_expression_and_every_action_is_pinned(path: Path) -> None:
    assert expressions(path) == []
    assert unpinned(path) == []


def test_an_expression_in_a_script_and_an_action_by_its_tag_are_found(tmp_path: Path) -> None:
    planted = tmp_path / "planted.yml"
    planted.write_text('jobs: {a: {steps: [{uses: "x/y@v1"}, {run: "echo ${{ github.head_ref }}"}]}}\n')
    assert expressions(planted) == ["echo ${{ github.head_ref }}"]
    planted.write_text("      - uses: x/y@v1\n      - uses: x/z@main # v1\n")
    assert unpinned(planted) == ["x/y@v1", "x/z@main"]


def test_a_release_is_published_without_a_secret_by_a_job_that_can_do_nothing_else() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    release = yaml.safe_load(text)
    publish = release["jobs"]["publish"]
    assert release["permissions"] == {"contents": "read"} and "secrets." not in text
    assert publish["permissions"] == {"id-token": "write"} and publish["environment"] == "pypi"
    assert publish["needs"] == "build" and [name for step in publish["steps"] if (name := step.get("run"))] == []
    assert "pypa/gh-action-pypi-publish@" in publish["steps"][-1]["uses"]
    assert release[True]["push"] == {"tags": ["v*"]}  # YAML 1.1 reads `on` as true


def test_the_page_names_the_inputs_and_outputs_of_the_action_and_its_workflow_holds_no_expression() -> None:
    page = (ROOT / "docs" / "how-to" / "pull-request.md").read_text()
    (workflow,) = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    tables = set(re.findall(r"^\| `([\w-]+)`", page, re.MULTILINE)) | set(re.findall(r", `(\w+)` \|", page))
    assert tables == {*ACTION["inputs"], *ACTION["outputs"]}
    steps = workflow["jobs"]["compare"]["steps"]
    (used,) = (step for step in steps if step.get("uses", "").startswith("tuneworthy/"))
    assert set(used["with"]) <= set(ACTION["inputs"])
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []
