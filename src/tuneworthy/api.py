"""A project from Python: the commands with typed results.

Like the commands it spends money only up to `max_usd`, or to the budget of the project file. All methods may be called
in a notebook, where an event loop is running already. Progress is printed on stderr.
"""

from contextlib import redirect_stdout, suppress
from dataclasses import asdict
from html import escape
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import orjson

from tuneworthy.cases.normalize import normalise, question_of
from tuneworthy.cases.readers.reader import read_cases
from tuneworthy.cli import root
from tuneworthy.cli.invocation import Invocation
from tuneworthy.cli.options import note
from tuneworthy.cli.progress import RunProgress
from tuneworthy.cli.run import fetch_models, walk
from tuneworthy.cli.usage import usage_error
from tuneworthy.config import Project, load
from tuneworthy.errors import NotStored, Undecided, UserError
from tuneworthy.evaluation import read_rows
from tuneworthy.extras import require
from tuneworthy.graders.judging import ScoredAnswers
from tuneworthy.ladder.commands.compare import VariantComparison, compare_variants
from tuneworthy.ladder.measurement import repeats_of
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.providers.http_client import blocking
from tuneworthy.report.render import render_html
from tuneworthy.report.run_report import document, run_and_verdict, write_last
from tuneworthy.scaffold import EMBEDDED, make_project
from tuneworthy.text import Shown, Summary, count
from tuneworthy.types import Cases, Texts, frozen
from tuneworthy.verdict.answer import Verdict, load_verdict
from tuneworthy.verdict.messages import sentence
from tuneworthy.verdict.run import decide_project

if TYPE_CHECKING:
    import pandas as pd


def open(project: Project | str | Path) -> "OpenProject":
    """Open a project.

    Args:
        project: The project, its folder, or its `tuneworthy.toml`.

    Raises:
        UserError: There is no project, or its file is wrong.
    """
    return OpenProject(project if isinstance(project, Project) else load(project))


def create(
    folder: str | Path,
    rows: Any,
    *,
    input: str = "input",
    expected: str = "expected",
    group: str | None = None,
    model: str = EMBEDDED,
    compare: Texts = (),
    task: str | None = None,
    grader: str | None = None,
    target: float | None = None,
    n_cases: int | None = None,
) -> "OpenProject":
    """Create a project from rows, as `tuneworthy init` does from a file, and open it.

    Args:
        folder: The new project folder.
        rows: As for `tuneworthy.evaluate`, like the names of the columns.
        input: Column of the question.
        expected: Column of the expected answer.
        group: Column of the source that rows share.
        model: Today's model, `provider:name`.
        compare: Further models to measure.
        task: Kind of task, as `tuneworthy init --task` takes it.
        grader: The first grader; chosen from the task if None.
        target: Score that is good enough, between 0 and 1.
        n_cases: Cases to draw from the rows; half, at most 500, if None.

    Raises:
        UserError: The rows or a model cannot be used, the kind of task is not clear, or the folder has a project.
    """
    for noun, value in (("model", model), ("grader", grader)):
        if not isinstance(value, str | None):
            raise UserError(
                f"The {noun} of a project is a name, not a {type(value).__name__}.",
                hint="Use a function with `tuneworthy.evaluate`, or name it in the project file.",
            )
    _, cases = read_rows(rows, input, expected, group)
    lines = (orjson.dumps({"input": one.input, "expected": one.expected, "group": one.group}) for one in cases)
    with TemporaryDirectory() as temporary:
        data = Path(temporary) / "rows.jsonl"
        data.write_bytes(b"\n".join(lines))
        made = make_project(
            Path(folder), data, task=task, n_cases=n_cases, model=model, compare=compare, grader=grader, target=target
        )
    note(*map(sentence, made.notes))
    return open(made.root)


@frozen
class Report(Shown):
    """The report of the last run and the last verdict; a notebook shows the page itself.

    Attributes:
        html: The page, self-contained.
        paragraph: The summary to paste.
    """

    html: str
    paragraph: str

    def summary(self) -> Summary:
        return [self.paragraph], []

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="" style="width: 100%; height: 40rem; border: 0"></iframe>'
        )


class OpenProject:
    """A project folder, opened.

    Args:
        project: From `tuneworthy.config.load`.

    Examples:
        >>> tuneworthy.open("my-task").decide().outcome        # doctest: +SKIP
        <Outcome.DO_NOT_FINE_TUNE: 'do_not_fine_tune'>
    """

    def __init__(self, project: Project) -> None:
        self.project = project

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.project.root)!r})"

    def run(self, *rungs: str, quick: bool = False, max_usd: float | None = None) -> RunRecord:
        """Run the ladder, or only some rungs; stored answers are reused.

        Args:
            rungs: Their names; all by default.
            quick: A preview on at most 40 dev cases; nothing is compared on test.
            max_usd: Most that may be spent.

        Raises:
            UserError: The data, a model or a rung cannot be used.
            BudgetSpent: The next call could exceed the budget; run it again to resume.
            OutsideFault: A provider is down; run it again to resume.
        """
        fetch_models(self.project)
        return walk(self.project, rungs, quick=quick, max_usd=max_usd)

    def decide(self, *, probe: bool = False, max_usd: float | None = None) -> Verdict:
        """Return whether to fine-tune, from the last run.

        Args:
            probe: Analyse failed dev cases and the domain's text first, which calls the models.
            max_usd: Most that these calls may cost.

        Raises:
            Undecided: There was no run yet.
            UserError: The data or a model cannot be used.
            BudgetSpent: The next call could exceed the budget; run it again to resume.
        """
        return blocking(decide_project(self.project, probe=probe, max_usd=max_usd))

    def compare(self, a: str, b: str, *, on_test: bool = False, max_usd: float | None = None) -> VariantComparison:
        """Compare variant `b` with `a`, paired, on dev.

        Args:
            a: `current`, `best`, a rung of the last run, a variant's name or ID, or the path of a `variant.json`.
            b: Likewise.
            on_test: Compare on test instead, which uses up some of alpha.
            max_usd: Most that may be spent.

        Raises:
            UserError: There is no such variant, or too little alpha is left.
            Undecided: Too few cases have a score of both.
        """

        async def compared(*, calls: bool) -> VariantComparison:
            async with open_session(
                self.project, progress=RunProgress(), max_usd=max_usd, beside=not calls, calls=calls
            ) as session:
                return await compare_variants(session, resolve(session, a), resolve(session, b), on_test=on_test)

        with suppress(NotStored):
            return blocking(compared(calls=on_test))
        return blocking(compared(calls=True))

    def score(
        self, data: Any, *names: str, input: str = "input", expected: str = "expected", max_usd: float | None = None
    ) -> dict[str, ScoredAnswers]:
        """Return the answers of variants to cases that are neither dev nor test, scored by the primary grader.

        Args:
            data: Rows as for `tuneworthy.evaluate`, or the path of a file of labelled cases. No alpha is used up.
            names: Of the variants, as in `compare`.
            input: Column of the question.
            expected: Column of the expected answer.
            max_usd: Most that may be spent.

        Raises:
            UserError: There is no such variant, the file is wrong, or it has a case of dev, test or the examples.
        """

        async def scored() -> dict[str, ScoredAnswers]:
            async with open_session(self.project, progress=RunProgress(), max_usd=max_usd) as session:
                cases: Cases = (
                    read_cases(data, input_column=[input], expected_column=expected).cases
                    if isinstance(data, str | Path)
                    else read_rows(data, input, expected, None)[1]
                )
                used = {
                    normalise(question_of(row))
                    for part in (session.split.dev, session.split.asked, session.split.shots)
                    for row in part
                }
                if seen := [case.id for case in cases if normalise(question_of(case)) in used]:
                    what = count(len(seen), "case asks", "cases ask")
                    raise UserError(
                        f"{what} a question of the project's own cases or examples, starting with {seen[0]}.",
                        hint="Remove these cases: a variant was chosen on them, or has learned from them.",
                    )
                found = {}
                for name in names:
                    variant = resolve(session, name)
                    traces = await session.ask(variant, cases, repeats=repeats_of(self.project, variant))
                    num, den, _ = await session.score(traces, cases)
                    found[name] = ScoredAnswers(traces=traces, num=num, den=den)
                return found

        return blocking(scored())

    def train(self, **options: Any) -> Any:
        """Train as `tuneworthy train` does, and return its JSON: `train(pilot=True)` is `tuneworthy train --pilot`.

        Raises:
            UserError: An option, the data or the settings cannot be used, or a package is missing.
            GateFailed: A check or a proof failed.
        """
        return self._command("train", **options)

    def export(self, kind: str, *which: str, **options: Any) -> Any:
        """Write the winner as files, as `tuneworthy export` does, and return its JSON.

        Args:
            kind: `variant`, `classifier`, `router`, `gguf` or `ollama`.
            which: As the command takes it, such as `best`.
            **options: For example `out="winner"`.

        Raises:
            UserError: An option cannot be used, or there is nothing to export.
            GateFailed: The export does not give the answers of the run.
        """
        return self._command("export", kind, *which, **options)

    def _command(self, *words: str, **options: Any) -> Any:
        arguments = [*words, "--project", str(self.project.root), "--json"]
        for name, value in options.items():
            option = f"--{name.replace('_', '-')}"
            arguments += [] if value is None or value is False else [option] if value is True else [option, str(value)]
        output = StringIO()
        with redirect_stdout(output):
            try:
                root.main(arguments, prog_name="tuneworthy", standalone_mode=False, obj=Invocation(arguments))
            except click.ClickException as error:
                raise usage_error(error) from None
        return orjson.loads(output.getvalue())

    def options(self) -> "pd.DataFrame":
        """Return the options of the last verdict: one row each, `option` as the index, scores between 0 and 1.

        `attrs["changed"]` of the frame names the changes since that verdict; empty if it is current.

        Raises:
            Undecided: Nothing was decided yet.
            UserError: pandas is not installed.
        """
        require("pandas")
        import pandas as pd

        stored = load_verdict(self.project)
        if stored is None:
            raise Undecided("There is no verdict yet.", hint="Run `tuneworthy decide` first.")
        frame = pd.DataFrame([asdict(option) for option in stored.verdict.options]).set_index("option")
        frame.attrs["changed"] = stored.changed
        return frame

    def report(self) -> Report:
        """Return the report of the last run and the last verdict.

        Raises:
            UserError: There is no run yet.
        """
        record, verdict = run_and_verdict(self.project)
        page = document(record, self.project, verdict=verdict)
        return Report(html=render_html(page), paragraph=page.paragraph)

    def write_report(self, path: str | Path) -> str:
        """Write the report to `path`, and return its first screen as text; the last line is the summary to paste.

        Args:
            path: Its ending gives the format: `.html`, `.md` or `.json`.

        Raises:
            UserError: There is no run yet, the ending is unknown, or the file cannot be written.
        """
        return write_last(self.project, Path(path))
