"""Compare raw, built and clean rows: accuracy of a classical baseline on clean test rows, over three seeds.

    python -m scripts.poisoned --seed 1                        # our sets: intents, slots, answers
    python -m scripts.poisoned --seed 1 --set banking77 --data ../shared/data
    python -m scripts.poisoned --seed 1 --set intents --rows 20000

What must hold: built rows are not shown worse than raw ones, and lose at most 1 point at the lower end of the interval;
where the poison costs at least 1 point, at least half of it is recovered; at most 2% of the clean rows are lost.
Rows of dev, which no version trains on, are in none of the three and do not count as dropped, nor do rows of which a
planted copy stays. A clean row may be a near copy of a question of dev or test, which a build must drop, or of another
row that stays, so that nothing is lost. The share that is dropped is printed with both, without the former, and without
both: the last is what is lost. Rows that are dropped as contamination may be worth training on, and the poison includes
copies of cases with correct answers: what is recovered is also printed without contamination in any version.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from scripts.poisoned.poison import poisoned
from scripts.poisoned.sets import OURS, REAL, CleanSet, Row

from tuneworthy.cases.task_kind import parse_object
from tuneworthy.classical.base import CLASSICAL_MODELS, QuestionAnswer
from tuneworthy.config import load
from tuneworthy.dataset.build import build_version
from tuneworthy.dataset.effect import effect_words
from tuneworthy.dataset.freeze import Version
from tuneworthy.graders.squad import normalise, token_f1
from tuneworthy.stats.paired import compare
from tuneworthy.store import Folder

SEEDS = 3
BASELINES = {"slots": "field_tagger", "restaurant8k": "field_tagger", "answers": "nearest"}
MOST_TEST = {"field_tagger": 1_000, "nearest": 700}
PROJECT = """
[task]
name = "poisoned"
[examples]
[[graders]]
type = "exact"
[models.m]
provider = "scripted"
function = "a.py:a"
[ladder]
baseline = "m"
[data]
{data}
"""


def build(root: Path, clean: CleanSet, rows: list[Row], data: str) -> Version:
    """Write a project with these rows, build it and return the version, whatever its gates say."""
    (root / "tuneworthy.toml").write_text(PROJECT.format(data=data))
    cases = [{"input": row.question, "expected": _expected(row.answer)} for row in clean.cases]
    (root / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    with (root / "examples.jsonl").open("w") as file:
        for row in rows:
            turns = [{"role": "user", "content": row.question}, {"role": "assistant", "content": row.answer}]
            file.write(json.dumps({"messages": turns}) + "\n")
    version, _ = build_version(load(root), Folder(root), unsafe=True)
    assert version is not None
    return version


def _line(source: str) -> int:
    return int(source.rpartition(":")[2])


def _expected(answer: str) -> object:
    value = parse_object(answer)
    return value if isinstance(value, dict) else answer


def scores(name: str, rows: list[Row], test: list[Row], seed: int) -> list[float]:
    """Return the score of each test row by the baseline `name` trained on `rows`."""
    model = CLASSICAL_MODELS.get(name)([QuestionAnswer(row.question, row.answer) for row in rows], seed)
    answers = model.predict([row.question for row in test])
    if name == "nearest":
        return [token_f1(normalise(a), normalise(row.answer)) for a, row in zip(answers, test, strict=True)]
    return [float(_expected(a) == _expected(row.answer)) for a, row in zip(answers, test, strict=True)]


def one_seed(name: str, seed: int, n: int, data: str, folder: Path) -> tuple[np.ndarray, Counter[str]]:
    """Return the scores of each arm, ``(n_test, n_arms)``, and what was dropped by kind and reason.

    The arms: raw, built and clean rows; and raw and clean ones without those that a build must drop as contamination.
    """
    rng = random.Random(f"{name} {seed}")
    clean = OURS[name](rng, n) if name in OURS else REAL[name](folder, rng, n)
    rows = poisoned(clean, rng)
    with tempfile.TemporaryDirectory() as temporary:
        started = time.perf_counter()
        version = build(Path(temporary), clean, rows, data)
        seconds = time.perf_counter() - started
        left = {_line(row.source) for row in version.examples()}
        rejects = {_line(one.source): one.reason for one in version.rejects()}
        repeats = {_line(one.source): _line(one.other.source) for one in version.rejects() if one.other}
        for stage in version.recipe.checks:
            if stage.effect and stage.effect.status in {"measured", "unmeasured"}:
                print(f"    {stage.check}: {effect_words(stage.effect)}", flush=True)
        print(f"    all: {effect_words(version.recipe.effect)}; {seconds:.0f} s", flush=True)
    dropped: Counter[str] = Counter(rows=len(rows))
    for line, row in enumerate(rows, 1):
        dropped[f"{row.kind} n"] += 1
        planted = line in repeats and rows[repeats[line] - 1].kind in {"copy", "near"}  # which came first, and stays
        if line in rejects and rejects[line] != "held_out" and not planted:
            dropped[row.kind] += 1
            dropped[f"{row.kind} {rejects[line]}"] += 1
            repeat = line in repeats and rejects.get(repeats[line]) in {None, "held_out"}
            dropped[f"{row.kind} copy of a case"] += rejects[line].startswith("overlap_")
            dropped[f"{row.kind} copy of a row"] += repeat
    baseline = BASELINES.get(name, "linear")
    test = clean.test[: MOST_TEST.get(baseline, 3_000)]
    built = [row for line, row in enumerate(rows, 1) if line in left]
    raw = [row for line, row in enumerate(rows, 1) if rejects.get(line) != "held_out"]
    apart = [row for line, row in enumerate(rows, 1) if not rejects.get(line, "").startswith(("held_out", "overlap_"))]
    arms = [raw, built, *([row for row in some if row.kind == "clean"] for some in (raw, apart)), apart]
    return np.array([scores(baseline, arm, test, seed) for arm in arms]).T, dropped


def main() -> int:
    """Run what the command line asks for; 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", choices=[*OURS, *REAL], nargs="*", default=[*OURS])
    parser.add_argument("--rows", type=int, default=6_000)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the real sets")
    parser.add_argument("--settings", default="", help="lines of [data], for comparisons")
    args = parser.parse_args()
    failed = False
    for name in args.set:
        parts, dropped = [], Counter[str]()
        print(f"{name}, {args.rows} clean rows, seeds {args.seed} to {args.seed + SEEDS - 1}", flush=True)
        for seed in range(args.seed, args.seed + SEEDS):
            part, some = one_seed(name, seed, args.rows, args.settings, args.data)
            print(f"  seed {seed}: raw {part[:, 0].mean():.4f}, built {part[:, 1].mean():.4f}, "
                  f"clean {part[:, 2].mean():.4f}", flush=True)  # fmt: skip
            parts.append(part)
            dropped += some
        failed |= not verdict(np.concatenate(parts), dropped)
    return int(failed)


def verdict(scored: np.ndarray, dropped: Counter[str]) -> bool:
    """Print the means, the difference with its interval, what was recovered and what was dropped."""
    raw, built, clean, clean_apart, apart = scored.mean(axis=0)
    ones = np.ones(len(scored))
    result = compare(scored[:, 0], ones, scored[:, 1], ones, alpha=None)
    cost, gain = clean - raw, built - raw
    share = dropped["clean"] / dropped["clean n"]
    kinds = sorted(key.split()[0] for key in dropped if key.endswith(" n"))
    listed = ", ".join(f"{kind} {dropped[kind]} of {dropped[f'{kind} n']}" for kind in kinds)
    reasons = ", ".join(
        f"{key.split()[1]} {n}"
        for key, n in dropped.items()
        if key.startswith("clean ") and len(key.split()) == 2 and key[-2:] != " n"
    )
    print(f"  raw {raw:.4f}, built {built:.4f}, clean {clean:.4f}; built against raw {100 * gain:+.1f} points "
          f"[{100 * result.ci[0]:+.1f}, {100 * result.ci[1]:+.1f}] (n = {result.n})")  # fmt: skip
    print(f"  poison costs {100 * cost:.1f} points"
          + (f", of which {gain / cost:.0%} is recovered" if cost >= 0.01 else ""))  # fmt: skip
    cost_apart = clean_apart - apart
    print(f"  without contamination in any: raw {apart:.4f}, built {built:.4f}, clean {clean_apart:.4f}; poison costs "
          f"{100 * cost_apart:.1f} points"
          + (f", of which {(built - apart) / cost_apart:.0%} is recovered" if cost_apart >= 0.01 else ""))  # fmt: skip
    others = dropped["clean"] - dropped["clean copy of a case"]
    lost = (others - dropped["clean copy of a row"]) / dropped["clean n"]
    print(f"  dropped: {listed}\n  clean rows dropped: {share:.1%} ({reasons}); without copies of cases "
          f"{others / dropped['clean n']:.1%}, without copies of rows that stay, too, {lost:.1%}",
          flush=True)  # fmt: skip
    held = result.ci[0] >= -0.01 and (cost < 0.01 or gain >= cost / 2) and lost <= 0.02
    print("  holds" if held else "  DOES NOT HOLD", flush=True)
    return bool(held)


if __name__ == "__main__":
    raise SystemExit(main())
