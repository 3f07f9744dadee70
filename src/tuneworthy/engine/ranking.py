"""From the log-probabilities of labels to an answer and its probabilities.

Sources: lm-evaluation-harness, `acc` (the sum) and `acc_norm` (divided by the bytes of the label); Zhao et al. 2021,
"Calibrate Before Use", and Holtzman et al. 2021, "Surface Form Competition": both divide by the probability of the
label after a question without content.
"""

import math
from dataclasses import replace

from tuneworthy.types import Case, NamedFloats, OutputFormat, Response

# Input of a question without content (Zhao et al. 2021).
CONTENT_FREE = "N/A"


def ranked(response: Response, output: OutputFormat) -> Response:
    """Return a response whose text is the label that `output` ranks first, with normalised log-probabilities.

    Args:
        response: With the log-probability per choice, as the model gave it.
        output: Says how they are compared.
    """
    raw = response.label_logprobs
    if raw is None or not output.ranking:
        return response
    scores = {label: raw[label] for label in output.choices}
    if output.ranking == "per_byte":
        scores = {label: value / max(1, len(label.encode())) for label, value in scores.items()}
    elif output.ranking == "prior":
        scores = {label: scores[label] - prior for label, prior in zip(output.choices, output.prior, strict=True)}
    return replace(response, text=max(scores, key=scores.__getitem__), label_logprobs=normalised(scores))


def normalised(scores: NamedFloats) -> NamedFloats:
    top = max(scores.values())
    total = top + math.log(math.fsum(math.exp(value - top) for value in scores.values()))
    return {label: value - total for label, value in scores.items()}


def content_free(case: Case) -> Case:
    """Return a case of the same shape that asks nothing."""
    messages = (*case.messages[:-1], *({**last, "content": CONTENT_FREE} for last in case.messages[-1:]))
    no_content = None if case.input is None else CONTENT_FREE
    asked = dict.fromkeys(case.input, CONTENT_FREE) if isinstance(case.input, dict) else no_content
    return Case(id=Case.make_id([asked, list(messages)]), input=asked, messages=messages)
