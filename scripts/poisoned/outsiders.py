"""Twelve recipes of poison that the checks were not written on, and clean sets on which no source may be accused.

    python -m scripts.poisoned.outsiders --seed 1001 --set banking77 hint3 pubmedqa medquad --out results.md
    python -m scripts.poisoned.outsiders --clean

A build's questions are answered as a user who looks at the rows would: as recommended where most of them are bad, else
`report`. Rows that overlap with cases are in no arm. Scores: MiniLM with logistic regression, on clean test rows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from scripts.poisoned.__main__ import PROJECT
from scripts.poisoned.recipes import FILES, FREE, LABELLED, RECIPES, Row, clean_rows, pairs_of, poison

from tuneworthy.config import load
from tuneworthy.dataset import sources
from tuneworthy.dataset.base import WHOLE_SET, CheckContext, data_checks
from tuneworthy.dataset.build import build_version
from tuneworthy.dataset.checks import sources as source_check
from tuneworthy.dataset.freeze import Version
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.dataset.records import Recipe
from tuneworthy.dataset.sources import CachedEncoder
from tuneworthy.retrieval.encoder import load_encoder
from tuneworthy.stats.paired import compare
from tuneworthy.store import Folder
from tuneworthy.types import Example, grouped

ASKED = re.compile(r"policy\.(\w+) in \[data\] to report, else to (\w+)")
HEAD = ("recipe", "set (rows)", "bad rows", "dropped / repaired / reported / silent / moved wrong", "clean rows lost",
        "raw", "built", "oracle", "built - raw, points", "recovered", "reasons", "policy", "sentences")  # fmt: skip
ENCODER: list[CachedEncoder] = []


def imported(root: Path, rows: list[Row]) -> dict[str, Row]:
    """Write the rows as four files and import them; return them by source."""
    places = {}
    for name in FILES:
        own = [r for r in rows if r.file == name]
        places |= {f"{name}:{i}": r for i, r in enumerate(own, 1)}
        lines = ({"question": r.question, "answer": r.answer, "annotator": r.by, "date": r.date} for r in own)
        (root / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    import_files(Folder(root), [root / name for name in FILES])
    return places


def built_as_asked(root: Path, places: dict[str, Row]) -> tuple[Version, Recipe, dict[str, str], list[str]]:
    """Build, answer the questions, and build again where the answer changes what becomes of rows."""
    policy: dict[str, str] = {}
    asked: list[str] = []
    while True:
        given = ", ".join(f'{json.dumps(code)} = "{action}"' for code, action in policy.items())
        (root / "tuneworthy.toml").write_text(PROJECT.replace("[examples]\n", "").format(data=f"policy = {{{given}}}"))
        version, recipe = build_version(load(root), Folder(root), unsafe=True)
        assert version is not None
        questions = {m[1]: m[2] for text in recipe.failed if (m := ASKED.search(text))}
        asked += [text for text in recipe.failed if ASKED.search(text)]
        again = any("Together, the checks" in note for note in recipe.notes) and bool(questions)
        for code, action in questions.items():
            every = [x for x in (*version.rejects(), *version.findings()) if x.reason == code and x.source]
            named = grouped((f"{code}:{places[x.source].answer.strip()}" if code == "renamed_label" else code, x)
                            for x in every)  # fmt: skip
            for key, own in (named or {code: every}).items():
                if key in policy:  # a question is answered once
                    continue
                is_fault = 2 * sum(places[x.source].bad for x in own) >= max(1, len(own))
                policy[key] = action if is_fault else "report"
                again |= bool(own) and policy[key] not in {x.action or "drop" for x in own}
        if not again:
            said = [one.detail for stage in recipe.checks for one in stage.whole_set]
            return version, recipe, policy, [*dict.fromkeys([*said, *asked])]


def one(name: str, recipe: str, seed: int, args: argparse.Namespace) -> str:
    """Build one poisoned set, and return a row of the table."""
    rng = random.Random(f"{name} {recipe} {seed}")
    pairs, test = pairs_of(name, args.data, args.more)
    random.Random(f"{name} {seed}").shuffle(pairs)
    captions = (args.more / f"multi30k+dataset/data/task1/raw/test_2016_flickr.{code}.gz" for code in ("de", "fr"))
    foreign = [line for path in captions for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    n_cases, n = min(300, len(pairs) // 6), int({"near": 0.66, "zipf": 3}.get(recipe, 1) * args.rows)
    rows = poison(recipe, clean_rows(pairs[n_cases : n_cases + n], rng), rng, foreign, not test)[:2_000]
    with tempfile.TemporaryDirectory() as temporary:
        root, cases = Path(temporary), dict(pairs[:n_cases]).items()
        (root / "cases.jsonl").write_text("".join(json.dumps({"input": q, "expected": a}) + "\n" for q, a in cases))
        places = imported(root, rows)
        version, _, policy, sentences = built_as_asked(root, places)
        built = {row.source: (row.question, row.answer) for row in version.examples()}
        gone = {x.source: x for x in version.rejects() if x.source in places}
        reported = {x.source: x for x in version.findings() if x.source}
    fate, why, lost = Counter[str](), Counter[str](), Counter[str]()
    for source, r in places.items():
        x, same = gone.get(source), built.get(source) == (r.question, r.answer)
        if r.bad:
            stays = "repaired" if built.get(source) == r.right else "reported" if source in reported else "silent"
            fate["dropped" if x else stays if same or stays == "repaired" else "moved"] += 1
            why.update(f"{y.check}:{y.reason}" for y in (x or reported.get(source),) if y)
        elif x and not (x.contamination or x.reason.startswith("overlap") or (x.other and x.other.source in built)):
            lost[x.reason] += 1
        elif not x and not same:
            fate["changed"] += 1
    n_bad = sum(r.bad for r in rows)
    left = [r for s, r in places.items() if not (s in gone and gone[s].reason.startswith("overlap"))]
    arms = [[*built.values()] if some is None else [(r.question, r.answer) for r in some]
            for some in (left, None, [r for r in left if not r.bad])]  # fmt: skip
    scored = ["–"] * 5
    if test:
        s = np.array([learned(arm, test) for arm in arms]).T
        raw, new, oracle = s.mean(axis=0)
        low, high = compare(s[:, 0], np.ones(len(s)), s[:, 1], np.ones(len(s)), alpha=None).ci
        share = f"{(new - raw) / (oracle - raw):.0%}" if oracle - raw >= 0.02 else "–"
        gain = f"{100 * (new - raw):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        scored = [*(f"{x:.4f}" for x in (raw, new, oracle)), gain, share]
    fates = " / ".join(str(fate[k]) for k in ("dropped", "repaired", "reported", "silent", "moved"))
    n_lost = f"{lost.total()} = {lost.total() / (len(rows) - n_bad):.1%}, {fate['changed']} changed {dict(lost)}"
    said = " ⏎ ".join(text.replace("|", "/")[:260] for text in sentences)
    cells = [recipe, f"{name} ({len(rows)})", n_bad, fates, n_lost, *scored, dict(why.most_common(4)), policy, said]
    return f"| {' | '.join(map(str, cells))} |"


def learned(arm: list[tuple[str, str]], test: list[tuple[str, str]]) -> list[float]:
    from sklearn.linear_model import LogisticRegression

    x, given = ENCODER[0].encode([q for q, _ in arm]), [a for _, a in arm]
    predicted = LogisticRegression(C=20, max_iter=300).fit(x, given).predict(ENCODER[0].encode([q for q, _ in test]))
    return [float(p == a) for p, (_, a) in zip(predicted, test, strict=True)]


def as_example(r: Row, i: int) -> Example:
    turns = ({"role": "user", "content": r.question}, {"role": "assistant", "content": r.answer})
    return Example(messages=turns, id=str(i), source=f"{r.file}:{i}", meta={"annotator": r.by, "date": r.date})


def accused_in_clean(name: str, args: argparse.Namespace) -> list[list[str]]:
    """Return the sentences of the check `sources` on six random splits of clean rows, which are judged once."""
    rng, (pairs, test) = random.Random(f"{name} clean {args.seed}"), pairs_of(name, args.data, args.more)
    pairs = rng.sample(pairs, min(800, len(pairs)))
    labels = tuple(sorted({a for _, a in pairs})) if test else ()
    context = CheckContext(labels=labels, encoder=ENCODER[0] if test else None)
    judge, splits = source_check._judge, [clean_rows(pairs, rng) for _ in range(6)]
    judged = judge([as_example(r, i) for i, r in enumerate(splits[0])], context)
    source_check._judge = lambda *_: judged
    examples = ([as_example(replace(r, file=rng.choice(FILES)), i) for i, r in enumerate(rows)] for rows in splits)
    check = data_checks()["sources"]
    found = [[x.message for x in check.run(rows, context) if x.row == WHOLE_SET] for rows in examples]
    source_check._judge = judge
    return found


def main() -> None:
    """Append to the table as results come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1_001)
    parser.add_argument("--set", nargs="*", default=["banking77", "hint3", "pubmedqa", "medquad"])
    parser.add_argument("--recipe", nargs="*", default=RECIPES)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--clean", action="store_true", help="thirty clean sets instead")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--more", type=Path, default=Path("../ordinary-data"), help="folder of the other public sets")
    parser.add_argument("--vectors", type=Path, default=Path(tempfile.gettempdir()) / "outsiders-vectors")
    parser.add_argument("--out", type=Path, default=Path("outsiders.md"))
    args = parser.parse_args()
    args.vectors.mkdir(exist_ok=True)
    ENCODER.append(CachedEncoder(load_encoder(), args.vectors / "learner.bin"))
    sources.load_encoder = lambda _spec: ENCODER[0]  # a text is encoded once for all builds
    with args.out.open("a") as file:
        for name in ("banking77", "hint3", "pubmedqa", "medquad", "svamp") if args.clean else ():
            print(name, accused_in_clean(name, args), file=file, flush=True)
        print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|", file=file, flush=True)
        for recipe in () if args.clean else args.recipe:
            for name in args.set if recipe in FREE else [each for each in args.set if each in LABELLED]:
                print(one(name, recipe, args.seed, args), file=file, flush=True)


if __name__ == "__main__":
    main()
