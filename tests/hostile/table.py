"""Rows of (class, input, survived) that the hostile tests collect, and the table that is printed at the end.

A test notes each input that it tried with `tried`; `pytest_terminal_summary` of `tests/hostile/conftest.py` prints
class x tried x survived. A row that did not survive fails its test at once.
"""

from __future__ import annotations

from collections import Counter

ROWS: list[tuple[str, str, bool]] = []
# Class to the test that fails if what guards it does not: it switches the guard off and sees the damage.
GUARDS = {
    "template": "limits: a_child_without_its_time_limit_goes_on",
    "template in check": "limits: a_child_without_its_memory_limit_is_filled",
    "pattern": "limits: without_the_child_a_pattern_compiles_for_longer_than_its_limit",
    "schema": "limits: without_the_limit_a_schema_pattern_goes_on",
    "answer": "limits: without_the_depth_of_answers_a_score_cannot_be_stored",
    "file": "limits: without_their_bounds_few_bytes_are_unpacked_to_any_number_of_rows",
    "document": "limits: without_its_limit_a_document_is_parsed_to_its_end",
    "not a regular file": "limits: a_pipe_is_not_waited_for",
    "name of a model": "limits: without_the_table_of_faults_an_odd_name_of_a_model_is_a_bug",
    "name of a file": "limits: without_a_word_for_odd_names_a_null_byte_is_a_bug",
    "project file": "limits: without_the_limit_of_its_size_a_project_file_is_read",
    "bad row": "store: without_the_shapes_a_damaged_record_is_a_bug",
    "damaged record": "store: without_the_shapes_a_damaged_record_is_a_bug",
    "damaged SQLite file": "store: without_its_explanation_a_damaged_file_is_a_bug",
    "locked file": "store: without_its_explanation_a_damaged_file_is_a_bug",
    "foreign schema": "store: without_the_check_of_the_schema_a_trigger_eats_every_answer",
    "damaged artifact": "store: without_the_hashes_a_changed_model_is_whole",
    "read-only folder": "store: without_reading_locks_a_read_only_project_cannot_be_decided",
    "limits of the system": "store: without_the_table_of_system_errors_a_full_disk_is_a_bug",
    "full disk": "store: without_the_table_of_system_errors_a_full_disk_is_a_bug",
    "file as a folder": "store: without_the_table_of_system_errors_a_full_disk_is_a_bug",
    "closed pipe": "store: without_the_guard_a_reader_that_leaves_is_an_error",
    "clock": "store: without_the_limit_on_its_end_a_verdict_of_a_clock_that_was_ahead_holds",
    "damaged cost in the store": "money: without_the_guard_a_damaged_cost_gives_money_back",
    "damaged cost in the record": "store: without_the_shapes_a_damaged_record_is_a_bug",
    "usage that is not true": "money: without_the_guard_a_lie_gives_money_back",
    "price that is not true": "money: a_project_cannot_lower_the_price_of_a_vendor",
    "code changed after consent": "consent: without_the_guard_changed_code_runs",
    "server called without trust": "consent: without_the_guard_of_servers_a_request_is_sent",
    "module in the current folder": "processes: without_isolation_a_child_imports_from_the_working_folder",
    "fault of a server": "faults: without_the_known_call_poisoned_cases_end_the_run",
    "memory at concurrency 64": "faults: without_the_limit_a_large_answer_is_read_whole",
    "SIGINT with 64 in flight": "signals: without_the_drain_calls_are_cut_off",
    "SIGTERM with 64 in flight": "signals: without_the_drain_calls_are_cut_off",
    "SIGHUP with 64 in flight": "signals: without_the_drain_calls_are_cut_off",
    "SIGKILL with 64 in flight": "money: a_call_that_was_cut_off_costs_what_the_same_request_cost",
    "hostile text to the terminal": "terminal: without_the_sanitiser_the_text_steers_the_terminal",
    "secret sent without trust": "trust: without_the_guard_of_keys_the_secret_is_sent",
    "code run without trust": "trust: without_the_guard_of_functions_code_runs",
    "file used without trust": "trust: without_the_guard_of_paths_files_outside_are_read",
    "key said back by a server": "trust: without_redaction_a_key_is_stored",
}


def tried(kind: str, what: str, survived: bool, detail: object = "") -> None:
    """Note one input of a class, and fail unless it was survived.

    Args:
        kind: The class, a key of `GUARDS`.
        what: The input, in a few characters.
        survived: Whether nothing bad came of it.
        detail: Shown if it was not.
    """
    assert kind in GUARDS, f"{kind}: no test switches its guard off"
    ROWS.append((kind, what, survived))
    assert survived, f"{kind}: {what}: {detail}"


def table() -> list[str]:
    """Return the lines of the table: one a class, and their sum."""
    counts = Counter(kind for kind, _, _ in ROWS)
    good = Counter(kind for kind, _, survived in ROWS if survived)
    width = max(map(len, [*counts, "class"]))
    lines = [f"{'class':<{width}}  tried  survived"]
    lines += [f"{kind:<{width}}  {counts[kind]:>5}  {good[kind]:>8}" for kind in sorted(counts)]
    return [*lines, f"{'sum':<{width}}  {counts.total():>5}  {good.total():>8}"]
