"""A project from Python: the commands with typed results.

Like the commands it spends money only up to `max_usd`, or to the budget of the project file. All methods may be called
in a notebook, where an event loop is running already.
"""

from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from tuneworthy.cases.normalize import normalise, question_of
from tuneworthy.cases.readers.reader import read_cases
from tuneworthy.config import Project
from tuneworthy.errors import Undecided, UserError
from tuneworthy.extras import require
from tuneworthy.graders.judging import ScoredAnswers
from tuneworthy.ladder.commands.compare import VariantComparison, compare_variants
from tuneworthy.ladder.measurement import repeats_of
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.run import run_ladder
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.providers.http_client import blocking
from tuneworthy.report.render import first_screen, render_html
from tuneworthy.report.run_report import document, last_record
from tuneworthy.report.write import write
from tuneworthy.text import count
from tuneworthy.types import Case, Example
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.last_verdict import StoredVerdict, load_verdict
from tuneworthy.verdict.project_state import stale_since
from tuneworthy.verdict.run import decide_project

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Report:
    """The report of the last run and the last verdict; a notebook shows the page itself.

    Attributes:
        html: The page, self-contained.
        paragraph: The summary to paste.
    """

    html: str
    paragraph: str

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
        return blocking(run_ladder(self.project, rungs, quick=quick, max_usd=max_usd))

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

        async def compared() -> VariantComparison:
            async with open_session(self.project, max_usd=max_usd) as session:
                return await compare_variants(session, resolve(session, a), resolve(session, b), on_test=on_test)

        return blocking(compared())

    def score(self, path: str | Path, *names: str, max_usd: float | None = None) -> dict[str, ScoredAnswers]:
        """Return the answers of variants to cases that are neither dev nor test, scored by the primary grader.

        Args:
            path: A file of labelled cases, in any format of the project's own. No alpha is used up.
            names: Of the variants, as in `compare`.
            max_usd: Most that may be spent.

        Raises:
            UserError: There is no such variant, the file is wrong, or it has a case of dev, test or the examples.
        """

        async def scored() -> dict[str, ScoredAnswers]:
            async with open_session(self.project, max_usd=max_usd) as session:
                cases = read_cases(path).cases
                own: list[Case | Example] = [*session.split.dev, *session.split.asked, *session.split.shots]
                used = {normalise(question_of(row)) for row in own}
                if seen := [case.id for case in cases if normalise(question_of(case)) in used]:
                    what = count(len(seen), "case asks", "cases ask")
                    raise UserError(
                        f"{path}: {what} a question of the project's own cases or examples, starting with {seen[0]}.",
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
        record, verdict = self._stored()
        page = document(record, self.project, verdict=verdict)
        return Report(render_html(page), page.paragraph)

    def write_report(self, path: str | Path) -> str:
        """Write the report to `path`, and return its first screen as text; the last line is the summary to paste.

        Args:
            path: Its ending gives the format: `.html`, `.md` or `.json`.

        Raises:
            UserError: There is no run yet, the ending is unknown, or the file cannot be written.
        """
        record, verdict = self._stored()
        write(record, Path(path), self.project, verdict=verdict)
        page = document(record, self.project, verdict=verdict)
        return f"{first_screen(page)}\n{page.paragraph}"

    def _repr_html_(self) -> str | None:
        """Return the report of the last run; None before one, so that a notebook shows `repr`."""
        try:
            return self.report()._repr_html_()
        except UserError:
            return None

    def _stored(self) -> tuple[RunRecord, StoredVerdict | None]:
        """Return the last run and the last verdict, both with what changed since."""
        record, verdict = last_record(self.project.root), load_verdict(self.project)
        stale = [] if record.partial else stale_since(self.project, record)
        if verdict is not None and not record.quick:
            verdict = replace(verdict, changed=[*verdict.changed, *stale])
        return replace(record, stale=stale), verdict
