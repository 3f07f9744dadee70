"""A classifier, the classical winner or a fine-tuned one, as a folder that answers without this package, and the proof
that it answers as it was measured.

Invariant: a folder is handed over only after a Python that has NumPy and nothing else gave the measured answer to every
case with it.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tuneworthy import __version__
from tuneworthy.classical.base import METHODS, ClassicalModel, ProbabilisticModel
from tuneworthy.classical.export import MARK, read_answer, standalone_files
from tuneworthy.classical.runtime import fill_template
from tuneworthy.errors import GateFailed, UserError
from tuneworthy.exports.folder import rendered, run_closed, write_export
from tuneworthy.exports.variant import asked
from tuneworthy.ladder import messages
from tuneworthy.ladder.own_models import IN_PROCESS, LEAST, ClassicalProvider
from tuneworthy.ladder.record import RungRecord
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.ladder.session import Session, required_run
from tuneworthy.prompts.templates import chat, plain_pieces
from tuneworthy.types import JsonMapping, Paths, Texts, Variant, frozen, text_of

# Those whose winner may be a classifier.
RUNGS = ("classical", "fine_tune")
# Log-probabilities that differ by less are the same: weights are stored with 7 digits.
SAME = 1e-3
# Answers the cases with the folder's module.
CHECK = """
import classifier
answers, seconds, shares = [], [], []
if hasattr(classifier, "probabilities"):
    of_model = classifier.MODEL.probabilities
    def noted(questions):
        rows = of_model(questions)
        shares.extend(rows.tolist())
        return rows
    classifier.MODEL.probabilities = noted
for filled, text in cases:
    start = time.perf_counter()
    answers.append((classifier.answer if filled else classifier.predict)(text))
    seconds.append(time.perf_counter() - start)
p50_ms = 1000 * sorted(seconds)[len(seconds) // 2]
print(json.dumps({"answers": answers, "shares": shares, "p50_ms": p50_ms}))
"""


@dataclass(frozen=True, slots=True)
class MeasuredAnswer:
    """Answers of the classical winner.

    Attributes:
        case: Id.
        test: Whether it is a test case.
        filled: Whether `text` is the filled-in prompt, not a case's input.
        text: The question.
        answer: As it is exported: JSON answers as objects.
        logprobs: Log-probability per label; None without probabilities.
    """

    case: str
    test: bool
    filled: bool
    text: str | JsonMapping
    answer: Any
    logprobs: Sequence[float] | None


@frozen
class ClassifierExport:
    """An exported classifier.

    Attributes:
        name: Of the variant.
        paths: The files.
        n_test: Test cases that it answers as measured.
        n_dev: Dev cases likewise.
        p50_ms: Median time of an answer, in the check.
        size: Bytes of all files.
    """

    name: str
    paths: Paths
    n_test: int
    n_dev: int
    p50_ms: float
    size: int


async def export_classifier(session: Session, folder: Path, which: str | None = None) -> ClassifierExport:
    """Write a classifier of the latest run into `folder`, after it was checked.

    That of a fine-tuned one is proof that it can be served as it was measured: it is stored as `serving`.

    Args:
        session: The opened project.
        folder: Made if it is not there.
        which: Rung of the classifier; the fine-tuned one if it is the best of the run, else the classical winner.

    Raises:
        UserError: There is no finished run, no classifier in it, or one that cannot be exported.
        GateFailed: The exported classifier answers a case otherwise than it was measured.
    """
    run = required_run(session.project)
    found = {
        rung.rung: (rung, variant)
        for rung in run.rungs
        if rung.rung in RUNGS and (variant := run.variant_of(rung)) and variant.model.startswith(IN_PROCESS)
    }
    best = run.best.rung if run.best and run.best.rung in found else RUNGS[0]
    name = which or (best if best in found else RUNGS[-1])
    if name not in found:
        if which == RUNGS[-1]:
            raise UserError(
                "The last run has no fine-tuned classifier that was compared on test.",
                hint=(
                    'Set `method = "classifier"` in [train]. Then run `tuneworthy train` and `tuneworthy run '
                    "--rung fine_tune`."
                ),
            )
        raise UserError(
            "The last run has no classical baseline that was compared on test.",
            hint=(
                "Add the rung `classical` to ladder.rungs, and rows to [examples] if it is empty. Then run "
                "`tuneworthy run`."
            ),
        )
    rung, variant = found[name]
    export = await write_classifier(session, variant, rung, folder)
    if isinstance(rung.detail, TunedDetail):
        detail = (
            f"The exported classifier gave the measured answers to all {export.n_test:,} test cases and "
            f"{export.n_dev:,} dev cases."
        )
        session.folder.write(
            "serving",
            {"status": "pass", "engine": rung.detail.engine, "artifact": rung.detail.classifier, "detail": detail},
        )
    return export


async def write_classifier(session: Session, variant: Variant, rung: RungRecord, folder: Path) -> ClassifierExport:
    """Write a classical baseline into `folder`, after it was checked.

    Args:
        session: The opened project.
        variant: Of the baseline.
        rung: The rung that measured it, on its own or as a part.
        folder: Made if it is not there.

    Raises:
        UserError: It cannot be exported, or `folder` has other files.
        GateFailed: The exported classifier answers a case otherwise than it was measured.
    """
    template, measured, model = await measured_answers(session, variant)
    files = standalone_files(model, template)
    with TemporaryDirectory(dir=session.folder.path) as name:
        for file, content in files.items():
            (Path(name) / file).write_bytes(content)
        p50_ms = await check_standalone(Path(name), measured)
    n_test = sum(row.test for row in measured)
    n_dev, task = len(measured) - n_test, session.project.task.name
    files["README.md"] = _readme(
        task,
        rung,
        variant,
        model,
        template,
        shape=shape_of([row.text for row in measured if isinstance(row.text, str)]),
        n_test=n_test,
        n_dev=n_dev,
        p50_ms=p50_ms,
    )
    return ClassifierExport(
        name=variant.name,
        paths=write_export(folder, files, MARK),
        n_test=n_test,
        n_dev=n_dev,
        p50_ms=p50_ms,
        size=sum(map(len, files.values())),
    )


def shape_of(texts: Texts) -> str:
    r"""Return the lines `name: ...` that all texts have, in order; "" without any.

    >>> shape_of(["Subject: Hi\nBody: Dear all,\nNote: x", "Subject: \nBody: y"])
    'Subject: ...\nBody: ...'
    """
    names = [re.findall(r"^([^\W\d]\w*(?: \w+)*):", text, re.MULTILINE) for text in texts] or [[]]
    shared = set(names[0]).intersection(*names)
    return "\n".join(f"{name}: ..." for name in dict.fromkeys(names[0]) if name in shared)


def _readme(
    task: str,
    rung: RungRecord,
    variant: Variant,
    model: ClassicalModel,
    template: Texts,
    *,
    shape: str,
    **checked: float,
) -> bytes:
    variables = list(dict.fromkeys(template[1::2]))
    several, (low, high) = len(variables) > 1, rung.ci95 or (0.0, 1.0)
    kind = str(model.identity["name"])
    return rendered(
        "classifier_readme.md.j2",
        task=" ".join(task.split()),
        kind=kind,
        method=METHODS[kind],
        identity=model.identity,
        call=json.dumps(dict.fromkeys(variables, "...") if several else shape or "...", ensure_ascii=False),
        shape=not several and shape,
        is_json=isinstance(read_answer(model, model.predict([""])[0]), dict),
        probable=isinstance(model, ProbabilisticModel),
        several=several,
        template=template,
        rung=rung,
        low=low,
        high=high,
        grader=next(iter(rung.graders), ""),
        variant=variant,
        tuneworthy=__version__,
        **checked,
    ).encode()


async def measured_answers(session: Session, variant: Variant) -> tuple[Texts, list[MeasuredAnswer], ClassicalModel]:
    """Return the template that all cases fill in, the answer to each case, and the fitted baseline.

    For dev cases that the model learnt from, measured answers came from other models, so this model answers.
    """
    provider = session.models[variant.model].provider
    assert isinstance(provider, ClassicalProvider)
    model = await provider.fitted()
    split, pieces = session.split, plain_pieces(variant.user)
    cases = [*split.test, *split.dev]
    questions = {case.id: text_of(chat(variant, case, ())[-1]) for case in cases}
    texts = {case.id: asked(case, set(pieces[1::2])) for case in cases if not case.messages}
    if not all(_fills(pieces, text) == questions[case] for case, text in texts.items()):
        pieces, texts = [], {}
    test = {case.id for case in split.test}
    rows = []
    for case, trace in zip(cases, await session.ask(variant, cases), strict=True):
        if trace.response is None:
            continue
        answer, logprobs = trace.response.text, trace.response.label_logprobs
        if case.source in provider.folds:
            answer, logprobs = model.predict([questions[case.id]])[0], None
        text, filled = texts.get(case.id, questions[case.id]), case.id not in texts
        labels = model.labels if isinstance(model, ProbabilisticModel) else ()
        values = [logprobs[label] for label in labels] if logprobs else None
        rows.append(MeasuredAnswer(case.id, case.id in test, filled, text, read_answer(model, answer), values))
    return pieces, rows, model


def _fills(pieces: Texts, text: str | JsonMapping) -> str | None:
    try:
        return fill_template(pieces, text)
    except (KeyError, TypeError):
        return None


async def check_standalone(folder: Path, measured: Sequence[MeasuredAnswer]) -> float:
    """Compare the answers of an exported classifier with the measured answers; return the median time of an answer, ms.

    Raises:
        GateFailed: It answers a case otherwise, or not at all.
    """
    result = await run_closed(CHECK, folder, ["classifier"], [[row.filled, row.text] for row in measured], "classifier")
    logs = np.log(np.maximum(np.array(result["shares"]), LEAST))
    differing = [
        (row, answer)
        for place, (row, answer) in enumerate(zip(measured, result["answers"], strict=True))
        if answer != row.answer or (row.logprobs and np.abs(logs[place] - row.logprobs).max() > SAME)
    ]
    if differing:
        row, answer = differing[0]
        answers = "" if row.test else f" (measured {row.answer}, exported {answer})"
        raise GateFailed(
            (
                "Nothing was written, because the exported classifier's answers differ from the run on "
                f"{len(differing)} of {len(measured)} cases, first on case {row.case}{answers}."
            ),
            hint=messages.say("report_fault"),
        )
    return float(result["p50_ms"])
