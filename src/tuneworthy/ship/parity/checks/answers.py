"""Checks of what a form answers: it ends, it is not the base, it is the adapter."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median
from typing import ClassVar, Final

from tuneworthy.ship.parity.measure import FormAnswers, Greedy, NextToken, divergence
from tuneworthy.ship.parity.subject import Said, Scores, Subject, parity_check
from tuneworthy.stats import paired

MIN_END: Final = 0.3
"""Least median probability that an answer which was trained on ends where it ended."""
MIN_ACT: Final = 0.01
"""Least mean KL between adapter and base, nats: below it, training taught nothing or nothing is applied."""
MIN_SHARE: Final = 0.5
"""Least share of the adapter's distance from the base that a form must keep."""
MAX_SHARE: Final = 0.1
"""Largest distance from the adapter, as a share of the adapter's own distance from the base."""


def distances(left: FormAnswers, right: FormAnswers) -> list[float]:
    """Return the KL of `right` from `left` at each place: after each prompt, and after each answer."""
    pairs: list[tuple[NextToken, NextToken]] = [*zip(left.first, right.first, strict=True)]
    pairs += zip(left.end, right.end, strict=True)
    return [divergence(p, q) for p, q in pairs]


@parity_check("end_of_turn")
class EndOfTurnCheck:
    """Answers end: the token that ends them was trained on, and every form stops at it.

    Bad: a mask that leaves the last token out; the loss looks healthy and the model never stops.
    """

    code: ClassVar[str]
    causes: ClassVar = {
        "end_of_turn_masked": "the token that ends an answer was not trained on",
        "end_of_turn_lost": "a form does not stop where the adapter does",
    }

    def look(self, subject: Subject) -> Said:
        """Look at the probability of the end after each answer, and at where greedy answers end."""
        if subject.lineage.end_supervised is False:
            return Said(
                "fail", "the end of the turn was outside the mask in training", "end_of_turn_masked", ("adapter",)
            )
        ends = [after.probability(subject.plan.end) for after in subject.adapter.end]
        middle = median(ends)
        numbers: dict[str, float | int] = {"n": len(ends), "median_probability": middle}
        if middle < MIN_END:
            detail = f"after trained answers the end of the turn has probability {middle:.2f} (median of {len(ends)})"
            return Said("fail", detail, "end_of_turn_masked", ("adapter",), numbers)
        stopped = [place for place, one in enumerate(subject.adapter.greedy) if one.ended]
        for form in subject.forms.values():
            same = [form.greedy[place] for place in stopped]
            running = sum(not one.ended for one in same)
            numbers[f"{form.name}_running_on"] = running
            if stopped and running > (1 - subject.limits(form).agreement) * len(stopped):
                detail = f"{running} of {len(stopped)} answers that the adapter ends run on in {form.name}"
                return Said("fail", detail, "end_of_turn_lost", (form.name,), numbers)
        return Said("pass", f"the end of the turn has probability {middle:.2f} after answers (median of {len(ends)});"
                    f" {len(stopped)} of {len(subject.adapter.greedy)} answers end, in every form", None,
                    tuple(subject.forms), numbers)  # fmt: skip


@parity_check("acts")
class ActsCheck:
    """The adapter acts, in every form: on prompts that were trained on, the answers are not the base's.

    Bad: a server that loads an adapter, finds no module by its names, and serves the base without a word.
    """

    code: ClassVar[str]
    causes: ClassVar = {"adapter_not_applied": "a form answers as the base does"}

    def look(self, subject: Subject) -> Said:
        """Compare each form's distance from the base with the adapter's."""
        own = mean(distances(subject.adapter, subject.base))
        numbers = {"n": len(subject.adapter.first), "adapter": own}
        if own < MIN_ACT:
            detail = f"expected the adapter to differ from its base by a KL of {MIN_ACT} or more, got {own:.4f}"
            return Said("fail", detail, "adapter_not_applied", ("adapter",), numbers)
        for form in subject.forms.values():
            numbers[form.name] = mean(distances(form, subject.base))
            if numbers[form.name] < MIN_SHARE * own and mean(distances(subject.adapter, form)) > MAX_SHARE * own:
                detail = f"{form.name} is {numbers[form.name]:.4f} nats from the base, the adapter {own:.4f}"
                return Said("fail", detail, "adapter_not_applied", (form.name,), numbers)
        return Said("pass", f"the adapter is {own:.3f} nats from its base (mean KL, n = {numbers['n']}), and so is"
                    f" {', '.join(subject.forms) or 'nothing else'}", None, tuple(subject.forms), numbers)  # fmt: skip


@parity_check("distributions")
class DistributionsCheck:
    """The next token after each prompt, and after each answer, is as likely in every form as in the adapter.

    The mean KL has two limits: an absolute one by how the weights are stored, and a tenth of the adapter's own distance
    from the base.

    Bad: weights that were rounded to 4 bit, or a rotary embedding that is laid out otherwise.
    """

    code: ClassVar[str]
    causes: ClassVar = {"distribution_changed": "a form gives other probabilities"}

    def look(self, subject: Subject) -> Said:
        """Compare the means with the limits."""
        own = mean(distances(subject.adapter, subject.base))
        numbers: dict[str, float | int] = {"n": len(subject.adapter.first)}
        words = []
        for form in subject.forms.values():
            found = distances(subject.adapter, form)
            most = min(subject.limits(form).kl, MAX_SHARE * own)
            numbers[f"{form.name}_mean_kl"], numbers[f"{form.name}_max_kl"] = mean(found), max(found)
            if mean(found) > most:
                detail = f"expected a mean KL of at most {most:.4f} in {form.name} ({form.kind}), got {mean(found):.4f}"
                return Said("fail", detail, "distribution_changed", (form.name,), numbers)
            words.append(f"{form.name} {mean(found):.5f}")
        return Said("pass", f"mean KL from the adapter: {', '.join(words) or 'no other form'} (n = {numbers['n']})",
                    None, tuple(subject.forms), numbers)  # fmt: skip


@parity_check("greedy")
class GreedyCheck:
    """The most likely answers are the same, but for the few that a near tie turns.

    Bad: a server that applies a repetition penalty from a generation_config.json nobody looked at.
    """

    code: ClassVar[str]
    causes: ClassVar = {"answers_changed": "a form gives other greedy answers"}

    def look(self, subject: Subject) -> Said:
        """Count equal answers."""
        numbers: dict[str, float | int] = {"n": len(subject.adapter.greedy)}
        words = []
        for form in subject.forms.values():
            share = agreement(subject.adapter.greedy, form.greedy)
            numbers[form.name] = share
            least = subject.limits(form).agreement
            if share < least:
                detail = (
                    f"expected {least:.0%} of greedy answers to be equal in {form.name} ({form.kind}), got {share:.0%}"
                )
                return Said("fail", f"{detail} of {numbers['n']}", "answers_changed", (form.name,), numbers)
            words.append(f"{form.name} {share:.0%}")
        return Said("pass", f"equal greedy answers: {', '.join(words) or 'no other form'} of {numbers['n']}", None,
                    tuple(subject.forms), numbers)  # fmt: skip


def agreement(left: Sequence[Greedy], right: Sequence[Greedy]) -> float:
    """Return the share of answers whose tokens are all equal."""
    same = [a.ids == b.ids for a, b in zip(left, right, strict=True)]
    return sum(same) / len(same) if same else 1.0


@parity_check("fact")
class FactCheck:
    """What only the adapter can know is known in every form.

    A fact is a question whose answer the base does not give. It is handed in (and asked in the prompt that was trained
    with), or found among the rows that were trained on: an answer that the adapter gives word by word and the base does
    not. A form knows it if the answer stands in what it says greedily.

    Bad: a conversion that keeps fluent text and loses what was learned.
    """

    code: ClassVar[str]
    causes: ClassVar = {"fact_lost": "a form does not know what the adapter was taught"}

    def look(self, subject: Subject) -> Said:
        """Ask each form for each fact."""
        answers = [answer for _, answer in subject.plan.facts]
        if not answers:
            return Said("skipped", "no fact was handed in, and no row whose answer only the adapter gives")
        base, own = _knows(subject.base.facts, answers), _knows(subject.adapter.facts, answers)
        known = [place for place in range(len(answers)) if own[place] and not base[place]]
        numbers: dict[str, float | int] = {"n": len(known)}
        if not known:
            return Said(
                "fail", "no fact is known to the adapter and unknown to its base", "fact_lost", ("adapter",), numbers
            )
        for form in subject.forms.values():
            right = _knows(form.facts, answers)
            kept = sum(right[place] for place in known)
            numbers[form.name] = kept
            if kept < subject.limits(form).agreement * len(known):
                place = next(place for place in known if not right[place])
                detail = (
                    f"{form.name} knows {kept} of {len(known)} facts; to one it answers {form.facts[place].text[:60]!r}"
                )
                return Said("fail", detail, "fact_lost", (form.name,), numbers)
        return Said("pass", f"{len(known)} facts that the base does not know are known in every form", None,
                    tuple(subject.forms), numbers)  # fmt: skip


def _knows(said: Sequence[Greedy], answers: Sequence[str]) -> list[bool]:
    return [answer.strip() in one.text for one, answer in zip(said, answers, strict=True)]


@parity_check("score")
class ScoreCheck:
    """The grader's score in every form is not worse than the adapter's by the margin (one-sided 95 %).

    Where nothing can be graded (a judge would have to be asked), an answer that differs counts as lost: equal answers
    have equal scores. Parity is shown only where this is shown. How many answers that takes is the test's own affair:
    52 of forms that are equal throughout at a margin of 0.05, more where they differ. It fails where the loss is the
    margin or more, or is shown to be one; else more rows are to be asked.

    Bad: a quantised file whose probabilities are near enough and whose answers fail the schema more often.
    """

    code: ClassVar[str]
    causes: ClassVar = {"score_worse": "a form may score worse than the adapter by the margin or more"}

    def look(self, subject: Subject) -> Said:
        """Run the non-inferiority test for each form that was scored."""
        graded = len(subject.scores) > 1
        scores = subject.scores if graded else _by_agreement(subject)
        own = scores.get("adapter")
        others = {name: one for name, one in scores.items() if name != "adapter"}
        unended = "the adapter ends none of its answers that can be graded" if subject.forms else "no other form"
        ungraded = "" if graded else f"not scored ({subject.why_not_scored or unended}); "
        if own is None or not others:
            return Said("skipped", f"not scored: {subject.why_not_scored or unended}")
        if not paired.non_inferior(own.num, own.den, own.num, own.den, own.groups, margin=subject.margin).holds:
            detail = f"{len(own.num)} answers are too few to show a loss below {subject.margin:g}, even of equal forms"
            return Said("skipped", f"{ungraded}{detail}: {_more(subject)}")
        numbers: dict[str, float | int] = {"margin": subject.margin}
        words = []
        for name, one in others.items():
            test = paired.non_inferior(own.num, own.den, one.num, one.den, own.groups, margin=subject.margin)
            numbers |= {f"{name}_delta": test.delta, f"{name}_lower": test.lower, "n": test.n}
            words.append(f"{name} {test.delta:+.3f} (at least {test.lower:+.3f}, n = {test.n})")
            back = paired.non_inferior(one.num, one.den, own.num, own.den, own.groups, margin=subject.margin)
            if not test.holds and graded and (test.delta <= -subject.margin or back.lower > 0):
                detail = f"expected a loss below {subject.margin:g}, got {words[-1]}"
                return Said("fail", detail, "score_worse", (name,), numbers)
            if not test.holds:
                if_lost = "" if graded else f"{ungraded}if each answer that differs is lost, "
                detail = f"{if_lost}the loss may be {subject.margin:g} or more"
                return Said("skipped", f"{detail}: {words[-1]}; {_more(subject)}", None, (name,), numbers)
        how = "score against the adapter" if graded else f"{ungraded}each answer that differs counted as lost"
        return Said("pass", f"{how}: {', '.join(words)}", None, tuple(others), numbers)


def _more(subject: Subject) -> str:
    return "ask more rows with `parity --prompts`" if subject.plan.n_left else "every row was asked, more are needed"


def _by_agreement(subject: Subject) -> dict[str, Scores]:
    """Return the worst scores that the answers allow, of those that the adapter ends: 1 where equal to its, else 0."""
    places = [place for place, one in enumerate(subject.adapter.greedy) if one.ended]
    groups = [str(subject.plan.prompt_ids[place]) for place in places]
    ones = [1.0] * len(places)
    same = {
        name: [float(form.greedy[place].ids == subject.adapter.greedy[place].ids) for place in places]
        for name, form in {"adapter": subject.adapter, **subject.forms}.items()
    }
    return {name: Scores(num=num, den=ones, groups=groups) for name, num in same.items() if places}
