"""No planted secret reaches the disk, wherever it was: headers, address, bodies, streams, exceptions, arguments."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

import tuneworthy
from tests.calls.servers import api, written
from tuneworthy.calls.rows import RowMasker

HEADERS = {
    "key of OpenAI": "sk-proj-Zr81kQmPq0VtX3yL7bN2",
    "key of Anthropic": "sk-ant-api03-Yw52hGcRn8TsKq1zJ4vD",
    "token in a header": "gateway-5f21c8d0e9b7a364",
    "session in a cookie": "c00kie-7a1b9f3e2d8c6540",
    "key in the query": "query-93ad0c5be7f81246",
    "plain word in the query": "correcthorsebatterystaple",
    "proxy login": "cHJveHk6aHVudGVyMjIyMg==",
    "key of metadata": "meta-1c9e7f35b2d8a604",
    "key of the body": "body-e4d83a7b6c1f9520",
}
TEXTS = {
    "GitHub": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "AWS": "AKIAIOSFODNN7EXAMPLQ",
    "Slack": "xoxb-263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1",
    "Google": "AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe",
    "Stripe": "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "Hugging Face": "hf_aBcDeFgHiJkLmNoPqRsTuVwXyZ12345678",
    "JWT": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFU",
    "bearer": "mF9B5f41JqM1aG7hT0xQ",
    "password": "Tr0ub4dor&3x",
    "address with a password": "S3cr3tOfDb",
    "e-mail": "ada.lovelace@example.org",
    "phone": "+44 20 7946 0958",
    "IBAN": "DE89 3704 0044 0532 0130 00",
    "card": "4111 1111 1111 1111",
    "IP": "203.0.113.77",
    "social security": "536-90-4399",
    "address of a house": "221 Baker Street",
}
SAID = (
    "token {GitHub}\naccess {AWS}\nbot {Slack}\nmaps {Google}\npay {Stripe}\nmodel {Hugging Face}\ncookie {JWT}\n"
    "Authorization: Bearer {bearer}\npassword = {password}\npostgres://app:{address with a password}@db/x\n"
    "write to {e-mail}, call {phone}, pay to {IBAN} or {card}, from {IP}, SSN {social security}, "
    "I live at {address of a house}"
)
FIELDS = {
    "password": "onlyletterspassword",
    "api_key": "onlylettersapikey",
    "clientSecret": "onlyletterssecret",
    "accessToken": "onlyletterstoken",
    "account_number": "8841973205",
}
FUNCTIONS = {
    "password of a parameter": "argumentpassword",
    "key of a dataclass": "dataclasskeyletters",
    "key of a nested field": "nestedsecretletters",
    "key in a repr": "repr-4b7d1e9a",
    "key of an exception": "exception-8c2f6a0d",
    "key in pieces": "sk-proj-Piece51kQmPq0VtX3yL7bN2",
    "mail of an output": "grace.hopper@example.org",
    "key in a list": "ghp_99C7e42F292c6912E7710c838347Ae178B4b",
    "key of a variable": "hunter2x9",
    "name of the exception's cause": "cause-5e0b3d7c",
}
PLANTED = {**HEADERS, **TEXTS, **FIELDS, **FUNCTIONS}


def said(**others: str) -> str:
    text = SAID
    for name, value in {**TEXTS, **others}.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def call_clients(path: Path) -> int:
    n = 0
    with api() as server:
        server.arguments = dict(FIELDS)
        base = server.address.replace("://", f"://app:{HEADERS['proxy login']}@")
        headers = {"X-Gateway-Token": HEADERS["token in a header"], "Cookie": f"s={HEADERS['session in a cookie']}"}
        query = {"key": HEADERS["key in the query"], "password": HEADERS["plain word in the query"]}
        options = dict[str, Any](default_headers=headers, default_query=query, max_retries=0)
        chat = openai.OpenAI(api_key=HEADERS["key of OpenAI"], base_url=f"{base}/v1", **options)
        claude = anthropic.Anthropic(api_key=HEADERS["key of Anthropic"], base_url=base, **options)
        for client in (chat, claude):
            tuneworthy.record(client, to=path)
        more = {"extra_body": {"metadata": {"k": HEADERS["key of metadata"]}, "secret": HEADERS["key of the body"]}}
        tool = {"name": "weather", "parameters": {"type": "object"}}
        # what the server was told it says again
        sent = ("key of OpenAI", "key of Anthropic", "token in a header", "session in a cookie", "key in the query",
                "plain word in the query", "proxy login")  # fmt: skip
        for name in sent:
            server.text = said() + f"\nYou sent {HEADERS[name]}."
            turns: list[Any] = [{"role": "system", "content": said()}, {"role": "user", "content": said()}]
            for stream in (False, True):
                answers: list[Any] = []
                if name != "key of Anthropic":
                    answers += [
                        chat.chat.completions.create(model="m", messages=turns, stream=stream, **more),
                        chat.responses.create(model="m", input=turns, instructions=said(), stream=stream, **more),
                        chat.chat.completions.create(
                            model="m", messages=turns, tools=[{"type": "function", "function": tool}], stream=stream
                        ),
                    ]
                if name != "key of OpenAI":
                    answers += [
                        claude.messages.create(
                            model="m", max_tokens=9, system=said(), messages=turns[1:], stream=stream, **more
                        ),
                        claude.messages.create(
                            model="m", max_tokens=9, messages=turns[1:], stream=stream,
                            tools=[{"name": "weather", "input_schema": {"type": "object"}}],
                        ),
                    ]  # fmt: skip
                for answer in answers:
                    if stream:
                        list(answer)
                n += len(answers)
        chat.close()
        claude.close()
    return n


def call_functions(path: Path) -> None:
    class Secretive:
        def __repr__(self) -> str:
            return FUNCTIONS["key in a repr"]

        __str__ = __repr__

    @dataclasses.dataclass
    class Login:
        user: str
        apiKey: str

    @tuneworthy.record("a", to=path)
    def work(login: Login, *tokens: str, password: str, holder: Any, variables: Any) -> Any:
        return {
            "text": f"write to {FUNCTIONS['mail of an output']}",
            "again": said(),
            "session_token": "sessionletters",
        }

    @tuneworthy.record("a", to=path)
    def fails(holder: Any) -> None:
        try:
            raise KeyError(FUNCTIONS["name of the exception's cause"])
        except KeyError as error:
            raise ValueError(FUNCTIONS["key of an exception"]) from error

    @tuneworthy.record("a", to=path)
    def pieces() -> Iterator[str]:
        text = f"the key is {FUNCTIONS['key in pieces']} and {said()}"
        for place in range(0, len(text), 3):
            yield text[place : place + 3]

    work(
        Login("ada", FUNCTIONS["key of a dataclass"]),
        "a", FUNCTIONS["key in a list"],
        password=FUNCTIONS["password of a parameter"],
        holder=Secretive(),
        variables={"env": [{"DB_PASSWORD": FUNCTIONS["key of a nested field"]}],
                   "note": f"password: {FUNCTIONS['key of a variable']}"},
    )  # fmt: skip
    with pytest.raises(ValueError, match="exception-8c2f6a0d"):
        fails(Secretive())
    list(pieces())


def test_none_of_the_planted_secrets_is_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    n = call_clients(path)
    call_functions(path)
    rows = written(path)
    assert len(PLANTED) == 40
    assert [row["skipped"] for row in rows if "skipped" in row] == ["failed: ValueError"] and len(rows) == n + 3
    text = "\n".join(file.read_text() for file in tmp_path.rglob("*") if file.is_file())
    unescaped = "\n".join(json.dumps(row, ensure_ascii=False).replace('\\"', '"') for row in rows)
    found = [name for name, value in PLANTED.items() if value in text or value in unescaped]
    assert found == []
    assert "sessionletters" not in text
    assert "[EMAIL_1]" in text and "weather" in text and "[key]" in text


def test_the_secrets_would_be_found_without_the_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted values do reach the lines, apart from those in fields that are never read."""
    seen: list[str] = []

    def noted(self: RowMasker, value: Any, field: str = "") -> Any:
        seen.append(json.dumps(value))
        return value

    monkeypatch.setattr(RowMasker, "mask", noted)
    path = tmp_path / "calls.jsonl"
    call_clients(path)
    call_functions(path)
    written(path)
    text = "\n".join(seen).replace('\\"', '"')
    assert [name for name, value in PLANTED.items() if value not in text] == [
        "key of metadata", "key of the body", "key in a repr", "key of an exception", "name of the exception's cause",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [{"role": "user", "content": "Where is order 4711? It has 3 items of $12.50."}]},
        {"usage": {"prompt_tokens": 1234567, "total_tokens": 98765432}, "max_tokens": 4096, "seed": 7},
        {"arguments": '{"city":  "Oslo", "days": 3}', "id": "call_1a2b3c4d5e6f", "token": "Paris"},
        [None, True, 0.5, -3, "", [], {}],
    ],
)
def test_what_is_no_secret_stays_as_it_is(value: Any) -> None:
    assert RowMasker().mask(value) == value


def test_a_value_has_one_mask_in_question_and_answer() -> None:
    masker = RowMasker()
    question = masker.mask("I am bo@example.org, and ada@example.org is not.")
    assert question == "I am [EMAIL_1], and [EMAIL_2] is not."
    assert masker.mask("\n\nDear ada@example.org,\n\nyou are not bo@example.org.") == (
        "\n\nDear [EMAIL_2],\n\nyou are not [EMAIL_1]."
    )
