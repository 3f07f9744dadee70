"""Every sentence of this folder that a person reads."""

from __future__ import annotations

from typing import Final

# Connections
REQUEST_NOT_JSON: Final = "{host}: the request cannot be written as JSON: {reason}."
REFUSED: Final = "{host}: {status} {said}"
NOT_EXPECTED: Final = "{host}: expected {expected}, got {got}."
ANSWER_TOO_LARGE: Final = "{host}: the answer is larger than {mib} MiB."
NO_CONNECTION: Final = "{host}: no connection within {limit_s:g} s: {said}."
NO_ANSWER: Final = "{host}: no answer in {limit_s:g} s. Raise timeout_s if it needs longer."
PROXY: Final = "{host}: the proxy refuses: {said}."
BROKEN_ANSWER: Final = "{host}: the answer breaks off or is not HTTP: {said}."
BROKEN_CONNECTION: Final = "{host}: {said}."
EMPTY_BODY: Final = "an empty body"
