"""Files with which LiteLLM asks the candidate as well as production, and logs both answers for `shadow replay`.

LiteLLM sends each chat on to the model that `silent_model` names, once it is on its way to production. The callback
next to the configuration replaces the user's prompt by the candidate's, as a replay does, and writes the input of
LiteLLM's callbacks: `StandardLoggingPayload`, without keys, addresses and headers. `cases.formats.exports.litellm`
reads it.

Source: https://docs.litellm.ai/docs/traffic_mirroring (`silent_model`, `is_silent_experiment`),
https://docs.litellm.ai/docs/proxy/logging (custom callbacks), and `CustomLogger` of litellm 1.110.2.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import yaml

from tuneworthy.cases.formats.exports.litellm import PAIR, VARIANT
from tuneworthy.config.models import Anthropic, OpenAI
from tuneworthy.errors import UserError
from tuneworthy.ladder.session import Session
from tuneworthy.ladder.tuned_models import config_of
from tuneworthy.prompts.templates import plain_pieces
from tuneworthy.shadow import messages
from tuneworthy.shadow.canary import CandidateRoute
from tuneworthy.shadow.copies import MARK
from tuneworthy.store import write_atomic
from tuneworthy.types import Case, Variant

# Names: of the candidate among LiteLLM's models; of the log.
CANDIDATE: Final = "tuneworthy-candidate"
LOG: Final = "mirror.jsonl"
# Where a server that this tool starts listens, unless told otherwise.
_LOCAL: Final = "http://127.0.0.1:8080/v1"
_INPUT: Final = "@@INPUT@@"
_START: Final = """# Set LITELLM_MASTER_KEY, the key that clients send, and start it in this folder:
# litellm --config litellm_config.yaml
"""
CALLBACK: Final = '''"""Ask the mirrored model as the candidate is asked, and log both answers. Needs litellm[proxy]."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

from litellm.constants import OPENAI_CHAT_COMPLETION_PARAMS
from litellm.integrations.custom_logger import CustomLogger

HERE = Path(__file__).parent
# The texts of users are in it, unmasked.
LOG = Path(os.environ.get("TUNEWORTHY_MIRROR_LOG") or HERE / {log!r})
PRODUCTION = {production!r}
VARIANT = {identity!r}
# The candidate's messages, with {marker} for the question, and the rest of its request.
REQUEST = json.loads((HERE / "request.json").read_text(encoding="utf-8"))
TAKES_TOOLS = {takes_tools!r}
LOGGED = (
    "id", "trace_id", "session_id", "call_type", "stream", "status", "response_cost", "startTime", "endTime", "model",
    "model_group", "end_user", "messages", "response", "error_str", "prompt_tokens", "completion_tokens",
)
# What of a user's request the mirrored model gets too: where it is, and how the answer comes.
PASSED = {{
    "api_base", "api_key", "api_version", "base_url", "max_retries", "request_timeout", "stream", "stream_options",
    "timeout", *(["tools"] if TAKES_TOOLS else []),
}}
REPLACED = {{*OPENAI_CHAT_COMPLETION_PARAMS, "extra_body", "extra_headers"}} - PASSED


def is_mirrored(metadata: Any) -> bool:
    return bool(metadata and metadata.get("is_silent_experiment"))


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else "\\n".join(part.get("text") or "" for part in content or ())


def candidate_messages(messages: list[JsonObject]) -> list[JsonObject]:
    """Return a user's messages as the candidate gets them, with its own system message, shots and template."""
    turns = [turn for turn in messages if turn["role"] not in {{"system", "developer"}}]
    single = len(turns) == 1 and turns[0]["role"] == "user"
    question = json.dumps(text_of(turns[0].get("content")) if single else "")[1:-1]
    own = json.loads(json.dumps(REQUEST["messages"]).replace({marker!r}, question))
    return own if single else [*own[:-1], *turns]


class Mirror(CustomLogger):
    """See `shadow replay`."""

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: dict, call_type: str) -> dict:
        """Name a request: its two answers are logged one by one. No client says which of them is mirrored."""
        for key in ("metadata", "litellm_metadata"):
            if isinstance(data.get(key), dict):
                data[key].pop("is_silent_experiment", None)
        data.setdefault("metadata", {{}})[{pair!r}] = uuid.uuid4().hex
        return data

    async def async_pre_call_deployment_hook(self, kwargs: dict, call_type: Any) -> dict | None:
        """Ask the mirrored model as the candidate is asked."""
        if not is_mirrored(kwargs.get("metadata")):
            return None
        rest = {{key: value for key, value in kwargs.items() if key not in REPLACED}}
        own = {{"messages": candidate_messages(kwargs["messages"]), "extra_body": REQUEST["body"]}}
        return {{**rest, **own, "extra_headers": {mark!r}}}

    async def async_log_success_event(self, kwargs: dict, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Log an answer of production or of the candidate."""
        payload = kwargs.get("standard_logging_object") or {{}}
        metadata = (kwargs.get("litellm_params") or {{}}).get("metadata") or {{}}
        mirrored = is_mirrored(payload.get("metadata")) or is_mirrored(metadata)
        if not metadata.get({pair!r}) or not (mirrored or payload.get("model_group") == PRODUCTION):
            return
        sent = (payload.get("metadata") or {{}}).get("requester_metadata") or {{}}  # the headers are in it too
        plain = {{key: value for key, value in sent.items() if isinstance(value, str | int | float)}}
        line = {{key: payload.get(key) for key in LOGGED}}
        line["metadata"] = {{"requester_metadata": plain, "is_silent_experiment": mirrored}}
        line["model_parameters"] = {{"tools": (payload.get("model_parameters") or {{}}).get("tools")}}
        line[{pair!r}] = metadata[{pair!r}]
        line[{variant!r}] = VARIANT if mirrored else None
        with os.fdopen(os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab", buffering=0) as file:
            file.write(json.dumps(line, default=str).encode() + b"\\n")

    async_log_failure_event = async_log_success_event


mirror = Mirror()
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorExport:
    """The written files.

    Attributes:
        production: Name of the model that clients ask for.
        candidate: Name of the variant.
        log: Where LiteLLM writes the answers.
        paths: The files.
    """

    production: str
    candidate: str
    log: Path
    paths: list[Path]


def export_mirror(session: Session, production: Variant, candidate: Variant, folder: Path) -> MirrorExport:
    """Write the configuration of LiteLLM, its callback, and the candidate's request, into `folder`.

    Raises:
        UserError: Production is on no API that LiteLLM can be pointed at, the candidate is more than one call of a
            server that speaks OpenAI's protocol, its templates are more than a text around the question, or policy is
            to drop personal data.
    """
    today = config_of(session.project, production.model)
    if not isinstance(today, OpenAI | Anthropic):
        raise UserError(
            f"{production.name} is on a model that LiteLLM cannot be pointed at.",
            hint="Production must be a model with `provider` openai or anthropic.",
        )
    provider = CandidateRoute(session, candidate).provider
    templates = [text for text in (candidate.system, candidate.user) if text]
    if not all((pieces := plain_pieces(text)) and {*pieces[1::2]} <= {"input"} for text in templates):
        raise UserError(
            (
                f"The prompt of {candidate.name} has more than {{{{ input }}}} to fill, which the callback of LiteLLM "
                "cannot do."
            ),
            hint=messages.say("other_candidate"),
        )
    asked = session.runner.request(candidate, Case(id="mirror", input=_INPUT))
    body, _ = provider.body(asked)
    turns = body.pop("messages")
    if len(turns) != len(asked.messages):  # the model takes no system message: it would precede the user's own turns
        raise UserError(messages.say("no_route", name=candidate.name), hint=messages.say("other_candidate"))
    config = config_of(session.project, candidate.model)
    deployments = [
        {**_deployment(today.provider, today.model, today), "silent_model": CANDIDATE},
        {**_deployment("openai", body.pop("model"), config), "timeout": config.timeout_s},
    ]
    names = [today.model, CANDIDATE]
    document = {
        "model_list": [
            {"model_name": name, "litellm_params": one} for name, one in zip(names, deployments, strict=True)
        ],
        "litellm_settings": {"callbacks": "litellm_mirror.mirror", "request_correlation_in_logs": True},
    }
    callback = CALLBACK.format(
        log=LOG,
        production=today.model,
        identity=candidate.id,
        marker=_INPUT,
        takes_tools=provider.capabilities.tools,
        pair=PAIR,
        variant=VARIANT,
        mark=dict(MARK),
    )
    request = orjson.dumps({"messages": turns, "body": body}, option=orjson.OPT_INDENT_2)
    files = {
        "litellm_config.yaml": (_START + yaml.safe_dump(document, sort_keys=False)).encode(),
        "litellm_mirror.py": callback.encode(),
        "request.json": request,
    }
    for name, content in files.items():
        write_atomic(folder / name, content)
    paths = [folder / name for name in files]
    return MirrorExport(production=today.model, candidate=candidate.name, log=folder / LOG, paths=paths)


def _deployment(provider: str, model: str, config: object) -> dict[str, str]:
    """Return how LiteLLM reaches a model; a key is named, never written."""
    key = getattr(config, "key_variable", None)
    return {
        "model": f"{provider}/{model}",
        "api_base": str(getattr(config, "base_url", _LOCAL)),
        "api_key": f"os.environ/{key}" if key else "none",
    }
