"""Every error begins with a sentence that has a code, and a code stays what it is."""

from __future__ import annotations

import json
import pickle
from collections import defaultdict
from pathlib import Path

import pytest
from scripts import sentences

from tuneworthy.catalogue import Catalogue, Sentence, code_of, precede
from tuneworthy.cli import invoke
from tuneworthy.config import messages
from tuneworthy.errors import ConfigError, UnknownName, UserError, nearest

FEWEST = 531
"""Codes that there are; may only grow."""


def gaps(codes: dict[str, str]) -> list[str]:
    """The folders whose numbers do not run from 1 on."""
    numbers = defaultdict(list)
    for code in codes:
        _, folder, number = code.split("-")
        numbers[folder].append(int(number))
    return [folder for folder, of in numbers.items() if of != list(range(1, len(of) + 1))]


def test_every_error_has_a_code() -> None:
    assert sentences.main(["--check"]) == 0


def test_codes_are_never_taken_away() -> None:
    codes = sentences.codes()
    assert gaps(codes) == [] and len(codes) >= FEWEST and len(set(codes.values())) == len(codes)
    assert gaps({code: key for code, key in codes.items() if code != "E-CONFIG-05"}) == ["CONFIG"]


def test_a_new_error_gets_the_next_code_of_its_folder() -> None:
    codes = sentences.complete({"E-CLI-01": "cli.a", "E-STORE-01": "store.a"}, ["cli.b", "cli.a"])
    assert codes == {"E-CLI-01": "cli.a", "E-CLI-02": "cli.b", "E-STORE-01": "store.a"}


@pytest.mark.parametrize(
    "line",
    ["raise UserError(messages.say('a'))", "raise UserError(precede(x, messages.say('a')))",
     "text = messages.say('a')\n    raise UserError(text)", "raise UserError(helper())"],
)  # fmt: skip
def test_a_sentence_that_begins_an_error_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "errors.py").write_text("class TuneworthyError(Exception): ...\nclass UserError(TuneworthyError): ...")
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "messages.py").write_text('say = Catalogue(__name__, {"a": "No {x} yet.", "b": "Done."}).say')
    helper = "def helper() -> str:\n    return messages.say('a')\n"
    (tmp_path / "cli" / "run.py").write_text(
        f"from tuneworthy.cli import messages\n{helper}def f():\n    print(messages.say('b'))\n    {line}\n"
    )
    assert sentences.error_sentences(tmp_path) == {"cli.a": ("No {x} yet.", "")}


def test_the_sentence_of_an_error_gives_its_code() -> None:
    text = messages.say("make_project")
    assert UserError(text).error_code == "" and UserError("A stranger's text.").error_code == ""
    text = messages.say("not_utf8", path="x", reason="y")
    codes = {code: key for key, code in sentences.codes().items()}
    assert UserError(text).error_code == codes["config.not_utf8"]
    assert ConfigError([text, "second"]).error_code == UserError(precede("y", text)).error_code == code_of(text)
    assert UnknownName("rung", "x", {"y"}).error_code == codes["general.unknown_name"]


def test_a_sentence_keeps_its_key() -> None:
    text = Catalogue("tuneworthy.cli.messages", {"a": "{x} {{y}}"}).say("a", x=1)
    assert (text, pickle.loads(pickle.dumps(text)).key) == ("1 {y}", "cli.a")
    assert isinstance(text, Sentence) and text.format(y=2).key == "cli.a"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a project."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["climb"], "general.unknown_name", "Unknown command: 'climb'."),
        (["decidee"], "general.unknown_name", "Did you mean 'decide'?"),
        (["models", "pul"], "general.unknown_name", "Did you mean 'pull'?"),
        (["run", "--rong", "x"], "cli.no_such_option", "Did you mean '--rung'?"),
        (["plan", "--emit", "axolotle"], "cli.bad_parameter", "Did you mean 'axolotl'?"),
        (["init"], "cli.missing_parameter", "Missing argument 'FOLDER'. Run `tuneworthy init --help`"),
        (["guide", "tool_call"], "general.unknown_name", "Did you mean 'tool_calls'?"),
        (["run"], "config.no_file", "There is no project file"),
    ],
)
def test_the_command_line_shows_the_code_and_the_nearest_name(
    arguments: list[str], code: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert invoke([*arguments, "--json"]) == 2
    out, err = capfd.readouterr()
    names = {key: name for name, key in sentences.codes().items()}
    assert err.startswith(f"error[{names[code]}]: ") and words in err
    if arguments[0] != "climb":
        error = json.loads(out)["error"]
        assert error["code"] == names[code] and f"{error['message']} {error['hint']}".strip() in err
        assert error["exit_status"] == 2
    assert invoke(arguments) == 2
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "near"), [("Label", "label"), ("lable", "label"), ("label", "label"), ("zebra", "")]
)  # fmt: skip
def test_the_nearest_name_ignores_case(name: str, near: str) -> None:
    assert nearest(name, ["input", "label"]) == near
