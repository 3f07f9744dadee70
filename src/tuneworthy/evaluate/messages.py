"""All sentences that the runner shows to people."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        # Models
        "unknown_model": "Section [models] has no model {name!r}.",
        "unknown_model_hint": "{nearest} Add it to [models], or use one of: {names}.",
        "no_price": "The price of models.{name} is unknown.",
        "no_price_hint": "Set input_usd_per_mtok and output_usd_per_mtok for this model.",
        # Budget
        "budget_spent": (
            "The budget of ${limit:.4f} is used up. Charged: ${answered:.4f} for answered calls and ${unanswered:.4f} "
            "for calls without an answer. Reserved for calls in flight: ${reserved:.4f}. The next call could cost up to"
            " ${ceiling:.4f}."
        ),
        "budget_spent_hint": "Raise budget_usd or --max-usd, then run the command again. Finished calls are cached.",
        "release_hint": (
            "Raise budget_usd or --max-usd, then run the command again. If the calls without an answer were not "
            "billed, run `tuneworthy budget --release`."
        ),
        # Calls that failed
        "provider_down": "{model} is not responding: {error} ({why}).",
        "provider_down_hint": "Run the same command again once the provider works. Finished calls are cached.",
        "no_case_answered": "no case got an answer",
        "no_call_answered": "{attempts} attempts failed, and no other call succeeded in the meantime",
        "known_call_fails": "{attempts} attempts failed, and a call that previously succeeded now fails too",
        "long_wait": (
            "The provider of {model} requests a wait of {minutes:,.0f} min or more. The next attempt is in "
            "{seconds:.0f} s."
        ),
        "draining": (
            "Stopping: {n} {n:call|calls} to {model} in flight may take up to {seconds:g} s to finish. Interrupt again "
            "to stop at once."
        ),
        "model_refuses": "{model} rejects every call: {error}.",
        "model_refuses_hint": (
            "Check that the base URL and the model name of models.{model} are correct, and that the API key has access "
            "to the model."
        ),
        "model_fails": "Every call to {model} fails: {error}.",
        "model_fails_hint": "Fix the function or service behind models.{model}, then run the command again.",
        "key_refused_hint": "Check the API key in the environment, then run the command again.",
        "quota_hint": "Raise the quota with the provider, then run the command again. Finished calls are cached.",
        "timed_out": "{model} did not answer within {seconds:g} s. If it needs more time, raise timeout_s.",
        "cancelled": "The call to {model} was cancelled.",
        "not_json": "The answer from {model} cannot be stored as JSON: {error}.",
        "worker_cancelled": "Worker {number} of {model} was cancelled unexpectedly.",
        "documents_missing": "The documents that {variant} searches are missing.",
        "documents_missing_hint": "Restore the documents, or fix `path` in [documents].",
        "judge_not_asked": "The judge has not graded this answer yet. Run `tuneworthy run` to grade it.",
    },
).say
