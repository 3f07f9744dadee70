"""A minute of `make fuzz`, and a planted fault that each of its targets finds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis.errors import Flaky
from scripts import fuzz
from scripts.fuzz import action, bounds, graders, readers, server, store

from tuneworthy.graders.text import ExactGrader
from tuneworthy.types import Score

ENOUGH_S = 600.0
"""Far more than a planted fault needs to be found."""


@pytest.mark.slow
def test_a_minute_of_odd_bytes_ends_in_no_traceback() -> None:
    assert min(fuzz.fuzz(60.0).values()) > 0


@pytest.mark.slow
def test_a_reader_that_raises_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: object) -> None:
        raise KeyError(path)

    monkeypatch.setattr(readers, "READERS", (broken,))
    with pytest.raises(KeyError):
        fuzz.fuzz(ENOUGH_S, ("readers",))


@pytest.mark.slow
def test_a_grader_that_raises_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: ExactGrader, trace: object, case: object) -> Score:
        raise KeyError(case)

    monkeypatch.setattr(graders, "SECTIONS", {"exact": graders.SECTIONS["exact"]})
    monkeypatch.setattr(ExactGrader, "__call__", broken)
    with pytest.raises(KeyError):
        fuzz.fuzz(ENOUGH_S, ("graders",))


@pytest.mark.parametrize("score", [Score(num=2.0), Score(num=-1.0), Score(num=float("nan")), Score(den=float("inf"))])
def test_a_score_out_of_its_bounds_is_found(score: Score) -> None:
    with pytest.raises(AssertionError):
        graders.check(score)


def test_a_score_that_cannot_be_stored_is_found() -> None:
    with pytest.raises(TypeError):
        graders.check(Score(detail={"a": {1, 2}}))


@pytest.mark.slow
def test_a_verb_that_ends_as_a_bug_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("planted")

    monkeypatch.setattr("tuneworthy.doctor.examine.record_from", broken)
    monkeypatch.setattr(store, "VERBS", (("doctor",),))
    with pytest.raises(store.Bug, match="planted"):
        fuzz.fuzz(ENOUGH_S, ("store",))


def spin() -> None:
    while True:
        pass


def spin_and_catch() -> None:
    with suppress(Exception):
        spin()


@pytest.mark.parametrize("use", [spin, spin_and_catch])
def test_an_input_that_takes_too_long_is_found(use: Callable[[], None]) -> None:
    with pytest.raises(bounds.TookTooLong), bounds.bounded(cpu_s=0.2):
        use()
    with bounds.bounded(cpu_s=60.0):
        pass


def test_an_input_that_takes_too_much_memory_is_found() -> None:
    with pytest.raises(MemoryError), bounds.bounded(memory=2**28):
        bytearray(2**29)
    with bounds.bounded(memory=2**30):
        bytearray(2**29)


@pytest.mark.slow
def test_a_request_that_leaves_the_prefix_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneworthy.shadow.proxy.climbs", lambda path: False)
    with pytest.raises((AssertionError, Flaky)):  # a fault may come after the input that causes it
        fuzz.fuzz(ENOUGH_S, ("proxy",))


@pytest.mark.slow
def test_a_traceback_of_the_exported_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CLASSIFIER", "def predict(text):\n    raise OSError\n")
    with pytest.raises((AssertionError, Flaky)):  # a fault may come after the input that causes it
        fuzz.fuzz(ENOUGH_S, ("server",))


@pytest.mark.parametrize(
    ("log", "outputs", "status"),
    [("::error::x", [], 0), (" ::set-output name=a::b", [], 0), ("##[error]x", [], 0), ("", ["path=/x"], 0),
     ("", ["answer=same", "answer=worse"], 0), ("", [], 127), (f"::stop-commands::{'a' * 32}\nx", [], 0)],
)  # fmt: skip
def test_what_an_action_may_not_say_is_found(log: str, outputs: list[str], status: int) -> None:
    action.check(f"::stop-commands::{'a' * 32}\n::error::x\n::{'a' * 32}::", ["answer=same", "json=/x"], 3)
    with pytest.raises(AssertionError):
        action.check(log, outputs, status)


@pytest.mark.slow
def test_an_answer_that_writes_an_output_is_found() -> None:
    script = action.prepare() / "script.sh"
    guarded = script.read_text()
    script.write_text(guarded.replace('if [[ ! "$answer" =~ ^[a-z_]+$ ]]; then failed 1; fi', ""))
    try:
        with pytest.raises((AssertionError, Flaky)):
            fuzz.fuzz(ENOUGH_S, ("action",))
    finally:
        script.write_text(guarded)
