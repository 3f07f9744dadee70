"""The project's models, opened when first needed, with their price and limits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.config.project import Project
from tuneworthy.engine.fleet import Fleet
from tuneworthy.engine.served_model import ServedCalls, with_served
from tuneworthy.errors import UserError, did_you_mean
from tuneworthy.providers.base import Provider, open_provider
from tuneworthy.providers.capabilities import Capabilities
from tuneworthy.providers.prices import Price, most_input_tokens, price_for
from tuneworthy.providers.usage import believed
from tuneworthy.types import Answer, Request, Response, canonical


@dataclass(frozen=True)
class OpenModel:
    """A model of the project that can be called.

    Attributes:
        name: Key of `[models]`.
        provider: Answers requests.
        price: US dollars; None for models that cost nothing by the call.
        hosted: Whether the data leaves this machine.
        concurrency: Calls in flight, at most, over all endpoints.
        timeout_s: Longest time of a call, seconds.
        retries: Further attempts at a call that failed.
        root: The project folder; None for a model whose answers no server gives.
        endpoints: Providers by address, if several servers answer; `provider` is the first.
    """

    name: str
    provider: Provider
    price: Price | None
    hosted: bool
    concurrency: int
    timeout_s: float
    retries: int
    root: Path | None = None
    endpoints: Mapping[str, Provider] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        name: str,
        config: Any,
        provider: Provider,
        root: Path | None = None,
        endpoints: Mapping[str, Provider] | None = None,
    ) -> "OpenModel":
        price = price_for(config)
        return cls(
            name=name,
            provider=provider,
            price=None if price is None or price.free else price,
            hosted=config.hosted,
            concurrency=config.calls_in_flight,
            timeout_s=config.timeout_s,
            retries=config.retries,
            root=root,
            endpoints=endpoints or {},
        )

    @property
    def capabilities(self) -> Capabilities | None:
        """Parameters that it accepts; None if that is not known."""
        found = getattr(self.provider, "capabilities", None)
        return found if isinstance(found, Capabilities) else None

    @cached_property
    def fleet(self) -> Fleet:
        endpoints = self.endpoints or {"": self.provider}
        return Fleet(endpoints, self.concurrency // len(endpoints), self.served.expected)

    @cached_property
    def served(self) -> ServedCalls:
        return ServedCalls(self.name, self.provider.identity, self.root)

    @cached_property
    def identity(self) -> bytes:
        return canonical(self.provider.identity)

    def name_artifact(self, artifact: str | None) -> None:
        """Add the id of the served model to the identity; the address does not name it."""
        self.provider.identity = with_served({**self.provider.identity, "artifact": artifact}, self.root)
        for name in ("identity", "served"):
            self.__dict__.pop(name, None)

    def ceiling_usd(self, request: Request) -> float:
        request = self._bounded(request)
        return (
            self.price.ceiling(self._size(request), request.max_tokens, features=_features(request))
            if self.price
            else 0.0
        )

    @property
    def batch_factor(self) -> float:
        """Share of the price of a single call that a call in a batch costs; 1 if there is no such price."""
        return 1.0 if self.price is None or self.price.batch_factor is None else self.price.batch_factor

    def settled(self, request: Request, response: Response) -> tuple[Response, float]:
        """Return a response and its cost, US dollars; the ceiling and no usage if the reported usage cannot be true."""
        if self.price is None:
            return response, 0.0
        request, ceiling = self._bounded(request), self.ceiling_usd(request)
        response = believed(request, response, most_input_tokens(self._size(request), features=_features(request)))
        if response.input_tokens is None or response.output_tokens is None:
            return response, ceiling
        cost = self.price.cost(
            response.input_tokens,
            response.output_tokens,
            response.cached_tokens or 0,
            written_tokens=response.written_tokens or 0,
        )
        return response, min(cost, ceiling)

    def _bounded(self, request: Request) -> Request:
        """Return a request with its effective limit of tokens: a ranking reads all labels, whatever its limit."""
        limit = max(request.max_tokens, getattr(self.provider, "min_tokens", 0))
        if request.output.kind == "ranked":
            limit = sum(1 + len(label.encode()) for label in request.output.choices)
        return request if limit == request.max_tokens else replace(request, max_tokens=limit)

    def _size(self, request: Request) -> int:
        output = request.output
        size = len(orjson.dumps([request.messages, request.tools, output.schema, output.choices]))
        size += getattr(self.provider, "added_bytes", 0)
        return size * len(output.choices) if output.kind == "ranked" else size  # a prompt is read once for each label

    def doubtful(self, answer: Answer) -> bool:
        return self.price is not None and isinstance(answer, Response) and answer.output_tokens is None


def _features(request: Request) -> bool:
    return bool(request.tools) or request.output.kind != "free"


class Models:
    """All models of a project, by name.

    Args:
        project: Their configuration.
        add_others: Adds models that the project file does not name, and names the artifact behind `[serve].model`;
            called once, when the first of these is needed.
    """

    def __init__(self, project: Project, add_others: Callable[["Models"], None] | None = None) -> None:
        self._project = project
        self._add_others = add_others
        self._open: dict[str, OpenModel] = {}

    def __getitem__(self, name: str) -> OpenModel:
        """Open the model `name`.

        Raises:
            UserError: No model of this name, a hosted one whose price is not known, a missing key or model file.
        """
        if (
            self._add_others
            and name not in self._open
            and (name not in self._project.models or name == self._project.serve.model)
        ):
            add_others, self._add_others = self._add_others, None
            add_others(self)
        if name not in self._open and name not in self._project.models:
            names = list(dict.fromkeys([*self._project.models, *self._open]))
            raise UserError(
                f"Section [models] has no model {name!r}.",
                hint=f"{did_you_mean(name, names)} Add it to [models], or use one of: {', '.join(names)}.".strip(),
            )
        if name not in self._open:
            self._open[name] = open_model(name, self._project.models[name], self._project.root)
        return self._open[name]

    def add(self, model: OpenModel) -> None:
        self._open.setdefault(model.name, model)

    def with_project(self, project: Project) -> "Models":
        """Return the models with the prices of another project file; those that are open stay open."""
        other = Models(project, self._add_others)
        for name, model in self._open.items():
            config = project.models.get(name)
            other.add(OpenModel.of(name, config, model.provider, model.root, model.endpoints) if config else model)
        return other

    async def close(self) -> None:
        for model in self._open.values():
            for provider in (model.provider, *model.endpoints.values()):
                await provider.close()
        self._open.clear()


def open_model(name: str, config: Any, root: Path) -> OpenModel:
    """Open one model.

    Raises:
        UserError: As `Models.__getitem__`.
    """
    if config.hosted and price_for(config) is None:
        raise UserError(
            f"The price of models.{name} is unknown.",
            hint="Set input_usd_per_mtok and output_usd_per_mtok for this model.",
        )
    endpoints = {url: open_provider(name, config.at(url), root) for url in getattr(config, "endpoints", ())}
    provider = next(iter(endpoints.values()), None) or open_provider(name, config, root)
    if endpoints:  # the same model on another server is the same model
        provider.identity = {**provider.identity, "base_url": config.base_url}
    provider.identity = with_served(provider.identity, root)
    return OpenModel.of(name, config, provider, root, endpoints)
