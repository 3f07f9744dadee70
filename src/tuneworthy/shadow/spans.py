"""OpenTelemetry spans of copied requests: production's answer, and below it the candidate's; no texts, no headers.

They are made in the child of `shadow proxy`, of copies only: a span and its export take about 75 microseconds of CPU
time, plus the reading of both bodies, and users would wait for that. A thread sends them in batches.

Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ (status: development).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import orjson
from pydantic import BeforeValidator, Field

from tuneworthy.ladder.session import Session
from tuneworthy.ladder.tuned_models import config_of
from tuneworthy.providers.usage import Count, Name, WireModel, mapping
from tuneworthy.shadow.copies import MOST_BYTES, CopyHead
from tuneworthy.shadow.protocols import answer_of, unpacked
from tuneworthy.types import JsonObject, Trace, Variant

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
SERVICE: Final = "tuneworthy-shadow-proxy"
# Of the name of a model, which a client may choose, characters.
_MOST_NAME: Final = 100


def open_tracer() -> "Tracer | None":
    """Return a tracer that exports to the address in the environment; None without one, or without the packages."""
    if not os.environ.get(ENDPOINT):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return None
    name = os.environ.get("OTEL_SERVICE_NAME", SERVICE)
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("tuneworthy")


def pair_spans(session: Session, candidate: Variant, upstream: str) -> "PairSpans | None":
    """Return the maker of spans of a candidate's pairs; None if nothing is exported."""
    tracer = open_tracer()
    if tracer is None:
        return None
    config = config_of(session.project, candidate.model)
    model = str(getattr(config, "model", candidate.model))
    return PairSpans(tracer, upstream, config.provider, model, str(getattr(config, "base_url", "")))


@dataclass(frozen=True, slots=True)
class PairSpans:
    """Makes the spans of pairs.

    Attributes:
        tracer: Of OpenTelemetry.
        upstream: Address of production's API.
        provider: Of the candidate's model, as the project file names it.
        model: Id of the candidate's model.
        address: Where the candidate is asked; "" if it runs in this process.
    """

    tracer: "Tracer"
    upstream: str
    provider: str
    model: str
    address: str

    def record(self, head: CopyHead, request: bytes, answer: bytes, candidate: Trace, times: tuple[int, int]) -> None:
        """Make the two spans of a pair.

        Args:
            head: Facts about the copy.
            request: Body of the user's request.
            answer: Body of production's answer.
            candidate: The candidate's answer.
            times: When it was asked and had answered, nanoseconds since the epoch.
        """
        whole = answer_of(head.path, unpacked(answer, head.encoding, 8 * MOST_BYTES), streamed=head.streamed)
        asked = mapping(orjson.loads(request)).get("model")
        provider = "anthropic" if head.path.endswith("/messages") else "openai"
        outer = self._span(provider, asked, self.upstream, head.began)
        read = _AnyAnswer.model_validate(whole)
        usage = read.usage
        n_input, n_output = usage.prompt_tokens or usage.input_tokens, usage.completion_tokens or usage.output_tokens
        outer.set_attributes(_attributes(str(read.model or ""), read.endings, n_input, n_output))
        inner = self._span(self.provider, self.model, self.address, times[0], outer)
        if own := candidate.response:
            inner.set_attributes(_attributes(own.model, [own.finish_reason], own.input_tokens, own.output_tokens))
        else:
            inner.set_attributes({"error.type": candidate.error.code if candidate.error else "_OTHER"})
        inner.end(times[1])
        outer.end(head.ended)

    def _span(self, provider: str, model: Any, address: str, began: int, above: Any = None) -> Any:
        from opentelemetry.trace import SpanKind, set_span_in_context

        server, model = urlsplit(address), str(model or "")[:_MOST_NAME]
        about = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model or None,
            "server.address": server.hostname,
            "server.port": server.port or {"https": 443, "http": 80}.get(server.scheme),
        }
        return self.tracer.start_span(
            f"chat {model}" if model else "chat",
            context=set_span_in_context(above) if above else None,
            kind=SpanKind.CLIENT,
            attributes=_present(about),
            start_time=began,
        )


def _present(about: Mapping[str, Any]) -> JsonObject:
    return {key: value for key, value in about.items() if value is not None}


class _AnsweredChoice(WireModel):
    finish_reason: Name = ""


class _AnyUsage(WireModel):
    prompt_tokens: Count = None
    completion_tokens: Count = None
    input_tokens: Count = None
    output_tokens: Count = None


class _AnyAnswer(WireModel):
    """Facts that an answer states about itself, in any of the three protocols."""

    model: Any = ""
    choices: list[Annotated[_AnsweredChoice, BeforeValidator(mapping)]] = Field([])
    stop_reason: Name = ""
    status: Name = ""
    usage: Annotated[_AnyUsage, BeforeValidator(mapping)] = _AnyUsage()

    @property
    def endings(self) -> list[str]:
        reasons = [choice.finish_reason for choice in self.choices] or [self.stop_reason, self.status]
        return [reason for reason in reasons if reason]


def _attributes(model: str, endings: list[str], input_tokens: int | None, output_tokens: int | None) -> JsonObject:
    return _present(
        {
            "gen_ai.response.model": model[:_MOST_NAME] or None,
            "gen_ai.response.finish_reasons": endings or None,
            "gen_ai.usage.input_tokens": input_tokens,
            "gen_ai.usage.output_tokens": output_tokens,
        }
    )
