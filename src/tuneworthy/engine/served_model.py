"""The model behind an address, by the name and the fingerprint that its answers report.

Invariant: answers of two models are never compared. A change stops the run; from then on each variant's
identity includes the present model, so that the next run measures it.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from tuneworthy.engine.batch import Job
from tuneworthy.errors import OutsideFault
from tuneworthy.providers.base import outgoing
from tuneworthy.store import Folder, ResponseStore, response_key
from tuneworthy.text import count
from tuneworthy.types import JsonMapping, Response, canonical, content_hash

# The record of changes, and the key of the reported models in an identity, the present one last.
SERVED = "served"
# Answers with only earlier fingerprints, and with only later fingerprints, that show a change: a provider that balances
# load mixes the fingerprints of several backends.
MIN_CALLS = 20
# Characters at which a reported name is cut off.
MAX_CHARS = 200


def with_served(identity: JsonMapping, root: Path | None) -> JsonMapping:
    """Return the identity of a model with the models that its server reported, if these changed in the project."""
    served = _changes(root).get(_key(identity)) if root else None
    return {**identity, SERVED: served} if served else identity


class ServedCalls:
    """The answers of one model that were used so far.

    Args:
        name: Key of `[models]`.
        identity: Of the model.
        root: The project folder; without one, a change is not recorded.
    """

    def __init__(self, name: str, identity: JsonMapping, root: Path | None) -> None:
        self._name, self._identity, self._root = name, identity, root
        self._calls: dict[bytes, tuple[float, str, str, str]] = {}  # time, name, fingerprint, case
        self._latest: deque[tuple[Response, Job]] = deque(maxlen=2 * MIN_CALLS)
        self._names, self._fingerprints = set[str](), set[str]()
        self._step = self._due = MIN_CALLS  # answers between two looks at the fingerprints, and before the next
        self._error: OutsideFault | None = None
        self._present: list[str] = []

    @property
    def expected(self) -> list[str]:
        """Names that an answer of the same model may have: those of earlier answers, or the configured name."""
        known = self._identity.get(SERVED, [])[-1:] or sorted(self._names)
        return known or [str(self._identity.get("model", ""))]

    def add(self, answered: Mapping[bytes, tuple[Response, Job]], store: ResponseStore) -> None:
        """Add answers of `store`, by key; those of the present model stay stored for the run that measures it.

        Raises:
            OutsideFault: They come from another model than earlier answers.
        """
        dates = store.dates([key for key in answered if key not in self._calls])  # not all calls for each answer
        calls = {
            key: (dates[key], mark_of(one.model), mark_of(one.fingerprint), job.case.id)
            for key, (one, job) in answered.items()
            if key in dates
        }
        names = {name for _, name, _, _ in calls.values()} - {""}
        fingerprints = {mark for *_, mark, _ in calls.values()} - {""}
        if not fingerprints <= self._fingerprints:
            self._step, self._due = MIN_CALLS, min(self._due, len(self._calls) + MIN_CALLS)
        self._calls |= calls
        self._latest.extend(answered.values())
        if self._error is None and not names <= self._names:
            self._error = self._change(1, 1)
        self._names, self._fingerprints = self._names | names, self._fingerprints | fingerprints
        if self._error is None and len(self._calls) >= self._due:  # rarer and rarer: it reads all calls
            self._step, self._due = 2 * self._step, len(self._calls) + self._step
            if len(self._fingerprints) > 1:
                self._error = self._change(2, MIN_CALLS)
        if self._error:
            identity = canonical(with_served(self._identity, self._root))
            for answer, job in (*self._latest, *answered.values()):
                if answer.model in self._present or answer.fingerprint in self._present:
                    key = response_key(identity, outgoing(job.request), job.repeat)
                    store.put(key, answer, 0.0)  # its cost counts under its first key
            raise self._error

    def _change(self, field: Literal[1, 2], least: int) -> OutsideFault | None:
        """Record a change of the name or the fingerprint, and return the error that names the calls; None without one.

        Args:
            field: Its place in a call.
            least: Answers in a row that show a change. Fingerprints that return or rarely repeat show no change.
        """
        given = [(call[field], call[3]) for call in sorted(self._calls.values()) if call[field]]
        recent, known = {mark for mark, _ in given[-least:]}, self._identity.get(SERVED, [])
        old, new = ([one for one in given if (one[0] in recent) is side] for side in (False, True))
        returns = not recent.isdisjoint(known)
        if not old or (least > 1 and (returns or len(recent) > least // 2 or given.index(new[0]) < least)):
            return None
        self._present = sorted(recent)
        if self._root:
            earlier = [mark for mark in known or dict.fromkeys(mark for mark, _ in old) if mark not in recent]
            history = {_key(self._identity): [*earlier, *self._present]}
            Folder(self._root).write(SERVED, _changes(self._root) | history)
        pin = f"set `model` in [models.{self._name}] to a dated name"
        what = "model" if field == 1 else "fingerprint"
        return OutsideFault(
            f"The server of models.{self._name} changed its {what}: {_named(old)}, then {_named(new)}.",
            hint=f"A router or its fallbacks alternate between models: {pin}, then run `tuneworthy run`."
            if returns
            else "Run `tuneworthy run` to measure the present model: only calls of the earlier one are repeated. To "
            f"rule out another change, {pin}; this repeats all calls.",
        )


def mark_of(text: str) -> str:
    """Return a name or a fingerprint as reported; "" if it is too long to be one."""
    return text if len(text) < MAX_CHARS else ""  # a fault of the server, and no name


def _named(calls: Sequence[tuple[str, str]]) -> str:
    marks, cases = (list(dict.fromkeys(column)) for column in zip(*calls, strict=True))
    return f"{', '.join(marks)} in {count(len(calls), 'call')} (first cases: {', '.join(cases[:3])})"


def _changes(root: Path) -> dict[str, list[str]]:
    return Folder(root).read(SERVED, dict[str, list[str]]) or {}


def _key(identity: JsonMapping) -> str:
    return content_hash({key: value for key, value in identity.items() if key != SERVED})
