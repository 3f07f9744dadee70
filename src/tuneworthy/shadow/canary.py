"""Canary: the candidate answers a share of the sessions, which grows step by step, or falls to 0.

The worker of the proxy decides, the proxy routes; they share one state, in a file that is written as a whole.

Invariants: a step ends only when the sessions that began in it pass the rules of a replay; harm that they show ends the
canary at the same verdict; after a kill, a new process takes the share that the file names, never more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import orjson
from yarl import URL

from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.task_kind import Kind
from tuneworthy.dataset.distill.queries import query_of
from tuneworthy.errors import UserError
from tuneworthy.ladder.session import Session
from tuneworthy.providers.openai import OpenAIProvider
from tuneworthy.shadow import messages
from tuneworthy.shadow.protocols import asked_by
from tuneworthy.shadow.replay import ShadowRecord, read_shadow
from tuneworthy.shadow.verdict import ShadowVerdict
from tuneworthy.store import Folder
from tuneworthy.store.lines import exclusive
from tuneworthy.types import Example, Variant

# Below `.tuneworthy`: the state; the last verdict on a step; and a file whose existence stops the canary at once.
STATE: Final = "shadow/canary"
STEP: Final = "shadow/step"
STOP: Final = "shadow/stop"
# A step passes only if the candidate itself answered a user in so many of its sessions.
LEAST_SERVED: Final = 30
# Fields of a user's request that the candidate gets as they are: the form of the answer, not its content.
_PASSED: Final = ("stream", "stream_options")
# Further fields that the candidate can do without: its prompt, its own sampling and the turn replace them, or
# they concern production's account. Other fields request an answer that it would not give.
_REPLACED: Final = frozenset(
    {
        *(*_PASSED, "model", "messages", "tools", "functions", "temperature", "top_p", "seed", "presence_penalty"),
        *("frequency_penalty", "reasoning_effort", "verbosity", "user", "metadata", "store", "service_tier"),
        *("safety_identifier", "prompt_cache_key"),
    }
)
_USUAL: Final[Mapping[str, Any]] = {
    "n": 1,
    "logprobs": False,
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "response_format": {"type": "text"},
}


class CanaryOver(UserError):
    """The canary of this candidate was rolled back, or is stopped by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryState:
    """How far a canary is.

    Attributes:
        variant: Id of the candidate.
        share: Of the sessions that it answers.
        since: When this share began, seconds since the epoch.
        status: `done` once the last step passed; `rolled_back` where a step showed harm.
        detail: The verdict that led here, in sentences.
        alert: The last alert of low confidence in any step, in sentences; "" without one.
    """

    variant: str
    share: float
    since: float
    status: Literal["running", "done", "rolled_back"] = "running"
    detail: str = ""
    alert: str = ""


def begin(folder: Folder, candidate: Variant, steps: Sequence[float], now: float) -> CanaryState:
    """Return the state to go on with: that of the file, or the first step of a candidate that passed in shadow.

    Raises:
        CanaryOver: It was rolled back, or the canary is stopped by hand.
        UserError: It has not passed.
    """
    if (folder.path / STOP).exists():
        raise CanaryOver(messages.say("canary_stopped", path=folder.path / STOP), hint="Remove the file to go on.")
    state = folder.read(STATE, CanaryState)
    if state is not None and state.variant == candidate.id:
        if state.status == "rolled_back":
            path = folder.path / f"{STATE}.json"
            raise CanaryOver(messages.say("rolled_back", why=state.detail), hint=messages.say("try_again", path=path))
        return state
    record = read_shadow(folder)
    if record is None or (record.variant, record.verdict.status) != (candidate.id, "pass"):
        raise UserError(
            f"{candidate.name} has not passed in shadow.",
            hint="Run `tuneworthy shadow proxy URL` or `tuneworthy shadow replay FILES` until it passes.",
        )
    state = CanaryState(variant=candidate.id, share=steps[0], since=now)
    folder.write(STATE, asdict(state))
    return state


def rolled_back(folder: Folder) -> CanaryState | None:
    """Return the state of the canary if it was rolled back; else None."""
    state = folder.read(STATE, CanaryState)
    return state if state and state.status == "rolled_back" else None


def last_shadow(folder: Folder) -> ShadowRecord | None:
    """Return the last replay, or None; it counts as failed once the canary of its candidate was rolled back.

    While a canary is running, confidence is that of its step; after it, that of the later of the two. An alert of an
    earlier step stays.

    Raises:
        DamagedRecord: A file has another content.
    """
    record, state = read_shadow(folder), folder.read(STATE, CanaryState)
    if record is None or state is None or state.variant != record.variant:
        return record
    step = folder.read(STEP, ShadowRecord)
    if step and step.variant == record.variant and (state.status == "running" or step.judged_at > record.judged_at):
        confidence = step.confidence
        if confidence and confidence.status != "alert" and state.alert:
            detail = (
                "Earlier in this canary there was an alert, from sessions whose pairs are no longer stored. "
                f"{state.alert} In the last step: {confidence.detail}"
            )
            confidence = replace(confidence, status="alert", detail=detail)
        record = replace(record, confidence=confidence)
    if state.status != "rolled_back":
        return record
    fix = messages.say("try_again", path=folder.path / f"{STATE}.json")
    detail = messages.say("rolled_back", why=state.detail)
    return replace(record, verdict=replace(record.verdict, status="fail", detail=detail, fix=fix))


def canary_line(folder: Folder, variant: str, steps: Sequence[float]) -> str:
    """Return how far the canary of a variant is, in words; "" without one, or if it was rolled back."""
    state = folder.read(STATE, CanaryState)
    if state is None or state.variant != variant or state.status == "rolled_back":
        return ""
    if (folder.path / STOP).exists():
        return messages.say("canary_stopped", path=folder.path / STOP)
    n = sum(share < state.share for share in steps) + (state.status == "done")
    return f"Canary: {n} of {len(steps)} steps have passed; the candidate answers {state.share:.1%} of the sessions."


def decided(
    state: CanaryState, verdict: ShadowVerdict, steps: Sequence[float], now: float, n_served: int
) -> CanaryState:
    """Return the state after a verdict on the sessions of its step; in `n_served` the candidate answered."""
    if verdict.status == "fail":
        return replace(state, share=0.0, since=now, status="rolled_back", detail=verdict.detail)
    if verdict.status != "pass" or state.status != "running" or n_served < LEAST_SERVED:
        return state
    later = [share for share in steps if share > state.share]
    if not later:
        return replace(state, status="done", detail=verdict.detail)
    return replace(state, share=later[0], since=now, detail=verdict.detail)


def stored(folder: Folder, before: CanaryState, after: CanaryState) -> CanaryState | None:
    """Write `after`, unless another process or a hand changed `before` meanwhile; return the final state."""
    with exclusive(folder.path / f"{STATE}.lock"):
        found = folder.read(STATE, CanaryState)
        if found != before or after == before:
            return found
        folder.write(STATE, asdict(after))
    return after


class CandidateRoute:
    """How a user's chat reaches the candidate: with its own prompt, as the copies are asked, and streamed as wished.

    Args:
        session: The opened project.
        candidate: Who answers.

    Raises:
        UserError: It is more than one call of a server that speaks OpenAI's protocol, its shots are chosen for each
            case, its answers are read before they are judged, or policy is to drop personal data.
    """

    def __init__(self, session: Session, candidate: Variant) -> None:
        self.session, self.candidate = session, candidate
        provider = session.models[candidate.model].provider
        plain = not (candidate.cascade or candidate.retrieval or candidate.answer_after or candidate.output.ranking)
        if not isinstance(provider, OpenAIProvider) or not plain:
            raise UserError(
                messages.say("no_route", name=candidate.name),
                hint=(
                    "A canary needs a variant of one call, without retrieval or thinking aloud, on a server that "
                    "speaks the OpenAI protocol."
                ),
            )
        if candidate.output.kind == "choice" and provider.capabilities.choice == "wrapped_schema":
            raise UserError(
                f"{candidate.name} gets its labels as JSON from this server, which users would see.",
                hint=messages.say("other_candidate"),
            )
        if candidate.shots and candidate.shots.mode == "per_case":
            raise UserError(
                f"{candidate.name} chooses its examples for each case, which the proxy does not.",
                hint=messages.say("other_candidate"),
            )
        if session.project.data.policy.get("personal_data") == "drop":
            raise UserError(
                ("With --canary the candidate gets the text of users unmasked, and `data.policy` drops personal data."),
                hint="Leave out --canary, or change `personal_data` in `data.policy`.",
            )
        self.provider = provider

    def request(self, body: bytes) -> tuple[URL, list[tuple[bytes, bytes]], bytes]:
        """Return address, headers and body of the candidate's request, given the body of a user's.

        Raises:
            ValueError: It is no JSON object, its tools are run by the API, or it asks for an answer that the candidate
                would not give.
            RowFault: It is not text.
        """
        question = orjson.loads(body)
        if not isinstance(question, dict):
            raise ValueError(type(question).__name__)
        asked = {key for key, value in question.items() if value is not None and _USUAL.get(key) != value}
        if further := asked - _REPLACED:
            raise ValueError(f"{further}")
        row = Example(**exchange(asked_by(question), "-", {}), id="", source="")  # the answer is left out again
        case = query_of(row, Kind("free_text", ""), labelled=False)
        sent, _ = self.provider.body(self.session.runner.request(self.candidate, case))
        sent |= {key: question[key] for key in _PASSED if key in question}
        where, headers = self.provider.address("chat/completions")
        # not packed: the user's accepted encodings were meant for production
        lower = {name.lower(): value for name, value in headers.items()} | {"accept-encoding": "identity"}
        return where, [(name.encode(), value.encode()) for name, value in lower.items()], orjson.dumps(sent)
