"""A variant as files that live without the tool: its description, its prompt, and a client that sends it.

Invariant: a client is written only if it sends the measured request for every case.
"""

import inspect
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.cases.normalize import read_variables
from tuneworthy.cases.writer import json_lines
from tuneworthy.config.models import ChatServer
from tuneworthy.errors import UserError
from tuneworthy.exports.folder import rendered, write_export
from tuneworthy.ladder.own_models import IN_PROCESS, config_of
from tuneworthy.ladder.session import Session
from tuneworthy.ladder.variant_lookup import describe
from tuneworthy.prompts.passages import passages_text
from tuneworthy.prompts.templates import chat, plain_pieces, shot_turns
from tuneworthy.providers.capabilities import Capabilities
from tuneworthy.providers.constraints import FIELD
from tuneworthy.providers.openai import OpenAIProvider
from tuneworthy.retrieval.encoder import SPEC as ENCODER
from tuneworthy.text import visible
from tuneworthy.types import (
    Case,
    Examples,
    JsonMapping,
    JsonObject,
    Message,
    Messages,
    Passage,
    Request,
    Variant,
    text_of,
)

SNIPPET = '''"""Ask a variant as it was measured by tuneworthy. Needs `pip install {packages}`{also}."""

import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from openai import OpenAI
{imports}
VARIANT = {name!r}
IDENTITY = {identity!r}
REQUEST = Path(__file__).with_name("request.json").read_text(encoding="utf-8")
VARIABLES = {variables!r}
{settings}client = OpenAI(base_url={base_url!r}, api_key={key}"none")
{search}

{filled}
{nearest}
def ask(text: str | Mapping[str, Any]{tag}) -> str:
    """Return the answer to `text`; where the prompt has several variables, `text` holds all of them by name."""
    body = filled(REQUEST, VARIABLES, text)
{tagged}{shown}{passages}    answer = client.{call}
    return {answer}


if __name__ == "__main__":
    import sys

    print(ask(*sys.argv[1:]))
'''


IMPORTS = """
from tuneworthy.ladder.project_search import ProjectSearch
from tuneworthy.prompts.passages import split_citations, with_passages
"""
SEARCH = """# The project whose documents are searched, as they were measured.
PROJECT = Path(os.environ.get("TUNEWORTHY_PROJECT") or {root!r})
SEARCH = ProjectSearch(PROJECT, json.loads(Path(__file__).with_name("variant.json").read_bytes())["retrieval"])
"""
PASSAGES = """    passages = SEARCH.passages(text)
    body[{turns!r}][{place}] = with_passages(body[{turns!r}][{place}], passages, cite={cite})
"""
# By mode of the shots: packages of the client, its imports, and the rest that it needs.
MODULES = {
    "per_case": (f"bm25s=={version('bm25s')}", "\nimport bm25s\n", ""),
    "by_meaning": (
        "tuneworthy",
        "\nimport numpy as np\nfrom tuneworthy.retrieval.encoder import encode_once\n",
        f" and `tuneworthy models pull {ENCODER}`",
    ),
}
# The nearest shots of a text, by mode of the shots.
NEAREST = {
    "per_case": '''INDEX = bm25s.BM25()
INDEX.index(
    bm25s.tokenize([shot["question"] for shot in SHOTS], stopwords=None, show_progress=False), show_progress=False
)


def nearest(text: str) -> list[int]:
    """Return the places in SHOTS of the nearest by words (BM25), nearest first."""
    query = bm25s.tokenize([text], stopwords=None, show_progress=False, return_ids=False)
    return INDEX.retrieve(query, k={k}, show_progress=False)[0][0].tolist()
''',
    "by_meaning": '''VECTORS = encode_once([shot["question"] for shot in SHOTS])


def nearest(text: str) -> list[int]:
    """Return the places in SHOTS of the nearest by meaning, nearest first."""
    return np.argsort(-(VECTORS @ encode_once([text])[0]), kind="stable")[:{k}].tolist()
''',
}
SHOTS = """
{question_of}

# Examples, of which the nearest precede the question.
SHOTS = list(map(json.loads, Path(__file__).with_name("shots.jsonl").read_text(encoding="utf-8").strip().split("\\n")))
{nearest}
"""
SHOW = """    for place in nearest(question_of(text)):  # the nearest comes last
        body[{turns!r}][{at}:{at}] = SHOTS[place]["messages"]
"""
SETTINGS = """# By the tag of a request: fields of the body that differ; None removes one.
SETTINGS = {settings!r}
"""
TAGGED = """    body |= SETTINGS.get(tag, {})
    body = {key: value for key, value in body.items() if value is not None}
"""


# Fields of a body that the client names; it sends others as `extra_body`.
STANDARD = frozenset([
    *("model", "messages", "input", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop"),
    *("frequency_penalty", "presence_penalty", "response_format", "tools"),
])  # fmt: skip
# Files of some variants only.
OTHERS = ("request.json", "client.py", "shots.jsonl")


def filled(request: str, variables: Collection[str], case: str | Mapping[str, Any]) -> Any:
    """Return a request with the variables of its prompt filled in: `@@name@@` marks a variable."""
    if isinstance(case, str) and len(variables) > 1:
        raise TypeError(f"pass the variables of the prompt by name: {', '.join(variables)}")
    values = dict.fromkeys(variables, case) if isinstance(case, str) else case

    def value_of(place: re.Match[str]) -> str:
        return json.dumps(str(values[place[1]]))[1:-1] if place[1] in variables else place[0]

    return json.loads(re.sub(r"@@(\w+)@@", value_of, request))


def question_of(case: str | Mapping[str, Any]) -> str:
    """Return the text of a case, to which the nearest examples are found."""
    case = case if isinstance(case, str) else case.get("input", case)
    return case if isinstance(case, str) else "\n".join(map(str, case.values()))


def export_variant(session: Session, variant: Variant, folder: Path) -> list[Path]:
    """Write `variant.json`, `prompt.md`, and for chat models `request.json` and `client.py`; return the paths.

    Shots that are chosen per case are not in the request: the client finds them in the pool, `shots.jsonl`. Nor are
    passages of documents: the client searches for them with this package, and `prompt.md` shows how they precede the
    question. The settings of a request depend on its tag where the variant has settings by tag. Without a client,
    `prompt.md` names the differences to the measured request.

    Raises:
        UserError: The variant is a classical baseline, which has no prompt, or a cascade, which has two parts; or
            `folder` has other files.
    """
    if variant.cascade is not None:
        raise UserError(
            f"{variant.name} is a cascade: a cheap variant and a large one.",
            hint="Run `tuneworthy export router`, or name the rung of one part.",
        )
    if variant.model.startswith(IN_PROCESS):
        raise UserError(
            f"{variant.name} is a classical baseline or a classifier, which has no prompt to export.",
            hint="Run `tuneworthy export classifier`.",
        )
    is_nearest = variant.shots is not None and variant.shots.mode != "fixed"
    shots = session.pool.select(None if is_nearest else variant.shots, [Case(id="export")]).get("export", ())
    client, differs = _client(session, variant, shots, is_nearest=is_nearest)
    if is_nearest:
        client["shots.jsonl"] = b"".join(
            json_lines(
                [{"question": row.question, "messages": shot_turns(row, variant)} for row in session.pool.examples]
            )
        )
    return write_export(
        folder,
        {
            "variant.json": orjson.dumps(describe(variant), option=orjson.OPT_INDENT_2),
            "prompt.md": _prompt(variant, _turns(variant, shots), differs).encode(),
            **client,
        },
        ("variant.json", b'"model_identity"'),
        OTHERS,
    )


def _turns(variant: Variant, shots: Examples, written: Callable[[str], str] = str) -> list[Message]:
    has_system = variant.system or variant.documents_first
    system = [{"role": "system", "content": written(variant.system or "")}] if has_system else []
    shown = [turn for shot in shots for turn in shot_turns(shot, variant)]
    return [*system, *shown, {"role": "user", "content": written(variant.user)}]


def _places(template: str) -> str:
    """Return a template with `@@name@@` for its variables; unchanged if it does more than insert them."""
    pieces = plain_pieces(template)
    return "".join(f"@@{piece}@@" if at % 2 else piece for at, piece in enumerate(pieces)) if pieces else template


def _prompt(variant: Variant, turns: Messages, differs: str) -> str:
    search = asdict(variant.retrieval) if variant.retrieval else {}
    return rendered(
        "prompt.md.j2",
        name=" ".join(visible(variant.name).split()),
        model=" ".join(visible(variant.model).split()),
        variant=variant,
        turns=turns,
        differs=differs,
        listed=lambda settings: visible(", ".join(f"{key}={value}" for key, value in settings.items())),
        visible=visible,
        fence=lambda text: "`" * (1 + max(2, *map(len, re.findall("`*", text)))),
        search={key: value for key, value in search.items() if key not in {"documents", "mode", "cite"}},
        passage=passages_text([Passage(document="ID", text="...")], cite=search.get("cite", False)),
    )


def variables_of(variant: Variant) -> list[str]:
    return sorted({*plain_pieces(variant.user)[1::2], *plain_pieces(variant.system or "")[1::2]})


def asked(case: Case, variables: Collection[str]) -> str | JsonMapping:
    """Return the input of an export for a case: its text, or the variables of the prompt by name."""
    if case.input is None:
        return text_of(case.messages[-1])
    if isinstance(case.input, str):
        return (
            case.input
            if len(variables) < 2
            else {"input": case.input, **read_variables(case.input, {*variables} - {"input"})}
        )
    return {"input": case.input, **case.input}


def _client(session: Session, variant: Variant, shots: Examples, *, is_nearest: bool) -> tuple[dict[str, bytes], str]:
    """Return the request body that the provider sends, and a script that sends it; else nothing, and the reason.

    Args:
        session: The opened project.
        variant: It.
        shots: A fixed set, which is in the body.
        is_nearest: Whether the script puts the nearest shots of a text into the body.
    """
    provider = session.models[variant.model].provider
    config = config_of(session.project, variant.model)
    if not isinstance(provider, OpenAIProvider) or variant.output.kind == "ranked":
        return {}, ""

    if variant.tools:
        return {}, "There is no `client.py`, because your application runs the tools. `variant.json` has their schemas."
    if isinstance(config, ChatServer) and not config.bearer:
        return {}, "There is no `client.py`, because the model's provider signs its requests."

    shown_turns = _turns(variant, shots, _places)
    body, variables = _body(provider, variant, shown_turns), variables_of(variant)
    settings = {
        tag: _difference(body, _body(provider, variant.for_tags((tag,)), shown_turns)) for tag in variant.by_tag
    }
    template, turns = orjson.dumps(body).decode(), "input" if "input" in body else "messages"
    at, cases = len(body[turns]) - 1, (*session.split.test, *session.split.dev)
    chosen = session.pool.select(variant.shots if is_nearest else None, cases)
    for case in cases:
        shown = chosen.get(case.id, shots)
        measured = _body(provider, variant.for_tags(case.tags), chat(variant, case, shown), case.tools)
        try:
            client = filled(template, variables, asked(case, variables))
        except KeyError:
            client = {turns: []}
        if is_nearest:
            client[turns][at:at] = [turn for shot in shown for turn in shot_turns(shot, variant)]
        settings_sent = _difference(client, measured)
        text = question_of(asked(case, variables)) if is_nearest else case.text
        if settings_sent != settings.get("".join(case.tags[:1]), {}) or text != case.text:
            return {}, (
                "There is no `client.py`, because from a text alone it could not send every case as measured. "
                "The template does more than insert variables, or cases have tools or several turns."
            )
    snippet = SNIPPET.format(
        **_parts(session, variant, turns, at),
        filled=inspect.getsource(filled),
        variables=variables,
        name=variant.name,
        identity=variant.id,
        base_url=(config.addresses or ("http://127.0.0.1:8080/v1",))[0].removesuffix("/responses"),
        call="responses.create(**body).output_text"
        if turns == "input"
        else 'chat.completions.create(**body).choices[0].message.content or ""',
        key=f"os.environ.get({config.key_variable!r}) or " if config.key_variable else "",
        answer=_answer_of(variant, provider.capabilities),
        settings=SETTINGS.format(settings=settings) * bool(settings),
        tag=', tag: str = ""' * bool(settings),
        tagged=TAGGED * bool(settings),
    )
    return {"request.json": orjson.dumps(body, option=orjson.OPT_INDENT_2), "client.py": snippet.encode()}, ""


def _body(
    provider: OpenAIProvider, variant: Variant, messages: Messages, tools: Sequence[JsonObject] = ()
) -> JsonObject:
    """Return the body that a client passes to the package `openai`."""
    request = Request(
        messages=tuple(messages),
        max_tokens=variant.max_tokens,
        decoding=variant.parameters,
        output=variant.output,
        tools=tuple(tools),
    )
    body: JsonObject = json.loads(orjson.dumps(provider.body(request)[0]))
    extra = {key: body.pop(key) for key in list(body) if key not in STANDARD}
    return body | ({"extra_body": extra} if extra else {})


def _difference(body: JsonMapping, other: JsonMapping) -> JsonObject:
    """Return the fields of `other` that differ from those of `body`; None removes one."""
    return {key: other.get(key) for key in sorted({*body, *other}) if body.get(key) != other.get(key)}


def _parts(session: Session, variant: Variant, turns: str, at: int) -> dict[str, str]:
    """Return the parts of the script that find shots and passages for the turn `at` of `turns`; "" without any."""
    retrieval, shots = variant.retrieval, variant.shots
    parts = {"packages": "openai", "also": "", "imports": "", "search": "", "nearest": "", "shown": "", "passages": ""}
    if shots is not None and shots.mode in NEAREST:
        package, parts["imports"], parts["also"] = MODULES[shots.mode]
        nearest = NEAREST[shots.mode].format(k=min(shots.k, len(session.pool)))
        parts["packages"] += f" {package}"
        parts["nearest"] = SHOTS.format(question_of=inspect.getsource(question_of), nearest=nearest)
        parts["shown"] = SHOW.format(turns=turns, at=at)
    if retrieval is not None:
        parts["packages"] += ' "tuneworthy[rag]"'
        parts["imports"] += IMPORTS
        parts["search"] = SEARCH.format(root=str(session.project.root.resolve()))
        parts["passages"] = PASSAGES.format(
            cite=retrieval.cite, turns=turns, place=0 if variant.documents_first else -1
        )
    return parts


def _answer_of(variant: Variant, capabilities: Capabilities) -> str:
    answer = "answer"
    if variant.output.kind == "choice" and capabilities.choice == "wrapped_schema":
        answer = f"json.loads(answer)[{FIELD!r}]"
    elif variant.answer_after:
        answer = f"answer.rpartition({variant.answer_after!r})[2].strip()"
    return (
        f"split_citations({answer}, [passage.document for passage in passages])[0]"
        if variant.retrieval is not None and variant.retrieval.cite
        else answer
    )
