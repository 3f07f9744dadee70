"""The measured cascade as a router: a folder that answers without this package, and a configuration for LiteLLM.

Invariant: nothing is written unless the cascade was adopted, and the router gives the measured answer to every test
case.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from tuneworthy.errors import GateFailed, UserError
from tuneworthy.exports.classifier import measured_answers, write_classifier
from tuneworthy.exports.folder import run_closed, write_export
from tuneworthy.exports.variant import OTHERS, export_variant, variables_of
from tuneworthy.ladder import messages
from tuneworthy.ladder.cascade import CASCADE, is_sent, large_of
from tuneworthy.ladder.measurement import repeats_of
from tuneworthy.ladder.own_models import IN_PROCESS
from tuneworthy.ladder.rung_details import CascadeDetail
from tuneworthy.ladder.session import Session, required_run
from tuneworthy.store import write_atomic
from tuneworthy.types import Bounds, Paths, Variant, frozen

ROUTER = '''"""Answer with the classifier where it is sure, and ask a large model elsewhere. Needs NumPy."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent / "classifier"))

from classifier import MODEL, STATE, fill_template

# Probability of its answer from which the classifier is sure.
THRESHOLD = {threshold!r}


def sure_answer(text: str | Mapping[str, Any], *, filled: bool = False) -> str | None:
    """Return the answer of the classifier; None where it is not sure. `filled`: `text` is the whole prompt."""
    shares = MODEL.probabilities([text if filled else fill_template(STATE["template"], text)])[0].tolist()
    return MODEL.labels[shares.index(max(shares))] if max(shares) >= THRESHOLD else None


def answer(text: str | Mapping[str, Any], ask: Callable[[Any], str], *, filled: bool = False) -> str:
    """Return the answer to a text, or to variables by name; `ask` calls the large model, as in `large/client.py`."""
    label = sure_answer(text, filled=filled)
    return ask(text) if label is None else label
'''
# LiteLLM routes by model, cost or load, not by how sure a model is: a custom provider asks the router.
LITELLM = {
    "litellm_config.yaml": """# Set LITELLM_MASTER_KEY, the key that clients send, and start it in this folder:
# litellm --config litellm_config.yaml
model_list:
  - model_name: cascade
    litellm_params:
      model: tuneworthy/cascade
litellm_settings:
  custom_provider_map:
    - provider: tuneworthy
      custom_handler: litellm_handler.cascade
""",
    "litellm_handler.py": '''"""The router as a LiteLLM provider. It needs litellm[proxy], numpy, openai and bm25s."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import litellm
from litellm.types.utils import GenericStreamingChunk

sys.path.insert(0, str(Path(__file__).parent))

import router
from large import client


def reply(messages: list[dict[str, Any]]) -> str:
    """Return the answer of the classifier to the last message where it is sure, else that of the large model."""
    content = messages[-1]["content"]
    if not isinstance(content, str):  # a list of parts
        content = "".join(part.get("text", "") for part in content)
    return router.answer(content, client.ask)


def chunk(text: str) -> GenericStreamingChunk:
    """Return an answer as the only chunk of a stream."""
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return {
        "text": text, "tool_use": None, "is_finished": True, "finish_reason": "stop", "index": 0, "usage": usage
    }


class Cascade(litellm.CustomLLM):
    """Answers the last message."""

    def completion(self, *args: Any, **kwargs: Any) -> litellm.ModelResponse:
        """Return the answer."""
        response = kwargs["model_response"]
        response.choices[0].message.content = reply(kwargs["messages"])
        return response

    async def acompletion(self, *args: Any, **kwargs: Any) -> litellm.ModelResponse:
        """Return the same without blocking other requests."""
        return await asyncio.to_thread(self.completion, *args, **kwargs)

    def streaming(self, *args: Any, **kwargs: Any) -> Iterator[GenericStreamingChunk]:
        """Yield the answer."""
        yield chunk(reply(kwargs["messages"]))

    async def astreaming(self, *args: Any, **kwargs: Any) -> AsyncIterator[GenericStreamingChunk]:
        """Yield the same without blocking other requests."""
        yield chunk(await asyncio.to_thread(reply, kwargs["messages"]))


cascade = Cascade()
''',
}
# Answers the cases with the router; a marker replaces the large model's answers.
CHECK = """
import router
print(json.dumps([router.answer(text, lambda _: large, filled=filled) for filled, text, large in cases]))
"""


@frozen
class RouterExport:
    """An exported router, as it was measured on test.

    Attributes:
        name: Of the cascade.
        large: Name of the variant that answers where the classifier is not sure.
        threshold: Probability from which the classifier is sure.
        sent: Share of the test cases that the large model answers.
        n_test: Test cases that the router answers as measured.
        score: Of the cascade, with its 95% interval.
        usd_per_1k: A thousand answers of the cascade.
        large_usd_per_1k: Of the large model only.
        paths: The files.
    """

    name: str
    large: str
    threshold: float
    sent: float
    n_test: int
    score: float | None
    ci95: Bounds | None
    usd_per_1k: float | None
    large_usd_per_1k: float | None
    paths: Paths


async def export_router(session: Session, folder: Path) -> RouterExport:
    """Write the cascade of the latest run into `folder`, after it was checked.

    Raises:
        UserError: There is no finished run, no cascade in it, one whose first part is no classifier, or `folder`
            has other files.
        GateFailed: The cascade has no score on test, violates a constraint, or the router answers a case otherwise
            than it was measured.
    """
    last = required_run(session.project)
    rung, detail = last.rung(CASCADE), last.detail(CascadeDetail)
    variant = last.variant_of(rung) if rung else None
    if not (rung and detail and variant and variant.cascade):
        why = rung.reason.rstrip(".") if rung else "its rung was not run"
        raise UserError(
            f"The last run measured no cascade: {why}.",
            hint="Add the rung `cascade` to ladder.rungs unless it is listed, then run `tuneworthy run`.",
        )
    first, large = variant.cascade.first, large_of(variant)
    if rung.score is None or rung.violated:
        raise GateFailed(
            f"Nothing was written, because the cascade cannot run as measured: {rung.reason.rstrip('.')}.",
            hint=messages.say("router_hint"),
        )
    if not first.model.startswith(IN_PROCESS):
        raise UserError(
            (
                f"The cascade's first part, {first.name}, is a language model, but an exported router can run only a "
                "classifier."
            ),
            hint=messages.say("router_hint"),
        )
    with TemporaryDirectory(dir=session.folder.path) as name:
        work = Path(name)
        alone = next((one for one in last.rungs if one.variant == first.id), None)
        await write_classifier(
            session, first, alone or replace(rung, score=None, calibration=None), work / "classifier"
        )
        write_atomic(work / "router.py", ROUTER.format(threshold=variant.cascade.threshold).encode())
        export_variant(session, large, work / "large")
        template = orjson.loads((work / "classifier" / "model.json").read_bytes())["template"]
        # A proxy gets a text, from which both parts make their prompts.
        if (work / "large" / "client.py").exists() and template and len(variables_of(large)) < 2:
            for file, content in LITELLM.items():
                write_atomic(work / file, content.encode())
        n_test = await _check(session, variant, work)
        files = {str(path.relative_to(work)): path.read_bytes() for path in sorted(work.rglob("*")) if path.is_file()}
    paths = write_export(
        folder,
        files,
        ("router.py", ROUTER.partition("\n")[0].encode()),
        [*LITELLM, *(f"large/{file}" for file in OTHERS)],
    )
    alone = next(
        (row for row in last.rungs if row.variant == detail.large), replace(rung, name=large.model, usd_per_1k=None)
    )
    return RouterExport(
        name=variant.name,
        large=alone.name or "",
        threshold=variant.cascade.threshold,
        sent=detail.sent,
        n_test=n_test,
        score=rung.score,
        ci95=rung.ci95,
        usd_per_1k=rung.usd_per_1k,
        large_usd_per_1k=alone.usd_per_1k,
        paths=paths,
    )


async def _check(session: Session, variant: Variant, folder: Path) -> int:
    """Compare the answers of the router with the measured answers on test; return the number of cases.

    Raises:
        GateFailed: It answers a case otherwise, or not at all.
    """
    assert variant.cascade is not None
    test, first = session.split.test, variant.cascade.first
    asked = {row.case: row for row in (await measured_answers(session, first))[1] if row.test}
    traces = await session.ask(variant, test, repeats=repeats_of(session.project, variant))
    measured = {trace.case_id: trace.text for trace in traces if trace.repeat == 0}
    own = {trace.case_id for trace in await session.ask(first, test) if not is_sent(variant.cascade, trace)}
    # The large model is not asked again; a marker replaces answers that the measured cascade did not request.
    rows = [[row.filled, row.text, None if case in own else measured[case]] for case, row in asked.items()]
    answers = await run_closed(CHECK, folder, ["classifier", "router"], rows, "router")
    differing = [case for case, answer in zip(asked, answers, strict=True) if answer != measured[case]]
    if differing:
        raise GateFailed(
            (
                f"Nothing was written, because the router's answers differ from the run on {len(differing)} of "
                f"{len(asked)} test cases, the first of them {differing[0]}."
            ),
            hint=messages.say("report_fault"),
        )
    return len(asked)
