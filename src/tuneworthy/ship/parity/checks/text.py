"""Checks of what is read before any weight is used: the template, the added tokens, the ids of a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from tuneworthy.providers.chat_template import template_sha256
from tuneworthy.ship.parity.measure import FormAnswers
from tuneworthy.ship.parity.subject import Said, Subject, parity_check


def _all(subject: Subject) -> Iterator[FormAnswers]:
    yield subject.adapter
    yield from subject.forms.values()


@parity_check("template")
class TemplateCheck:
    """Every form carries the chat template that was trained with.

    Bad: a GGUF file with the template of its first base, while the training rows were written with another.
    """

    code: ClassVar[str]
    causes: ClassVar = {"template_changed": "a form carries another chat template than the one trained with"}

    def look(self, subject: Subject) -> Said:
        """Compare the hashes."""
        own = subject.adapter.template
        trained = subject.lineage.template_sha256 or (template_sha256(own) if own is not None else None)
        if trained is None:
            return Said("skipped", "no template was recorded when the model was trained")
        told = {one.name: template_sha256(one.template) for one in _all(subject) if one.template is not None}
        changed = [name for name, digest in told.items() if digest != trained]
        silent = [one.name for one in _all(subject) if one.template is None]
        if changed:
            detail = f"expected the template {trained[:12]}, got {told[changed[0]][:12]} in {changed[0]}"
            return Said("fail", detail, "template_changed", tuple(changed))
        also = f"; {', '.join(silent)} does not tell" if silent else ""
        return Said("pass", f"template {trained[:12]} in {', '.join(told)}{also}", None, tuple(told))


@parity_check("added_tokens")
class AddedTokensCheck:
    """Every token that was added to the vocabulary is one token, with the same id, in every form.

    Bad: a tokenizer that falls back to the base's, so that `<|order|>` is read as five pieces.
    """

    code: ClassVar[str]
    causes: ClassVar = {"added_token_lost": "a token of the vocabulary is read as other tokens"}

    def look(self, subject: Subject) -> Said:
        """Compare the ids of each."""
        marks = subject.plan.marks
        for form in _all(subject):
            for text, number in marks.items():
                if list(form.marks.get(text, ())) != [number]:
                    got = list(form.marks.get(text, ()))[:8]
                    detail = f"expected {text!r} to be token {number}, got {got} in {form.name}"
                    return Said("fail", detail, "added_token_lost", (form.name,))
        return Said("pass", f"{len(marks)} special and added tokens are one token each, with the same ids",
                    numbers={"n": len(marks)})  # fmt: skip


@parity_check("prompt_ids")
class PromptIdsCheck:
    """A chat, the question of a fact included, is read as the same ids in every form, and begins once.

    Bad: a template that writes the begin token and a server that puts another before it.
    """

    code: ClassVar[str]
    causes: ClassVar = {
        "bos_doubled": "a prompt begins with the begin token twice",
        "bos_lost": "a prompt lacks the begin token that was trained with",
        "template_changed": "a prompt is read as other ids",
    }

    def look(self, subject: Subject) -> Said:
        """Compare the ids of each prompt."""
        plan = subject.plan
        begin, n = plan.begin, len(plan.prompt_ids)
        for form in _all(subject):
            read = [*zip(form.prompt_ids, plan.prompt_ids, strict=True)]
            read += zip(form.fact_prompt_ids, plan.fact_ids, strict=True)
            for told, wanted in read:
                cause = _difference(list(told), list(wanted), begin)
                if cause is not None:
                    detail = f"expected {_short(wanted)}, got {_short(told)} in {form.name}"
                    return Said("fail", detail, cause, (form.name,))
        names = ", ".join(form.name for form in _all(subject))
        return Said("pass", f"{n} prompts are the same ids in {names}", numbers={"n": n})


def _difference(told: list[int], wanted: list[int], begin: int | None) -> str | None:
    if begin is not None and told[:2] == [begin, begin]:
        return "bos_doubled"
    if told == wanted:
        return None
    if begin is not None and [begin, *told] == wanted:
        return "bos_lost"
    return "template_changed"


def _short(ids: Sequence[int]) -> str:
    return f"{list(ids[:6])}{'...' if len(ids) > 6 else ''} ({len(ids)} ids)"
