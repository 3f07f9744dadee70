"""`tuneworthy label`: one queue for every judgement of a person."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click

from tuneworthy.cases import read_cases
from tuneworthy.cases.drafts import FILE_NAME as DRAFTS
from tuneworthy.cases.drafts import apply_drafts
from tuneworthy.cases.labelling import Agreement, Applied, agreement, apply_labels, label_path, read_labels
from tuneworthy.cases.splits import StoredSplit
from tuneworthy.cases.task_kind import answer_text, guess_kind, label_counts, spelling_variants
from tuneworthy.cli.invocation import Invocation
from tuneworthy.cli.label_queues import (
    QUEUES,
    LabelRequest,
    after_labels,
    counted,
    known_name,
    label_files,
    review_of,
    said,
    unlabelled,
    waiting,
)
from tuneworthy.cli.label_terminal import work_through
from tuneworthy.cli.options import (
    FILE_PATH,
    json_option,
    note,
    print_result,
    project_option,
    say,
)
from tuneworthy.config import load
from tuneworthy.dataset.freeze import open_version
from tuneworthy.errors import UserError
from tuneworthy.ladder.task_data import read_data
from tuneworthy.people.queue import KINDS, Guideline, Queue
from tuneworthy.report.text import clean
from tuneworthy.store import Folder
from tuneworthy.text import count
from tuneworthy.trust import own_path
from tuneworthy.types import NamedTexts
from tuneworthy.verdict.label_audit import contradicts, is_rated, read_relabelled, suspects_path
from tuneworthy.web.label_page import answer_name, file_answers, read_answer_file, write_page

STATUS = {"accepted": 0, "rejected": 3, "open": 4, "no_plan": 4}
NEXT = {
    "accepted": "tuneworthy plan",
    "rejected": (
        "tuneworthy data build. It drops the rows that were rated bad; correct or drop others like them first. Then "
        "run `tuneworthy label review` for the new version."
    ),
    **dict.fromkeys(("open", "no_plan"), "tuneworthy label review"),
}
# Common rows from which the agreement of two people limits a score.
MIN_AGREEMENT = 20
# Options that apply to some queues only.
ONLY = {"--all": "cases", "--apply": "cases drafts suspects audit"}


@click.command("label")
@click.argument("kind", metavar="[QUEUE]", required=False, type=click.Choice([*QUEUES]))
@click.option("--labeller", metavar="NAME", help="Your name (default: your user name).")
@click.option("--status", is_flag=True, help="Show how many rows wait, and the result of a review.")
@click.option(
    "--page", metavar="FILE", type=FILE_PATH, help="Write the queue as a page that works offline on any machine."
)
@click.option(
    "--apply",
    "applied",
    metavar="[FILE]",
    is_flag=False,
    flag_value="",
    help="Write the labels into the cases; with FILE, store the answers of a page.",
)
@click.option("--overwrite", is_flag=True, help="With --apply, replace expected answers that differ.")
@click.option("--all", "every", is_flag=True, help="Include cases that already have an answer.")
@project_option
@json_option
def command(
    kind: str | None,
    labeller: str | None,
    status: bool,
    page: Path | None,
    applied: str | None,
    overwrite: bool,
    every: bool,
    root: Path,
) -> int:
    """Label, rate and review rows, one at a time.

    \b
    cases      Give the expected answers; a second person gets a share, blind.
    drafts     Accept, edit or drop drafted cases.
    judge      Rate answers of the last run as good or bad.
    suspects   Relabel failed cases whose label may be wrong.
    shadow     Label sampled sessions of the last replay.
    review     Rate a random sample of the latest dataset version. Exit
               status: 0 accepted, 3 rejected, 4 open.
    findings   Correct rows that the checks of this version reported.
    audit      Relabel a random sample of the test cases.

    Without QUEUE, opens the queue that helps most. Every answer is saved at once: stop at any time, and run the same
    command again to continue. The file guideline.md next to the cases tells labellers how to decide. For an expert
    with another machine, --page writes one file to send, and --apply stores the answers that come back.

    \b
    Example:
      tuneworthy label cases --labeller ada
      tuneworthy label cases --labeller ada --page ada.html
      tuneworthy label --apply answers-cases-ada-1f09.jsonl
      tuneworthy label cases --apply
    """
    if applied in QUEUES:  # `label --apply cases`
        kind, applied = applied, ""
    for (option, queues), value in zip(ONLY.items(), (every, applied == ""), strict=True):
        if value and (kind or "cases") not in queues.split():
            raise click.UsageError(f"{option} applies to {queues.replace(' ', ', ')} only.")
    if applied:
        if kind or labeller or status or overwrite or every or page:
            raise click.UsageError("--apply FILE takes queue and labeller from the file. Omit the other options.")
        return _file(root, Path(applied))
    if status or applied == "":
        labeller = labeller or known_name(root) or None
    click.get_current_context().ensure_object(Invocation).labeller = labeller or ""
    request = LabelRequest(root, labeller, every)
    if status:
        return _show_status(request, kind)
    if applied == "" and kind == "drafts":
        return _apply_drafts(root)
    if applied == "":
        return _apply(root, kind or "cases", overwrite=overwrite)
    queue = QUEUES[kind](request) if kind else _most_useful(request)
    queue.keep_guideline(root)
    if page:
        return _write_page(request, queue, page)
    n_given = work_through(queue)
    return _show_review(request) if queue.kind == "review" else _show_end(queue, request.name, n_given)


def _most_useful(request: LabelRequest) -> Queue:
    """Open the first queue in which rows wait; without rows, that of the cases.

    Raises:
        UserError: There is no such queue.
    """
    found = counted(request)
    for kind, n in waiting(found).items():
        note(f"Queue `{kind}`: {count(n, 'row')}. {KINDS[kind][0]}")
        return QUEUES[kind](request)
    if isinstance(queue := found["cases"], Queue):
        return queue
    raise UserError("No row waits for you.", hint=f"Run `{_next_step(found, request.root)}`.")


def _next_step(found: Mapping[str, Queue | str], root: Path) -> str:
    """Return the command of the first queue with rows; without rows, the command after the labels of the cases."""
    project, file, _ = label_files(root)
    return [
        *(f"tuneworthy label {kind}" for kind in waiting(found)),
        *(queue.done() for kind, queue in found.items() if kind == "cases" and isinstance(queue, Queue)),
        f"tuneworthy {'status' if project else f'init my-task --data {file}' if file.exists() else 'cases sample'}",
    ][0]


def _show_status(request: LabelRequest, kind: str | None) -> int:
    if kind == "review":
        return _show_review(request)
    rows, lines, found = [], [], counted(request, *filter(None, [kind]))
    for name, queue in found.items():
        n, why = (0, queue) if isinstance(queue, str) else (queue.waiting, KINDS[name][0])
        minutes = math.ceil(n * KINDS[name][1] / 60)
        rows.append({"queue": name, "waiting": n, "minutes": minutes, "why": why})
        if n or kind:
            whose = (
                ""
                if isinstance(queue, str)
                else (f"{n} left of {len(queue.session.assigned)} for {clean(request.name)}, {minutes} min. ")
            )
            lines.append(f"{name}: {whose}{why}{'' if isinstance(queue, str) else _outdated(queue)}")
    empty = [str(row["queue"]) for row in rows if not row["waiting"]]
    if not kind:
        lines.append(f"Nothing waits in {', '.join(empty)}. After a run, `tuneworthy label audit` draws test cases.")
    print_result({"queues": rows}, say, *lines, f"Next: {_next_step(found, request.root)}")
    return 0


def _outdated(queue: Queue) -> str:
    versions = () if queue.kind in {"review", "findings"} else [one.guideline for one in read_labels(queue.log)]
    n = sum(version not in {"", queue.version} for version in versions)
    return f" The guideline changed after {count(n, 'answer')}." if n else ""


def _show_end(queue: Queue, name: str, n_given: int) -> int:
    left = queue.waiting
    ceiling = agreement(() if queue.kind == "findings" else read_labels(queue.log))
    document = {"queue": queue.kind, "plan": queue.plan, "labels": str(queue.log), "given": n_given, "left": left}
    next_step = f"tuneworthy label {queue.kind}" if left else queue.done()
    total = count(len(queue.session.assigned), "row")
    lines = [f"{count(n_given, 'answer')} saved in {queue.log}, {left} of {total} left."]
    if not (n_given or left):
        n = queue.session.n_done
        lines = [f"All {count(n, 'row')} of {clean(name)} are labelled." if n else f"No row waits for {clean(name)}."]
    if next_step.endswith("cases --apply") and len({one.labeller for one in read_labels(queue.log)}) == 1:
        lines += ["Before you apply, ask a second person to label a share: `tuneworthy label cases --labeller NAME`."]
    if not left and next_step == "tuneworthy label cases":
        lines += ["Labellers disagree on some cases. The next command shows these first."]
    lines += _meaning(ceiling)
    if not (left or next_step.startswith("tuneworthy label")):
        lines += ["This queue is finished. The next command is for the person who set up the project."]
    print_result({**document, "agreement": ceiling}, say, *lines, f"Next: {next_step}")
    return 0


def _meaning(ceiling: Agreement) -> list[str]:
    limit = " A score above this agreement is not meaningful." * (ceiling.n >= MIN_AGREEMENT)
    return [f"{ceiling}{limit}"] * bool(ceiling.n)


def _write_page(request: LabelRequest, queue: Queue, path: Path) -> int:
    version = open_version(Folder(request.root)).id if queue.kind in {"review", "findings"} else ""
    plan = write_page(Folder(request.root), queue, request.name, path, version=version)
    n, left = len(plan.rows), queue.waiting - len(plan.rows)
    print_result(
        {"page": str(path), "plan": plan.id, "queue": plan.kind, "labeller": plan.labeller, "rows": n, "left": left},
        say,
        f"Wrote {count(n, 'row')} for {clean(plan.labeller)} to {path}. It works offline in any browser.",
        *[f"{count(left, 'row')} did not fit: write another page once these answers are stored."] * (left > 0),
        "The answers come back as a file.",
        f"Next: send the page, then tuneworthy label --apply {answer_name(plan)}",
    )
    return 0


def _file(root: Path, path: Path) -> int:
    """Store the answers of a label page."""
    file = read_answer_file(Folder(root), path)
    plan = file.plan
    click.get_current_context().ensure_object(Invocation).labeller = plan.labeller
    is_cases = plan.kind == "cases"
    request = LabelRequest(root, plan.labeller, is_cases, plan.version or None, whole=is_cases)
    queue = QUEUES[plan.kind](request)
    done = file_answers(path, file, queue)
    note(f"{count(done.n_new, 'new answer')} of {clean(plan.labeller)}; {done.n_same} were stored before.")
    if done.n_gone:
        note(f"Skipped {count(done.n_gone, 'answer')}: these rows wait no longer.")
    return _show_review(request) if queue.kind == "review" else _show_end(queue, request.name, done.n_new)


def _apply(root: Path, kind: str, *, overwrite: bool) -> int:
    _, file, path = label_files(root)
    data = None
    if relabelled := kind != "cases":
        path, data = suspects_path(project := load(root)), read_data(project)
    before = label_counts(read_cases(file).cases)
    labels = [row for row in read_labels(path) if not (data and is_rated(data, row.label))]
    done = apply_labels(file, labels, overwrite=overwrite or relabelled)
    cases = read_cases(file).cases
    has_labels = guess_kind(case.expected for case in cases).name == "label" or Guideline.read(path).labels
    after = label_counts(cases) if has_labels else {}
    new, twins = {label: n for label, n in after.items() if label not in before}, spelling_variants(after)
    n_open = len(unlabelled(root, cases))
    by_hand, next_step = _to_correct(root) if relabelled else ([], after_labels(root, done, n_open))
    ceiling = agreement(read_labels(path))
    document = {"applied": done, "unlabelled": n_open, "new_labels": new, "spellings": twins, "agreement": ceiling}
    lines = [*_applied(file, done, {case.id: case.text for case in cases}, relabelled=relabelled), *by_hand]
    lines += [f"{count(n_open, 'case')} still without a label."] * bool(n_open)
    lines += [f"New labels: {', '.join(f'{clean(label)} ({n})' for label, n in new.items())}."] * bool(new and before)
    lines += [f"Labels that differ only in spelling: {', '.join(map(repr, same))}. Correct them." for same in twins]
    lines += _meaning(ceiling)
    print_result({"labels": str(path), **document}, say, *lines, f"Next: {next_step}")
    return 0


def _apply_drafts(root: Path) -> int:
    project, file, _ = label_files(root)
    done = apply_drafts(root, file, read_labels(label_path(own_path(root, DRAFTS))))
    is_split = project is not None and Folder(root).read("split", StoredSplit) is not None
    next_step = f"tuneworthy {'cases add' if is_split else 'check'}"
    print_result(
        {**asdict(done), "added": [case.id for case in done.added]},
        say,
        f"{count(len(done.added), 'draft')} added to {file}, marked as drafted; {done.decisions.get('drop', 0)} "
        f"dropped, {done.n_present} present before, {done.n_waiting} without a decision.",
        "A verdict also needs real cases: add some as soon as you have them.",
        f"Next: {'tuneworthy label drafts' if done.n_waiting else next_step}",
    )
    return 0


def _to_correct(root: Path) -> tuple[list[str], str]:
    """Return a sentence for each row that a person must correct by hand, and the next command."""
    data = read_data(project := load(root))
    _, still = contradicts(data, given := read_relabelled(project, data))
    sentences = [
        f"Correct this example: {clean(case.text)}"
        + ("" if is_rated(data, given[case.id]) else f" The answer is {answer_text(given[case.id])!r}.")
        for case in (*data.split.dev, *data.split.test)
        if case.id in still
    ]
    is_audited = given.keys() & {case.id for case in data.split.test}
    return sentences, f"tuneworthy run{'' if is_audited else ', then tuneworthy label audit'}"


def _applied(path: Path, done: Applied, texts: NamedTexts, *, relabelled: bool) -> list[str]:
    n = len(done.relabelled)
    differ = [
        f"  skipped {one.case} ({clean(texts.get(one.case, ''), 60)}): " + said(one.labels)
        for one in done.disagreements
    ]
    return [
        f"Wrote labels to {path} (new: {done.n_written - n}, {f'replaced: {n}, ' * bool(n)}already present: "
        f"{done.n_same}).",
        *differ,
        *[
            "  Labellers disagree on these cases: "
            + ("decide together, and edit the file." if relabelled else "`tuneworthy label cases` asks for the answer.")
        ]
        * bool(differ),
        *[
            f"  skipped cases that already have a different label: {len(done.conflicts)} "
            f"({', '.join(done.conflicts[:5])}). Use --overwrite to replace these labels."
        ]
        * bool(done.conflicts),
        *[f"  skipped labels whose cases are not in the file: {len(done.unknown)}"]
        * bool(done.unknown and not relabelled),
    ]


def _show_review(request: LabelRequest) -> int:
    state = review_of(request.root, request.version)[1].state()
    is_decided = state.status in {"accepted", "rejected"}  # before, nothing says which rows were planted
    bad = [f"  bad: {one.row} ({clean(one.reviewer)}): {clean(one.reason)}" for one in state.bad]
    print_result(
        state.to_dict(),
        say,
        f"Review of version {state.version}: {state.status.replace('_', ' ')}. "
        f"{state.summary[:1].upper()}{state.summary[1:]}.",
        *filter(None, [*bad, str(state.agreement)] if is_decided else []),
        f"Next: {NEXT[state.status]}",
    )
    return STATUS[state.status]
