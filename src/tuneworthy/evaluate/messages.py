"""All sentences that the runner shows to people."""

from __future__ import annotations

from typing import Final

# Models
UNKNOWN_MODEL: Final = "There is no model {name!r} in [models]."
UNKNOWN_MODEL_HINT: Final = "Add it there, or use one of {names}. {nearest}"
NO_PRICE: Final = "The price of models.{name} is unknown."
NO_PRICE_HINT: Final = "Set input_usd_per_mtok and output_usd_per_mtok."

# Budget
BUDGET_SPENT: Final = (
    "The budget of ${limit:.4f} is spent: ${spent:.4f} so far, and the next call could cost up to ${ceiling:.4f}."
)
BUDGET_SPENT_HINT: Final = "Raise budget_usd or --max-usd and run again; what was answered is kept."

# Calls that failed
PROVIDER_DOWN: Final = "{model} does not answer: {error} ({why})."
PROVIDER_DOWN_HINT: Final = "Run the same command again when it works; what was answered is kept."
NO_CASE_ANSWERED: Final = "no case was answered"
NO_CALL_ANSWERED: Final = "{attempts} attempts, no other call answered meanwhile"
MODEL_REFUSES: Final = "{model} refuses every call: {error}."
MODEL_REFUSES_HINT: Final = (
    "Check that the address and the model of models.{model} exist and that its key may use them."
)
MODEL_FAILS: Final = "{model} fails at every call: {error}."
MODEL_FAILS_HINT: Final = "Fix what models.{model} calls, and run again."
KEY_REFUSED_HINT: Final = "Check the key in the environment, and run again."
QUOTA_HINT: Final = "Raise the quota there, and run again; what was answered is kept."
TIMED_OUT: Final = "{model}: no answer in {seconds:g} s; raise timeout_s if it needs longer"
CANCELLED: Final = "{model}: the call was cancelled"
NOT_JSON: Final = "{model}: JSON cannot hold the answer ({error})"
WORKER_CANCELLED: Final = "Worker {number} of {model} was cancelled from within."
DOCUMENTS_MISSING: Final = "The documents that {variant} searches are missing."
DOCUMENTS_MISSING_HINT: Final = "Restore them, or fix [documents] path."
JUDGE_NOT_ASKED: Final = "the judge has not seen this answer; a run shows it"
