"""The data check `shouting`: rows whose answer is written in capitals leave the dataset."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tuneworthy.dataset.base import Context, Finding, check
from tuneworthy.types import Example


@check("shouting")
@dataclass(frozen=True, slots=True)
class Shouting:
    """Rows whose answer is written in capitals.

    Bad: `{"messages": [{"role": "user", ...}, {"role": "assistant", "content": "RED"}]}`.
    """

    code: ClassVar[str]
    reasons: ClassVar = {"shouting": "the answer is written in capitals"}
    whole: ClassVar = False

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        for number, row in enumerate(rows):
            if row.answer.isupper():
                yield Finding(number, "shouting")
