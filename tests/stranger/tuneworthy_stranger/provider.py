"""`[models.NAME] provider = "echo"`: a model on this machine that answers with a fixed label."""

from pathlib import Path

from tuneworthy.config.models import ModelSection
from tuneworthy.providers.base import Provider, provider
from tuneworthy.types import Request, Response


class EchoSection(ModelSection):
    """The keys of the section; `hosted` is False, so the model is free."""

    provider: str
    answer: str
    polite_answer: str


class Echo(Provider):
    """Answers every request with `answer`, and a polite one with `polite_answer`."""

    def __init__(self, config: EchoSection) -> None:
        self.config = config
        self.identity = config.model_dump(include={"provider", "answer", "polite_answer"})
        self.supports = frozenset[str]()

    async def complete(self, request: Request) -> Response:
        polite = "Please." in str(request.messages)
        return Response(text=self.config.polite_answer if polite else self.config.answer)

    async def close(self) -> None:
        return


@provider("echo")
def open_echo(name: str, config: EchoSection, root: Path) -> Echo:
    return Echo(config)


open_echo.section = EchoSection  # type: ignore[attr-defined]
