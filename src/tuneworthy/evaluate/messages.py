"""All sentences that the runner shows to people."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # Models
        "unknown_model": "There is no model {name!r} in [models].",
        "unknown_model_hint": "Add it there, or use one of {names}. {nearest}",
        "no_price": "The price of models.{name} is unknown.",
        "no_price_hint": "Set input_usd_per_mtok and output_usd_per_mtok.",
        # Budget
        "budget_spent": (
            "The budget of ${limit:.4f} is spent: ${answered:.4f} answered, ${unanswered:.4f} never answered, "
            "${reserved:.4f} reserved. The next call could cost up to ${ceiling:.4f}."
        ),
        "budget_spent_hint": "Raise budget_usd or --max-usd and run again; what was answered is kept.",
        "release_hint": (
            "Raise budget_usd or --max-usd and run again. If the calls without an answer were not billed, run "
            "`tuneworthy budget --release`."
        ),
        # Calls that failed
        "provider_down": "{model} does not answer: {error} ({why}).",
        "provider_down_hint": "Run the same command again when it works; what was answered is kept.",
        "no_case_answered": "no case was answered",
        "no_call_answered": "{attempts} attempts, no other call answered meanwhile",
        "known_call_fails": "{attempts} attempts, and a call that it answered before fails too",
        "long_wait": "{model} asks to wait {minutes:,.0f} min or more; the next attempt follows in {seconds:.0f} s.",
        "draining": (
            "Stopping: {n} calls to {model} are in flight and have {seconds:g} s to finish. Stop again to end at once."
        ),
        "model_refuses": "{model} refuses every call: {error}.",
        "model_refuses_hint": (
            "Check that the address and the model of models.{model} exist and that its key may use them."
        ),
        "model_fails": "{model} fails at every call: {error}.",
        "model_fails_hint": "Fix what models.{model} calls, and run again.",
        "key_refused_hint": "Check the key in the environment, and run again.",
        "quota_hint": "Raise the quota there, and run again; what was answered is kept.",
        "timed_out": "{model}: no answer in {seconds:g} s; raise timeout_s if it needs longer",
        "cancelled": "{model}: the call was cancelled",
        "not_json": "{model}: JSON cannot hold the answer ({error})",
        "worker_cancelled": "Worker {number} of {model} was cancelled from within.",
        "documents_missing": "The documents that {variant} searches are missing.",
        "documents_missing_hint": "Restore them, or fix [documents] path.",
        "judge_not_asked": "the judge has not seen this answer; a run shows it",
    }
).say
