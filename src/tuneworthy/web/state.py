"""The project as the views of `ui` see it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from tuneworthy.people.queue import Queue

Role = Literal["engineer", "expert"]
# Reads are functions of the query string, writes of a JSON object; both return JSON.
Read = Callable[["UiState", Mapping[str, str]], Any]
Write = Callable[["UiState", Mapping[str, Any]], Any]


@dataclass(slots=True)
class UiState:
    """A project, who looks at it, and the caches of the views.

    Attributes:
        root: The project folder.
        labeller: Who judges rows.
        role: `expert` gets the queue only.
        open_queue: Opens the queue of a kind (see `people.queue.KINDS`); it may store a plan.
        count_queues: Returns the queues with waiting rows, and how many.
        cache: Of a view, under its name.
        lock: Held while the cache or a queue changes.
    """

    root: Path
    labeller: str
    role: Role
    open_queue: Callable[[str], Queue]
    count_queues: Callable[[], Mapping[str, int]]
    cache: dict[str, Any] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
