"""Checks of what the files say of each other: which base, which adapter, which rank."""

from tuneworthy.ship import messages
from tuneworthy.ship.parity import PARITY_CHECKS, FormFinding
from tuneworthy.ship.parity.subject import Subject


@PARITY_CHECKS.rule(
    "lineage",
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
    line = subject.lineage
    if line.adapter_parent is not None and line.adapter_parent != line.base_id:
        message = (
            f"The adapter was trained on the base model {line.adapter_parent}, but the base model here is "
            f"{line.base_id}."
        )
        return FormFinding(message=message, code="wrong_base", forms=("adapter",))
    if line.merged_id and line.merged_parent and line.merged_parent != line.adapter_id:
        message = (
            f"The merged model was made from the adapter {line.merged_parent}, but the adapter here is "
            f"{line.adapter_id}."
        )
        return FormFinding(message=message, code="wrong_adapter", forms=("merged",))
    if line.merged_id and (others := [parent for parent in line.gguf_parents if parent != line.merged_id]):
        message = f"The GGUF file was made from the model {others[0]}, but the merged model here is {line.merged_id}."
        return FormFinding(message=message, code="wrong_merged", forms=("gguf",))
    if line.adapter_parent is None:
        return FormFinding(message="The adapter does not record its base model.", status="skipped")
    ids = {"base": line.base_id, "adapter": line.adapter_id, "merged": line.merged_id or "none"}
    return FormFinding(message=messages.say("lineage", **ids), status="pass")


@PARITY_CHECKS.rule("rank", codes={"rank_above_server_limit": "the adapter's rank is above the server's limit"})
def rank(subject: Subject) -> FormFinding:
    """The server that applies the adapter allows its rank.

    Bad: an adapter of rank 32 and a vLLM server with its default of 16, which refuses it or serves the base.
    """
    line = subject.lineage
    if line.max_rank is None:
        return FormFinding(message="No server is running the adapter.", status="skipped")
    numbers = {"rank": line.rank, "max_rank": line.max_rank}
    if line.rank > line.max_rank:
        message, code = messages.say("rank_above_limit", **numbers), "rank_above_server_limit"
        return FormFinding(message=message, code=code, forms=("served",), numbers=numbers)
    return FormFinding(message=messages.say("rank", **numbers), status="pass", forms=("served",), numbers=numbers)
