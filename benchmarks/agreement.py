"""Agreement with today's model against accuracy, and what a certificate keeps, on public tasks with right answers.

    python benchmarks/agreement.py DATA BANKING [--splits N]

DATA has clones of gtfintechlab/zero-shot-finance (CC BY-NC 4.0) and athenarc/CitationIntentOpenLLM (GPL 2.0) as
OWNER+NAME, with published answers of language models; BANKING is the folder of BANKING77 (CC BY 4.0). Today's model is
GPT-4, and Qwen2.5-14B for citations; each other model and a classifier, taught by today's answers, is an option.

First part: for each option, agreement minus accuracy on the same rows. Second part: rows that taught nothing are drawn
into dev, calibration and test, N times. The certificate, the naive rule (the lowest threshold with at most 5% different
on calibration) and conformal risk control (Angelopoulos et al. 2022, arXiv 2208.02814) choose a threshold; printed are
the share kept of test, the difference among it, and how often that is above 5%. BANKING77 has no model's answers: its
labels are taken for today's.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path

import numpy as np

from tuneworthy.classical.base import fit
from tuneworthy.stats.certificate import CalibrationUnits, certify
from tuneworthy.stats.intervals import score_interval
from tuneworthy.stats.paired import compare
from tuneworthy.types import Example, content_hash

SEED, MOST = 20261202, 0.05
FINANCE = {
    "sentiment": ("sentiment_analysis", {"0": "positive", "1": "negative", "2": "neutral"}),
    "stance": ("fomc_communication", {"0": "dovish", "1": "hawkish", "2": "neutral"}),
}
CITATIONS = "athenarc+CitationIntentOpenLLM/results/acl-arc/1 - Instruct Q8/few-shot/outputs/SP1/QT1/EM1/T0.0"
CITING = ("QWEN2.5_14B", "GEMMA2-27B", "GEMMA2-9B", "LLAMA3.1", "LLAMA3.2_3B", "LLAMA3.2_1B")
# Question to the right answer, and to each model's answer.
Rows = dict[str, tuple[str, dict[str, str]]]


def finance(data: Path, name: str) -> Rows:
    folder, labels = FINANCE[name]
    rows: Rows = {}
    for model in ("gpt4", "chatgpt", "dolly"):
        for path in sorted(
            (data / "gtfintechlab+zero-shot-finance" / folder / "data/llm_prompt_outputs").glob(f"{model}_*")
        ):
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    first = row["text_output"].strip().partition("\n")[0].lower()
                    said = next((label for label in labels.values() if label in first), first[:20])
                    rows.setdefault(" ".join(row["original_sent"].split()), (labels[row["true_label"]], {}))[
                        1
                    ].setdefault(model, said)
    return {question: row for question, row in rows.items() if len(row[1]) == 3}


def citations(data: Path) -> Rows:
    rows: Rows = {}
    for model in CITING:
        with (data / CITATIONS / f"{model}_acl-arc_few-shot_SP1_QT1_EM1_T0.0_Q8.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                right = row["citation_class_label"]
                rows.setdefault(row["citation_context"], (right, {}))[1][model] = row["predicted_classes"]
    return rows


def banking(folder: Path) -> Rows:
    files = [csv.DictReader((folder / name).open(encoding="utf-8")) for name in ("train.csv", "test.csv")]
    return {row["text"]: (row["category"], {"labels": row["category"]}) for row in chain(*files)}


def taught(rows: Rows, today: str, n: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the questions that taught nothing, the answers of a classifier, and its confidence."""
    questions = sorted(rows)
    random.Random(SEED).shuffle(questions)
    turns = [
        ({"role": "user", "content": q}, {"role": "assistant", "content": rows[q][1][today]}) for q in questions[:n]
    ]
    model = fit("linear", [Example(messages=pair, id=content_hash(pair)) for pair in turns], seed=7)
    rest = questions[n:]
    return rest, np.array(model.predict(rest)), model.probabilities(rest).max(axis=1)


def against_truth(name: str, rows: Rows, today: str, *, teach: bool) -> None:
    questions = sorted(rows)
    if teach:
        questions, answers, _ = taught(rows, today, len(rows) // 2)
        for question, answer in zip(questions, answers.tolist(), strict=True):
            rows[question][1]["classifier"] = answer
    ones = np.ones(len(questions))
    right = np.array([rows[q][1][today] == rows[q][0] for q in questions], float)
    print(f"{name}, n {len(questions)}: {today} is {score_interval(right, ones).value:.1%} right")
    for option in sorted({model for q in questions for model in rows[q][1]} - {today}):
        agrees = np.array([rows[q][1].get(option) == rows[q][1][today] for q in questions], float)
        is_right = np.array([rows[q][1].get(option) == rows[q][0] for q in questions], float)
        bias = compare(is_right, ones, agrees, ones, alpha=None, seed=SEED)
        print(
            f"  {option}: accuracy {is_right.mean():.1%}, agreement {agrees.mean():.1%}, bias {100 * bias.delta:+.1f} "
            f"points [{100 * bias.ci[0]:+.1f}, {100 * bias.ci[1]:+.1f}]",
            flush=True,
        )


def naive(cal: CalibrationUnits, slack: float = 0.0) -> float | None:
    order = np.argsort(-cal.sure)
    rates = (np.cumsum(cal.differs[order]) + slack) / (np.arange(len(order)) + 1 + slack)
    kept = np.flatnonzero(rates <= MOST)
    return float(cal.sure[order[kept[-1]]]) if len(kept) else None


def conformal(cal: CalibrationUnits) -> float | None:
    """Control the mean of "kept and different", divided by the share kept: the monotone loss of risk control."""
    order, n = np.argsort(-cal.sure), len(cal.sure)
    for place in range(n - 1, -1, -1):
        kept = order[: place + 1]
        if (cal.differs[kept].sum() + 1) / (n + 1) <= MOST * (place + 1) / n:
            return float(cal.sure[order[place]])
    return None


RULES: Mapping[str, Callable[[CalibrationUnits, CalibrationUnits], float | None]] = {
    "certificate": lambda cal, dev: found.threshold if (found := certify(cal, dev)) else None,
    "naive": lambda cal, dev: naive(cal),
    "conformal": lambda cal, dev: conformal(cal),
}


def keeping(name: str, rows: Rows, today: str, n_taught: int, splits: int) -> None:
    questions, answers, sure = taught(rows, today, n_taught)
    differs = np.array([rows[q][1][today] for q in questions]) != answers
    units = CalibrationUnits(sure, differs.astype(float), np.ones(len(sure)))
    n_dev, n_cal = len(sure) // 5, min(780, 2 * len(sure) // 5)
    found: dict[str, list[tuple[float, float]]] = {rule: [] for rule in RULES}
    rng = np.random.default_rng(SEED)
    for _ in range(splits):
        order = rng.permutation(len(sure))
        dev, cal, test = (
            CalibrationUnits(units.sure[part], units.differs[part], units.weights[part])
            for part in np.split(order, [n_dev, n_dev + n_cal])
        )
        for rule, choose in RULES.items():
            threshold = choose(cal, dev)
            kept = test.kept(np.inf if threshold is None else threshold)
            found[rule].append((len(kept.sure) / len(test.sure), kept.difference if len(kept.sure) else 0.0))
    print(f"{name}: {differs.mean():.1%} differ, dev {n_dev}, calibration {n_cal}, test {len(sure) - n_dev - n_cal}")
    for rule, pairs in found.items():
        shares, rates = np.array(pairs).T
        refused, differ = (shares == 0).mean(), np.mean(rates[shares > 0]) if shares.any() else 0.0
        print(
            f"  {rule}: keeps {shares.mean():.1%}, of it differ {differ:.2%}, above {MOST:.0%} in "
            f"{(rates > MOST).mean():.0%} of {splits} splits, none in {refused:.0%}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("banking", type=Path)
    parser.add_argument("--splits", type=int, default=200)
    args = parser.parse_args()
    money = {name: finance(args.data, name) for name in FINANCE}
    for name, rows in money.items():
        against_truth(name, rows, "gpt4", teach=True)
    against_truth("citations", citations(args.data), CITING[0], teach=False)
    for name, rows in money.items():
        keeping(name, rows, "gpt4", len(rows) // 3, args.splits)
    rows = banking(args.banking)
    keeping("banking77", rows, "labels", len(rows) // 2, args.splits)


if __name__ == "__main__":
    main()
