"""The script of the pull-request action: odd inputs and refs, and a `tuneworthy` that prints and answers anything.

A workflow command or an output that is not the action's own is a bug, and so is an exit status outside of the contract.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from hypothesis import strategies as st

ROOT: Final = Path(__file__).resolve().parents[2]
STEP: Final = "compare"
PROJECT: Final = '[task]\nname = "t"\n'
# Stands in for the command line: prints a log, and writes the files that it was asked for.
STUB: Final = """#!/bin/sh
cat "$STUB/log"
for path; do
  case $path in
    */comment.md) cp "$STUB/comment" "$path" ;;
    */comparison.json) if [ -s "$STUB/json" ]; then cp "$STUB/json" "$path"; fi ;;
  esac
done
exit "$(cat "$STUB/status")"
"""
SPELLINGS: Final = (
    "task", ".", "..", "/", "task/", "link", "HEAD", "HEAD~1", "main", "0" * 40, "--upload-pack=touch x", "-h", "",
    "::error::x", "$(touch x)", "`touch x`", "a\nanswer=same", "::stop-commands::x", "true", "pass", "1", "nan",
    "current", "/etc/passwd",
)  # fmt: skip
ANSWERS: Final = ("same", "no_worse", "worse", "unresolved", "same\ncomment=/etc/passwd", "::error::x", "", "a=b")
ODD: Final = st.sampled_from(SPELLINGS) | st.text(max_size=30).map(lambda text: text.replace("\0", ""))
COMMANDS: Final = ("::error::x", "##[error]x", "::set-output name=a::b", "ok", "\r::debug::x")
LINES: Final = st.lists(st.sampled_from(COMMANDS) | st.text(max_size=20), max_size=5)
INPUTS: Final = st.fixed_dictionaries({
    "inputs": st.fixed_dictionaries({
        "PROJECT": st.sampled_from(["task"] * 4) | ODD, "BASE_REF": st.sampled_from(["HEAD~1"] * 4) | ODD,
        "BASELINE": st.just("") | ODD, "MAX_USD": st.just("1") | ODD, "ON_TEST": st.just("false") | ODD,
        "UNDECIDED": st.just("fail") | ODD,
    }),
    "log": LINES.map("\n".join), "answer": st.none() | st.sampled_from(ANSWERS) | st.text(max_size=20),
    "status": st.sampled_from([0, 1, 2, 3, 4, 5]),
})  # fmt: skip
OUTPUT: Final = re.compile(r"answer=[a-z_]+|(comment|junit|json)=/\S+")
OWN: Final = re.compile(r"::(error::(There is no base|The input)|warning::The comparison is inconclusive).*")


@cache
def prepare() -> Path:
    """Make the repository: two commits, a link, and the stand-in for the command line."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-action-"))
    repository = folder / "repository"
    (repository / "task").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin" / "tuneworthy").write_text(STUB)
    (folder / "bin" / "tuneworthy").chmod(0o755)
    steps = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
    (folder / "script.sh").write_text(next(step["run"] for step in steps if step.get("id") == STEP))
    (repository / "link").symlink_to("task")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q", "-b", "main"], *[["commit", "-q", "-m", name] for name in "ab"]):
        if words[0] == "commit":
            (repository / "task" / "tuneworthy.toml").write_text(PROJECT + f"# {words[-1]}\n")
            subprocess.run([*git, "add", "-A"], cwd=repository, check=True)
        subprocess.run([*git, *words], cwd=repository, check=True)
    return folder


def use(drawn: dict[str, Any]) -> None:
    """Run the script once, and check its log, its outputs and its status."""
    folder = prepare()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        answer = "" if drawn["answer"] is None else json.dumps({"answer": drawn["answer"]})
        texts = {"log": drawn["log"], "comment": "### c\n", "json": answer, "status": str(drawn["status"]),
                 "outputs": "", "summary": ""}  # fmt: skip
        for file, text in texts.items():
            (work / file).write_text(text, encoding="utf-8", errors="replace")
        environment = {
            "PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]), "HOME": name, "RUNNER_TEMP": name,
            "STUB": name, "GITHUB_OUTPUT": str(work / "outputs"), "GITHUB_STEP_SUMMARY": str(work / "summary"),
            **{key: value.encode("utf-8", "replace").decode() for key, value in drawn["inputs"].items()},
        }  # fmt: skip
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(folder / "script.sh")],
            cwd=folder / "repository", env=environment, capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        subprocess.run(["git", "worktree", "prune", "--expire=now"], cwd=folder / "repository", check=True)
        outputs = (work / "outputs").read_text(encoding="utf-8").splitlines()
        check(done.stdout.decode("utf-8", "replace"), outputs, done.returncode)
    assert sorted(path.name for path in (folder / "repository").iterdir()) == [".git", "link", "task"], (
        "a file was made"
    )


def check(log: str, outputs: list[str], status: int) -> None:
    """Raise AssertionError for a command or an output that is not the action's own."""
    end = ""
    for line in log.splitlines():
        if end:
            end = "" if line == end else end
        elif start := re.fullmatch(r"::stop-commands::([0-9a-f]{32})", line):
            end = f"::{start[1]}::"
        else:
            assert OWN.fullmatch(line) or not (line.lstrip().startswith("::") or "##[" in line), line
    assert not end, "commands stay switched off"
    assert all(map(OUTPUT.fullmatch, outputs)), outputs
    assert len({line.partition("=")[0] for line in outputs}) == len(outputs), outputs
    assert status in {0, 1, 2, 3, 4, 5, 128}, status
