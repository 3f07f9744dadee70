"""The model behind an address, by the name and the fingerprint that its answers report.

Invariant: answers of two models are never compared. A change stops the run; from then on the present model is part of
the identity of each variant, so that the next run measures it.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final

from tuneworthy.errors import OutsideFault
from tuneworthy.evaluate.batch import Job
from tuneworthy.providers.base import outgoing
from tuneworthy.store import Folder, ResponseStore, response_key
from tuneworthy.text import count
from tuneworthy.types import JsonMapping, Response, canonical, content_hash

# The record of changes, and the key of the reported models in an identity, the present one last.
SERVED: Final = "served"
# Answers with earlier fingerprints only, and with later ones only, that show a change: a provider that balances load
# mixes the fingerprints of several backends.
MIN_CALLS: Final = 20


def with_served(identity: JsonMapping, root: Path | None) -> JsonMapping:
    """Return the identity of a model with the models that its server reported, if these changed in the project."""
    plain = _plain(identity)
    changes = Folder(root).read(SERVED, dict[str, list[str]]) if root else None
    served = (changes or {}).get(content_hash(plain))
    return {**plain, SERVED: served} if served else plain


class ServedCalls:
    """The answers of one model that were used so far.

    Args:
        name: Key of `[models]`.
        identity: Of the model.
        root: The project folder; without one, a change is not recorded.
    """

    def __init__(self, name: str, identity: JsonMapping, root: Path | None) -> None:
        self._name, self._identity, self._root = name, identity, root
        self._calls: dict[bytes, tuple[float, Response, Job]] = {}
        self._marks: set[tuple[str, str]] = set()
        self._error: OutsideFault | None = None
        self._present: list[str] = []

    def add(self, answered: Mapping[bytes, tuple[Response, Job]], store: ResponseStore) -> None:
        """Add answers of `store`, by key; those of the present model stay stored for the run that measures it.

        Raises:
            OutsideFault: They come from another model than earlier answers.
        """
        dates = store.dates([*answered.keys() - self._calls.keys()])
        self._calls |= {key: (at, *answered[key]) for key, at in dates.items()}
        marks = {(answer.model, answer.fingerprint) for answer, _ in answered.values()}
        if self._error is None and (not marks <= self._marks or len(self._calls) % MIN_CALLS == 0):
            self._marks |= marks
            self._error = self._change("model", 1) or self._change("fingerprint", MIN_CALLS)
        if self._error:
            identity = canonical(with_served(self._identity, self._root))
            for _, answer, job in self._calls.values():
                if answer.model in self._present or answer.fingerprint in self._present:
                    key = response_key(identity, outgoing(job.request), job.repeat)
                    store.put(key, answer, 0.0)  # its cost counts under its first key
            raise self._error

    def _change(self, field: str, least: int) -> OutsideFault | None:
        """Record a change of the name or the fingerprint, and return the error that names the calls; None without one.

        Args:
            field: Of the answers.
            least: Answers in a row that show a change. Fingerprints that return, or that hardly repeat, show none.
        """
        given = [
            (mark, job.case.id)
            for _, answer, job in sorted(self._calls.values(), key=itemgetter(0))
            if (mark := getattr(answer, field))
        ]
        recent, known = {mark for mark, _ in given[-least:]}, self._identity.get(SERVED, [])
        old, new = ([one for one in given if (one[0] in recent) is side] for side in (False, True))
        returns = not recent.isdisjoint(known)
        if not old or (least > 1 and (returns or len(recent) > least // 2 or given.index(new[0]) < least)):
            return None
        self._present = sorted(recent)
        if self._root:
            folder, plain = Folder(self._root), content_hash(_plain(self._identity))
            marks = dict.fromkeys(known or (mark for mark, _ in old))
            history = [*(mark for mark in marks if mark not in recent), *self._present]
            folder.write(SERVED, (folder.read(SERVED, dict[str, list[str]]) or {}) | {plain: history})
        pin = f"set `model` in [models.{self._name}] to a dated name"
        return OutsideFault(
            f"The server of models.{self._name} changed its {field}: {_said(old)}, then {_said(new)}.",
            hint=f"A router or its fallbacks alternate between models: {pin}, then run `tuneworthy run`."
            if returns
            else "Run `tuneworthy run` to measure the present model: only calls of the earlier one are repeated. To "
            f"rule out another change, {pin}; this repeats all calls.",
        )


def _said(given: Sequence[tuple[str, str]]) -> str:
    """Name the marks of answers, their number and their first cases."""
    marks, cases = (list(dict.fromkeys(part)) for part in zip(*given, strict=True))
    return f"{', '.join(marks)} in {count(len(given), 'call')} (first cases: {', '.join(cases[:3])})"


def _plain(identity: JsonMapping) -> JsonMapping:
    return {key: value for key, value in identity.items() if key != SERVED}
