"""[shadow]: how recorded traffic is drawn, and how much of it people label."""

from pydantic import Field

from tuneworthy.config.base import Chance, Count, Section


class Shadow(Section):
    """A candidate answers what traffic asked; the margin is that of `[task]`."""

    by: str | None = None
    """Key of a row's metadata, such as `tenant`, whose values are examined one by one."""
    sessions: Count = 2000
    """Most sessions that are drawn."""
    turns: int = Field(default=4, ge=1, le=64)
    """Most turns of a session that are asked. A session is one bet, weighed by its turns."""
    label_share: Chance = 0.1
    """Share of the sessions that people label, unless the recording holds the right answer (`truth`) of each row. It
    must not change while people label."""
