"""Measure what is masked: 60 kinds of personal data x 20 values: `python -m scripts.personal_data` prints a table.

Values are drawn from masks (# a digit, @ a capital letter, $ a letter or digit, % a hex digit, dates by name) until the
library that checks them accepts one. The sentences around them appear in no pattern of the package. Clean values are
drawn from other masks: order numbers, dates, prices, versions, hashes, part numbers, times, ISBNs, coordinates of a
matrix, prose with digits.
"""

# ruff: noqa: E501 - tables
from __future__ import annotations

import random
import string
from collections.abc import Iterator
from datetime import date, timedelta
from importlib import import_module

from tuneworthy.cases import pii

SEED = 20_261_128
N_VALUES = 20
N_CLEAN = 200

PLAIN = ("Please note {}.", "I gave {} to your colleague.", "{} is what they need", "Use {}, thanks!", "data: {}")
# Kind to masks, the module of python-stdnum that accepts its values ("" for none), and sentences.
KINDS: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "e-mail": (("@@@@#.@@@@@@example.org", "x@@@@@mail.example.com"), "", PLAIN),
    "phone, international": (("+49 30 9######", "+1 (415) 55#-####", "+33 6 ## ## ## ##", "0044 20 7### ####"), "", PLAIN),
    "phone, national": (("(030) 12# ####", "415-55#-####", "0171 12#####", "06131 4#####"), "", PLAIN),
    "IBAN": (("DE## 3704 0044 05## #### ##", "NL##ABNA0417######", "FR##20041010050500013M026##"), "iban", PLAIN),
    "card": (("4### #### #### ####", "5555-####-####-####", "37##########0##"), "luhn", PLAIN),
    "IPv4": (("192.0.2.1#", "81.17.1#.9"), "", PLAIN),
    "IPv6": (("2001:db8::%%%%:%%%%", "fe80::%%%%:%%%%:%%%%:%%%%"), "", PLAIN),
    "US social security number": (("###-##-####",), "us.ssn", PLAIN),
    "US ITIN": (("9##-##-####",), "us.itin", PLAIN),
    "Canadian SIN": (("### ### ###", "#########"), "ca.sin", ("My SIN is {}.", "Social insurance number {}")),
    "UK national insurance number": (("AB ## ## ## C", "JK######D"), "", PLAIN),
    "UK NHS number": (("### ### ####",), "gb.nhs", ("NHS number: {}", "My NHS no. is {}")),
    "German tax id": (("###########", "## ### ### ###"), "de.idnr", ("Meine Steuer-ID lautet {}", "Steueridentifikationsnummer: {}")),
    "French NIR": (("1 8# {mm} 75 ### ### ##", "28#{mm}7511######"), "fr.nir", PLAIN),
    "Spanish DNI": (("########@",), "es.dni", PLAIN),
    "Spanish NIE": (("X#######@", "Y#######@"), "es.nie", PLAIN),
    "Italian tax code": (("RSSMRA8#A0#H501@", "BNCLCU7#D1#F205@"), "it.codicefiscale", PLAIN),
    "Dutch BSN": (("#########",), "nl.bsn", ("Mijn BSN is {}.", "burgerservicenummer {}")),
    "Belgian national number": (("{yy}.{mm}.{dd}-###.##",), "be.nn", PLAIN),
    "Portuguese NIF": (("2########",), "pt.nif", ("O meu NIF é {}", "NIF: {}")),
    "Polish PESEL": (("{yy}{mm}{dd}#####",), "pl.pesel", ("Mój PESEL to {}", "PESEL {}")),
    "Swedish personnummer": (("{yy}{mm}{dd}-####", "19{yy}{mm}{dd}-####"), "se.personnummer", PLAIN),
    "Norwegian birth number": (("{dd}{mm}{yy}#####", "{dd}{mm}{yy} #####"), "no.fodselsnummer", PLAIN),
    "Danish CPR": (("{dd}{mm}{yy}-####",), "dk.cpr", ("Mit CPR er {}", "CPR-nummer: {}")),
    "Finnish HETU": (("{dd}{mm}{yy}-###$",), "fi.hetu", PLAIN),
    "Austrian social security number": (("#### {dd}{mm}{yy}",), "at.vnr", ("Sozialversicherungsnummer {}", "SVNR: {}")),
    "Swiss AHV number": (("756.####.####.##",), "ch.ssn", PLAIN),
    "Irish PPS": (("#######@", "#######@A"), "ie.pps", PLAIN),
    "Czech birth number": (("{yy}{mm}{dd}/####",), "cz.rc", PLAIN),
    "Romanian CNP": (("1{yy}{mm}{dd}40####",), "ro.cnp", ("CNP-ul meu este {}", "CNP: {}")),
    "Croatian OIB": (("###########",), "hr.oib", ("OIB: {}", "Moj OIB je {}")),
    "Turkish identity number": (("###########",), "tr.tckimlik", ("TC Kimlik No: {}", "T.C. kimlik numaram {}")),
    "South African id": (("{yy}{mm}{dd}####08#",), "za.idnr", ("My ID number is {}", "SA ID {}")),
    "Indian Aadhaar": (("#### #### ####",), "in_.aadhaar", PLAIN),
    "Indian PAN": (("@@@P@####@",), "in_.pan", PLAIN),
    "Chinese identity card": (("1101011{y9}{mm}{dd}####", "3101041{y9}{mm}{dd}###X"), "cn.ric", PLAIN),
    "Korean registration number": (("{yy}{mm}{dd}-1######",), "", PLAIN),
    "Brazilian CPF": (("###.###.###-##",), "br.cpf", PLAIN),
    "Mexican CURP": (("HEGG56042#MVZRRL0#", "SABC56062#MDFLRN0#"), "mx.curp", PLAIN),
    "Chilean RUT": (("1#.###.###-#",), "cl.rut", PLAIN),
    "Argentinian CUIT": (("20-########-#",), "ar.cuit", PLAIN),
    "Australian TFN": (("### ### ###",), "au.tfn", ("My TFN is {}", "Tax file number: {}")),
    "Singaporean NRIC": (("S#######@", "T#######@"), "", PLAIN),
    "passport": (("C01X#####", "X#######", "#########"), "", ("passport no. {}", "Mein Reisepass: {}", "passeport {}")),
    "driving licence": (("D###-####-####", "B07########"), "", ("my driver's license is {}", "Führerschein {}")),
    "health record": (("MR-######", "A#########"), "", ("Patient ID {}", "Versichertennummer: {}")),
    "birth date": (("{dd}.{mm}.19{yy}", "19{yy}-{mm}-{dd}", "{dd}/{mm}/19{yy}"), "", ("I was born on {}", "geboren am {}", "née le {}")),
    "bank account": (("########", "##########"), "", ("account number {}", "Kontonummer: {}", "numero di conto {}")),
    "bitcoin address": (("1%",), "bitcoin", PLAIN),
    "ethereum address": (("0x" + "%" * 40,), "", PLAIN),
    "MAC address": (("%%:%%:%%:%%:%%:%%",), "", PLAIN),
    "IMEI": (("35############0", "35#############"), "imei", ("IMEI {}", "The IMEI of it: {}")),
    "street": (("## Oak Street", "### West Park Avenue", "Rosenweg #", "Marktgasse ##", "## boulevard Voltaire", "Avenida América ##", "Corso Vittorio ##"), "", PLAIN),
    "password": (("aB#x!k##", "blue-horse-##"), "", ("password = {}", "pwd: {}", "my password is {}", "Passwort: {}")),
    "bearer token": (("a1%%%%%%%%%%%%%%%%%%%%%%",), "", ("Authorization: Bearer {}", '"bearer {}"')),
    "connection string": (("s3%%%%%%",), "", ("postgres://app:{}@db/x", "Server=db;User=app;Password={};", "mongodb+srv://me:{}@c.example")),
    "keys of vendors": ((), "", PLAIN),
    "name of a person": (("Ada Lovelace", "Jürgen Müller", "María García", "Wei Zhang"), "", ("I am {}.", "Ask {}.")),
    "number plate": (("B-AB ####", "AB## CDE"), "", ("I drive {}", "It was {}")),
    "user name": (("blue_fox##", "kim.lee##"), "", ("I am {} in the forum", "Ask {} there")),
}  # fmt: skip
NOT_CLAIMED = ("name of a person", "number plate", "user name")

# Formats of keys as their vendors document them, with what is drawn: h hex, b base 62, B base 62 in capitals.
VENDORS = {
    "OpenAI": "sk-proj-b48", "Anthropic": "sk-ant-api03-b93", "OpenRouter": "sk-or-v1-h64", "Groq": "gsk_b52",
    "xAI": "xai-b80", "Google": "AIzab35", "Google OAuth": "GOCSPX-b28", "AWS": "AKIAB16", "GitHub": "ghp_b36",
    "GitHub app": "ghs_b36", "GitHub fine-grained": "github_pat_b22_b59", "GitLab": "glpat-b20", "Slack": "xoxb-d12-d12-b24",
    "Slack webhook": "https://hooks.slack.com/services/TB8/BB8/b24", "Stripe": "sk_live_b24", "Stripe webhook": "whsec_b32",
    "Hugging Face": "hf_b34", "npm": "npm_b36", "PyPI": "pypi-b80", "Twilio": "SKh32", "SendGrid": "SG.b22.b43",
    "Mailgun": "key-h32", "Mailchimp": "h32-us7", "DigitalOcean": "dop_v1_h64", "Shopify": "shpat_h32", "Square": "sq0atp-b22",
    "Telegram": "d10:AAb33", "Discord": "Mb23.b6.b27", "Atlassian": "ATATT3b150", "Databricks": "dapih32", "New Relic": "NRAK-B27",
    "Sentry": "sntrys_b80", "Grafana": "glsa_b32_h8", "Vault": "hvs.b24", "Terraform": "b14.atlasv1.b60", "Doppler": "dp.pt.b43",
    "Linear": "lin_api_b40", "Notion": "ntn_b46", "Figma": "figd_b40", "Airtable": "pat|b14.h64", "Postman": "PMAK-h24-h34",
    "Supabase": "sbp_h40", "Netlify": "nfp_b40", "Docker": "dckr_pat_b27", "RubyGems": "rubygems_h48", "NVIDIA": "nvapi-b64",
    "Replicate": "r8_b37", "Perplexity": "pplx-b48", "Pinecone": "pcsk_b60", "LangSmith": "lsv2_pt_h32_h10", "JWT": "eyJb20.eyJb40.b43",
    "private key": "-----BEGIN PRIVATE KEY-----\nb64\n-----END PRIVATE KEY-----",
}  # fmt: skip
# Vendors whose keys are hexadecimal or base 64 only: they count behind a word that names them, and are not drawn here.
CLEAN = (
    "order ########", "invoice 2026-#####", "20{yy}-{mm}-{dd}", "{dd}.{mm}.20{yy}", "#,###.## EUR", "$##.##", "v#.##.#", "##:##:##",
    "commit %%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%", "part @@-####-@", "ISBN 978-3-16-1####0-0", "ticket @@@-####", "### x ### mm",
    "[#.##, #.##, #.##]", "room ###", "pages ##-###", "##% of ###", "tracking 00340434##########", "%%%%%%%%-%%%%-4%%%-8%%%-%%%%%%%%%%%%",
    "score #.####", "bus ##", "flight LH###", "model X####-##", "section #.#.#", "1#########", "1##########", "17###########",
    "SKU-#########", "ratio #/##", "###-### km", "a password is required", "the token limit is ####", "SIN function of #.###",
    "born in 19##", "the Main Street of 19##", "Place ## of ###", "Via ## we go", "route ## is closed", "error 0x%%%%%%%%", "chapter ##, verse ##",
)  # fmt: skip


def filled(mask: str, rng: random.Random) -> str:
    """Return a value of a mask."""
    day = date(1950, 1, 1) + timedelta(days=rng.randrange(20_000))
    dates = {"{yy}": f"{day:%y}", "{mm}": f"{day:%m}", "{dd}": f"{day:%d}", "{y9}": f"9{day:%y}"}
    for name, value in dates.items():
        mask = mask.replace(name, value)
    signs = {
        "#": string.digits,
        "@": string.ascii_uppercase,
        "$": string.digits + string.ascii_uppercase,
        "%": "0123456789abcdef",
    }
    return "".join(rng.choice(signs[sign]) if sign in signs else sign for sign in mask)


def key(mask: str, rng: random.Random) -> str:
    """Return a key: a letter with a number behind it is drawn so often, all else stands as it is."""
    alphabets = {
        "h": "0123456789abcdef", "b": string.ascii_letters + string.digits, "B": string.ascii_uppercase + string.digits, "d": string.digits,
    }  # fmt: skip
    value, place = "", 0
    while place < len(mask):
        end = place + 1
        while end < len(mask) and mask[end].isdigit():
            end += 1
        drawn = (
            mask[place] in alphabets
            and end > place + 1
            and (place == 0 or not mask[place - 1].islower() or mask[place:] == mask[place:end])
        )
        value += (
            "".join(rng.choice(alphabets[mask[place]]) for _ in range(int(mask[place + 1 : end])))
            if drawn
            else mask[place:end]
        )
        place = end
    return value.replace("|", "")


def values(kind: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield sentences of a kind and the value in each."""
    masks, module, sentences = KINDS[kind]
    for number in range(N_VALUES):
        value = ""
        if kind == "keys of vendors":
            value = key(list(VENDORS.values())[number], rng)
        elif module == "bitcoin":
            value = BITCOIN[number % len(BITCOIN)]
        accepts = import_module(f"stdnum.{module}").is_valid if module and not value else None
        while not value:
            drawn = filled(masks[number % len(masks)], rng)
            value = (
                drawn
                if accepts is None or accepts(drawn.replace(" ", "").replace("-", "") if module == "luhn" else drawn)
                else ""
            )
        if kind == "e-mail":
            value = (
                value.replace("mail.", "@mail.").replace("example.org", "@example.org")
                if value[0] == "x"
                else f"{value[:-11].lower()}@example.org"
            )
        yield rng.choice(sentences).format(value), value


BITCOIN = (
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
    "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
)


def main() -> None:
    """Print the share of values that are masked, by kind and by vendor, and the clean values that are."""
    rng = random.Random(SEED)
    print("| kind | values | masked | claimed |\n| --- | --- | --- | --- |")
    lost = []
    for kind in KINDS:
        drawn = list(values(kind, rng))
        masked = [value not in pii.Masker().mask(sentence) and _covers(sentence, value) for sentence, value in drawn]
        lost += [
            sentence
            for (sentence, _), hidden in zip(drawn, masked, strict=True)
            if not hidden and kind not in NOT_CLAIMED
        ]
        print(f"| {kind} | {len(drawn)} | {sum(masked)} | {'no' if kind in NOT_CLAIMED else 'yes'} |")
    for vendor, mask in VENDORS.items():
        drawn_keys = [key(mask, rng) for _ in range(N_VALUES)]
        n_masked = sum(_covers(rng.choice(PLAIN).format(one), one) for one in drawn_keys)
        print(f"| key of {vendor} | {N_VALUES} | {n_masked} | yes |")
    clean = [filled(mask, rng) for mask in CLEAN for _ in range(N_CLEAN)]
    wrong = [
        (one, [match.kind for match in found]) for one in clean if (found := pii.find(rng.choice(PLAIN).format(one)))
    ]
    print(f"\nclean values: {len(clean)}, masked: {len(wrong)} ({len(wrong) / len(clean):.5f})")
    print("\nnot masked:", *lost[:60], sep="\n  ")
    print("\nmasked by mistake:", *wrong[:20], sep="\n  ")


def _covers(sentence: str, value: str) -> bool:
    """Whether no more than two characters of the value are left."""
    start = sentence.find(value)
    hidden = {place for match in pii.find(sentence) for place in range(match.start, match.end)}
    return len(set(range(start, start + len(value))) - hidden) <= 2


if __name__ == "__main__":
    main()
