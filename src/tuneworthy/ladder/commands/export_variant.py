"""A variant as files that live without the tool: its description, its prompt, and a client that sends it."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.errors import UserError
from tuneworthy.ladder import messages
from tuneworthy.ladder.classical_models import IN_PROCESS
from tuneworthy.ladder.session import Session
from tuneworthy.ladder.tuned_models import config_of
from tuneworthy.ladder.variant_lookup import describe
from tuneworthy.prompts.passages import passages_text
from tuneworthy.prompts.templates import chat
from tuneworthy.providers.capabilities import Capabilities
from tuneworthy.providers.constraints import FIELD
from tuneworthy.providers.openai import OpenAIProvider
from tuneworthy.store import write_atomic
from tuneworthy.types import Case, Passage, Request, Retrieval, Variant

SNIPPET = '''"""Ask a variant as it was measured by tuneworthy. Needs `pip install {packages}`."""

import json
import os
from pathlib import Path

from openai import OpenAI
{imports}
VARIANT = {name!r}
IDENTITY = {identity!r}
REQUEST = json.loads(Path(__file__).with_name("request.json").read_text())
client = OpenAI(base_url={base_url!r}, api_key=os.environ.get({key!r}) or "none")
{search}

def ask(text: str) -> str:
    """Return the answer to `text`."""
    body = json.loads(json.dumps(REQUEST).replace("@@INPUT@@", json.dumps(text)[1:-1]))
{passages}    answer = client.chat.completions.create(**body).choices[0].message.content or ""
    return {answer}


if __name__ == "__main__":
    import sys

    print(ask(sys.argv[1]))
'''


IMPORTS = """
from tuneworthy.ladder.project_search import ProjectSearch
from tuneworthy.prompts.passages import split_citations, with_passages
"""
SEARCH = """# The project whose documents are searched, as they were measured.
PROJECT = Path(os.environ.get("TUNEWORTHY_PROJECT") or {root!r})
SEARCH = ProjectSearch(PROJECT, json.loads(Path(__file__).with_name("variant.json").read_text())["retrieval"])
"""
PASSAGES = """    passages = SEARCH.passages(text)
    body["messages"][-1] = with_passages(body["messages"][-1], passages, cite={cite})
"""


def export_variant(session: Session, variant: Variant, folder: Path) -> list[Path]:
    """Write `variant.json`, `prompt.md`, and for chat models `request.json` and `client.py`; return the paths.

    Shots that are chosen per case are not in the request: `prompt.md` says so and `shots.jsonl` holds the pool. Nor are
    passages of documents: the client searches for them with this package, and `prompt.md` shows how they precede the
    question.

    Raises:
        UserError: The variant is a classical baseline, which has no prompt, or a cascade, which has two parts.
    """
    if variant.cascade is not None:
        raise UserError(messages.say("two_parts", name=variant.name), hint=messages.say("export_cascade"))
    if variant.model.startswith(IN_PROCESS):
        raise UserError(messages.say("no_prompt", name=variant.name), hint=messages.say("export_classical"))
    case = Case(id="export", input="@@INPUT@@")
    fixed = variant.shots is not None and variant.shots.mode == "fixed"
    shots = session.pool.select(variant.shots, [case])["export"] if fixed else ()
    turns = list(chat(variant, case, shots))
    files: dict[str, bytes] = {
        "variant.json": orjson.dumps(describe(variant), option=orjson.OPT_INDENT_2),
        "prompt.md": _prompt(variant, turns).encode(),
    }
    if variant.shots is not None and not fixed:
        rows = [{"messages": example.messages} for example in session.pool.examples]
        files["shots.jsonl"] = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    else:
        files |= _client(session, variant, turns)
    for name, content in files.items():
        write_atomic(folder / name, content)
    return [folder / name for name in files]


def _prompt(variant: Variant, turns: list[dict[str, Any]]) -> str:
    name, model = " ".join(variant.name.split()), " ".join(variant.model.split())
    lines = [f"# {name}", "", f"Model: {model}. Decoding: {_listed(variant.decoding) or 'default'}.", ""]
    if variant.output.kind == "ranked":
        lines += [messages.say("export_ranked", way=messages.RANKINGS[variant.output.ranking]), ""]
    if variant.shots is not None and variant.shots.mode == "per_case":
        lines += [messages.shots_per_case(variant.shots.k, variant.shots.encoder), ""]
    if variant.retrieval is not None:
        lines += [*_passages(variant.retrieval), ""]
    for message in turns:
        text = str(message["content"])
        fence = "`" * (1 + max(2, *map(len, re.findall("`*", text))))
        lines += [f"## {message['role']}", "", fence, text, fence, ""]
    return "\n".join(lines)


def _passages(retrieval: Retrieval) -> list[str]:
    settings = {key: value for key, value in asdict(retrieval).items() if key not in {"documents", "mode", "cite"}}
    example = passages_text([Passage(document="ID", text="...")], cite=retrieval.cite)
    return [
        messages.say("passages_before", k=retrieval.k, documents=retrieval.documents, settings=_listed(settings)),
        "",
        "```",
        example,
        "```",
    ]


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def _client(session: Session, variant: Variant, turns: list[dict[str, Any]]) -> dict[str, bytes]:
    """Return the request body that the provider sends, and a script that sends it."""
    provider = session.models[variant.model].provider
    config = config_of(session.project, variant.model)
    if not isinstance(provider, OpenAIProvider):
        return {}
    body, _ = provider.body(
        Request(
            messages=tuple(turns),
            max_tokens=variant.max_tokens,
            decoding=variant.parameters,
            output=variant.output,
        )
    )
    standard = {"model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop"}
    standard |= {"frequency_penalty", "presence_penalty", "response_format", "tools"}
    extra = {name: body.pop(name) for name in list(body) if name not in standard}
    request = body | ({"extra_body": extra} if extra else {})
    retrieval, searching = variant.retrieval, {"packages": "openai", "imports": "", "search": "", "passages": ""}
    if retrieval is not None:
        searching = {
            "packages": 'openai "tuneworthy[rag]"',
            "imports": IMPORTS,
            "search": SEARCH.format(root=str(session.project.root.resolve())),
            "passages": PASSAGES.format(cite=retrieval.cite),
        }
    snippet = SNIPPET.format(
        **searching,
        name=variant.name,
        identity=variant.id,
        base_url=getattr(config, "base_url", "http://127.0.0.1:8080/v1"),
        key=getattr(config, "api_key_env", None) or "OPENAI_API_KEY",
        answer=_answer_of(variant, provider.capabilities),
    )
    return {"request.json": orjson.dumps(request, option=orjson.OPT_INDENT_2), "client.py": snippet.encode()}


def _answer_of(variant: Variant, capabilities: Capabilities) -> str:
    """Return the expression that extracts the answer from the model's text, as the runner does."""
    answer = "answer"
    if variant.output.kind == "choice" and capabilities.choice == "wrapped_schema":
        answer = f"json.loads(answer)[{FIELD!r}]"
    elif variant.answer_after:
        answer = f"answer.rpartition({variant.answer_after!r})[2].strip()"
    if variant.retrieval is not None and variant.retrieval.cite:
        return f"split_citations({answer}, [passage.document for passage in passages])[0]"
    return answer
