"""Measure the checks for refusals, truncation and degenerate answers: `python -m scripts.bad_answers` prints a table.

Nothing here was used to write the checks: `refusals_held_out.json` holds wordings that are not in the package's
`refusals.json`, and the answers below appear in no pattern. Clean rows are the held-out answers, each a sentence with a
negation, an apology or a technical term more often than in any log, alone and joined to texts of three.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from tuneworthy.cases.normalize import normalise
from tuneworthy.dataset.base import CheckContext, data_checks
from tuneworthy.types import Example, content_hash

HELD_OUT = Path(__file__).with_name("refusals_held_out.json")
QUESTIONS = {
    "en": ("When will my parcel arrive?", "How do I change the address?", "Can I bring my dog along?"),
    "de": ("Wann kommt mein Paket an?", "Wie ändere ich die Adresse?", "Darf mein Hund mitkommen?"),
    "fr": ("Quand arrivera mon colis ?", "Comment changer mon adresse ?", "Mon chien peut-il venir ?"),
    "es": ("¿Cuándo llega mi paquete?", "¿Cómo cambio la dirección?", "¿Puedo llevar a mi perro?"),
    "it": ("Quando arriva il mio pacco?", "Come cambio l'indirizzo?", "Posso portare il cane?"),
}
LABELS = ("card_lost", "card_stolen", "change_address", "close_account", "top_up")
SEED = 20_261_128

TOKENS = (
    "<|im_end|>", "<|im_start|>assistant", "<|eot_id|>", "<|start_header_id|>user<|end_header_id|>", "<|endoftext|>",
    "<|begin_of_text|>", "<|assistant|>", "<|end|>", "[INST] hm [/INST]", "<<SYS>>", "<start_of_turn>model",
    "<end_of_turn>", "</s>", "<|fim_middle|>", "<|tool_call|>", "<｜end▁of▁sentence｜>", "<｜User｜>", "[/TOOL_CALLS]",
    "<|channel|>final<|message|>", "<|python_tag|>", "<|START_OF_TURN_TOKEN|>", "<eos>", "<pad>", "<|return|>",
    "<|endofprompt|>", "\n\nHuman: And then?\n\nAssistant: Well", "\n### Instruction: go on", "<|vision_start|>",
)  # fmt: skip
PLACEHOLDERS = (
    "Dear {{customer}}, it is on its way.", "Hello {{ user.first }}!", "[INSERT TRACKING NUMBER] is your number.",
    "Yours, [Agent Name]", "Write to [your e-mail address].", "Hi <customer_name>, thanks.", "Order ${orderId} left.",
    "It arrives on {delivery_date}.", "It costs <%= price %> euros.", "Hello %FIRSTNAME%, we have it.",
    "{% if vip %}Dear friend{% endif %}", "Guten Tag [Name einfügen], es kommt heute.", "Bonjour [insérer le prénom],",
    "Estimado [nombre del cliente], llega hoy.", "Gentile [inserire nome], arriva oggi.", "[Company Name] sends it.",
    "See <insert link here>.", "Lorem ipsum dolor sit amet.", "Your code is [TBD].", "Ihr Paket kommt am [Datum].",
    "Best regards, [Your Company]", "Hello __NAME__, it left.", "Hi {name}, it left.", "See %(link)s for more.",
)  # fmt: skip
THINKING = (
    "<think>The user wants the date, so I", "<think>\nLet me see.\n</think>", "Okay, they ask for it.</think>It comes.",
    "<thinking>First the address", "<reasoning>It is late", "<think></think>", "◁think▷ hm", "<scratchpad>1. date",
)  # fmt: skip
TRACEBACKS = (
    'Traceback (most recent call last):\n  File "app.py", line 3, in f\n    g()\nKeyError: \'date\'',
    "KeyError: 'delivery'", "java.lang.NullPointerException\n    at org.shop.Parcel.find(Parcel.java:88)",
    'Exception in thread "main" java.util.NoSuchElementException',
    "TypeError: Cannot read properties of undefined (reading 'id')\n    at find (/srv/app/parcel.js:12:7)",
    "panic: runtime error: index out of range [3]\n\ngoroutine 1 [running]:", "Segmentation fault (core dumped)",
    "thread 'main' panicked at src/main.rs:4:5:\nno parcel", "PHP Fatal error:  Uncaught Error in index.php:9",
    "Unhandled exception. System.IO.FileNotFoundException\n   at Shop.Find(String id) in C:\\shop\\Find.cs:line 4",
    "ORA-00942: table or view does not exist", "SQLSTATE[42S02]: Base table or view not found",
    "app.rb:3:in `find': no parcel (RuntimeError)\n\tfrom app.rb:9:in `<main>'",
    "UnhandledPromiseRejectionWarning: Error: parcel\n    at Object.<anonymous> (/app/a.js:1:7)",
    "sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) no route",
)  # fmt: skip
ERRORS = (
    "Error code: 429 - {'error': {'message': 'Rate limit reached for gpt-4o'}}", "502 Bad Gateway",
    '{"error": {"type": "overloaded_error", "message": "Overloaded"}}', "Internal Server Error", "[object Object]",
    "You exceeded your current quota, please check your plan and billing details.", "undefined", "Request timed out.",
    "upstream connect error or disconnect/reset before headers. reset reason: overflow", "Error: Network Error",
    "The server had an error while processing your request. Sorry about that!", "Connection error.",
    "This model's maximum context length is 8192 tokens. However, you requested 9001 tokens.",
    "Incorrect API key provided: sk-xx. You can find your key in the dashboard.", "Service Unavailable",
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "<html><head><title>504 Gateway Time-out</title></head></html>", "openai.APITimeoutError: Request timed out.",
    "litellm.RateLimitError: GroqException", "Something went wrong. Please try again.", "read ECONNRESET",
    "Error generating response", "HTTP Error 503: Service Unavailable", "The model `gpt-9` does not exist",
)  # fmt: skip


def row(question: str, answer: str) -> Example:
    """Return a row of one question and one answer."""
    turns = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(messages=turns, id=content_hash(turns))


def clean_rows(rng: random.Random) -> Iterator[tuple[str, Example]]:
    """Yield language and row: each held-out answer, then texts of three of them."""
    for language, each in json.loads(HELD_OUT.read_text()).items():
        prose = [one for one in each["answers"] if " " in one]
        for answer in prose:
            yield language, row(rng.choice(QUESTIONS[language]), answer)
        for _ in range(200):
            yield language, row(rng.choice(QUESTIONS[language]), " ".join(rng.sample(prose, 3)))


def bad_rows(rng: random.Random) -> Iterator[tuple[str, Example]]:
    """Yield kind and row."""
    held_out = json.loads(HELD_OUT.read_text())
    for language, each in held_out.items():
        question = rng.choice(QUESTIONS[language])
        prose = [one for one in each["answers"] if " " in one]
        for answer in each["refusals"]:
            yield f"refused, {language}", row(question, answer)
        for _ in range(20):
            *whole, last = rng.sample(prose, 4)
            words = last.split()
            yield "cut_off", row(question, " ".join([*whole, *words[: rng.randrange(1, len(words))]]))
            unit = rng.choice(prose) if rng.random() < 0.5 else " ".join(rng.choice(prose).split()[:2])
            yield "loop", row(question, " ".join([rng.choice(prose), *[unit] * rng.randrange(6, 40)]))
        for asked in QUESTIONS[language]:
            yield "echo", row(asked, asked)
            yield "echo", row(asked, asked.rstrip(" ?") + ".")
        for token in TOKENS:
            yield "template_token", row(question, rng.choice(prose) + token)
    question = QUESTIONS["en"][0]
    for kind, answers in (("placeholder", PLACEHOLDERS), ("open_thinking", THINKING), ("traceback", TRACEBACKS),
                          ("provider_error", ERRORS)):  # fmt: skip
        yield from ((kind, row(question, answer)) for answer in answers)


def label_rows(rng: random.Random) -> Iterator[tuple[bool, Example]]:
    """Yield whether an answer is a label, and its row."""
    for number in range(200):
        label = rng.choice(LABELS)
        yield True, row(f"I lost it, {number}", rng.choice((label, label.upper(), f" {label}\n", f"{label}.")))
        place = rng.randrange(len(label))
        wrong = rng.choice((label[:place] + label[place + 1 :], f"The label is {label}.", "other", f"{label}_2"))
        yield any(normalise(wrong) == normalise(one) for one in LABELS), row(f"I lost it, {number}", wrong)


def codes_of(rows: list[Example], context: CheckContext) -> dict[int, str]:
    """Return the rows with a finding, by place, with its code: so many of them are bad that some codes only report."""
    found: dict[int, str] = {}
    for name in ("truncation", "refusal", "degenerate"):
        for one in data_checks()[name].run(rows, context):
            found.setdefault(one.row, one.code)
    return found


def main() -> None:
    """Print recall by kind, and the share of clean rows with a finding by language."""
    rng = random.Random(SEED)
    clean, bad = list(clean_rows(rng)), list(bad_rows(rng))
    codes = codes_of([one for _, one in [*clean, *bad]], CheckContext())
    print("| kind | n | found | recall |\n| --- | --- | --- | --- |")
    for kind in dict.fromkeys(kind for kind, _ in bad):
        places = [len(clean) + place for place, (name, _) in enumerate(bad) if name == kind]
        n_found = sum(place in codes for place in places)
        print(f"| {kind} | {len(places)} | {n_found} | {n_found / len(places):.3f} |")
    labels = list(label_rows(rng))
    codes_of_labels = codes_of([one for _, one in labels], CheckContext(labels=LABELS))
    wrong = [place for place, (right, _) in enumerate(labels) if not right]
    n_found = sum(place in codes_of_labels for place in wrong)
    print(f"| outside_labels | {len(wrong)} | {n_found} | {n_found / len(wrong):.3f} |")
    print("\n| clean rows | n | found | share |\n| --- | --- | --- | --- |")
    for language in QUESTIONS:
        for title, sized in (("sentences", True), ("texts", False)):
            places = [
                place for place, (name, one) in enumerate(clean)
                if name == language and (place in _singles(clean)) == sized
            ]  # fmt: skip
            n_found = sum(place in codes for place in places)
            print(f"| {language}, {title} | {len(places)} | {n_found} | {n_found / len(places):.3f} |")
    right = [place for place, (is_label, _) in enumerate(labels) if is_label]
    n_found = sum(place in codes_of_labels for place in right)
    print(f"| labels | {len(right)} | {n_found} | {n_found / len(right):.3f} |")
    missed = [one.answer for place, (_, one) in enumerate(bad) if len(clean) + place not in codes]
    print("\nmissed:", *missed, sep="\n  ")
    wrong_findings = [f"{code}: {clean[place][1].answer}" for place, code in codes.items() if place < len(clean)]
    print("\nfound in clean rows:", *wrong_findings, sep="\n  ")


def _singles(clean: list[tuple[str, Example]]) -> set[int]:
    """Return the places of the rows that are one held-out answer."""
    answers = {one for each in json.loads(HELD_OUT.read_text()).values() for one in each["answers"]}
    return {place for place, (_, one) in enumerate(clean) if one.answer in answers}


if __name__ == "__main__":
    main()
