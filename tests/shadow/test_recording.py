"""Recorded traffic as sessions: what belongs together, what is asked, what is masked, and what is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from tests.cases.exports import EXPORTS, Export
from tests.shadow.traffic import TENANTS, write_log, write_traffic_project
from tuneworthy.cases import pii
from tuneworthy.cases.pii import PiiMatch, match_of
from tuneworthy.config import Project, load
from tuneworthy.config.shadow import Shadow
from tuneworthy.errors import UserError
from tuneworthy.shadow.recording import MOST_STRATA, OTHERS, Recording, masker_of, read_recording
from tuneworthy.types import UNLABELLED


def project(root: Path, **settings: Any) -> Project:
    write_traffic_project(root, "equal")
    found = load(root)
    changed = found.model_copy(update={"shadow": Shadow(**settings)})
    changed._root = found.root
    return changed


def read(root: Path, rows: list[dict[str, Any]], **settings: Any) -> Recording:
    (root / "log.jsonl").parent.mkdir(parents=True, exist_ok=True)
    (root / "log.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return read_recording(project(root, **settings), [root / "log.jsonl"])


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_rows_that_go_on_where_others_ended_are_one_session_and_each_turn_is_asked_once(tmp_path: Path) -> None:
    first, second = [user("a"), said("b")], [user("a"), said("b"), user("c"), said("d")]
    found = read(tmp_path, [{"messages": one} for one in (first, second, [user("x"), said("y")])])
    assert sorted(len(one.turns) for one in found.sessions) == [1, 2]
    turns = next(one.turns for one in found.sessions if len(one.turns) == 2)
    assert [turn.answer.text for turn in turns] == ["b", "d"]
    assert turns[0].case.input == "a" and [m["content"] for m in turns[1].case.messages] == ["a", "b", "c"]


def test_users_whose_first_exchange_is_the_same_are_sessions_of_their_own(tmp_path: Path) -> None:
    """After a canned greeting, in whatever order the log has the rows."""
    greeting = [user("hi"), said("How can I help?")]
    rows = [greeting] * 3
    for name in "ab":
        second = [*greeting, user(f"{name}?"), said(f"{name}!")]
        rows = [*rows, second, [*second, user("more"), said(f"more {name}")]]
    for n, order in enumerate((rows, rows[::-1])):
        sessions = read(tmp_path / str(n), [{"messages": one} for one in order]).sessions
        said_in = sorted(sorted(turn.answer.text for turn in one.turns) for one in sessions)
        help_ = "How can I help?"
        assert said_in == [[help_], [help_, "a!", "more a"], [help_, "b!", "more b"]]


def test_a_branch_is_a_session_of_its_own(tmp_path: Path) -> None:
    first = [user("a"), said("b")]
    rows = [first, [*first, user("c"), said("d")], [*first, user("e"), said("f")]]
    found = read(tmp_path, [{"messages": one} for one in rows])
    assert sorted([turn.answer.text for turn in one.turns] for one in found.sessions) == [["b", "d"], ["b", "f"]]


def test_a_row_that_begins_like_a_named_session_is_not_taken_for_it(tmp_path: Path) -> None:
    first = [user("a"), said("b")]
    rows = [{"messages": first, "session_id": "s"}, {"messages": [*first, user("c"), said("d")]}]
    assert len(read(tmp_path, rows).sessions) == 2


def test_two_users_who_ask_one_thing_once_are_two_sessions(tmp_path: Path) -> None:
    assert len(read(tmp_path, [{"messages": [user("a"), said("b")]}] * 2).sessions) == 2


def test_a_copy_of_a_log_counts_once_and_logs_of_one_name_are_two(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("monday/log.jsonl", "tuesday/log.jsonl", "copy.jsonl")]
    for path, day in zip(paths, ("monday", "tuesday", "monday"), strict=True):
        path.parent.mkdir(exist_ok=True)
        rows = [{"messages": [user(f"{day} {i}"), said("b")]} for i in range(5)]
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    found = read_recording(project(tmp_path / "p"), [*paths, paths[0]])
    assert len(found.sessions) == 10 and {len(one.turns) for one in found.sessions} == {1}
    assert not any("word for word" in note for note in found.notes)


@pytest.mark.parametrize(("n_same", "noted"), [(2, False), (12, True)])
def test_sessions_that_only_repeat_others_are_noted(n_same: int, noted: bool, tmp_path: Path) -> None:
    rows = [{"messages": [user(f"q{max(0, i - n_same + 1)}"), said("b")]} for i in range(30)]
    notes = " ".join(read(tmp_path, rows).notes)
    assert (f"{n_same - 1} of 30 sessions repeat the questions of another word for word" in notes) is noted


def test_the_name_of_a_stratum_that_a_client_chose_stays_short(tmp_path: Path) -> None:
    rows = [{"messages": [user(f"q{i}"), said("b")], "tenant": f"{i}" * 10**5} for i in range(2)]
    assert read(tmp_path, rows, by="tenant").strata == ["0" * 100, "1" * 100]


def test_the_log_names_a_session_where_it_does(tmp_path: Path) -> None:
    rows = [{"messages": [user(f"q{i}"), said("b")], "metadata": {"session_id": i // 2}} for i in range(4)]
    assert [len(one.turns) for one in read(tmp_path, rows).sessions] == [2, 2]


def test_a_call_of_a_tool_is_a_turn_and_its_result_comes_from_the_recording(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"n": 1}'}}
    turns = [
        user("a"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
        said("b"),
    ]
    (session,) = read(tmp_path, [{"messages": turns}]).sessions
    assert [bool(turn.answer.tool_calls) for turn in session.turns] == [True, False]
    assert session.turns[1].case.messages[-1]["content"] == "found"


def test_rows_whose_answers_people_disliked_are_asked_too(tmp_path: Path) -> None:
    rows = [{"messages": [user(f"q{i}"), said("b")], "feedback": {"thumbs": "down"}} for i in range(3)]
    assert len(read(tmp_path, rows).sessions) == 3


def test_personal_data_is_masked_alike_in_question_and_answer_unless_the_policy_says_otherwise(tmp_path: Path) -> None:
    rows = [
        {"messages": [user("mail ada@example.org now"), said("wrote to ada@example.org")]},
        {"messages": [user("a"), said("b")]},
    ]
    masked = read(tmp_path / "a", rows)
    texts = [turn.case.text + turn.answer.text for one in masked.sessions for turn in one.turns]
    assert "ada@" not in "".join(texts) and "Personal data is masked in 1 session." in masked.notes[0]
    mask = next(text for text in texts if "mail" in text).split()[1]
    assert sum(text.count(mask) for text in texts) == 2
    for action, n in (("report", 2), ("drop", 1)):
        write_traffic_project(tmp_path / action, "equal", extra=f'[data]\npolicy = {{ personal_data = "{action}" }}')
        (tmp_path / action / "log.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        found = read_recording(load(tmp_path / action), [tmp_path / action / "log.jsonl"])
        assert len(found.sessions) == n
        assert ("ada@" in str([turn.case.text for one in found.sessions for turn in one.turns])) == (action == "report")


def test_strata_that_are_addresses_are_masked_and_a_right_answer_that_is_one_counts_as_unlabelled(
    tmp_path: Path,
) -> None:
    rows = [
        {"messages": [user(f"write {name}@example.org"), said(name)], "user": f"{name}@example.org", "truth": truth}
        for name, truth in (("ada", "ada@example.org"), ("bob", "bob"))
    ]
    found = read(tmp_path, rows, by="user")
    assert sorted(one.stratum for one in found.sessions) == ["[EMAIL_1]", "[EMAIL_2]"]
    truths = {turn.answer.text: turn.case.expected for one in found.sessions for turn in one.turns}
    assert truths["bob"] == "bob" and truths["ada"] is UNLABELLED and not found.labelled


def test_a_right_answer_that_only_its_question_names_as_personal_data_counts_as_unlabelled(tmp_path: Path) -> None:
    asked = [user("my account number is 12345678"), said("12345678")]
    found = read(tmp_path, [{"messages": asked, "truth": truth} for truth in ("12345678", "unknown")])
    assert [turn.answer.text for one in found.sessions for turn in one.turns] == ["[ACCOUNT_1]"] * 2
    truths = {str(turn.case.expected) for one in found.sessions for turn in one.turns}
    assert "12345678" not in truths and "unknown" in truths and not found.labelled


def test_what_is_stored_is_masked_with_the_engine_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_all(texts: list[str]) -> Iterator[tuple[int, list[PiiMatch]]]:
        yield from ((n, [match_of(text, "person", 0, 3)]) for n, text in enumerate(texts))

    engines = {"patterns": pii, "presidio": SimpleNamespace(find_all=find_all)}
    monkeypatch.setattr("tuneworthy.dataset.card.open_engine", engines.get)
    for engine, text in (("patterns", "Ada"), ("presidio", "[PERSON_1]")):
        found = project(tmp_path / engine)
        masker = masker_of(found.model_copy(update={"data": found.data.model_copy(update={"pii_engine": engine})}))
        assert masker is not None and masker.mask("Ada") == text


def test_a_draw_keeps_the_shares_of_the_strata_and_is_part_of_any_larger_one(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", 400)
    small, large = (read_recording(project(tmp_path / str(n), by="tenant", sessions=n), [log]) for n in (100, 200))
    assert set(Counter(one.stratum for one in small.sessions).values()) == {100 // TENANTS}
    assert {one.name for one in small.sessions} <= {one.name for one in large.sessions}
    assert len(large.strata) == TENANTS


def test_of_very_many_strata_the_smallest_are_one(tmp_path: Path) -> None:
    rows = [{"messages": [user(f"q{i}"), said("b")], "tenant": i} for i in range(80)]
    found = read(tmp_path, rows, by="tenant")
    assert len(found.strata) == MOST_STRATA and OTHERS in found.strata and "80 values" in " ".join(found.notes)


def test_a_key_that_no_row_has_and_a_recording_without_answers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="customer"):
        read(tmp_path / "a", [{"messages": [user("a"), said("b")]}], by="customer")
    with pytest.raises(UserError, match="no conversation"):
        read(tmp_path / "b", [{"messages": [user("a")]}])


def test_of_a_long_session_only_so_many_turns_are_asked(tmp_path: Path) -> None:
    turns = [one for i in range(9) for one in (user(f"q{i}"), said(f"a{i}"))]
    (session,) = read(tmp_path, [{"messages": turns}], turns=3).sessions
    texts = [turn.answer.text for turn in session.turns]
    assert len(texts) == 3 and texts == sorted(texts)


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.name)
def test_each_tools_file_is_traffic_without_a_flag(tmp_path: Path, export: Export) -> None:
    write_traffic_project(tmp_path / "p", "equal")
    beside = b"".join(orjson.dumps(row) + b"\n" for row in export.beside)
    files = {f"a{export.suffix}": export.content(), "b.jsonl": beside}
    paths = [tmp_path / name for name, content in files.items() if content]
    for path in paths:
        path.write_bytes(files[path.name])
    turns = [turn for one in read_recording(load(tmp_path / "p"), paths).sessions for turn in one.turns]
    answers = {turn.answer.text or str(turn.answer.tool_calls[0]["function"]["name"]) for turn in turns}
    assert len(set(export.answers) - answers) <= 1  # a user's correction is not what production said
    assert turns and all(turn.case.text for turn in turns)
