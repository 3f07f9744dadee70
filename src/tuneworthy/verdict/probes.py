"""The calls behind the error analysis: each probe asks the failed dev cases that no earlier one has explained.

Invariants: only dev is asked; at most `MOST_CASES` failed cases are; every answer goes through `Session.ask`, so that
it is stored, resumed and counted against the budget like any other.
"""

import random
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property
from operator import itemgetter

from tuneworthy.cases.task_kind import answer_text
from tuneworthy.errors import ModelError, join_sentences
from tuneworthy.graders.base import FORM_REASONS, accepted
from tuneworthy.graders.choice import LabelFinder
from tuneworthy.graders.family import lineages
from tuneworthy.graders.json_text import find_object
from tuneworthy.graders.judging import JudgeErrors, Judging, ScoredAnswers
from tuneworthy.graders.text import normalise, readable_by, restates
from tuneworthy.graders.validate import MIN_HUMAN
from tuneworthy.ladder.measurement import repeats_of
from tuneworthy.ladder.rungs.model import on_model
from tuneworthy.ladder.rungs.tools import used_tools, with_tools
from tuneworthy.ladder.session import Session, shown_run
from tuneworthy.text import plural
from tuneworthy.types import Case, Cases, JsonMapping, NamedTexts, Texts, TextTuple, Trace, Variant, canonical
from tuneworthy.verdict import messages
from tuneworthy.verdict.error_analysis import (
    FILE,
    LABELS,
    MOST_CASES,
    PROBES,
    SAMPLES,
    ErrorAnalysis,
    FailedCase,
    class_of,
    enough_passes,
    fingerprint,
    rows_of,
)
from tuneworthy.verdict.label_votes import CLASSIFIER, GIVEN, Voter, classifier_votes, shown_stronger, suspect

# Probes whose answers a judge would have to grade, and the share of its verdicts on the failed variant that people
# may overrule: beyond it, nothing that it says of other answers counts.
GRADED = ("format", "knowledge", "tools", "instability", "reasoning")
MOST_OVERRULED = 0.1
# Score from which a free text is no failure, where the project sets no target.
GOOD_TEXT = 0.9
# Temperature of the further answers where the variant itself is greedy.
ASKED_AGAIN_AT = 0.7


async def analyse_errors(session: Session, variant: Variant) -> ErrorAnalysis:
    """Probe the failed dev cases of `variant`, give each a class, and store the report in the project's folder.

    Args:
        session: The opened project.
        variant: The best language-model variant (`error_analysis.best_language_model`).

    Raises:
        BudgetSpent: The next call could exceed the budget; what was answered is stored, and a later run resumes.
        OutsideFault: A provider is down.
    """
    probing = _Probing(session, variant)
    await probing.begin()
    for name in probing.probes if probing.rated else ():
        if name in probing.made.keys() - probing.not_probed and probing.open:  # a refusal: the grader has said it
            await probing.made[name]()
    report = probing.report()
    session.folder.write(FILE, asdict(report))
    return report


class _Probing:
    """The state of one walk through the probes."""

    def __init__(self, session: Session, variant: Variant) -> None:
        self.session, self.variant = session, variant
        self.dev = sorted(session.split.dev, key=lambda case: case.id)
        self.cases: dict[str, Case] = {}
        self.right: list[Case] = []
        self.values: dict[str, float] = {}
        self.texts: dict[str, str] = {}
        self.failed: dict[str, FailedCase] = {}
        self.not_probed: dict[str, str] = {}
        self.n_failed = self.calls = 0
        self.cost_usd = self.label_chance = 0.0
        self.judge_errors: JudgeErrors | None = None
        self.readers: Counter[str] = Counter()  # right answers that the grader cannot read, by the grader that can
        self.repeats_vary = True
        self.probes = [name for name in PROBES if name != "tools" or session.project.tools]
        self.made = {
            "format": self._format,
            "label_or_grader": self._label_or_grader,
            "knowledge": self._knowledge,
            "tools": self._tools,
            "instability": self._instability,
            "reasoning": self._reasoning,
        }
        self._others: dict[str, Voter] | None = None

    @property
    def rated(self) -> bool:
        """Whether people corrected what grades, where that is a judge."""
        return self.session.judging is None or self.judge_errors is not None

    @cached_property
    def enough(self) -> int:
        """Passes that are not luck."""
        return enough_passes(len(self.session.task.labels))

    @property
    def open(self) -> list[Case]:
        """The failed cases that no probe has explained yet."""
        return [
            self.cases[name] for name, failed in self.failed.items() if class_of(failed, self.enough) == "unexplained"
        ]

    async def begin(self) -> None:
        """Find the failed dev cases, and draw those that are probed."""
        target = self.session.project.task.target
        threshold = GOOD_TEXT if target is None else target
        threshold = threshold if self.session.task.kind == "free_text" else 1.0
        traces = await self._ask(self.variant, self.dev, count=False)
        _, _, scores = await self.session.score(traces, self.dev)
        wrong = []
        judging = self.session.judging
        for case, trace, score in zip(self.dev, traces, scores, strict=True):
            people = judging.verdict(case, trace.text) if judging else None
            value = score.value if people is None else people
            if value is None:
                continue
            self.values[case.id], self.texts[case.id] = value, trace.text
            if value >= threshold:
                self.right.append(case)
            else:
                wrong.append((case, score.reason))
        if judging:
            self.judge_errors = await self._judge_errors(judging, threshold)
            if self.judge_errors and max(self.judge_errors.missed, self.judge_errors.false_alarms) > MOST_OVERRULED:
                self.not_probed |= dict.fromkeys(
                    [name for name in self.probes if name in GRADED],
                    f"People overrule the judge too often (n = {self.judge_errors.n} rated answers), so it cannot "
                    "tell what fixes an answer.",
                )
        self.n_failed = len(wrong)
        if len(wrong) > MOST_CASES:
            wrong = random.Random(self.session.project.split.seed).sample(wrong, MOST_CASES)
        self.cases = {case.id: case for case, _ in wrong}
        labels, grader = self.session.task.labels, self.session.project.graders[0].type
        self.failed = {
            case.id: FailedCase(
                case=case.id,
                reason=reason,
                readable_by=readable_by(self.texts[case.id], case.expected, labels, grader, case.text),
            )
            for case, reason in wrong
        }
        self.readers.update(failed.readable_by for failed in self.failed.values() if failed.readable_by)

    async def _judge_errors(self, judging: Judging, threshold: float) -> JudgeErrors | None:
        record, test = shown_run(self.session.project), self.session.split.test
        if record is None or all(row.variant != self.variant.id or row.score is None for row in record.rungs):
            return None
        traces = await self.session.ask(self.variant, test, repeats=repeats_of(self.session.project, self.variant))
        num, den, _ = await self.session.score(traces, test)
        return judging.errors(test, ScoredAnswers(traces=traces, num=num, den=den), threshold)

    def limits(self) -> dict[str, list[str]]:
        """Return what each probe cannot measure here, a sentence each; only what applies."""
        found = {
            name: [join_sentences(f"{messages.WHAT[name]} were not measured.", why)]
            for name, why in self.not_probed.items()
            if name != "knowledge" or (self.session.task.kind != "label" and self.failed)
        }
        if n := sum(bool(one.doubtful) for one in self.failed.values()):
            found[LABELS] = [
                (
                    f"The models contradict the labels of {n} more {plural(n, 'case', 'cases')}, but the models may "
                    "share the same error."
                )
            ]
        for grader, n in self.readers.items():
            found.setdefault(LABELS, []).append(
                f"The grader cannot read {n} right {plural(n, 'answer', 'answers')}. {messages.LEVERS[grader]}."
            )
        if not self.repeats_vary:
            found["instability"] = ["Unstable answers were not measured: every repeated answer was the same."]
        return found

    def report(self) -> ErrorAnalysis:
        """Give each case its class."""
        if not self.rated:
            self.failed = {}
            unrated = f"People have rated fewer than {MIN_HUMAN} answers of this variant"
            self.not_probed |= dict.fromkeys(self.probes, f"{unrated}, so the judge's errors cannot be corrected.")
        classes = {name: class_of(failed, self.enough) for name, failed in self.failed.items()}
        grader, n = max(self.readers.items(), key=itemgetter(1), default=("", 0))
        judged = self.judge_errors or JudgeErrors(n=0, missed=0.0, false_alarms=0.0)
        rows = rows_of(
            classes,
            [name for name in self.probes if name not in self.not_probed],
            limits=self.limits(),
            real=1 - judged.false_alarms,
            unseen=round(judged.missed * len(self.right) * (len(self.failed) / self.n_failed if self.failed else 1.0)),
            grader=grader if 2 * n > list(classes.values()).count(LABELS) else "",
        )
        pass_rate = None
        passes = [row.passes for row in self.failed.values() if row.passes is not None]
        if passes:
            failed_rate = sum(passes) / (SAMPLES * len(self.failed))
            pass_rate = (len(self.right) + self.n_failed * failed_rate) / len(self.values)
        return ErrorAnalysis(
            of=fingerprint(self.session, self.variant),
            n_dev=len(self.values),
            n_failed=self.n_failed,
            n_probed=len(self.failed),
            rows=rows,
            classes=classes,
            suspects={name: failed.suspected for name, failed in self.failed.items() if failed.suspected},
            label_chance=self.label_chance,
            doubtful={name: failed.doubtful for name, failed in self.failed.items() if failed.doubtful},
            answers={
                name: self._vote(self.texts[name], right=False)
                for name, failed in self.failed.items()
                if not failed.readable_by
            },
            not_probed=self.not_probed,
            rated=self.rated,
            stronger=[name for name, voter in (self._others or {}).items() if voter.stronger],
            calls=self.calls,
            cost_usd=self.cost_usd,
            pass_rate=pass_rate,
        )

    async def _ask(self, variant: Variant, cases: Cases, *, repeats: int = 1, count: bool = True) -> list[Trace]:
        traces = await self.session.ask(variant, cases, repeats=repeats)
        if count:
            new = [trace for trace in traces if not trace.stored]
            self.calls += len(new)
            self.cost_usd += sum(trace.cost_usd for trace in new)
        return traces

    async def _fixes(self, variant: Variant, cases: Cases, *, repeats: int = 1) -> list[list[bool]]:
        """Return of each answer to `cases` whether it gains at least half of what was missing; unscored: no."""
        _, _, scores = await self.session.score(await self._ask(variant, cases, repeats=repeats), cases)
        return [
            [
                score.value is not None and score.value >= (1 + self.values[case.id]) / 2
                for score in scores[index * repeats : (index + 1) * repeats]
            ]
            for index, case in enumerate(cases)
        ]

    async def _format(self) -> None:
        session, task = self.session, self.session.task
        for case in self.open:
            failed, text = self.failed[case.id], self.texts[case.id]
            failed.malformed, failed.in_form = form(case, text, failed.reason, task.labels, task.schema)
        wanted = [case for case in self.open if self.failed[case.id].malformed]
        constrained = replace(
            self.variant, name="probe/format", output=task.structured, answer_after=None, notes=("probe",)
        )
        if (
            not wanted
            or task.structured.kind not in session.models[self.variant.model].provider.supports
            or constrained.id == self.variant.id
        ):
            return
        for case, (good,) in zip(wanted, await self._fixes(constrained, wanted), strict=True):
            self.failed[case.id].in_form = good or bool(self.failed[case.id].in_form)

    async def _label_or_grader(self) -> None:
        if self.session.task.kind == "free_text":
            self.not_probed[LABELS] = "Free-text answers cannot be compared word for word."
            return
        others, by_classifier = await self._other_models(), classifier_votes(self.session)
        voted = {case for voter in others.values() for case in voter.votes}
        failed = self.open
        control = [case for case in self.right if case.id in voted] or self.right[:MOST_CASES]
        families = self._families(failed, control, others, by_classifier)
        cases = [*failed, *control]
        alike = {tuple(row.get(case.id, "") for case in cases): row for row in reversed(families.values())}
        families = {name: row for name, row in families.items() if any(row is one for one in alike.values())}
        if len(families) < 2:
            self.not_probed[LABELS] = (
                "All models are from one family, and there are too few examples to train a classifier."
                if others
                else "The project has no other model and too few examples to train a classifier."
            )
            return
        found = suspect(
            {case.id: {name: row.get(case.id, "") for name, row in families.items()} for case in cases},
            subject=next(iter(families)),
            labels={case.id: answer_text(case.expected) for case in cases},
            n_answers=len(self.session.task.labels),
            weights={case.id: self._weight(failed, self.n_failed) for case in failed}
            | {case.id: self._weight(control, len(self.right)) for case in control},
        )
        self.label_chance = found.most
        for case in failed:
            self.failed[case.id].suspected = found.suspected.get(case.id, "")
            self.failed[case.id].doubtful = found.doubtful.get(case.id, "")

    def _families(
        self,
        failed: Cases,
        control: Cases,
        others: Mapping[str, Voter],
        by_classifier: NamedTexts | None,
    ) -> dict[str, NamedTexts]:
        """Return the votes of each family of models, the family of the variant first; the most accurate model votes."""
        own = {case.id: self._vote(self.texts[case.id], right=False) for case in failed}
        own |= {case.id: GIVEN for case in control}
        family = lineages(self.session.project.models)
        families: dict[str, NamedTexts] = {family.get(self.variant.model, self.variant.model): own}
        for name, voter in sorted(others.items(), key=lambda pair: -pair[1].accuracy):
            families.setdefault(family[name], voter.votes)
        if by_classifier is not None:
            families[CLASSIFIER] = by_classifier
        return families

    async def _knowledge(self) -> None:
        cases = {case.id: case for case in self.open if case.documents}
        if not cases:
            self.not_probed["knowledge"] = "No failed case lists the documents that contain its answer."
            return
        library = self.session.library
        handed = [case for case in cases.values() if library and library.named(case)]
        if library is None or not handed:
            self.not_probed["knowledge"] = "The project has none of the documents that the failed cases list."
            return
        oracle = replace(
            self.variant, name="probe/oracle", retrieval=library.oracle(self.variant.retrieval), notes=("probe",)
        )
        for case, (good,) in zip(handed, await self._fixes(oracle, handed), strict=True):
            self.failed[case.id].oracle = good

    async def _tools(self) -> None:
        session, config = self.session, self.session.project.models.get(self.variant.model)
        if self.variant.tools or config is None or config.own_pipeline or not self.open:
            self.not_probed["tools"] = "The project has no tools that this variant lacks."
            return
        cases, provider = self.open, session.models[self.variant.model].provider
        variant = replace(with_tools(self.variant, session.toolbox, provider), name="probe/tools", notes=("probe",))
        fixes, used = await self._fixes(variant, cases), used_tools(await self._ask(variant, cases))
        for case, (good,) in zip(cases, fixes, strict=True):
            self.failed[case.id].tools = good and case.id in used

    async def _instability(self) -> None:
        cases, variant = self.open, self.variant
        if variant.decoding.get("temperature") == 0:
            variant = replace(
                variant,
                name="probe/again",
                by_tag={},
                decoding={**variant.decoding, "temperature": ASKED_AGAIN_AT},
                notes=("probe",),
            )
        own = variant is self.variant  # then the first answer is the one that failed
        answers = await self._fixes(variant, cases, repeats=SAMPLES + own)
        again = await self._ask(variant, cases, repeats=SAMPLES + own)  # stored
        self.repeats_vary = len({(trace.case_id, trace.text) for trace in again}) > len(cases)
        for case, good in zip(cases, answers, strict=True):
            self.failed[case.id].passes = sum(good[own:])

    async def _reasoning(self) -> None:
        stronger = [voter for voter in (await self._other_models()).values() if voter.stronger]
        if not stronger:
            self.not_probed["reasoning"] = (
                "No other eligible model is significantly better on dev."
                if self._others
                else "The project has no other eligible model."
            )
            return
        for case in self.open:
            self.failed[case.id].stronger = any(case.id in voter.right for voter in stronger)

    async def _other_models(self) -> dict[str, Voter]:
        if self._others is not None:
            return self._others
        project = self.session.project
        names = [
            name
            for name in project.answering
            if name != self.variant.model and project.may_serve(name) and name not in project.forms
        ]
        control = (
            random.Random(project.split.seed).sample(self.right, MOST_CASES)
            if len(self.right) > MOST_CASES
            else self.right
        )
        self._others = {}
        for name in names:
            with suppress(ModelError):  # a model that is not there has no vote
                self._others[name] = await self._other_model(name, control)
        return self._others

    async def _other_model(self, name: str, control: Cases) -> Voter:
        failed = self.open
        provider = self.session.models[name].provider
        variant = replace(on_model(self.variant, name, provider), name=f"probe/{name}", notes=("probe",))
        if variant.output.kind not in {"free", *provider.supports}:
            variant = replace(variant, output=replace(variant.output, kind="free", choices=(), schema=None))
        cases = [*failed, *control]
        traces = await self._ask(variant, cases)
        _, _, scores = await self.session.score(traces, cases)
        right, votes = set(), {}
        for case, trace, score in zip(cases, traces, scores, strict=True):
            if score.value is not None and score.value >= (1 + min(self.values[case.id], 0.999)) / 2:
                right.add(case.id)
            votes[case.id] = self._vote(trace.text, right=case.id in right)
        fixed = sum(case.id in right for case in failed) * self._weight(failed, self.n_failed)
        still_right = sum(case.id in right for case in control) * self._weight(control, len(self.right))
        return Voter(
            accuracy=(fixed + still_right + 1) / (len(self.values) + 2),
            votes=votes,
            right=right,
            stronger=shown_stronger(fixed, len(self.right) - still_right),
        )

    def _weight(self, asked: Cases, n: int) -> float:
        return n / len(asked) if asked else 0.0

    def _vote(self, text: str, *, right: bool) -> str:
        return GIVEN if right else answer_key(text, self.session.task.kind, self.session.task.labels)


def answer_key(text: str, kind: str, labels: Texts) -> str:
    """Return what makes two answers the same; "" for an answer that cannot be read.

    >>> answer_key(" Red. ", "label", ("red", "blue")), answer_key("pink", "label", ("red", "blue"))
    ('red', '')
    """
    if kind == "json":
        value = find_object(text)
        return "" if value is None else canonical(value).decode()
    return (
        normalise(text)
        if kind != "label"
        else next((label for key in (str.strip, normalise) for label in labels if key(label) == key(text)), "")
    )


def form(case: Case, text: str, reason: str, labels: Texts, schema: JsonMapping | None) -> tuple[bool, bool]:
    """Say whether the form of a wrong answer is wrong, and whether it is right when it is read leniently.

    Args:
        case: The failed case.
        text: Its answer.
        reason: The grader's.
        labels: Of a label task.
        schema: Of a JSON task.

    >>> form(Case(id="a", expected="red"), "It is red.", "wrong", ("red", "blue"), None)
    (True, True)
    >>> form(Case(id="a", expected="red"), "blue", "wrong", ("red", "blue"), None)
    (False, False)
    """
    if labels:
        named = LabelFinder(labels)(text)
        return text.strip() not in labels, bool(named) and set(named) <= set(_expected(case))
    if schema is not None:
        import jsonschema

        found = find_object(text)
        valid = found is not None and jsonschema.Draft202012Validator(dict(schema)).is_valid(found)
        return reason in FORM_REASONS or not valid, False
    texts = _expected(case)
    inside = any(f" {normalise(one)} " in f" {normalise(text)} " for one in texts) and not restates(case.text, texts)
    return reason in FORM_REASONS or inside, inside


def _expected(case: Case) -> TextTuple:
    return accepted(case.expected) if isinstance(case.expected, list) else (answer_text(case.expected),)
