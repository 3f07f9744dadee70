"""What the rung `prompt` finds by asking: a prompt that GEPA rewrote, and one without the paragraphs that earn nothing.

Invariants: only dev is asked, and only its second half, so that the race, which begins with the first, sees cases that
nothing was made from. What GEPA found is written as a plain file first and read back as the project file would read
it: what is raced and put to test is what can be used.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import orjson

from tuneworthy.config.project import Project
from tuneworthy.config.reflection import Reflection
from tuneworthy.errors import UserError
from tuneworthy.grade.base import REASONS, accepted
from tuneworthy.ladder.dev_scores import measure
from tuneworthy.ladder.session import Session
from tuneworthy.prompts.templates import render
from tuneworthy.search.ablate import ablate, may_go
from tuneworthy.search.optimise import Judged, Optimised, gepa_missing, optimise
from tuneworthy.store import write_atomic
from tuneworthy.types import Case, Score, Trace, Variant, content_hash

OWN = frozenset({"http", "python"})
"""Providers that get the case alone: they have no prompt of ours."""
DETAIL_CHARS = 400
FILE = "prompts/gepa.md"
"""Below `.tuneworthy/`: the prompt that GEPA found."""
BYTES_A_TOKEN = 4
UNSEARCHED = "that takes a whole climb and at least 50 dev cases"
_PLACEHOLDER = re.compile(r"\{[{%#].*?[}%#]\}", re.DOTALL)


def searched_half(dev: Sequence[Case]) -> list[Case]:
    """Return the cases of dev that candidates are made from: the half that a race comes to last."""
    return list(dev[len(dev) // 2 :])


def why_not_optimised(project: Project, model: str, *, searched: bool) -> str:
    """Say why `[reflection]` cannot be followed; "" if it can be, or is not there.

    Args:
        project: Its configuration. model: That answers. searched: Whether dev may be searched.
    """
    section = project.reflection
    if section is None:
        return ""
    if project.models[model].provider in OWN:
        return f"the prompt is not optimised: {model} is a pipeline of your own, with a prompt of its own"
    if project.constraints.on_device and project.models[section.model].hosted:
        return f"the prompt is not optimised: {section.model} is hosted, and the task must run on the device"
    if missing := gepa_missing():
        return f"the prompt is not optimised: {missing}"
    return "" if searched else f"the prompt is not optimised: {UNSEARCHED}"


def why_not_ablated(project: Project, system: str | None, *, searched: bool) -> str:
    """Say why `prompt.ablate` cannot be followed; "" if it can be, or is not asked for."""
    if not project.prompt.ablate:
        return ""
    if not may_go(system or ""):
        return "nothing is cut from the system prompt: it has no two paragraphs, or only placeholders"
    return "" if searched else f"nothing is cut from the system prompt: {UNSEARCHED}"


# --- paragraphs that earn nothing ---------------------------------------------------------------------------------


async def cut_prompt(session: Session, best: Variant, dev: Sequence[Case]) -> tuple[Variant, dict[str, Any]]:
    """Cut the paragraphs of the system prompt that earn nothing on dev.

    Returns:
        The variant (it is `best` if none can go), and what was tried, JSON-able.
    """
    found = await ablate(best, searched_half(dev), partial(measure, session))
    tokens, left = (_tokens(text) for text in (best.system or "", found.text))
    about = {
        "paragraphs": found.paragraphs,
        "cut": found.cut,
        "tokens": tokens,
        "tokens_saved": tokens - left,
        "tried": [asdict(one) | {"tokens": _tokens(one.text)} for one in found.tried],
    }
    if not found.cut:
        return best, about
    words = f"{found.cut} of {found.paragraphs} paragraphs cut"
    return replace(best, name="prompt/cut", system=found.text, notes=(*best.notes, words)), about


def _tokens(text: str) -> int:
    """Return the tokens of a text, estimated."""
    return round(len(text.encode()) / BYTES_A_TOKEN)


# --- GEPA ---------------------------------------------------------------------------------------------------------


async def optimise_prompt(session: Session, best: Variant, dev: Sequence[Case]) -> tuple[Variant, dict[str, Any]]:
    """Let GEPA rewrite the system prompt on dev, and write what it found to `.tuneworthy/prompts/gepa.md`.

    Returns:
        The variant (it is `best` if nothing better was found), and how it was found, JSON-able.

    Raises:
        TuneworthyError: Budget spent, key refused, provider down; run again to go on.
    """
    section = session.project.reflection
    assert section is not None
    asking = _Asking(session, section, best)
    found = await optimise(
        best.system or "",
        searched_half(dev),
        evaluate=asking.evaluate,
        reflect=asking.reflect,
        budget=section.calls,
        seed=session.project.split.seed,
    )
    about = _about(found) | {"model": section.model, "cut_off": asking.cut_off, "refused": asking.refused, "file": ""}
    if not found.best:
        return best, about
    path = session.folder.path / FILE
    session.folder.create()
    write_atomic(path, found.kept[found.best].text.encode())
    about["file"] = str(path.relative_to(session.project.root))
    system = session.project.text(about["file"])
    return replace(best, name="prompt/gepa", system=system, notes=(*best.notes, "gepa")), about


def _about(found: Optimised) -> dict[str, Any]:
    """Return plain data of a search; `score` and `before` are of the cases that choose."""
    return {
        "kept": [asdict(one) for one in found.kept],
        "before": found.kept[0].score,
        "score": found.kept[found.best].score,
        **{name: getattr(found, name) for name in ("best", "calls", "reflections", "failed", "budget")},
        "n_train": found.n_train,
        "n_val": found.n_val,
    }


class _Asking:
    """Asks for GEPA, through the store and the budget of the session.

    Args:
        session: The opened project.
        section: `[reflection]`.
        best: What is rewritten.

    Attributes:
        cut_off: Rewrites that were cut off at their limit of tokens.
        refused: Rewrites that were not asked, because of their placeholders.
    """

    def __init__(self, session: Session, section: Reflection, best: Variant) -> None:
        self.session, self.section, self.best = session, section, best
        self.cut_off = self.refused = 0
        self._asked: Counter[str] = Counter()
        self._fixed = frozenset(_PLACEHOLDER.findall(best.system or ""))
        self._writer = Variant(
            name="prompt/rewrite",
            model=section.model,
            model_identity=session.models[section.model].provider.identity,
            system=None,
            user="{{ input }}",
            decoding=dict(section.parameters),
            max_tokens=section.max_tokens,
        )

    async def evaluate(self, text: str, cases: Sequence[Case]) -> list[Judged]:
        """Answer `cases` with the prompt `text`, and say what is wrong; one that cannot be filled in is not asked."""
        if fault := self._fault(text, cases[0]):
            self.refused += 1
            return [Judged(0.0, case.text, "", fault, asked=False) for case in cases]
        variant = replace(self.best, name="prompt/gepa", system=text or None)
        traces = await self.session.ask(variant, cases)
        _, _, scores = await self.session.score(traces, cases)
        return [self._judged(*row) for row in zip(cases, traces, scores, strict=True)]

    async def reflect(self, prompt: str) -> str | None:
        """Ask for a rewrite; the same question asked again is a repeat, with an answer of its own."""
        repeat = self._asked[prompt]
        self._asked[prompt] += 1
        case = Case(id=content_hash(prompt), input=prompt)
        model = self.session.models[self.section.model]
        trace = (await self.session.runner.run(self._writer, model, [case], repeats=(repeat,)))[0]
        self.cut_off += trace.response is not None and trace.response.finish_reason == "length"
        return trace.text or None

    def _fault(self, text: str, case: Case) -> str:
        """Say what is wrong with a rewrite as a template; "" if nothing is."""
        if added := sorted({*_PLACEHOLDER.findall(text)} - self._fixed):
            return f"The instructions have a placeholder that nothing fills in: {added[0]}"
        try:
            render(text, case.input if case.input is not None else "")
        except UserError as error:
            return f"The instructions cannot be filled in: {error.message}"
        return ""

    def _judged(self, case: Case, trace: Trace, score: Score) -> Judged:
        answer = trace.text if trace.response else "(no answer)"
        words = [case.text, answer, feedback(case, score)]
        if self.section.personal_data == "mask":
            from tuneworthy.cases.pii import Masker  # waited for only where something is optimised

            words = Masker().mask_json(words)
        return Judged(score.value or 0.0, *words)


def feedback(case: Case, score: Score) -> str:
    """Say in words what an answer is worth, why, and what would have been right."""
    if score.unscored:
        return f"It could not be scored ({score.unscored})."
    parts = [f"Score {score.value:.2f} of 1."]
    if score.reason:
        parts.append(f"Why: {REASONS.get(score.reason, score.reason)}.")
    if case.expected is None:
        parts.append("Right would be to decline, because there is no answer.")
    elif case.labelled:
        parts.append(f"Right would be: {' or '.join(accepted(case.expected))}")
    if score.detail and score.num != score.den:
        parts.append(f"Details: {orjson.dumps(dict(score.detail), default=str).decode()[:DETAIL_CHARS]}")
    return " ".join(parts)
