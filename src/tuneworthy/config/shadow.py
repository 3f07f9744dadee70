"""[shadow]: how traffic is drawn and copied, and the share that people label."""

from pydantic import Field

from tuneworthy.config.base import Chance, Count, Positive, Section


class Shadow(Section):
    """A candidate answers what traffic asked; the margin is that of `[task]`."""

    by: str | None = None
    """Key of a row's metadata, such as `tenant`, whose values are examined one by one."""
    sessions: Count = 2000
    """Most sessions that are drawn."""
    turns: int = Field(default=4, ge=1, le=64)
    """Most turns of a session that are asked. A session is one bet, weighed by its turns."""
    label_share: Chance = 0.1
    """Share of the sessions that people label, unless the recording holds the right answer (`truth`) of each row. Each
    change while people label gives a false pass another chance of at most 5%."""
    session_header: str = "x-session-id"
    """Header of a request that names its session. Without it the session is the user that the body names, else the
    first message."""
    idle_minutes: Positive = 30.0
    """A session without a request for so long has ended, and is judged."""
    confidence_margin: Chance | None = None
    """`shadow report` alerts once low confidence is shown to be more frequent in traffic than on dev (`decode
    uncertainty`) by more than this share: 0.1 is ten points. Confidence is not watched unless this is set. The
    candidate is then asked for log-probabilities; answers that are stored without them are asked for again."""
