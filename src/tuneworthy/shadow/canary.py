"""Canary: the candidate answers a share of the sessions, which grows step by step, or falls to 0.

The candidate answers a request only if production gave a valid answer, within `ACCEPTED_S`, to one with the same path,
query, headers and fields but the messages: any of these can carry a credential, or be why production refuses. Its
answer is complete and checked before a byte goes to the user, a stream's too; otherwise production answers the same
request. So no user gets an invalid or a truncated answer.

The candidate's faults are tested at each answer with a Shiryaev-Roberts detector: the mean of M = (M + 1) L over a few
rates q above production's rate p, where L = q / p for a fault and (1 - q) / (1 - p) for an answer. A candidate that
fails as often as production is rolled back once in 1 / `ALPHA` answers or later. A question counts once within
`ACCEPTED_S`: retries and popular questions are no further evidence. A fault counts only if production does not fail on
the question too.

Production answers the copied sessions. Their pairs are the evidence on quality, from the same traffic at all steps;
each verdict on them is a decision: a pass lets a step end, harm ends the canary.

Invariants: a share never grows without a pass; a canary that was rolled back stays so, in this process even on a full
disk, in other processes from their next verdict on, and in later processes until `shadow replay --restart` and a pass;
no credential is stored, not even its hash.

Source: Shin, Ramdas and Rinaldo 2023 (arXiv 2203.03532), e-detectors, for the detector.
"""

import asyncio
import hmac
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from secrets import token_bytes

import orjson
from scipy.special import betaincinv

from tuneworthy.errors import TuneworthyError
from tuneworthy.providers.openai import read_answer
from tuneworthy.shadow.copies import FAILED, MOST_BYTES, PAIRED, Copies, CopyHead, tell
from tuneworthy.shadow.protocols import answer_of, unpacked
from tuneworthy.store import Folder
from tuneworthy.text import has_text
from tuneworthy.types import Request, frozen

CHAT = "/v1/chat/completions"
# Below `.tuneworthy`: the state of the candidate with this id; and that before --restart, until a replay passes.
STATE, RESTARTED = "shadow/canary-{}", "shadow/restarted-{}"
STEPS = (0.01, 0.05, 0.25, 1.0)
# A step ends only after so many answers of the candidate to users.
MIN_ANSWERS = 100
# How long production's answer admits further requests of its kind, seconds; and how many kinds are remembered.
ACCEPTED_S, MAX_KINDS = 120.0, 10_000
# Production's answers count for so long, seconds, and at most so many.
WINDOW_S, MAX_WINDOW = 3600.0, 1000
# Least share of production's answers that is assumed to fail; and good answers that are assumed before the first.
MIN_FAULTS, ASSUMED = 0.01, 50
# False roll-backs an answer, at most; quantile of production's rate; and the steps from it to 1 that are tested.
ALPHA, QUANTILE, RATES = 1e-5, 0.99, (0.05, 0.25, 0.9)
# A user waits for the candidate so many times production's 95th percentile, and at least so long, seconds; or the first
# wait, until production gave so many answers.
SLOWER, MIN_WAIT_S, FIRST_WAIT_S, MIN_TIMED = 3.0, 2.0, 10.0, 20
# Headers that differ among the requests of one client, and carry no credential.
_OF_ONE_REQUEST = frozenset(
    b"content-length traceparent tracestate sentry-trace idempotency-key x-request-id x-client-request-id "
    b"x-stainless-retry-count".split()
)
# Headers with a key. Without such a header, or if the session's header is one, the session's header may be the
# credential.
_CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key"})
# Statuses by which production refuses a client; others but 200 are faults.
_REFUSALS = frozenset({401, 402, 403, 407, 429})


@frozen
class CanaryState:
    """Progress of a canary.

    Attributes:
        variant: Id of the candidate.
        share: Of the sessions that it answers.
        rolled_back: Why it answers no more, in sentences; "" while it does.
        production: Name of the side that answers after a roll-back, such as `release 1`.
    """

    variant: str
    share: float = STEPS[0]
    rolled_back: str = ""
    production: str = "production"


def canary_state(store: Folder, variant: str) -> CanaryState | None:
    """Return the state of a candidate; after `--restart`, the one before it, until a replay passes."""
    return store.read(STATE.format(variant), CanaryState) or store.read(RESTARTED.format(variant), CanaryState)


@dataclass(slots=True)
class Visit:
    """A user's request, as the canary sees it.

    Attributes:
        session: Name of its session.
        kind: Keyed hash of all that production may refuse it for, but the messages.
        place: Of its session and credential in the draw, in [0, 1).
        failed: Whether the candidate failed it, which is no fault yet: production may fail it too.
        is_over: Whether production's answer was noted.
    """

    session: str
    kind: bytes
    place: float
    failed: bool = False
    is_over: bool = False


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
        self._state_name = STATE.format(state.variant)
        self._session_header = {session_header} - _CREDENTIALS - {b"cookie"}
        self._hash = partial(hmac.digest, token_bytes(32), digest="sha256")
        self._n_good, self._accepted, self._refused = 0, dict[bytes, float](), dict[bytes, float]()
        self._n_asked = self._n_failed = 0
        self._counted, self._rate, self._detectors = dict[bytes, float](), _rate(0, 0), [0.0] * len(RATES)
        # of production's answers: the end, whether it was a fault, and the duration in seconds
        self._production = deque[tuple[float, bool, float]](maxlen=MAX_WINDOW)

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
            fields = orjson.loads(body)
        except ValueError:
            return None
        if not isinstance(fields, dict):
            return None
        fields.pop("messages", None)
        is_named = any(name in _CREDENTIALS and value.strip() for name, value in headers)
        left_out = _OF_ONE_REQUEST | (self._session_header if is_named else set())
        credential = self._hash(repr([target, [one for one in headers if one[0] not in left_out]]).encode())
        return Visit(
            session,
            self._hash(credential + orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)),
            int.from_bytes(self._hash(credential + session.encode())[:6], "big") / 2**48,
        )

    async def answer(self, visit: Visit, body: bytes) -> bytes:
        """Return the candidate's answer to a user, or b"": then production has to answer."""
        if visit.place >= self.share or time.monotonic() - self._accepted.get(visit.kind, -ACCEPTED_S) >= ACCEPTED_S:
            return b""
        return await asyncio.shield(asyncio.create_task(self._ask(visit, body)))  # counted even if the user leaves

    async def _ask(self, visit: Visit, body: bytes) -> bytes:
        report = await self.copies.ask(CopyHead(path=CHAT, session=visit.session), body, self.wait_s)
        question, now = self._hash(body), time.monotonic()
        self._n_good += report.outcome == PAIRED
        if report.outcome in {PAIRED, FAILED} and now - self._counted.get(question, -ACCEPTED_S) >= ACCEPTED_S:
            self._counted[question], visit.failed = now, report.outcome == FAILED
            if visit.is_over or not visit.failed:  # else production's answer comes, unless the user left
                self._count(is_fault=visit.failed)
        return report.answer.encode()

    def note(self, visit: Visit, status: int, seconds: float, *, valid: bool | None) -> None:
        """Note production's answer, and roll back if the candidate, asked before, fails more often.

        Args:
            visit: The request.
            status: Of HTTP; 0 without an answer.
            seconds: Until its end.
            valid: Whether it is a whole answer of a chat API; None if that cannot be seen.
        """
        now, kind = time.monotonic(), visit.kind
        if valid is not None:
            self._production.extend([(now, not valid, seconds)] if status not in _REFUSALS else [])
        recent = [one for one in self._production if one[0] > now - WINDOW_S]
        times = sorted(took for _, is_fault, took in recent if not is_fault)
        if len(times) >= MIN_TIMED:
            self.wait_s = max(MIN_WAIT_S, SLOWER * times[int(0.95 * len(times))])
        self._rate = _rate(len(recent) - len(times), len(recent))
        if valid and now - seconds > self._refused.get(kind, 0.0):
            self._accepted[kind] = now - seconds
        elif valid is False:
            self._accepted.pop(kind, None)
            self._refused[kind] = now
        for known in (self._accepted, self._refused, self._counted):
            if len(known) > MAX_KINDS:
                del known[next(iter(known))]
        visit.is_over = True
        if visit.failed and valid is not False:
            self._count(is_fault=True)

    def _count(self, *, is_fault: bool) -> None:
        """Count an answer of the candidate, and roll back if it fails more often than production."""
        self._n_asked, self._n_failed = self._n_asked + 1, self._n_failed + is_fault
        for place, step in enumerate(RATES):
            ratio = 1 + step * (1 / self._rate - 1) if is_fault else 1 - step
            self._detectors[place] = (self._detectors[place] + 1) * ratio
        if is_fault and sum(self._detectors) > len(RATES) / ALPHA:
            self._go_on(
                0.0,
                f"The candidate failed {self._n_failed:,} of {self._n_asked:,} different requests. Production then "
                f"answered them; it fails {self._rate:.1%} at most.",
            )

    def decide(self, verdict: str) -> None:
        """Take a verdict on the copied sessions: `pass` ends a step, `fail` the canary."""
        stored = None
        with suppress(TuneworthyError, OSError):  # a damaged file changes nothing here
            stored = self.folder.read(self._state_name, CanaryState) if verdict else None
        if stored and stored.rolled_back:  # by another process
            self._go_on(0.0, stored.rolled_back)
        elif self.state.rolled_back and verdict:  # the disk was full
            self._store()
        elif verdict == "fail":
            self._go_on(0.0, "The copied sessions show harm (`tuneworthy shadow report`).")
        elif verdict == "pass" and self._n_good >= MIN_ANSWERS:
            self._go_on(next((share for share in STEPS if share > self.state.share), STEPS[-1]))

    def _go_on(self, share: float, rolled_back: str = "") -> None:
        """Continue with another share; a canary that was rolled back stays so."""
        if self.state.rolled_back:
            return
        if share != self.state.share:
            tell("rolled_back" if rolled_back else "step", why=rolled_back, share=share, by=self.state.production)
        self.state, self._n_good = replace(self.state, share=share, rolled_back=rolled_back), 0
        self._store()

    def _store(self) -> None:
        with suppress(OSError):  # a full disk delays no roll-back
            self.folder.write(self._state_name, asdict(self.state))


def _rate(faults: int, n: int) -> float:
    """Return the upper end of the share of production's answers that fail."""
    return max(MIN_FAULTS, float(betaincinv(faults + 1, n - faults + ASSUMED, QUANTILE)))


def is_chat_answer(body: bytes, encoding: str, *, streamed: bool) -> bool | None:
    """Whether bytes are a whole answer of a chat API with a text or calls; None if they are packed in another way."""
    if encoding not in {"", "identity", "gzip", "deflate"}:
        return None
    try:
        answer = answer_of(CHAT, unpacked(body, encoding, 8 * MOST_BYTES), streamed=streamed)
        response = read_answer(answer, Request(messages=()))
    except ValueError:
        return False
    return bool(has_text(response.text) or response.tool_calls) and not answer.get("error")
