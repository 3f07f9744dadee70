"""[ladder], [few_shot], [decoding], [constraints], [economics], [[waivers]]: rungs, candidates and limits."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from tuneworthy.config.base import Chance, Count, ModelUser, NonNegative, Parameters, Positive, Section, Share
from tuneworthy.errors import UnknownName
from tuneworthy.registry import installed
from tuneworthy.types import Bounds

PresetName = Literal["auto", "code", "extract", "rag", "chat", "creative", "brainstorm"]
# The built-in rungs in the order of the ladder.
RUNGS = (
    "classical", "baseline", "prompt", "retrieval", "tools", "model", "few_shot", "decoding", "cascade", "fine_tune",
)  # fmt: skip


def _known_rung(name: str) -> str:
    if name not in RUNGS and name not in installed("rungs"):
        raise ValueError(str(UnknownName("rung", name, [*RUNGS, *sorted(installed("rungs"))])))
    return name


RungName = Annotated[str, AfterValidator(_known_rung), Field(json_schema_extra={"enum": list(RUNGS)})]


class Ladder(Section):
    """Which rungs are run, with what money."""

    baseline: str
    """Key of `[models]`: the model as it is used today."""
    budget_usd: NonNegative | None = None
    """Most that all calls of this project may cost; needed where a model costs money."""
    repeats: int = Field(default=1, ge=1, le=100)
    """Answers to each test case; at least 3 are taken where the temperature is above 0."""
    rungs: list[RungName] = list(RUNGS)
    """Rungs to run, in this order; those of installed packages too."""
    tool_steps: int = Field(default=8, ge=2, le=100)
    """Requests per case with tools, at most; the last one allows no call, so that an answer comes."""


class FewShotSection(Section):
    """[few_shot]"""

    k: list[Count] = Field(default=[4, 8], min_length=1)
    """Numbers of shots to try."""
    per_case: bool = True
    """Whether shots are also chosen for each case: by meaning where the nearest example then has the same answer more
    often, else by words. False where the serving application has no examples to choose from: then every case gets the
    same shots."""


class DecodingSection(Section):
    """[decoding]"""

    grid: list[Parameters] | None = None
    """Sampling settings to try; the preset, and what `decode sweep` found, if not set."""
    preset: PresetName = "auto"
    """The kind of use whose sampling settings are tried (page Decoding presets); `auto` goes by the kind of task."""


class Constraints(Section):
    """Limits that make a variant not eligible."""

    on_device: bool = False
    """Hosted models may not serve; they are measured, and may teach."""
    data_stays: bool = False
    """Nothing is sent to a hosted model: it is neither measured nor a teacher."""
    p95_ms: Positive | None = None
    """Limit of the 95th percentile of latency, ms, at concurrency 1."""
    usd_per_1k: Positive | None = None
    """Limit of the cost of a thousand answers, US dollars."""


# The cards and machines of `money/hardware.json`.
HardwareName = Literal["cpu", "consumer", "l4", "h100"]


def _rising(pair: Bounds) -> Bounds:
    if pair[0] > pair[1]:
        raise ValueError(f"The low end of a range ({pair[0]:g}) is above its high end ({pair[1]:g}).")
    return pair


Factors = Annotated[tuple[Positive, Positive], Field(strict=False), AfterValidator(_rising)]
RangeName = Literal["traffic", "price", "costs", "capacity", "success", "wrong_answer"]
# A low and a high factor per estimate: of `requests_per_month`; of a provider's price; of the costs of training
# and upkeep that the project file does not set; of a server's computed capacity; of `usd_per_wrong_answer`. `success`
# is the chance that a training reaches its goal: at 0.5, the one-off costs are paid twice.
DEFAULT_RANGES: Final[Mapping[RangeName, Bounds]] = {
    "traffic": (1.0, 1.0), "price": (1.0, 1.0), "costs": (0.75, 1.25), "capacity": (0.7, 1.4), "success": (0.5, 1.0),
    "wrong_answer": (1.0, 1.0),
}  # fmt: skip


def _chances(ranges: dict[RangeName, Bounds]) -> dict[RangeName, Bounds]:
    if ranges.get("success", (0.0, 0.0))[1] > 1:
        raise ValueError(f"The chance `success` is at most 1, but it is {ranges['success'][1]:g}.")
    return ranges


class Economics(Section):
    """Cost of training and serving, and value of a better answer; `decide --json` names the sources of the defaults."""

    requests_per_month: NonNegative | None = None
    """Expected traffic; turns prices into a monthly bill. Without it the economics stay unknown."""
    cached_share: Share = 0.0
    """Share of the prompt's tokens that is read from the provider's cache. Not set: as in the run, as far as the
    traffic keeps the cache warm."""
    batch_share: Share = 0.0
    """Share of the requests that may wait and go through the batch interface."""
    hours_data: NonNegative = 40.0
    """Work to collect, check and review the training data, hours."""
    hours_engineering: NonNegative = 24.0
    """Work to train, measure, deploy and shadow, hours."""
    usd_per_hour: NonNegative = 90.0
    """Cost of an hour of that work, US dollars."""
    train_hours: NonNegative = 14.0
    """GPU time of all trainings, pilot and repeats included, hours."""
    gpu_usd_per_hour: NonNegative = 1.79
    """Price of the GPU that trains, US dollars an hour."""
    serve_hardware: HardwareName | None = None
    """Hardware of an own model, by the hour: a machine without a GPU, a consumer card, an L4 or an H100. Not set: the
    cheapest way that meets `constraints.p95_ms` and carries the traffic."""
    serve_params_b: Positive = 8.0
    """Size of that model, billions of parameters."""
    serve_load: Chance = 0.2
    """Average load of its servers as a share of full load; traffic has peaks."""
    serve_usd_per_month: NonNegative | None = None
    """Price of one such server, US dollars a month. Not set: computed from `serve_hardware` and `serve_params_b`."""
    serve_capacity_per_month: Annotated[float, Field(ge=1, lt=1e15)] | None = None
    """Requests that one such server can take in a month, peaks allowed for. Not set: computed from the tokens of an
    answer too."""
    serve_usd_per_1k: NonNegative = 0.0
    """Additional cost of a thousand answers of the fine-tuned model, US dollars (serving paid by the token)."""
    upkeep_usd_per_month: NonNegative = 195.0
    """Watching the fine-tuned model and measuring it again, US dollars a month."""
    hours_retrain: NonNegative = 8.0
    """Work of training the model again on newer data, hours; `train_hours` of GPU time are added."""
    retrain_months: Positive = 6.0
    """Months from one training to the next."""
    horizon_months: Annotated[float, Field(gt=0, le=1200)] = 12.0
    """Months within which training must have paid back."""
    usd_per_wrong_answer: NonNegative | None = None
    """Cost of a wrong answer, US dollars; values a measured gain. Not set: only bills are compared."""
    ranges: Annotated[dict[RangeName, Factors], AfterValidator(_chances)] = {}
    """Low and high factor of each estimate: `traffic`, `price`, `costs` of training, `capacity` of a server, chance of
    `success`, and value of a `wrong_answer`."""

    def spread(self, name: RangeName) -> Bounds:
        """Return the low and the high factor of an estimate."""
        return self.ranges.get(name, DEFAULT_RANGES[name])


# Gates that a waiver never opens, so that one is an error.
NEVER_WAIVED = frozenset({"test_set", "baseline", "judge", "parity"})


class Waiver(Section):
    """A gate that is knowingly passed over."""

    gate: str
    """Name of the gate."""
    reason: str = Field(min_length=8)
    """Why; shown in the verdict."""


class Reflection(ModelUser):
    """A model that reads answers to dev cases and their faults, and writes a better system prompt (GEPA); it
    never sees a test case.

    Without this section no prompt is optimised. Needs `pip install 'tuneworthy[optimise]'`.
    """

    calls: int = Field(default=500, ge=50, lt=2**31)
    """Calls that the search takes, at most: answers to dev cases and rewritten prompts together. Today's prompt answers
    the searched half of dev first, mostly stored by then; these do not count."""
    personal_data: Literal["mask", "send"] = "mask"
    """What becomes of personal data in cases and answers before this model sees it: masked, or sent as it is."""
