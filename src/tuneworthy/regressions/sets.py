"""The regression sets of a project: its own (`[[regressions]]`) and a small general one that we wrote.

The general one (`general.jsonl`) has short questions of knowledge, arithmetic and following instructions whose right
answers are patterns, and questions that are rightly declined. It shows a model that lost its general skills; it is far
too small to tell two good models apart, and is no benchmark.
"""

from collections.abc import Sequence
from importlib.resources import as_file, files

from tuneworthy.cases import read_cases
from tuneworthy.config.graders import Regex
from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.graders.apply import make_grader
from tuneworthy.graders.base import Grader, GradingContext
from tuneworthy.types import Cases, JsonMapping, content_hash, frozen

GENERAL = "general"
# Its cases can show no less: 62 cases with 10% differing show a loss below 10 points (Nam 1997).
GENERAL_MARGIN = 0.1
GENERAL_TOKENS = 64


@frozen
class RegressionSet:
    """Labelled cases with their grader.

    Attributes:
        name: As shown in the verdict.
        cases: All labelled.
        grader: Of the answers.
        margin: The largest acceptable loss.
        system: System prompt, or None.
        max_tokens: Limit of an answer.
    """

    name: str
    cases: Cases
    grader: Grader
    margin: float
    system: str | None = None
    max_tokens: int = GENERAL_TOKENS

    @property
    def hash(self) -> str:
        """The hash of its content: another set, or a changed one, has another hash."""
        cases = [[case.id, case.input, list(case.messages), case.expected] for case in self.cases]
        return content_hash([cases, dict(self.grader.identity), self.margin, self.system, self.max_tokens])


def general_set() -> RegressionSet:
    with as_file(files("tuneworthy.regressions").joinpath("general.jsonl")) as path:
        cases = read_cases(path).cases
    return RegressionSet(
        name=GENERAL, cases=cases, grader=make_grader(Regex(type="regex")), margin=GENERAL_MARGIN,
        max_tokens=GENERAL_TOKENS,
    )  # fmt: skip


def general_sentences() -> list[str]:
    return files("tuneworthy.regressions").joinpath("general_sentences.txt").read_text(encoding="utf-8").splitlines()


def regression_sets(project: Project, context: GradingContext | None = None) -> list[RegressionSet]:
    """Return the regression sets of `project`, the general one last.

    Args:
        project: Its `[[regressions]]` name the others.
        context: What graders may be built from; a judge that has no asker can't be asked.

    Raises:
        UserError: A file is missing or wrong, a case has no right answer, or two sets have one name.
    """
    context = context or GradingContext(root=project.root)
    sets: dict[str, RegressionSet] = {}
    for source in project.regressions:
        if source.name in {*sets, GENERAL}:
            raise UserError(f"[[regressions]]: two sets have the name {source.name!r}.", hint="Rename one of the sets.")
        cases = read_cases(project.path(source.path)).cases
        unlabelled = [case.id for case in cases if not case.labelled]
        if unlabelled:
            raise UserError(
                (
                    f"Cases without an expected answer in {source.path}: {len(unlabelled)} (the first is "
                    f"{unlabelled[0]})."
                ),
                hint="Add the expected answers.",
            )
        if not cases:
            raise UserError(
                f"{source.path} contains no cases.",
                hint="Add cases to this file, or remove its set from [[regressions]].",
            )
        sets[source.name] = RegressionSet(
            name=source.name,
            cases=cases,
            grader=make_grader(source.graders[0], context),
            margin=source.margin,
            system=project.text(source.system),
        )
    return [*sets.values(), general_set()]


def hashes(sets: Sequence[RegressionSet]) -> JsonMapping:
    return {one.name: one.hash for one in sets}
