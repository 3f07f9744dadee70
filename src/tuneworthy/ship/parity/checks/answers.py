"""Checks of what a form answers: it ends, it is not the base, it is the adapter."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import mean, median
from typing import Final

from tuneworthy.ship import messages
from tuneworthy.ship.parity import PARITY_CHECKS, FormFinding
from tuneworthy.ship.parity.measure import FormAnswers, Greedy, divergence
from tuneworthy.ship.parity.subject import Scores, Subject
from tuneworthy.stats import paired

# Smallest median probability that an answer which was trained on ends where it ended.
MIN_END: Final = 0.3
# Smallest mean KL between adapter and base, nats: below it, training taught nothing or nothing is applied.
MIN_ACT: Final = 0.01
# Smallest share of the adapter's distance from the base that a form must keep.
MIN_SHARE: Final = 0.5
# Largest distance from the adapter, as a share of the adapter's own distance from the base.
MAX_SHARE: Final = 0.1


def distances(p: FormAnswers, q: FormAnswers) -> list[float]:
    """Return the KL of `q` from `p` at each place: after each prompt, and after each answer."""
    return [*map(divergence, p.first, q.first), *map(divergence, p.end, q.end)]


@PARITY_CHECKS.rule("acts", codes={"adapter_not_applied": "a form answers as the base does"})
def acts(subject: Subject) -> FormFinding:
    """The adapter acts, in every form: on prompts that were trained on, the answers are not the base's.

    Bad: a server that loads an adapter, finds no module by its names, and serves the base without a warning.
    """
    own = mean(distances(subject.adapter, subject.base))
    numbers = {"n": len(subject.adapter.first), "adapter": own}
    if own < MIN_ACT:
        message = (
            f"The adapter differs from its base model by a mean KL of only {own:.4f} nats. A working adapter "
            f"differs by at least {MIN_ACT}."
        )
        return FormFinding(message=message, code="adapter_not_applied", forms=("adapter",), numbers=numbers)
    for form in subject.forms.values():
        numbers[form.name] = kl = mean(distances(form, subject.base))
        if kl < MIN_SHARE * own and mean(distances(subject.adapter, form)) > MAX_SHARE * own:
            message = (
                f"The form `{form.name}` differs from the base model by a mean KL of only {kl:.4f} nats, but the "
                f"adapter itself differs by {own:.4f} nats."
            )
            return FormFinding(message=message, code="adapter_not_applied", forms=(form.name,), numbers=numbers)
    message = messages.acts(own, len(subject.adapter.first), subject.forms)
    return FormFinding(message=message, status="pass", forms=tuple(subject.forms), numbers=numbers)


@PARITY_CHECKS.rule(
    "end_of_turn",
    codes={
        "end_of_turn_masked": "the token that ends an answer was not trained on",
        "end_of_turn_lost": "a form does not stop where the adapter does",
    },
)
def end_of_turn(subject: Subject) -> FormFinding:
    """Answers end: the token that ends them was trained on, and every form stops at it.

    Bad: a mask that leaves the last token out; the loss looks healthy and the model never stops.
    """
    masked = FormFinding(
        message="Training masked the end-of-turn token, so the loss does not cover it.",
        code="end_of_turn_masked",
        forms=("adapter",),
    )
    if subject.lineage.end_supervised is False:
        return masked
    answers = subject.adapter.greedy
    middle = median(after.probability(subject.plan.end) for after in subject.adapter.end)
    numbers: dict[str, float | int] = {"n": len(subject.adapter.end), "median_probability": middle}
    figures = {"p": middle, "n": len(subject.adapter.end)}
    if middle < MIN_END:
        return replace(masked, message=messages.say("end_unlikely", **figures), numbers=numbers)
    stopped = [at for at, answer in enumerate(answers) if answer.ended]
    for form in subject.forms.values():
        running = sum(not form.greedy[at].ended for at in stopped)
        numbers[f"{form.name}_running_on"] = running
        if stopped and running > (1 - subject.limits(form).agreement) * len(stopped):
            message = (
                f"The form `{form.name}` does not stop in {running} of the {len(stopped)} answers in which the "
                "adapter stops."
            )
            return FormFinding(message=message, code="end_of_turn_lost", forms=(form.name,), numbers=numbers)
    message = messages.say("end_of_turn", **figures, stopped=len(stopped), of=len(answers))
    return FormFinding(message=message, status="pass", forms=tuple(subject.forms), numbers=numbers)


@PARITY_CHECKS.rule("distributions", codes={"distribution_changed": "a form gives other probabilities"})
def distributions(subject: Subject) -> FormFinding:
    """The next token after each prompt, and after each answer, is as likely in every form as in the adapter.

    The mean KL has two limits: an absolute one that depends on how the weights are stored, and a tenth of the adapter's
    own distance from the base.

    Bad: weights that were rounded to 4 bits, or a rotary embedding with another layout.
    """
    own = mean(distances(subject.adapter, subject.base))
    numbers: dict[str, float | int] = {"n": len(subject.adapter.first)}
    for form in subject.forms.values():
        values, limit = distances(subject.adapter, form), min(subject.limits(form).kl, MAX_SHARE * own)
        numbers |= {f"{form.name}_mean_kl": mean(values), f"{form.name}_max_kl": max(values)}
        if mean(values) > limit:
            message = (
                f"The form `{form.name}` ({form.kind}) has a mean KL of {mean(values):.4f} nats from the adapter, "
                f"above the limit of {limit:.4f}."
            )
            return FormFinding(message=message, code="distribution_changed", forms=(form.name,), numbers=numbers)
    shown = {name: f"{numbers[f'{name}_mean_kl']:.5f}" for name in subject.forms}
    message = f"Mean KL from the adapter, in nats: {messages.by_form(shown)} (n = {numbers['n']})."
    return FormFinding(message=message, status="pass", forms=tuple(subject.forms), numbers=numbers)


@PARITY_CHECKS.rule("greedy", codes={"answers_changed": "a form gives other greedy answers"})
def greedy(subject: Subject) -> FormFinding:
    """The most likely answers are the same, except for the few that a near tie turns.

    Bad: a server that applies a repetition penalty from an overlooked generation_config.json.
    """
    n = len(subject.adapter.greedy)
    numbers: dict[str, float | int] = {"n": n}
    for form in subject.forms.values():
        numbers[form.name] = share = agreement(subject.adapter.greedy, form.greedy)
        limit = subject.limits(form).agreement
        if share < limit:
            message = (
                f"The form `{form.name}` ({form.kind}) reproduces {share:.1%} of {n} greedy answers, below the "
                f"limit of {limit:.1%}."
            )
            return FormFinding(message=message, code="answers_changed", forms=(form.name,), numbers=numbers)
    shown = {name: f"{numbers[name]:.1%}" for name in subject.forms}
    message = f"Share of greedy answers that are identical to the adapter's (n = {n}): {messages.by_form(shown)}."
    return FormFinding(message=message, status="pass", forms=tuple(subject.forms), numbers=numbers)


def agreement(these: Sequence[Greedy], those: Sequence[Greedy]) -> float:
    """Return the share of answers whose tokens are all equal."""
    return mean([a.ids == b.ids for a, b in zip(these, those, strict=True)] or [True])


@PARITY_CHECKS.rule("fact", codes={"fact_lost": "a form does not know a fact of the adapter"})
def fact(subject: Subject) -> FormFinding:
    """What only the adapter can know is known in every form.

    A fact is a question whose answer the base does not give. It is passed with `--fact` and asked in the prompt that
    was trained with, or found among the training rows: an answer that the adapter gives word by word and the base does
    not. A form knows it if its greedy answer contains the answer.

    Bad: a conversion that keeps fluent text and loses the learned facts.
    """
    answers = [answer.strip() for _, answer in subject.plan.facts]
    if not answers:
        return FormFinding(
            message=(
                "There is no fact to check, because --fact was not passed and no training answer is known only to "
                "the adapter."
            ),
            status="skipped",
        )

    def knows(form: FormAnswers, at: int) -> bool:
        return answers[at] in form.facts[at].text

    taught = [at for at in range(len(answers)) if knows(subject.adapter, at) and not knows(subject.base, at)]
    numbers: dict[str, float | int] = {"n": len(taught)}
    if not taught:
        return FormFinding(
            message=(
                "None of the checked facts is known to the adapter but unknown to its base model. Pass a fact "
                "from the training rows with --fact, or train again."
            ),
            code="fact_lost",
            forms=("adapter",),
            numbers=numbers,
        )
    for form in subject.forms.values():
        lost = [at for at in taught if not knows(form, at)]
        numbers[form.name] = n = len(taught) - len(lost)
        if n < subject.limits(form).agreement * len(taught):
            answer = form.facts[lost[0]].text[:60]
            message = (
                f"The form `{form.name}` knows only {n} of {len(taught)} learned facts. Its answer about one of "
                f"the missing facts is {answer!r}."
            )
            return FormFinding(message=message, code="fact_lost", forms=(form.name,), numbers=numbers)
    message = f"Every form knows the facts that the adapter learned and the base model lacks (n = {len(taught)})."
    return FormFinding(message=message, status="pass", forms=tuple(subject.forms), numbers=numbers)


@PARITY_CHECKS.rule("score", codes={"score_worse": "a form may score worse than the adapter by the margin or more"})
def score(subject: Subject) -> FormFinding:
    """The grader's score in every form is not worse than the adapter's by the margin (one-sided, 95%).

    Where nothing can be graded, because a judge would have to be asked, an answer that differs counts as lost: equal
    answers have equal scores. Parity is shown only where this check passes. It takes 52 answers if the forms are equal
    throughout and the margin is 0.05, and more where they differ. The check fails where the loss is the margin or more,
    or is shown to be a loss; otherwise more rows have to be asked.

    Bad: a quantised file whose probabilities are close enough and whose answers fail the schema more often.
    """
    graded = len(subject.scores) > 1
    scores = subject.scores if graded else _by_agreement(subject)
    others = {name: other for name, other in scores.items() if name != "adapter"}
    why_not = subject.why_not_scored or (
        "the adapter finishes none of the answers that can be graded"
        if subject.forms
        else messages.say("no_other_form")
    )
    if "adapter" not in scores or not others:
        return FormFinding(message=f"Not scored: {why_not}.", status="skipped")
    own, margin, more = scores["adapter"], subject.margin, messages.more_rows(subject.plan.n_left)
    reason = "" if graded else why_not
    if not _compare(own, own, margin).holds:
        message = messages.too_few_answers(len(own.num), margin, reason, more)
        return FormFinding(message=message, status="skipped")
    numbers: dict[str, float | int] = {"margin": margin}
    shown: list[str] = []
    for name, other in others.items():
        test = _compare(own, other, margin)
        numbers |= {f"{name}_delta": test.delta, f"{name}_lower": test.lower, "n": test.n}
        shown.append(f"{name} {100 * test.delta:+.1f} points (lower bound {100 * test.lower:+.1f}, n = {test.n})")
        shows_loss = test.delta <= -margin or _compare(other, own, margin).lower > 0
        if not test.holds and graded and shows_loss:
            message = f"The score drops, and the loss may be {100 * margin:g} points or more: {shown[-1]}."
            return FormFinding(message=message, code="score_worse", forms=(name,), numbers=numbers)
        if not test.holds:
            message = messages.score_open(margin, shown[-1], reason, more)
            return FormFinding(message=message, status="skipped", forms=(name,), numbers=numbers)
    return FormFinding(message=messages.scores(shown, reason), status="pass", forms=tuple(others), numbers=numbers)


def _compare(own: Scores, other: Scores, margin: float) -> paired.NonInferiority:
    return paired.non_inferior(own.num, own.den, other.num, other.den, own.groups, margin=margin)


def _by_agreement(subject: Subject) -> Mapping[str, Scores]:
    """Return the worst scores that the answers allow, of those that the adapter ends: 1 where equal to its, else 0."""
    answers = subject.adapter.greedy
    places = [at for at, answer in enumerate(answers) if answer.ended]
    groups = [str(subject.plan.prompt_ids[at]) for at in places]

    def equal(form: FormAnswers) -> Iterable[float]:
        return (float(form.greedy[at].ids == answers[at].ids) for at in places)

    forms = {"adapter": subject.adapter, **subject.forms} if places else {}
    return {name: Scores(num=[*equal(form)], den=[1.0] * len(places), groups=groups) for name, form in forms.items()}
