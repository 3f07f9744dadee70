"""The answers of a cascade, put together from those of its two parts; nothing is asked here.

Invariant: a cascade's answer to a case is a function of the stored answers of both parts and of the threshold.
"""

from dataclasses import replace
from math import exp, fsum

from tuneworthy.types import Cascade, Trace, Traces, Variant, grouped

# The rung that measures one.
CASCADE = "cascade"


def large_of(variant: Variant) -> Variant:
    """Return the variant that answers the cases sent on; itself not a cascade."""
    return replace(variant, cascade=None)


def confidence_of(trace: Trace) -> float:
    """Return the probability of the answer among all labels; 0 where no probabilities are told."""
    logprobs = trace.response.label_logprobs if trace.response else None
    if not logprobs:
        return 0.0
    top = max(logprobs.values())
    return 1 / fsum(exp(value - top) for value in logprobs.values())


def is_sent(cascade: Cascade, trace: Trace) -> bool:
    """Return whether a case is sent on, by the answer of the first variant."""
    return trace.response is None or confidence_of(trace) < cascade.threshold


def joined(variant: Variant, own: Traces, large: Traces, repeats: int) -> list[Trace]:
    """Return the traces of a cascade, each case's repeats together.

    Cost and time are of both parts. Tokens are those of the large model, which has the price: 0 where it is not asked,
    and not known where it does not report them.

    Args:
        variant: The cascade.
        own: Of its first variant, one a case.
        large: Of the large variant; those of cases that are not sent on are left out.
        repeats: Answers to each case.
    """
    assert variant.cascade is not None
    identity, answers = variant.id, grouped((trace.case_id, trace) for trace in large)
    none = 0 if all(one.response is None or one.response.input_tokens is not None for one in large) else None
    found: list[Trace] = []
    for trace in own:
        first = trace.response
        if first is not None and not is_sent(variant.cascade, trace):
            response = replace(first, input_tokens=none, output_tokens=none)
            found += [replace(trace, variant_id=identity, repeat=n, response=response) for n in range(repeats)]
            continue
        seconds = first.seconds if first else 0.0
        found += [
            replace(
                one,
                variant_id=identity,
                cost_usd=one.cost_usd + trace.cost_usd,
                response=one.response and replace(one.response, seconds=one.response.seconds + seconds),
            )
            for one in answers.get(trace.case_id, ())
        ]
    return found
