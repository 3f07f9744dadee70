"""Canary: the candidate answers a share of the sessions, which grows step by step, or falls to 0 for good.

The candidate answers a request only if production gave a valid answer, within `ACCEPTED_S`, to one with the same path,
query, headers and fields but the messages: any of these can carry a credential, or be why production refuses. Its
answer is complete and checked before a byte goes to the user, a stream's too; otherwise production answers the same
request. So no user gets an invalid or a truncated answer, and the candidate's faults are counted against production's.

Production answers the copied sessions. Their pairs are the evidence on quality, from the same traffic at all steps;
each verdict on them is a decision: a pass lets a step end, harm ends the canary.

Invariants: a share never grows without a pass; a canary that was rolled back stays so, in this process even on a full
disk, and after a restart; no credential is stored, not even its hash.
"""

import asyncio
import hmac
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from secrets import token_bytes
from typing import Final, NamedTuple

import orjson
from scipy.special import bdtrc

from tuneworthy.providers.openai import read_answer
from tuneworthy.shadow import messages
from tuneworthy.shadow.copies import FAILED, MOST_BYTES, PAIRED, Copies, CopyHead
from tuneworthy.shadow.protocols import answer_of, unpacked
from tuneworthy.store import Folder
from tuneworthy.types import Request

CHAT: Final = "/v1/chat/completions"
# Below `.tuneworthy`: the state.
STATE: Final = "shadow/canary"
STEPS: Final = (0.01, 0.05, 0.25, 1.0)
# A step ends only after so many answers of the candidate to users.
MIN_ANSWERS: Final = 100
# How long production's answer admits further requests of its kind, seconds; and how many kinds are remembered.
ACCEPTED_S, MAX_KINDS = 120.0, 10_000
# Answers are compared for so long, seconds, and of either side at most so many.
WINDOW_S, MAX_WINDOW = 3600.0, 1000
# Share of production's answers that is taken to fail at least; and the chance below which more faults are no chance.
MIN_FAULTS, ALPHA = 0.01, 0.001
# A user waits for the candidate so many times production's 95th percentile, and at least so long, seconds; or the first
# wait, until production gave so many answers.
SLOWER, MIN_WAIT_S, FIRST_WAIT_S, MIN_TIMED = 3.0, 2.0, 10.0, 20
# Headers that differ among the requests of one client, and carry no credential.
_OF_ONE_REQUEST: Final = frozenset(
    {
        *(b"content-length", b"date", b"traceparent", b"tracestate", b"sentry-trace", b"baggage", b"idempotency-key"),
        *(b"x-request-id", b"x-correlation-id", b"x-client-request-id", b"x-stainless-retry-count"),
    }
)
# Headers that name a client. Without any of them, or if it is one of them, the header of the session may do so.
_CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key", b"api-key", b"cookie"})
# Statuses by which production refuses a client; others but 200 are faults.
_REFUSALS: Final = frozenset({401, 402, 403, 407, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryState:
    """Progress of a canary.

    Attributes:
        variant: Id of the candidate.
        share: Of the sessions that it answers.
        rolled_back: Why it answers no more, in sentences; "" while it does.
    """

    variant: str
    share: float = STEPS[0]
    rolled_back: str = ""


class Visit(NamedTuple):
    """A user's request, as the canary sees it.

    Attributes:
        session: Name of its session.
        kind: Keyed hash of all that production may refuse it for, but the messages.
        place: Of its session and credential in the draw, in [0, 1).
    """

    session: str
    kind: bytes
    place: float


class LiveCanary:
    """Decides who answers a request, and when a step or the canary ends.

    Args:
        folder: Of the project.
        state: To go on with.
        copies: Gives the verdicts, and the candidate's answers.
        session_header: Name of the header that names a session, lower case.

    Attributes:
        wait_s: How long a user waits for the candidate, seconds.
    """

    def __init__(self, folder: Folder, state: CanaryState, copies: Copies, *, session_header: bytes) -> None:
        self.folder, self.state, self.copies, self.wait_s = folder, state, copies, FIRST_WAIT_S
        copies.on_verdict = self.decide
        self._session_header = {session_header} - _CREDENTIALS
        self._hash = partial(hmac.digest, token_bytes(32), digest="sha256")
        self._n_good, self._accepted = 0, dict[bytes, float]()
        # when an answer ended, whether it was a fault, and its seconds
        self._candidate, self._production = (deque[tuple[float, bool, float]](maxlen=MAX_WINDOW) for _ in range(2))

    @property
    def share(self) -> float:
        """Share of the sessions that the candidate answers now; 0 while no verdict could come."""
        return self.state.share if self.copies.ready and not self.copies.enough else 0.0

    def visit(self, session: str, target: str, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Visit | None:
        """Return a request as it is drawn and admitted; None if its body is no JSON object.

        Args:
            session: Its name.
            target: Path and query.
            headers: As production gets them, names in lower case.
            body: Of the request.
        """
        try:
            fields = dict(orjson.loads(body))
        except (TypeError, ValueError):
            return None
        fields.pop("messages", None)
        is_named = not _CREDENTIALS.isdisjoint(name for name, _ in headers)
        left_out = _OF_ONE_REQUEST | (self._session_header if is_named else set())
        credential = self._hash(repr([target, [one for one in headers if one[0] not in left_out]]).encode())
        kind = self._hash(credential + orjson.dumps(fields, option=orjson.OPT_SORT_KEYS))
        return Visit(session, kind, int.from_bytes(self._hash(credential + session.encode())[:6], "big") / 2**48)

    async def answer(self, visit: Visit, body: bytes) -> bytes:
        """Return the candidate's answer to a user, or b"": then production has to answer."""
        if visit.place >= self.share or time.monotonic() - self._accepted.get(visit.kind, -ACCEPTED_S) >= ACCEPTED_S:
            return b""
        return await asyncio.shield(asyncio.create_task(self._ask(visit, body)))  # counted even if the user leaves

    async def _ask(self, visit: Visit, body: bytes) -> bytes:
        report = await self.copies.ask(CopyHead(path=CHAT, session=visit.session), body, self.wait_s)
        if report.outcome in {PAIRED, FAILED}:
            self._candidate.append((time.monotonic(), report.outcome == FAILED, 0.0))
            self._n_good += report.outcome == PAIRED
        return report.answer.encode()

    def note(self, visit: Visit, status: int, seconds: float, *, valid: bool | None) -> None:
        """Note production's answer, and roll back if the candidate, asked before, fails more often.

        Args:
            visit: The request.
            status: Of HTTP; 0 without an answer.
            seconds: Until its end.
            valid: Whether it is a whole answer of a chat API; None if that cannot be seen.
        """
        now = time.monotonic()
        if valid is not None:
            self._accepted.pop(visit.kind, None)
            self._production.extend([(now, not valid, seconds)] if status not in _REFUSALS else [])
        if valid:
            self._accepted[visit.kind] = now
        if len(self._accepted) > MAX_KINDS:
            del self._accepted[next(iter(self._accepted))]
        own, others = ([one for one in side if one[0] > now - WINDOW_S] for side in (self._candidate, self._production))
        times = sorted(took for _, is_fault, took in others if not is_fault)
        if len(times) >= MIN_TIMED:
            self.wait_s = max(MIN_WAIT_S, SLOWER * times[int(0.95 * len(times))])
        faults, theirs = sum(is_fault for _, is_fault, _ in own), len(others) - len(times)
        if faults and bdtrc(faults - 1, len(own), max(MIN_FAULTS, (theirs + 1) / (len(others) + 2))) < ALPHA:
            self._go_on(
                0.0,
                f"The candidate failed {faults:,} of the last {len(own):,} requests of users, which production then "
                f"answered. Production failed {theirs:,} of {len(others):,}.",
            )

    def decide(self, verdict: str) -> None:
        """Take a verdict on the copied sessions: `pass` ends a step, `fail` the canary."""
        if verdict == "fail":
            self._go_on(0.0, "The copied sessions show harm (`tuneworthy shadow report`).")
        elif verdict == "pass" and self._n_good >= MIN_ANSWERS:
            self._go_on(next((share for share in STEPS if share > self.state.share), STEPS[-1]))

    def _go_on(self, share: float, rolled_back: str = "") -> None:
        """Go on with another share; what was rolled back stays so."""
        if self.state.rolled_back:
            return
        self.state, self._n_good = replace(self.state, share=share, rolled_back=rolled_back), 0
        if rolled_back:
            sys.stderr.write(f"{messages.say('rolled_back', why=rolled_back)}\n")
        with suppress(OSError):  # a full disk delays no roll-back
            self.folder.write(STATE, asdict(self.state))


def is_chat_answer(body: bytes, encoding: str, *, streamed: bool) -> bool | None:
    """Whether bytes are a whole answer of a chat API with a text or calls; None if they are packed in another way."""
    if encoding not in {"", "identity", "gzip", "deflate"}:
        return None
    try:
        answer = answer_of(CHAT, unpacked(body, encoding, 8 * MOST_BYTES), streamed=streamed)
        response = read_answer(answer, Request(messages=()), wrapped=False)
    except ValueError:
        return False
    return bool(response.text.strip() or response.tool_calls) and not answer.get("error")
