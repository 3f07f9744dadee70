"""Personal data: what is found, what is left alone, and that a mask tells nothing and keeps what is equal equal."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneworthy.cases import pii
from tuneworthy.cases.pii import Masker, PiiMatch, find, find_all, iban_end, is_card

FOUND = {
    "email": ["ada@example.org", "foo.bar+x@sub.domain.co.uk", "jürgen@müller.de"],
    "phone": ["+49 30 9012 3456", "+15551234567", "0049 171 1234567", "(030) 123 4567", "415-555-2671", "0171 1234567"],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "FR1420041010050500013M02606"],
    "card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"],
    "id": ["536-90-4399", "390.533.447-05", "12345678Z", "131052-308T", "756.9217.0769.85"],
    "account": ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "0x52908400098527886E0F7030069857D2E4169EE7"],
    "device": ["3c:22:fb:9a:01:7e"],
    "address": ["12 Green Oak Street", "Lindenstraße 12", "12 rue de la Paix", "Calle Mayor 5", "Via Roma 3"],
    "ip": ["192.168.17.4", "2001:db8::8a2e:370:7334"],
    "key": [
        "sk-" + "ant-" + "a1B2" * 6,
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1" * 18,
        "hf_" + "aB" * 17,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijklmnop",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc+/=\n-----END RSA PRIVATE KEY-----",
    ],
}
BESIDE = {
    "my BSN is 111222333 since then": ("id", "111222333"),
    "born on 3 May 1980 in Ulm": ("birth_date", "3 May 1980"),
    "password = hunter22 it was": ("key", "hunter22"),
    "Authorization: Bearer abcdef0123456789abcdef": ("key", "abcdef0123456789abcdef"),
    "postgres://app:swordfish@db/x": ("key", "swordfish"),
    "Server=db;Password=swordfish;": ("key", "swordfish"),
    "valid 4111 1111 1111 1111 12/27 please": ("card", "4111 1111 1111 1111"),
    "in 2024 4111 1111 1111 1111 was mine": ("card", "4111 1111 1111 1111"),
    "use ab12 DE89 3704 0044 0532 0130 00": ("iban", "DE89 3704 0044 0532 0130 00"),
    "appelez le 06 12 34 56 78": ("phone", "06 12 34 56 78"),
    "IBAN DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000": (
        "iban",
        "DE89 3704 0044 0532 0130 00".replace(" ", "\u00a0"),
    ),
    "IBAN DE89\u20133704\u20130044\u20130532\u20130130\u201300": (
        "iban",
        "DE89 3704 0044 0532 0130 00".replace(" ", "\u2013"),
    ),
    "card 4111\u20131111\u20131111\u20131111": ("card", "4111-1111-1111-1111".replace("-", "\u2013")),
    "card \uff14111\u00a01111\u00a01111\u00a01111": ("card", "\uff14111\u00a01111\u00a01111\u00a01111"),
    "call 415\u2013555\u20132671": ("phone", "415\u2013555\u20132671"),
    "mail ada\uff20example.org": ("email", "ada\uff20example.org"),
    "mail a\u200bda@exam\u200dple.org now": ("email", "a\u200bda@exam\u200dple.org"),
    "AZURE_OPENAI_KEY=a1b2c3d4e5f60718293a4b5c6d7e8f90": ("key", "a1b2c3d4e5f60718293a4b5c6d7e8f90"),
    "SUPABASE_KEY=sbk1234abcd9876": ("key", "sbk1234abcd9876"),
    "os.environ['OPENAI_API_KEY']='abc123def456'": ("key", "abc123def456"),
    "password: envoy2024x": ("key", "envoy2024x"),
    "password: yourDog1999": ("key", "yourDog1999"),
    "DB_PASS=hunter22": ("key", "hunter22"),
    "https://example.org/?token=a1b2c3d4e5": ("key", "a1b2c3d4e5"),
    "account_number: 12345678": ("account", "12345678"),
    "my account number (acct) is 12345678": ("account", "12345678"),
    "my location is 52.5200, 13.4050": ("address", "52.5200, 13.4050"),
}
"""What stands beside a value and could hide it."""
PIECES = [value for values in FOUND.values() for value in values] + [
    "DE88370400440532013000", "4111 1111 1111 1112", "12:30:45", "::1", "1.2.3", "2024-05-06", "a@b", "sk-", "+49 ",
    "(0", "-----BEGIN ", "eyJ", "’", "ü", "😀", "\ud800", "\x00", "'", " ", " ", ".", ",", "-", "_", "/", "(", ":", "@",
    "x", "7", "00", "İ",
]  # fmt: skip
LEFT = [
    "on 2024-05-06 at 12:30:45 it cost 1,234.50 EUR",
    "order 12345678, version 1.2.3, pages 100-120",
    "between 2023-2024 and 10/12/2023",
    "DE88370400440532013000",
    "DE88 3704 0044 0532 0130 00",
    "4111 1111 1111 1112",
    "4000 0012 3456 7890 and 4000-0012-3456-7890",
    "ISBN 978-3-16-148410-0",
    "999.1.2.3 and ::",
    "me@localhost, a @ b",
    "0.123456789 and 1234567890123456789012",
    "sk-short and hf_x",
    "version 10.20.30.40.50",
    "BSN 111222334, CPF 390.533.447-06, 12345678A, 756.9217.0769.86",
    "order 111222333",
    "a password is required: at least 12 characters",
    "token = get_token2() and password = os.environ['P2']",
    "postgres://app:<password>@db/x",
    "born in 1980, on Main Street, route 66 is closed",
    "[0.1234, 0.5678]",
    "location of the vector: [0.1234, 0.5678]",
    "J. Phys. 12 (2019) 345-367",
    "build 1.2.3.4",
    "version 1.2.3.4",
    "health insurance in 2026-2027",
    "Number plate recognition in the USA",
    "number plate recognition in 2024",
    "patente EP1234567",
    "2 cours de Python",
    "Top 10 Best Way",
    "sk-toggleable__content",
    "password = form.password1.data",
    "https://example.org/?key=overview",
]


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in FOUND.items() for value in values])
def test_personal_data_is_found_and_masked_whole(kind: str, value: str) -> None:
    text = f"Please use {value}, not another."
    (one,) = find(text)
    assert (one.kind, text[one.start : one.end]) == (kind, value)
    assert Masker().mask(text) == f"Please use [{kind.upper()}_1], not another."
    assert value not in repr(one)


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert find(text) == []
    assert Masker().mask(text) == text


@pytest.mark.parametrize("text", BESIDE)
def test_what_stands_beside_a_value_does_not_hide_it(text: str) -> None:
    kind, value = BESIDE[text]
    assert [(one.kind, text[one.start : one.end]) for one in find(text)] == [(kind, value)]


def plain(text: str) -> list[PiiMatch]:
    """Look for every pattern, whatever RE2 says."""
    return pii._values(text, pii._PATTERNS)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join), max_size=4))
def test_the_anchors_lose_nothing(texts: list[str]) -> None:
    assert [find(text) for text in texts] == [plain(text) for text in texts]
    assert list(find_all(texts)) == [(number, found) for number, text in enumerate(texts) if (found := find(text))]


@settings(max_examples=200, deadline=None)
@given(st.data())
@pytest.mark.slow
def test_every_match_of_a_pattern_holds_its_anchor(data: st.DataObject) -> None:
    regex = data.draw(
        st.sampled_from([pii._KEY, pii._EMAIL, pii._IBAN, pii._CARD_RUN, pii._IPV4, pii._IPV6, pii._PHONE])
    )
    text = data.draw(st.from_regex(regex))
    assert find(text) == plain(text)


def test_one_value_has_one_mask_however_it_is_written() -> None:
    masker = Masker()
    assert masker.mask("Ada@Example.org and bob@example.org") == "[EMAIL_1] and [EMAIL_2]"
    assert masker.mask("ada@example.org") == "[EMAIL_1]"
    assert masker.mask("DE89370400440532013000") == masker.mask("DE89 3704 0044 0532 0130 00") == "[IBAN_1]"
    assert masker.counts == {"email": 3, "iban": 2}


def test_texts_inside_json_are_masked_keys_included() -> None:
    value = {"to": ["ada@example.org", 5, None], "ada@example.org": {"n": True}}
    assert Masker().mask_json(value) == {"to": ["[EMAIL_1]", 5, None], "[EMAIL_1]": {"n": True}}


def test_a_value_is_known_again_however_it_is_written() -> None:
    text = "my account number is 12345678, password = hunter22"
    again = pii.recurrences(text, find(text))
    other = "1234-5678 n12345678m Hunter22 123456789 hunter223"
    assert [other[one.start : one.end] for one in again(other)] == ["1234-5678", "12345678", "Hunter22"]
    assert [one.digest for one in again("12345678")] == [find(text)[0].digest] or find(text)[0].kind == "key"


def test_numbers_are_masked_as_numbers_of_json() -> None:
    assert Masker().mask_json([4111111111111111, 4111111111111111.0, 0.5]) == ["[CARD_1]", "[CARD_1]", 0.5]


def test_an_iban_ends_where_its_country_says() -> None:
    assert iban_end("DE89370400440532013000") == 22
    assert iban_end("DE89370400440532013000X") == 0
    assert iban_end("ZZ89370400440532013000") == 0
    assert Masker().mask("DE89 3704 0044 0532 0130 00 and more") == "[IBAN_1] and more"


def test_cards_need_prefix_length_and_checksum() -> None:
    assert is_card("4111111111111111")
    assert not is_card("4111111111111110")
    assert not is_card("0000000000000000")
    assert not is_card("411111111111")


@given(st.text(max_size=300))
def test_masking_never_fails_and_a_second_time_changes_nothing(text: str) -> None:
    once = Masker().mask(text)
    assert Masker().mask(once) == once or find(text)


@pytest.mark.parametrize("n", [10**5, pytest.param(10**6, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "huge",
    ["x" * 10**6, "7" * 10**6, "a@" * 500_000, ":" * 10**6, "DE89 " * 200_000, "4111 " * 200_000, "1 " * 500_000,
     "+49 30 " * 150_000, "sk-" * 300_000,
     "-----BEGIN PRIVATE KEY-----" * 40_000, "eyJ" + "a" * 10**6],
    ids=lambda huge: huge[:8],
)  # fmt: skip
@pytest.mark.slow
def test_many_characters_are_read_in_bounded_time(huge: str, n: int) -> None:
    for look in (find, plain):
        start = time.process_time()
        look(huge[:n])
        assert time.process_time() - start < 60 * n / 10**6


@pytest.mark.parametrize("value", [values[0] for values in FOUND.values()])
def test_where_re2_cannot_say_which_anchors_a_text_holds_all_patterns_are_tried(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"Please use {value}, not another."
    matches = find(text)
    monkeypatch.setattr(pii, "_WHICH", lambda data: None)
    assert matches and find(text) == matches


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no Linux")
def test_random_names_and_numbers_do_not_use_up_the_memory_of_the_search() -> None:
    """Without a left edge of the anchors, 3,000 texts add more than 50 MiB of states."""
    code = """
import os, random
from tuneworthy.cases.pii import find
draw, pages = random.Random(7), []
for n in range(3100):
    [find(text) for text in (f"{draw.getrandbits(64):016x}", f"item {n} of {draw.random() * 1e9}")]
    if n % 3000 == 99:
        pages.append(int(open("/proc/self/statm").read().split()[1]))
print((pages[1] - pages[0]) * os.sysconf("SC_PAGE_SIZE"))
"""
    assert int(subprocess.check_output([sys.executable, "-c", code], text=True)) < 8 << 20
