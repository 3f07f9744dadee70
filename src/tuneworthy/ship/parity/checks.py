"""Parity checks: files, text, weights and answers of every form against the adapter on its base.

They run in order, from causes to consequences.
"""

from collections.abc import Callable
from math import exp, inf
from statistics import mean, median

import numpy as np

from tuneworthy.providers.chat_template import template_sha256
from tuneworthy.providers.model_safety import tensors_of
from tuneworthy.providers.weights import Place, from_float32, to_float32
from tuneworthy.ship.merged_weights import LoraAdapter, read_adapter
from tuneworthy.ship.parity import PARITY_CHECKS, FormFinding
from tuneworthy.ship.parity.measure import FormAnswers, divergence
from tuneworthy.ship.parity.request import is_end_supervised
from tuneworthy.ship.parity.subject import Scores, Subject
from tuneworthy.stats import paired
from tuneworthy.types import JsonMapping, Texts

# Smallest median probability that an answer which was trained on ends where it ended.
MIN_END = 0.3
# Smallest mean KL between adapter and base, nats: below it, training taught nothing or nothing is applied.
MIN_ACT = 0.01
# Smallest share of the adapter's distance from the base that a form must keep.
MIN_SHARE = 0.5
# Largest distance from the adapter, as a share of the adapter's own distance from the base.
MAX_SHARE = 0.1
# Weights that are compared, spread over the model.
SAMPLE = 16
# Weights that share a scale in 4-bit formats, and the most values that such a block can have.
BLOCK, LEVELS = 64, 16
# Smallest share of weights that are the rounded sum of base and adapter; the order of additions may change the rest.
EQUAL = 0.98
_NO_OTHER = "there is no other form of the model to compare"
Numbers = dict[str, float | int]


def _fail(code: str, form: str, message: str, numbers: JsonMapping | None = None) -> FormFinding:
    return FormFinding(message=message, code=code, forms=(form,), numbers=numbers or {})


def _pass(message: str, forms: Texts = (), numbers: JsonMapping | None = None) -> FormFinding:
    return FormFinding(message=message, status="pass", forms=tuple(forms), numbers=numbers or {})


def _skip(message: str, *forms: str) -> FormFinding:
    return FormFinding(message=message, status="skipped", forms=forms)


def _each_form(
    subject: Subject, code: str, numbers: Numbers, fault: Callable[[FormAnswers], str], passed: Callable[[], str]
) -> FormFinding:
    """Return the failure of the first form with a `fault`, which also records its figures in `numbers`."""
    for form in subject.forms.values():
        if message := fault(form):
            return _fail(code, form.name, message, numbers)
    return _pass(passed(), list(subject.forms), numbers)


def distance(p: FormAnswers, q: FormAnswers) -> list[float]:
    """Return the KL of `q` from `p` at each place: after each prompt, and after each answer."""
    return [*map(divergence, p.first, q.first), *map(divergence, p.end, q.end)]


# --- files ----------------------------------------------------------------------------------------------------------


@PARITY_CHECKS.rule(
    codes={
        "wrong_base": "the adapter was trained on another base",
        "wrong_adapter": "the merged model was made from another adapter",
        "wrong_merged": "the GGUF file was made from another model",
    },
)
def lineage(subject: Subject) -> FormFinding:
    """The adapter names the base at hand, the merged model the adapter, the GGUF file the merged model.

    Bad: an adapter that was trained on one model is merged into another of the same shape.
    """
    base, adapter, merged = subject.request.base, subject.request.adapter, subject.request.merged
    links = [("wrong_base", "adapter", "adapter was trained on the base model", "base model", adapter, base)]
    if merged:
        links += [("wrong_adapter", "merged", "merged model was made from the adapter", "adapter", merged, adapter)]
        ggufs = subject.request.ggufs
        links += [("wrong_merged", "gguf", "GGUF file was made from", "merged model", gguf, merged) for gguf in ggufs]
    for code, form, words, kind, made, source in links:
        if made.parent not in {None, source.id}:
            return _fail(code, form, f"The {words} {made.parent}, but the {kind} here is {source.id}.")
    if adapter.parent is None:
        return _skip("The adapter does not record its base model.")
    return _pass(f"Base model: {base.id}. Adapter: {adapter.id}. Merged model: {merged.id if merged else 'none'}.")


# --- text -----------------------------------------------------------------------------------------------------------


@PARITY_CHECKS.rule(codes={"template_changed": "a form carries another chat template than the one trained with"})
def template(subject: Subject) -> FormFinding:
    """Every form carries the chat template that was trained with.

    Bad: a GGUF file with the template of its first base, while the training rows were rendered with another.
    """
    forms, own = subject.adapter_and_forms, subject.adapter.template
    trained = subject.request.adapter.about.template_sha256 or (template_sha256(own) if own is not None else None)
    if trained is None:
        return _skip("Training did not record a chat template.")
    hashes = {form.name: template_sha256(form.template) for form in forms if form.template is not None}
    if changed := [name for name, sha256 in hashes.items() if sha256 != trained]:
        other = hashes[changed[0]][:12]
        message = f"The form `{changed[0]}` uses the chat template {other}, but training used {trained[:12]}."
        return FormFinding(message=message, code="template_changed", forms=tuple(changed))
    silent = ", ".join(form.name for form in forms if form.template is None)
    unknown = f" Forms that do not report theirs: {silent}." if silent else ""
    return _pass(f"These forms use the chat template {trained[:12]}: {', '.join(hashes)}.{unknown}", list(hashes))


@PARITY_CHECKS.rule(codes={"added_token_lost": "a token of the vocabulary is read as other tokens"})
def added_tokens(subject: Subject) -> FormFinding:
    """Every token that was added to the vocabulary is one token, with the same id, in every form.

    Bad: a tokenizer that falls back to the base's, so that `<|order|>` is read as five pieces.
    """
    marks = subject.plan.marks
    for form in subject.adapter_and_forms:
        for text, number in marks.items():
            ids = list(form.marks.get(text, ()))
            if ids != [number]:
                return _fail(
                    "added_token_lost",
                    form.name,
                    f"The form `{form.name}` tokenizes {text!r} as {ids[:8]}, but training used the single token "
                    f"{number}.",
                )
    return _pass(
        f"All {len(marks)} special and added tokens are single tokens with the same IDs in every form.",
        numbers={"n": len(marks)},
    )


@PARITY_CHECKS.rule(
    codes={
        "bos_doubled": "a prompt begins with the begin token twice",
        "bos_lost": "a prompt lacks the begin token that was trained with",
        "template_changed": "a prompt is read as other ids",
    },
)
def prompt_ids(subject: Subject) -> FormFinding:
    """A chat is read as the same ids in every form, and begins once.

    Bad: a template that writes the begin token and a server that puts another before it.
    """
    plan, forms = subject.plan, subject.adapter_and_forms
    begin = [] if plan.begin is None else [plan.begin]
    for form in forms:
        for ids, trained_ids in zip(form.prompt_ids, plan.prompt_ids, strict=True):
            read, trained = list(ids), list(trained_ids)
            doubled = bool(begin) and read[:2] == begin * 2
            if read == trained and not doubled:
                continue
            lost = begin and begin + read == trained
            shown = [f"{ids[:6]}{'...' if len(ids) > 6 else ''} ({len(ids)} IDs)" for ids in (read, trained)]
            message = f"The form `{form.name}` tokenizes a prompt as {shown[0]}, but training used {shown[1]}."
            return _fail("bos_doubled" if doubled else "bos_lost" if lost else "template_changed", form.name, message)
    n, names = len(plan.prompt_ids), ", ".join(form.name for form in forms)
    return _pass(f"{n} prompts have the same token IDs in these forms: {names}.", numbers={"n": n})


# --- weights --------------------------------------------------------------------------------------------------------


@PARITY_CHECKS.rule(
    codes={
        "adapter_not_applied": "the merged weights are those of the base",
        "merged_in_4bit": "the merged weights lie on the few values of a 4-bit format",
        "module_dropped": "some merged weights are those of the base, which training changed",
        "wrong_base": "the merged weights are not those of this base plus this adapter",
    },
)
def weights(subject: Subject) -> FormFinding:
    """The merged weights are the rounded sum of base and adapter, in a sample that is compared bit by bit.

    Of a full fine-tuning, they are the rounded trained weights. Every weight that is the same as in the base is
    compared as well, so that no module is dropped unseen.

    Bad: merged into 4-bit weights, where 64 neighbours have at most 16 values and most of the training is rounded
    away; merged into another base; or not merged at all.
    """
    asked = subject.request
    if asked.merged is None:
        return _skip("There is no merged model yet.")
    lora, base = read_adapter(asked.adapter.folder), tensors_of(subject.base_folder)
    merged = tensors_of(asked.merged.folder)
    every = [name for name in (lora.pairs or lora.whole) if name in base and name in merged]
    alike = [name for name in every if merged[name].raw() == base[name].raw()][:SAMPLE]
    names = [*dict.fromkeys([*every[:: max(1, len(every) // SAMPLE)], *alike])]
    if not names:
        return _fail("wrong_base", "merged", "The base model and the merged model have no adapted weight in common.")
    rows = [_compare_weights(lora, name, base[name], merged[name]) for name in names]
    meant, untouched, levels = zip(*rows, strict=True)
    as_meant, as_base, most = mean(meant), mean(untouched), max(levels)
    lost = [name for name, share in zip(names, meant, strict=True) if share < EQUAL and name in alike]
    numbers = {"n": len(rows), "as_meant": as_meant, "as_base": as_base, "most_levels": most}
    message = (
        f"In {len(rows)} matrices, {as_meant:.1%} of the weights match the trained ones, and {as_base:.1%} are "
        f"unchanged from the base model. Any {BLOCK} neighbouring weights have at most {most} distinct values."
    )
    if most <= LEVELS:
        return _fail("merged_in_4bit", "merged", message, numbers)
    if as_meant >= EQUAL and not lost:
        return _pass(message, ["merged"], numbers)
    if as_base >= EQUAL:
        return _fail("adapter_not_applied", "merged", message, numbers)
    if lost:
        return _fail(
            "module_dropped",
            "merged",
            f"{len(lost)} matrices of the merged model, such as {lost[0]}, equal those of the base model, although "
            "training changed them.",
            numbers,
        )
    return _fail("wrong_base", "merged", message, numbers)


def _compare_weights(lora: LoraAdapter, name: str, base: Place, merged: Place) -> tuple[float, float, int]:
    """Return the share of weights that are base plus adapter, the share as in the base, and most values in a block."""
    if merged.shape != base.shape:
        return 0.0, 0.0, LEVELS + 1
    weight, stored = base.read(), merged.read()
    meant = to_float32(from_float32(lora.changed(name, weight), merged.dtype), merged.dtype).reshape(weight.shape)
    flat = stored.reshape(-1)
    blocks = np.sort(flat[: len(flat) // BLOCK * BLOCK].reshape(-1, BLOCK)[:512], axis=1)
    levels = int(1 + (np.diff(blocks, axis=1) != 0).sum(axis=1).max()) if len(blocks) else LEVELS + 1
    return float((stored == meant).mean()), float((stored == weight).mean()), levels


# --- answers --------------------------------------------------------------------------------------------------------


@PARITY_CHECKS.rule(codes={"adapter_not_applied": "a form answers as the base does"})
def acts(subject: Subject) -> FormFinding:
    """The adapter acts, in every form: on prompts that were trained on, the answers are not the base's.

    Bad: a server that loads an adapter, finds no module by its names, and serves the base without a warning.
    """
    own, n = mean(distance(subject.adapter, subject.base)), len(subject.adapter.first)
    numbers = {"n": n, "adapter": own}
    if own < MIN_ACT:
        return _fail(
            "adapter_not_applied",
            "adapter",
            f"The adapter differs from its base model by a mean KL of only {own:.4f} nats. A working adapter differs "
            f"by at least {MIN_ACT}.",
            numbers,
        )

    def fault(form: FormAnswers) -> str:
        numbers[form.name] = kl = mean(distance(form, subject.base))
        if kl >= MIN_SHARE * own or mean(distance(subject.adapter, form)) <= MAX_SHARE * own:
            return ""
        return (
            f"The form `{form.name}` differs from the base model by a mean KL of only {kl:.4f} nats, but the adapter "
            f"itself differs by {own:.4f} nats."
        )

    others = f" So do the other forms: {', '.join(subject.forms)}." if subject.forms else ""
    message = f"The adapter differs from its base model by {own:.3f} nats (mean KL, n = {n}).{others}"
    return _each_form(subject, "adapter_not_applied", numbers, fault, lambda: message)


@PARITY_CHECKS.rule(
    codes={
        "end_of_turn_masked": "the token that ends an answer was not trained on",
        "end_of_turn_lost": "a form does not stop where the adapter does",
    },
)
def end_of_turn(subject: Subject) -> FormFinding:
    """Answers end: the token that ends them was trained on, and every form stops at it.

    Bad: a mask that leaves the last token out; the loss looks healthy and the model never stops.
    """
    if not is_end_supervised(subject.request.adapter.folder, subject.plan):
        return _fail(
            "end_of_turn_masked",
            "adapter",
            "Training masked the end-of-turn token, so the loss does not cover it.",
        )
    answers, n = subject.adapter.greedy, len(subject.adapter.end)
    middle = median(exp(after.get(subject.plan.end, -inf)) for after in subject.adapter.end)
    numbers = {"n": n, "median_probability": middle}
    sentence = "After answers from the training data, the median probability of the end-of-turn token is"
    if middle < MIN_END:
        return _fail("end_of_turn_masked", "adapter", f"{sentence} only {middle:.2f} (n = {n}).", numbers)
    stopped = [at for at, answer in enumerate(answers) if answer.ended]

    def fault(form: FormAnswers) -> str:
        running = sum(not form.greedy[at].ended for at in stopped)
        numbers[f"{form.name}_running_on"] = running
        if running <= (1 - subject.limits(form).agreement) * len(stopped):
            return ""
        return (
            f"The form `{form.name}` does not stop in {running} of the {len(stopped)} answers in which the adapter "
            "stops."
        )

    message = (
        f"{sentence} {middle:.2f} (n = {n}). The adapter stops in {len(stopped)} of {len(answers)} answers. Every "
        "other form stops in at least the required share of these."
    )
    return _each_form(subject, "end_of_turn_lost", numbers, fault, lambda: message)


@PARITY_CHECKS.rule(codes={"distribution_changed": "a form gives other probabilities"})
def distributions(subject: Subject) -> FormFinding:
    """The next token after each prompt, and after each answer, is as likely in every form as in the adapter.

    The mean KL has two limits: an absolute one that depends on how the weights are stored, and a tenth of the adapter's
    own distance from the base.

    Bad: weights that were rounded to 4 bits, or a rotary embedding with another layout.
    """
    own, n = mean(distance(subject.adapter, subject.base)), len(subject.adapter.first)
    numbers: Numbers = {"n": n}
    shown = []

    def fault(form: FormAnswers) -> str:
        values, limit = distance(subject.adapter, form), min(subject.limits(form).kl, MAX_SHARE * own)
        kl = numbers[f"{form.name}_mean_kl"] = mean(values)
        numbers[f"{form.name}_max_kl"] = max(values)
        shown.append(f"{form.name} {kl:.5f}")
        far = f"The form `{form.name}` ({form.kind}) has a mean KL of {kl:.4f} nats from the adapter"
        return f"{far}, above the limit of {limit:.4f}." if kl > limit else ""

    return _each_form(
        subject, "distribution_changed", numbers, fault,
        lambda: f"Mean KL from the adapter, in nats: {', '.join(shown) or _NO_OTHER} (n = {n}).",
    )  # fmt: skip


@PARITY_CHECKS.rule(codes={"answers_changed": "a form gives other greedy answers"})
def greedy(subject: Subject) -> FormFinding:
    """The most likely answers are the same, except for the few that a near tie turns.

    Bad: a server that applies a repetition penalty from a generation_config.json that no one read.
    """
    answers = subject.adapter.greedy
    n, shown = len(answers), list[str]()
    numbers: Numbers = {"n": n}

    def fault(form: FormAnswers) -> str:
        equal = [a.ids == b.ids for a, b in zip(answers, form.greedy, strict=True)]
        numbers[form.name] = share = mean(equal or [True])
        limit = subject.limits(form).agreement
        shown.append(f"{form.name} {share:.1%}")
        few = f"The form `{form.name}` ({form.kind}) reproduces {share:.1%} of {n} greedy answers"
        return f"{few}, below the limit of {limit:.1%}." if share < limit else ""

    sentence = f"Share of greedy answers that are identical to the adapter's (n = {n})"
    return _each_form(
        subject, "answers_changed", numbers, fault, lambda: f"{sentence}: {', '.join(shown) or _NO_OTHER}."
    )


@PARITY_CHECKS.rule(codes={"fact_lost": "a form does not know what the adapter was taught"})
def fact(subject: Subject) -> FormFinding:
    """A fact that only the adapter can know is known in every form.

    A fact is a training row whose answer the adapter gives word by word and the base does not. A form knows it if its
    greedy answer contains the answer.

    Bad: a conversion that keeps fluent text and loses the training.
    """
    facts = {at: subject.plan.answers[at].strip() for at in subject.plan.facts}
    if not facts:
        return _skip("There is no fact to check, because no training answer is known only to the adapter.")
    numbers: Numbers = {"n": len(facts)}

    def fault(form: FormAnswers) -> str:
        lost = [form.greedy[at].text for at, answer in facts.items() if answer not in form.greedy[at].text]
        numbers[form.name] = n = len(facts) - len(lost)
        if n >= subject.limits(form).agreement * len(facts):
            return ""
        return (
            f"The form `{form.name}` knows only {n} of {len(facts)} learned facts. Its answer about one of the missing "
            f"facts is {lost[0][:60]!r}."
        )

    message = f"Every form knows the facts that the adapter learned and the base model lacks (n = {len(facts)})."
    return _each_form(subject, "fact_lost", numbers, fault, lambda: message)


@PARITY_CHECKS.rule(codes={"score_worse": "a form may score worse than the adapter by the margin or more"})
def score(subject: Subject) -> FormFinding:
    """The grader's score in every form is not worse than the adapter's by the margin (one-sided, 95%).

    Where nothing can be graded, because a judge would have to be asked, an answer that differs counts as lost: equal
    answers have equal scores. Parity is shown only where this check passes. It takes 52 answers if the forms are equal
    throughout and the margin is 0.05, and more where they differ. The check fails where the loss is the margin or more,
    or is shown to be a loss; otherwise more rows have to be asked.

    Bad: a quantised file whose probabilities are close enough and whose answers fail the schema more often.
    """
    graded = len(subject.scores) > 1
    scores = dict(subject.scores) if graded else _scores_by_agreement(subject)
    why_not = subject.why_not_scored or (
        "the adapter finishes none of the answers that can be graded" if subject.forms else _NO_OTHER
    )
    own = scores.pop("adapter", None)
    if own is None or not scores:
        return _skip(f"Not scored: {why_not}.")
    margin, points = subject.request.margin, f"{100 * subject.request.margin:g} points"
    more = "Not all rows were compared." if subject.plan.n_left else "All rows were used, so add training rows."

    def compare(a: Scores, b: Scores) -> paired.NonInferiority:
        return paired.non_inferior(a.num, a.den, b.num, b.den, a.groups, margin=margin)

    if not compare(own, own).holds:
        reason = "" if graded else f"Not scored ({why_not}). "
        few = f"There are too few answers (n = {len(own.num)}) to rule out a loss of {points}"
        return _skip(f"{reason}{few}, even if all forms are equal. {more}")
    counted = "" if graded else f", counting every answer that differs as wrong ({why_not})"
    numbers = {"margin": margin}
    shown = []
    for name, other in scores.items():
        test = compare(own, other)
        numbers |= {f"{name}_delta": test.delta, f"{name}_lower": test.lower, "n": test.n}
        shown.append(f"{name} {100 * test.delta:+.1f} points (lower bound {100 * test.lower:+.1f}, n = {test.n})")
        if test.holds:
            continue
        if graded and (test.delta <= -margin or compare(other, own).lower > 0):
            return _fail(
                "score_worse",
                name,
                f"The score drops, and the loss may be {points} or more: {shown[-1]}.",
                numbers,
            )
        return _skip(f"The score may drop by {points} or more{counted}: {shown[-1]}. {more}", name)
    return _pass(f"Score difference from the adapter{counted}: {', '.join(shown)}.", list(scores), numbers)


def _scores_by_agreement(subject: Subject) -> dict[str, Scores]:
    """Return the worst scores that the answers allow, of those that the adapter ends: 1 where equal to its, else 0."""
    answers = subject.adapter.greedy
    places = [at for at, answer in enumerate(answers) if answer.ended]
    groups = [str(subject.plan.prompt_ids[at]) for at in places]
    scores = {}
    for form in subject.adapter_and_forms if places else ():
        equal = [float(form.greedy[at].ids == answers[at].ids) for at in places]
        scores[form.name] = Scores(num=equal, den=[1.0] * len(places), groups=groups)
    return scores
