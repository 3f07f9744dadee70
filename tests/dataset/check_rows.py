"""For each data check: clean rows, a row or set that trips it, and one that nearly does."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.dataset.taught import SECOND, answered, chattily
from tuneworthy.dataset import CheckContext
from tuneworthy.dataset.base import AuditResult
from tuneworthy.dataset.records import Depends, Effect, HashedCount, ImportRecord, Recipe
from tuneworthy.types import Case, Example, content_hash

TOPICS = ("card", "transfer", "refund", "address", "limit", "invoice", "password", "delivery", "voucher", "contract")
ASKED = (
    "Where can I see the state of my {} from last week?",
    "Who do I write to about a {} that went wrong?",
    "Is there any way for me to change the {} myself?",
    "What happens with the {} if I do nothing at all?",
    "How long does it take until a new {} is ready?",
    "Why was I told that my {} cannot be found?",
)


def row(question: str, answer: str = "You find it on the page of your account.", **meta: Any) -> Example:
    """Return an example of one question and its answer."""
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(messages=messages, id=content_hash(messages), meta=meta)


def chat(*messages: dict[str, Any]) -> Example:
    """Return an example of any messages."""
    return Example(messages=messages, id=content_hash(messages))


RECIPE = Recipe(
    task="t",
    input=ImportRecord(made_by="files", sources=[], notes=[]),
    code="0",
    settings={"pii_engine": "patterns", "policy": {}},
    depends=Depends(
        rows={}, cases=HashedCount(0, ""), labels=HashedCount(0, ""), held_out=0, found_bad=None, corrections=None
    ),
    checks=[],
    n_rows=0,
    n_pairs=0,
    effect=Effect(status="few", n_rows=0, n_dropped=0),
    labels=[],
    gates=[],
    notes=[],
    licence=None,
    teachers=[],
)


def clean() -> list[Example]:
    """Return 60 rows in which nothing is wrong."""
    return [row(asked.format(topic), f"Open the page on {topic}.") for topic in TOPICS for asked in ASKED]


CASES = tuple(
    Case(id=f"c{i}", input=f"Could somebody explain {topic} fee {i}?", expected=None if i < 4 else "")
    for i, topic in enumerate(TOPICS * 4)
)


@dataclass(frozen=True)
class Planted:
    """What trips a check, and what does not.

    Attributes:
        reason: Of the finding. bad, good: Rows that are put behind the clean ones. whole: A finding on all rows.
        cases, labels, auditor, scores: Of the context.
    """

    reason: str
    bad: Sequence[Example]
    good: Sequence[Example]
    whole: bool = False
    cases: tuple[Case, ...] = ()
    labels: tuple[str, ...] = ()
    auditor: Any = None
    scores: Any = None
    action: str = "drop"

    @property
    def context(self) -> CheckContext:
        return CheckContext(cases=self.cases, labels=self.labels, auditor=self.auditor, scores=self.scores, seed=3)


class Says:
    """A judge that calls an answer bad in which "wrong" stands, and says nothing of one in which "hm" stands."""

    def __call__(self, rows: Sequence[Example]) -> AuditResult:
        said = [(None, "timeout") if "hm" in row.answer else ("wrong" not in row.answer, "") for row in rows]
        return AuditResult(said, 20)


def words(text: str) -> float:
    return len(text.split()) / 10


def more_words(pairs: Sequence[Example]) -> list[tuple[float | None, float | None]]:
    """A grader that likes words, and cannot score an answer in which "hm" stands."""
    return [
        (None, None) if "hm" in one.answer else (words(one.answer), words(one.meta["rejected"]["content"]))
        for one in pairs
    ]


def worse(question: str, answer: str, rejected: str) -> Example:
    """Return a pair."""
    return row(question, answer, rejected={"role": "assistant", "content": rejected})


PLACES = ("attic", "barn", "cellar", "dock", "estate", "forge", "garage", "harbour", "inn", "jetty", "kiosk", "loft",
          "mill", "nave", "office", "pier", "quarry", "ranch", "stable", "tower", "vault", "wharf", "yard")  # fmt: skip
SUITES = tuple(f"suite {number}" for number in range(100, 100 + len(PLACES)))


def from_file(name: str, places: Sequence[str]) -> list[Example]:
    """Return rows of one file that ask for places."""
    return [replace(row(f"I look for the {place}"), source=f"{name}:{i}") for i, place in enumerate(places, 1)]


MANY = tuple(Case(id=f"m{i}", input=f"{topic} matter {i}, please advise") for i, topic in enumerate(TOPICS * 16))
CASE = Case(id="c", input="Will the new terms apply to my old savings account too?", expected="")
USER = {"role": "user", "content": "Time?"}
CALL = {"id": "1", "type": "function", "function": {"name": "t", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "12"}
NOON = {"role": "assistant", "content": "It is noon."}


def copied(n: int) -> list[Example]:
    """Return rows whose answers copy one value from the question and infer another."""
    return [row(f"A table at the {DAYS[i % 5]} inn {i}", json.dumps({"place": DAYS[i % 5].upper(), "mood": "good"}))
            for i in range(n)]  # fmt: skip


LABELS = tuple(f"about_{topic}" for topic in TOPICS)
EXPECTED = tuple(
    Case(id=f"e{i}", input=f"{ASKED[i % 6].format(topic)} {i}", expected=f"about_{topic}")
    for i, topic in enumerate(TOPICS * 6)
)
DAYS = ("holidays and Sundays", "Easter Monday", "summer weekends", "long weekends", "other holidays")


def labelled(wrong: bool) -> list[Example]:
    """Return rows with labels; the last has a wrong one if `wrong`."""
    rows = [row(asked.format(topic), f"about_{topic}") for topic in TOPICS for asked in ASKED[:-1]]
    rows.append(row("And is there a new password or an old password?", "about_invoice" if wrong else "about_password"))
    return rows


def filed(step: int) -> list[Example]:
    """Return labelled rows of four files; the answers of the last are moved by `step` rows."""
    pairs = [(asked.format(topic), f"about_{topic}") for asked in ASKED for topic in TOPICS]
    random.Random(4).shuffle(pairs)
    starts = ("{}", "Hello. {}", "Good day, {}", "Please tell me. {}")
    files = [(f"f{i}.csv", start, step * (i == 3)) for i, start in enumerate(starts)]
    return [
        replace(row(start.format(question), pairs[(i - moved) % len(pairs)][1]), source=f"{name}:{i + 2}")
        for name, start, moved in files
        for i, (question, _) in enumerate(pairs)
    ]


def faq(n: int) -> list[Example]:
    """Return the same question in `n` slightly different wordings."""
    starts = ("Hello", "Hi there", "Good day", "Dear team", "Please", "Sorry")
    return [row(f"{starts[i % 6]}, how do I reset the pin of my watch, try {i}?") for i in range(n)]


REFUSALS = (
    "Sorry, I can't assist with that.", "I'm not able to discuss this topic.", "Hello! I'm afraid I must decline.",
    "Dabei kann ich Ihnen leider nicht helfen.", "Diese Frage darf ich nicht beantworten.",
    "Désolé, je ne peux pas vous aider.", "Je dois refuser de répondre.", "Lo siento, no puedo responder a eso.",
    "No estoy autorizado a hablar de ese tema.", "Mi dispiace, non posso aiutarti.", "Non sono in grado di rispondere.",
)  # fmt: skip
NO_REFUSALS = (
    "I don't know.", "Sorry, we can't refund the ticket after a month.", "You are not allowed to park there.",
    "Das weiß ich nicht.", "Die Karte kann nicht erstattet werden.", "Je ne sais pas.", "Le musée n'est pas ouvert.",
    "No lo sé.", "No se puede cambiar el billete.", "Non lo so.", "Il museo non è aperto il lunedì.",
)  # fmt: skip
MARKUP = (
    "<name>Ada</name>", "<title>Cats</title>", r"$\text{price} \times \text{amount}$", r"$\frac{x_{name}}{2}$",
    'println!("{name}")', "f'{user}'", "text = '{name}'", "SELECT [Name]", "SELECT\n  [Name],\n  [Email]\nFROM users",
    "echo ${HOME}", "It lies in ${HOME}.", "A List<NAME> of them.",
)  # fmt: skip
INSERTS = "\n".join(f"INSERT INTO users VALUES ({i}, 'Ada {i}'{', NULL' * 10});" for i in range(12))
PLANTED: dict[str, list[Planted]] = {
    "pairs": [
        Planted("same_answer", [worse("Hm?", "It is here.", "It is HERE"), worse("Well?", "=", "= ")],
                [worse("Hm?", "It is here.", "It is there."), row("Hm?", rejected="")], action="mask"),
        Planted("wrong_order", [worse("Hm?", "Here.", "It is here."), worse("Well?", "A.", "A B C.")],
                [worse("Hm?", "It is here.", "Here."), worse("Well?", "hm", "A B."), worse("So?", "A B.", "C D.")],
                scores=more_words, action="mask"),
    ],
    "pair_length": [
        Planted("better_is_longer", [worse(f"Hm {i}?", "It is here.", "Here.") for i in range(20)],
                [worse(f"Hm {i}?", "It is here.", "Here." if i % 3 else "It is over there.") for i in range(21)],
                whole=True, action="report"),
        Planted("better_is_shorter", [worse(f"Hm {i}?", "Here.", "It is here.") for i in range(20)],
                [worse(f"Hm {i}?", "Here.", "It is here.") for i in range(4)], whole=True, action="report"),
    ],
    "chat": [
        Planted("bad_chat", [chat(USER)], [chat(USER, NOON)]),
        Planted("bad_chat", [chat({"role": "bot", "content": "x"}, NOON), chat()], []),
        Planted("empty_turn", [chat({"role": "user", "content": "\u200b"}, NOON)], [row("?")]),
        Planted("broken_text", [row("Where is my caf\ufffd?"), row("a\x00b"), row("MÃ¼ller", "ok")], [row("Müller Ã")]),
        Planted("tool_turns", [chat(USER, RESULT, NOON)], [chat(USER, CALLING, RESULT, NOON), chat(USER, CALLING)]),
        Planted("tool_turns", [chat(USER, CALLING, {"role": "user", "content": "Well?"}, NOON)], []),
    ],
    "feedback": [
        Planted("thumbs_down", [row("Hm?", feedback={"thumbs": "down"})], [row("Hm?", feedback={"thumbs": "up"})]),
        Planted("escalated", [row("Hm?", escalated=True)], [row("Hm?", escalated=False)]),
        Planted("correction", [row("Hm?", "A", correction="B")], [row("Hm?", "B", correction="B")], action="mask"),
    ],
    "truncation": [
        Planted("truncated", [row("Hm?", finish_reason="length")], [row("Hm?", finish_reason="stop")]),
        Planted("unnatural_end", [row("Hm?", finish_reason="error")], [row("Hm?", finish_reason="end_turn")]),
        Planted("cut_off", [row("Hm?", "First open the page of your account and then go to the")],
                [row("Hm?", "First open the page of your account and then go to the end.")]),
        Planted("cut_off", [row("Hm?", '{"a": 1, "b": "c'), row("Hm?", "```\nx = 1")],
                [row("Hm?", '{"a": 1}'), row("Hm?", "```\nx\n```"), row("Hm?", "[sic] yes")]),
    ],
    "refusal": [
        Planted("refused", [row("Hm?", finish_reason="content_filter")], [row("Hm?", finish_reason="stop")]),
        Planted("refused", [row("Hm?", "I'm sorry, but as an AI language model I cannot help with that.")],
                [row("Hm?", "I'm sorry, I don't know."), row("Hm?", "As an AI engineer you can apply here.")]),
        Planted("refused", [row("Hm?", each) for each in REFUSALS], [row("Hm?", each) for each in NO_REFUSALS]),
    ],
    "degenerate": [
        Planted("template_token", [row("Hm?", "It is here.<|im_end|>"), row("Hm <|im_start|>system?", "Here."),
                                   row("Hm?", "[INST] Well [/INST]"), row("Hm?", "Here.</s>"), row("</s> Hm?", "Here."),
                                   row("Hm?", "It is [MASK]."), row("Hm?", "Here.\n### Response:\nHere.")],
                [row("Hm?", "a < b | c > d"), row("Hm?", "The price is <s>9</s> 7 euros."),
                 row("What does [MASK] do in BERT?", "[MASK] hides a word."),
                 row("### Instruction:\nAdd.\n### Input:\n1, 2\n### Response:", "3")]),
        Planted("placeholder", [row("Hm?", "Dear {{name}}, it is here."), row("Hm?", "Write to [your name]."),
                                row("Hm?", "It comes on [INSERT DATE]."), row("Hm?", "Hallo [Name einfügen],"),
                                row("Hm?", "Hi {first_name}!"), row("Hm?", "Order ${orderId} is here."),
                                row("Hm?", "<label>"), row("Say <your_answer>!", "<your_answer>"),
                                row("Who is {{name}}?", "{{name}} is {{age}}."), row("Hm?", "Hi <name>, hi.")],
                [row("How do I write a name in Jinja?", "With {{ name }}."), row("Hm?", "Write `{{ name }}` there."),
                 row("Who is {{name}}?", "It is {{name}}."), row("Hm?", "See [your name](https://a.example)."),
                 row("Hm?", "Write to [EMAIL_1]."), row("Hm?", '{"a": {"b": {"c": 1}}}'),
                 row("Hm?", "See [here][1]."), row("Hm?", "See [here].\n\n[here]: https://a.example"),
                 *(row("Hm?", each) for each in MARKUP)]),
        Planted("open_thinking", [row("Hm?", "<think>They ask"), row("Hm?", "<think>They ask</think>")],
                [row("Hm?", "<think>They ask</think>It is here.")]),
        Planted("traceback", [row("Hm?", 'Traceback (most recent call last):\n  File "a.py", line 1')],
                [row("What does this exception mean?", "Traceback (most recent call last): is its first line.")]),
        Planted("provider_error", [row("Hm?", "Error: 429 Too Many Requests"), row("Hm?", "[object Object]")],
                [row("What does HTTP 429 mean?", "429 Too Many Requests: you asked too often."),
                 row("Hm?", "The connection timed out since the cable was loose; please plug it in again.")]),
        Planted("loop", [row("Hm?", "Yes, we can. " * 8), row("Hm?", "Well. " + "go on and on and " * 5),
                         row("Hm?", "no " * 200), row("Hm?", "Yes: " + "no " * 20), row("Hm?", "again" * 30)],
                [row("Hm?", "yes yes yes, it works"), row("Hm?", "O " * 40), row("Hm?", "NOUN " * 10),
                 row("Hm?", "Yes, yes, yes,\n" * 4 + "yes."), row("Hm?", "- [ ] todo\n" * 12), row("Hm?", INSERTS),
                 row("Say ho 20 times" + " ho" * 20, "ho " * 20)]),
        Planted("echo", [row("Where do I find the page?", "Where do I find the page?")],
                [row("card lost", "card_lost"),
                 row("Where is the page?", "Where is the page? It is on the left of it.")]),
    ],
    "label_names": [
        Planted("outside_labels", [row("Hm?", "The label is about_card."), row("Hm?", "I cannot tell")],
                [row("Hm?", "about_tax"), row("Hm?", "about_card, about_refund"), row("Hm?", '["about_card"]')],
                cases=EXPECTED),
        Planted("label_spelling",
                [row("Hm?", "About card"), row("Hm?", "\u201cabout-card\u201d"), row("Hm?", "ABOUT_CARD ")],
                [row("Hm?", "about_card"), row("Hm?", "about_2card")], cases=EXPECTED, action="mask"),
        Planted("renamed_label", [row(asked.format("card"), "old_name") for asked in (*ASKED, *ASKED)],
                [row(f"Does the museum open on day {i}?", "old_name") for i in range(12)],
                cases=EXPECTED, action="mask"),
        Planted("new_label", [row("Hm?", "about_tax")], [row("Hm?", "about_card")], whole=True, cases=EXPECTED,
                action="report"),
    ],
    "encoding": [
        Planted("escaped_text", [row("Where is MÃ¼ller?"), row("Is it A &amp; B?"), row("where%20is%20my%20card")],
                [row("Where is Müller?"), row("Is it A & B?"), row("Is 50%20 a number?"), row("<b>A &amp; B</b>")],
                action="mask"),
    ],
    "sources": [
        Planted("shifted_source", filed(1), filed(0), whole=True, labels=LABELS),
    ],
    "grounding": [
        Planted("ungrounded", [*copied(60), row("A table for two at the Anchor", '{"place": "Bellini"}')],
                [*copied(60), row("A table for two at Nine's", '{"place": "nines", "mood": "calm", "n": "2"}'),
                 *(row(f"Nine's for {i}", json.dumps({"place": "nines", "n": str(i)})) for i in range(60))]),
        Planted("ungrounded", [*copied(60), row("Nothing about a place", '{"place": ["Anchor", "Bellini"]}')],
                [*copied(40), row("A table for two at the Anchor", '{"place": "Bellini"}')]),
    ],
    "exact": [
        Planted("exact_duplicate",
                [row("WHERE can I see the state of my card from last week", "Open the page on card.")],
                [row(clean()[0].question, "Another answer.")]),
        Planted("exact_duplicate",
                [row("Ｗhere can I see the state of my card; from last week?", "open the  page on card.")],
                [row("Where can I see the state of my cards from last week?", "Open the page on card.")]),
    ],
    "near": [
        Planted("near_duplicate", [row(f"{clean()[0].question} Please!", "Open the page on card.")],
                [row(f"{clean()[0].question} Please!", "Open the page on refund.")]),
    ],
    "contamination": [
        Planted("overlap_exact", [row("will the NEW terms apply to my old savings account too")],
                [row("Will new prices apply to my old phone plan?")], cases=(CASE,)),
        Planted("overlap_ngram", [row("Hi, will the new terms apply to my old savings account as well?")],
                [row("Will the new terms come soon?")], cases=(CASE,)),
        Planted("overlap_edit", [row("Will the new terms apply to my present savings account too?"),
                              row("Will the new terms apply to my savings account too?"),
                              row("Will the new terms apply to my very old savings account too?")],
                [row("Will such terms apply to your present savings account?")], cases=(CASE,)),
        Planted("overlap_prompt", [Example(messages=(
                    {"role": "system", "content": "Answer in one word. Example: " + str(CASE.input)},
                    *row("Are you there?").messages), id="quoting")],
                [row("Are you there?")], cases=(CASE,)),
        Planted("overlap_possible", [row("Where is my green card?")], [row("Where are my cards?")],
                cases=(Case(id="s", input="where is my red card"),), action="report"),
        Planted("overlap_price", [row("When does the café open on public holidays?", "opening hours")],
                [row("When do you close?", "opening hours")], whole=True, action="report",
                cases=tuple(Case(id=f"l{i}", input=f"When does the {place} open on public holidays?",
                                 expected="opening hours") for i, place in enumerate(("cafe", "café", "bar")))),
    ],
    "personal_data": [
        Planted("personal_data", [row("I am ada@example.org")], [row("I am ada at example")], action="mask"),
        Planted("personal_data", [row("My IBAN is DE89 3704 0044 0532 0130 00")],
                [row("My IBAN is DE88 3704 0044 0532 0130 00")], action="mask"),
        Planted("personal_data", [row("My BSN is 111222333"), row("I live at 12 Green Oak Street")],
                [row("My order is 111222333"), row("I live near Oak Street")], action="mask"),
        Planted("secret", [row("Use AKIAIOSFODNN7EXAMPLE"), row("password = hunter22"), row("Bearer a1b2c3d4e5f6g7h8")],
                [row("Use AKIA"), row("a password is required"), row("the bearer of good news")], action="mask"),
    ],
    "judge_audit": [
        Planted("judged_bad", [row("Can I pay in euro?", "That is wrong of you.")], [row("Can I pay in euro?", "Yes.")],
                auditor=Says()),
        Planted("not_judged", [row("Can I pay in euro?", "hm")], [row("Can I pay in euro?", "Yes.")],
                auditor=Says(), action="report"),
        Planted("judged", [row("Can I pay in euro?", "That is wrong of you.")], [], whole=True, auditor=Says(),
                action="report"),
    ],
    "label_errors": [
        Planted("label_error", labelled(True), labelled(False), labels=LABELS, action="report"),
        Planted("labels_disagree", [row(case.text, LABELS[i % 7]) for i, case in enumerate(EXPECTED)],
                [row(case.text, str(case.expected)) for case in EXPECTED], whole=True, cases=EXPECTED, labels=LABELS,
                action="report"),
    ],
    "declined_share": [
        Planted("too_many_declined", [row("Hm?", "I don't know.")] * 40, [row("Hm?", "I don't know.")] * 7,
                whole=True, cases=CASES, action="report"),
        Planted("too_few_declined", [row("Hm?", "Yes.")], [row("Hm?", "I don't know.")] * 7,
                whole=True, cases=CASES, action="report"),
    ],
    "language": [
        Planted("rare_language", [row("Где я могу найти свою карту?")], [row("Ok?")], action="report"),
        Planted("answered_in_another",
                [row("Where can I see the new card?", "Das finden Sie auf der Seite, die wir haben.")],
                [row("Where can I see the new card?", "You find it on the page that we have.")], action="report"),
    ],
    "teacher_mix": [
        Planted("teachers_mixed", [*answered(0, 3), *answered(3, 3, model="big-2")],
                [*answered(0, 3), *answered(3, 3, day=SECOND), row("Who wrote this?")], whole=True, action="report"),
        Planted("teachers_mixed", [*answered(0, 3), *answered(3, 3, prompt="p2")], answered(0, 6, prompt="p2"),
                whole=True, action="report"),
        Planted("teachers_mixed", [*answered(0, 3), *answered(3, 3, served="big-1-new")], [], whole=True,
                action="report"),
        Planted("teachers_mixed", [*answered(0, 3), *answered(3, 3, parameters={"max_tokens": 8})], [], whole=True,
                action="report"),
    ],
    "teacher_drift": [
        Planted("answers_drift", [*answered(0, 60), *answered(60, 60, chattily, day=SECOND)],
                [*answered(0, 60), *answered(60, 60, day=SECOND)], whole=True, action="report"),
        Planted("answers_steady", [*answered(0, 60), *answered(60, 60, day=SECOND)], answered(0, 120), whole=True,
                action="report"),
        Planted("too_few_answers", [*answered(0, 60), *answered(60, 3, day=SECOND)],
                [*answered(0, 60), *answered(60, 60, day=SECOND)], whole=True, action="report"),
    ],
}  # fmt: skip
"""Check to what trips it; `good` beside it, which does not."""
