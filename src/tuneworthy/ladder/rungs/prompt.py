"""Rung `prompt`: rewrites of the system prompt.

The rewrites are deterministic (structure, role, contract, half, chain of thought). For a choice task the labels are
ranked too, where the model can do that. Where the project file asks for it, GEPA makes one more.

Invariants of GEPA: only dev is asked, and only the half that the race does not see: it decides by cases that nothing
was made from, and a group is on one side. Its result depends only on the seed and on stored answers. It is written as a
plain file first and read back as the project file would read it: the raced and tested prompt is the usable prompt. The
file is named by its text and never becomes another's.
"""

import re
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec

import orjson

from tuneworthy.config.ladder import Reflection
from tuneworthy.config.project import Project
from tuneworthy.engine.ranking import content_free
from tuneworthy.errors import UserError
from tuneworthy.graders.base import accepted
from tuneworthy.graders.messages import REASONS
from tuneworthy.ladder import messages
from tuneworthy.ladder.rung import Proposal, Rung, SearchResult, View, rung
from tuneworthy.ladder.rung_details import GepaDetail, PromptDetail
from tuneworthy.ladder.session import Session
from tuneworthy.prompts.templates import own_system, render
from tuneworthy.prompts.transforms import TRANSFORMS, AnswerForm, applicable
from tuneworthy.search.optimise import MINIBATCH, ScoredAnswer, optimise, part, why_no_sides
from tuneworthy.store import write_atomic
from tuneworthy.text import count, plural
from tuneworthy.types import Case, Cases, OutputFormat, Ranking, Score, Trace, Variant, content_hash

# Each label is read behind each prompt: with more labels a ranking costs more than it is likely to bring.
MOST_LABELS = 100
# Ways to rank that need no further call.
RANKED: tuple[Ranking, ...] = ("sum", "per_byte")


@rung("prompt")
class PromptRung(Rung):
    """Single rewrites, and structure and contract together; then results of searches."""

    async def propose(self, view: View) -> Proposal:
        best, task = view.incumbent, view.task
        form = AnswerForm(task.kind, task.labels, task.schema)
        candidates = [
            replace(TRANSFORMS[name](best, form), name=f"prompt/{name}", notes=(*best.notes, name))
            for name in applicable(best, task.kind)
            if task.closed or "contract" not in name  # it would forbid the labels that are not known
        ]
        if can_rank(view):
            candidates += [_variant(best, _output(view, way)) for way in RANKED]
        corrected = view.searched and can_rank(view)
        optimised, _ = _optimises(view)
        section, calls = view.project.reflection, Counter[str]()
        if optimised and section:
            calls += Counter({best.model: view.n_dev // 2 + section.calls})
            calls += Counter({section.model: section.calls // MINIBATCH})
        return Proposal(
            candidates=[c for c in candidates if c.id != best.id],
            more_candidates=optimised + corrected,
            more_calls=calls,
        )

    async def search(self, view: View) -> SearchResult:
        optimised, why_not = _optimises(view)
        notes = [why_not] if why_not else []
        variants: list[Variant] = []
        gepa: GepaDetail | None = None
        if optimised:
            variant, gepa, note = await optimise_prompt(view)
            variants += [variant] if variant.id != view.incumbent.id else []
            notes += [note] if note else []
        made_from = frozenset(case.id for case in searched_cases(view.dev)) if variants else frozenset[str]()
        if view.searched and can_rank(view) and (corrected := await with_prior(view)):
            variants.append(corrected)
        return SearchResult(
            candidates=variants, made_from=made_from, detail=PromptDetail(gepa=gepa) if gepa else None, notes=notes
        )


def _optimises(view: View) -> tuple[bool, str]:
    """Return whether the prompt is optimised, and what bars that although the project file asks for it."""
    why_not = why_not_optimised(view.project, view.incumbent.model, view.dev, searched=view.searched)
    return view.project.reflection is not None and not why_not, why_not


# Ranked labels: the ways to compare labels share their calls, whatever is made of the log-probabilities.


def can_rank(view: View) -> bool:
    best, labels = view.incumbent, view.task.labels
    return (
        view.project.prompt.rank_labels
        and view.task.structured.kind == "choice"
        and len(labels) <= MOST_LABELS
        and best.answer_after is None
        and "ranked" in view.models[best.model].provider.supports
    )


async def with_prior(view: View) -> Variant | None:
    """Return the variant that subtracts each label's prior; None without one.

    Raises:
        OutsideFault: The answer to that question did not come, and would be asked for again.
    """
    session = view.session
    raw = _variant(view.incumbent, replace(_output(view, "sum"), ranking=""))
    with session.all_answered():
        trace = (await session.ask(raw, [content_free(view.dev[0])]))[0]
    worth = trace.response.label_logprobs if trace.response else None
    return (
        _variant(
            view.incumbent, replace(_output(view, "prior"), prior=tuple(worth[label] for label in view.task.labels))
        )
        if worth is not None
        else None
    )


def _output(view: View, way: Ranking) -> OutputFormat:
    return OutputFormat(kind="ranked", choices=view.task.labels, ranking=way)


def _variant(best: Variant, output: OutputFormat) -> Variant:
    name = f"ranked_{output.ranking}"
    return replace(best, name=f"prompt/{name}", output=output, decoding={"temperature": 0.0}, notes=(*best.notes, name))


# Limit of a rewritten prompt, tokens.
REWRITE_TOKENS = 2048
DETAIL_CHARS = 400
# Below `.tuneworthy/`: the prompts that GEPA found.
FOLDER = "prompts"
# Hex digits of the hash in the name of such a file.
NAME_CHARS = 8
# Dev cases to search on, at least, as in a sweep.
FEWEST = 20
_PLACEHOLDER = re.compile(r"\{[{%#].*?[}%#]\}", re.DOTALL)


def searched_half(dev: Cases) -> list[Case]:
    """Return the half of `dev` that a race comes to last, or less, without splitting a group."""
    return part(dev[::-1], len(dev) - len(dev) // 2)[0][::-1]


def searched_cases(dev: Cases) -> list[Case]:
    """Return the cases of dev that candidates are made from: those of its half that our system prompt is sent with."""
    return [case for case in searched_half(dev) if not own_system(case)]


def why_not_optimised(project: Project, model: str, dev: Cases = (), *, searched: bool) -> str:
    """Say why `[reflection]` cannot be followed; "" if it can be, or is not there.

    Args:
        project: Its configuration.
        model: That answers.
        dev: In the order of the race; empty if unknown.
        searched: Whether dev may be searched.
    """
    section = project.reflection
    if section is None:
        return ""
    why = (
        (f"{model} is your own pipeline, which has its own prompt" if project.models[model].own_pipeline else "")
        or ("" if project.may_serve(section.model) else messages.say("hosted_forbidden", model=section.model))
        or ("" if find_spec("gepa") else 'GEPA is not installed; run `pip install "tuneworthy[optimise]"`')
        or _why_not_searched(dev, searched=searched)
        or (why_no_sides(searched_cases(dev), section.calls) if dev else "")
    )
    return messages.say("not_optimised", why=why) if why else ""


def _why_not_searched(dev: Cases, *, searched: bool) -> str:
    if not searched:
        return messages.say("unsearched")
    half, cases = searched_half(dev), searched_cases(dev)
    if not dev or len(cases) >= FEWEST:
        return ""
    if len(cases) < len(half):
        return messages.say("own_system_turns", n=len(half) - len(cases), n_half=len(half))
    return (
        f"the groups of dev cases are so large that only {count(len(half), 'case remains', 'cases remain')} for "
        f"the search, but {FEWEST} are needed"
    )


async def optimise_prompt(view: View) -> tuple[Variant, GepaDetail | None, str]:
    """Let GEPA rewrite the system prompt on dev, and write the result below `.tuneworthy/prompts/`.

    Cases that today's prompt has no score of, for a reason that stays, are set aside before the search.

    Returns:
        The variant (the best so far if nothing better was found), how it was found (None if nothing was searched), and
        a note.

    Raises:
        TuneworthyError: Budget spent, key refused, provider down, an answer that did not come; run again to go on.
    """
    session = view.session
    section, best = session.project.reflection, view.incumbent
    assert section is not None
    asking = _GepaCalls(session, section, best)
    wanted = searched_cases(view.dev)
    cases = await asking.scored_today(wanted)
    set_aside = len(wanted) - len(cases)
    if why := why_no_sides(cases, section.calls):
        why = (
            f"{set_aside} of {len(wanted)} cases for the search {plural(set_aside, 'has', 'have')} no score, and {why}"
        )
        return best, None, messages.say("not_optimised", why=why)
    found = await optimise(
        best.system or "",
        cases,
        evaluate=asking.evaluate,
        reflect=asking.reflect,
        budget=section.calls,
        seed=session.project.split.seed,
    )
    about = GepaDetail(
        search=found,
        model=section.model,
        cut_off=asking.cut_off,
        refused=asking.refused,
        set_aside=set_aside,
    )
    if not found.best:
        return best, about, f"GEPA found no better prompt in {found.calls} calls"
    text = found.prompts[found.best].text
    path = session.folder.path / FOLDER / f"gepa-{content_hash(text, NAME_CHARS)}.md"
    session.folder.create()
    write_atomic(path, text.encode())
    file = str(path.relative_to(session.project.root))
    return (
        replace(best, name="prompt/gepa", system=session.project.text(file), notes=(*best.notes, "gepa")),
        replace(about, file=file),
        "",
    )


class _GepaCalls:
    """Asks for GEPA, through the store and the budget of the session.

    Args:
        session: The opened project.
        section: `[reflection]`.
        best: The variant to rewrite.

    Attributes:
        cut_off: Rewrites that were cut off at their limit of tokens.
        refused: Rewrites that were not asked, because of their placeholders.
    """

    def __init__(self, session: Session, section: Reflection, best: Variant) -> None:
        self.session, self.section, self.best = session, section, best
        self.cut_off = self.refused = 0
        self._today: dict[str, float] = {}
        self._repeats: Counter[str] = Counter()
        self._fixed = frozenset(_PLACEHOLDER.findall(best.system or ""))
        self._writer = Variant(
            name="prompt/rewrite",
            model=section.model,
            model_identity=session.models[section.model].provider.identity,
            system=None,
            user="{{ input }}",
            max_tokens=REWRITE_TOKENS,
        )

    async def scored_today(self, cases: Cases) -> list[Case]:
        """Answer `cases` with the prompt as it is, and return those with a score.

        Raises:
            OutsideFault: An answer did not come, and would be asked for again.
        """
        _, scores = await self.session.answers(self.best, cases)
        self._today = {case.id: one.value for case, one in zip(cases, scores, strict=True) if one.value is not None}
        return [case for case in cases if case.id in self._today]

    async def evaluate(self, text: str, cases: Cases) -> list[ScoredAnswer]:
        """Answer `cases` with the prompt `text`, and return the faults; a prompt that cannot be filled in is not sent.

        Raises:
            OutsideFault: An answer did not come, and would be asked for again: the search would then be another.
        """
        if fault := self._fault(text, cases[0]):
            self.refused += 1
            return [ScoredAnswer(0.0, case.text, "", fault, sent=False) for case in cases]
        traces, scores = await self.session.answers(replace(self.best, name="prompt/gepa", system=text or None), cases)
        return [self._judged(*row) for row in zip(cases, traces, scores, strict=True)]

    async def reflect(self, prompt: str) -> str | None:
        """Ask for a rewrite; the same question asked again is a repeat, with an answer of its own.

        Raises:
            OutsideFault: It did not come, and would be asked for again.
        """
        repeat = self._repeats[prompt]
        self._repeats[prompt] += 1
        case = Case(id=content_hash(prompt), input=prompt)
        model = self.session.models[self.section.model]
        with self.session.all_answered():
            trace = (await self.session.runner.run(self._writer, model, [case], repeats=(repeat,)))[0]
        self.cut_off += trace.response is not None and trace.response.finish_reason == "length"
        return trace.text or None

    def _fault(self, text: str, case: Case) -> str:
        if added := sorted({*_PLACEHOLDER.findall(text)} - self._fixed):
            return f"The instructions have a placeholder that nothing fills in: {added[0]}"
        try:
            render(text, case.input if case.input is not None else "")
        except UserError as error:
            return f"The instructions cannot be filled in: {error.message}"
        return ""

    def _judged(self, case: Case, trace: Trace, score: Score) -> ScoredAnswer:
        answer = trace.text if trace.response else "(no answer)"
        masked = [case.text, answer, feedback(case, score), details(score)]
        if self.section.personal_data == "mask":
            from tuneworthy.cases.pii import Masker  # waited for only where something is optimised

            masked = Masker().mask_json(masked)
        question, answer, remark, more = masked
        if more:  # cut now, as half an address would not have been known for one
            remark = f"{remark} Details: {more[:DETAIL_CHARS]}"
        return ScoredAnswer(
            self._today[case.id] if score.value is None else score.value,
            question,
            answer,
            remark,
            unscored=score.value is None,
        )


def feedback(case: Case, score: Score) -> str:
    if score.unscored:
        return f"It could not be scored ({score.unscored})."
    text = f"Score {score.value:.2f} of 1."
    if score.reason:
        text += f" Why: {REASONS.get(score.reason, score.reason)}."
    if case.expected is None:
        return f"{text} Right would be to decline, because there is no answer."
    return f"{text} Right would be: {' or '.join(accepted(case.expected))}" if case.labelled else text


def details(score: Score) -> str:
    return (
        ""
        if score.unscored or not score.detail or score.num == score.den
        else orjson.dumps(dict(score.detail), default=str).decode()
    )
