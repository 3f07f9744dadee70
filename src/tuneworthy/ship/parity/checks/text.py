"""Checks of what is read before any weight is used: the template, the added tokens, the ids of a prompt."""

from tuneworthy.providers.chat_template import template_sha256
from tuneworthy.ship import messages
from tuneworthy.ship.parity import PARITY_CHECKS, FormFinding
from tuneworthy.ship.parity.subject import Subject


@PARITY_CHECKS.rule(
    "template", codes={"template_changed": "a form carries another chat template than the one trained with"}
)
def template(subject: Subject) -> FormFinding:
    """Every form carries the chat template that was trained with.

    Bad: a GGUF file with the template of its first base, while the training rows were rendered with another.
    """
    forms, own = subject.adapter_and_forms, subject.adapter.template
    trained = subject.lineage.template_sha256 or (template_sha256(own) if own is not None else None)
    if trained is None:
        return FormFinding(message="Training did not record a chat template.", status="skipped")
    hashes = {form.name: template_sha256(form.template) for form in forms if form.template is not None}
    changed = [name for name, sha256 in hashes.items() if sha256 != trained]
    if changed:
        return FormFinding(
            message=(
                f"The form `{changed[0]}` uses the chat template {hashes[changed[0]][:12]}, but training used "
                f"{trained[:12]}."
            ),
            code="template_changed",
            forms=tuple(changed),
        )
    silent = [form.name for form in forms if form.template is None]
    return FormFinding(message=messages.template(trained[:12], hashes, silent), status="pass", forms=tuple(hashes))


@PARITY_CHECKS.rule("added_tokens", codes={"added_token_lost": "a token of the vocabulary is read as other tokens"})
def added_tokens(subject: Subject) -> FormFinding:
    """Every token that was added to the vocabulary is one token, with the same id, in every form.

    Bad: a tokenizer that falls back to the base's, so that `<|order|>` is read as five pieces.
    """
    for form in subject.adapter_and_forms:
        for text, number in subject.plan.marks.items():
            ids = list(form.marks.get(text, ()))
            if ids != [number]:
                return FormFinding(
                    message=(
                        f"The form `{form.name}` tokenizes {text!r} as {ids[:8]}, but training used the single "
                        f"token {number}."
                    ),
                    code="added_token_lost",
                    forms=(form.name,),
                )
    n = len(subject.plan.marks)
    return FormFinding(
        message=f"All {n} special and added tokens are single tokens with the same IDs in every form.",
        status="pass",
        numbers={"n": n},
    )


@PARITY_CHECKS.rule(
    "prompt_ids",
    codes={
        "bos_doubled": "a prompt begins with the begin token twice",
        "bos_lost": "a prompt lacks the begin token that was trained with",
        "template_changed": "a prompt is read as other ids",
    },
)
def prompt_ids(subject: Subject) -> FormFinding:
    """A chat, the question of a fact included, is read as the same ids in every form, and begins once.

    Bad: a template that writes the begin token and a server that puts another before it.
    """
    plan, forms = subject.plan, subject.adapter_and_forms
    for form in forms:
        pairs = [*zip(form.prompt_ids, plan.prompt_ids, strict=True)]
        pairs += zip(form.fact_prompt_ids, plan.fact_ids, strict=True)
        for read, trained in pairs:
            if cause := _difference(list(read), list(trained), plan.begin):
                return FormFinding(
                    message=messages.prompt_ids_differ(form.name, trained, read), code=cause, forms=(form.name,)
                )
    n, names = len(plan.prompt_ids), ", ".join(form.name for form in forms)
    return FormFinding(
        message=f"{n} prompts have the same token IDs in these forms: {names}.", status="pass", numbers={"n": n}
    )


def _difference(read: list[int], trained: list[int], begin: int | None) -> str:
    """Return the cause of a difference; "" if there is no difference."""
    if begin is not None and read[:2] == [begin, begin]:
        return "bos_doubled"
    if read == trained:
        return ""
    return "bos_lost" if begin is not None and [begin, *read] == trained else "template_changed"
