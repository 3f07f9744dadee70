"""What settings a sweep draws from: only parameters that the model accepts."""

from typing import Any

from tuneworthy.decoding.engines import NEUTRAL, engine_of
from tuneworthy.decoding.presets import engine_for
from tuneworthy.providers.capabilities import Capabilities, takes_temperature
from tuneworthy.search.sweep import Suggest

# (least, most, step).
TEMPERATURE, TOP_P, MIN_P, PENALTY = (0.1, 1.5, 0.1), (0.5, 0.95, 0.05), (0.02, 0.3, 0.02), (0.0, 0.6, 0.2)


def space(provider: str, capabilities: Capabilities, *, long_answers: bool) -> Suggest:
    """Return a function that draws a setting.

    One cut at a time is drawn (no cut, top_p or min_p): two together hide one another. Defaults of the
    engine (or of the model's generation_config.json) are set to neutral.

    Args:
        provider: As in the project file.
        capabilities: Parameters that the model accepts.
        long_answers: Whether answers are long enough to repeat themselves: then a frequency penalty is drawn too.
    """
    takes = list(capabilities.parameters)
    if not takes_temperature(capabilities):
        return lambda trial: {"effort": trial.suggest_categorical("effort", list(capabilities.efforts))}
    cuts = [
        "none",
        *[
            name
            for name in ("top_p", "min_p")
            if name in takes and "temperature" not in capabilities.parameters[name].excludes
        ],
    ]
    engine = engine_for(provider)
    unset = engine_of(engine).may_differ(NEUTRAL) if engine else {}
    off = {name: value for name, value in unset.items() if name in takes}
    most = min(TEMPERATURE[1], capabilities.parameters["temperature"].high or TEMPERATURE[1])

    def suggest(trial: Any) -> dict[str, Any]:
        if trial.suggest_categorical("greedy", [True, False]):
            return {"temperature": 0.0}
        setting = {**off, "temperature": _step(trial, "temperature", (TEMPERATURE[0], most, TEMPERATURE[2]))}
        cut = trial.suggest_categorical("cut", cuts)
        if cut != "none":
            setting[cut] = _step(trial, cut, TOP_P if cut == "top_p" else MIN_P)
        if long_answers and "frequency_penalty" in takes and (value := _step(trial, "frequency_penalty", PENALTY)):
            setting["frequency_penalty"] = value
        return setting

    return suggest


def _step(trial: Any, name: str, span: tuple[float, float, float]) -> float:
    return round(float(trial.suggest_float(name, span[0], span[1], step=span[2])), 3)
