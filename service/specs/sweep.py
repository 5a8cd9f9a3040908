"""SweepSpec: one experiment in many variants, and who chooses them."""

import copy
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, JsonValue, ValidationError, ValidationInfo, model_validator
from pydantic import Tag as UnionTag
from pydantic_core import InitErrorDetails, PydanticCustomError

from service.specs import paths
from service.specs.base import Spec
from service.specs.experiment import ExperimentSpec, Name, Tag
from service.specs.fingerprint import UNDECISIVE
from service.specs.sweep_presets import SWEEP_PRESETS

MAX_EXPERIMENTS = 1000
"""Most experiments of a sweep, its points times its seeds."""

MAX_SEED = 2**31 - 1
DEFAULT_TRIALS = 20
MAX_TAGS = 10

STORED = object()
"""Validation context of a spec that has been validated before: its points, a thousand perhaps, are not tried again."""

Params = dict[str, Any]
"""A point of the space: a value for each dotted path."""

Curve = dict[int, float]
"""The objective of an experiment after each epoch; epochs count from 1."""


class IntRange(Spec):
    """Whole numbers from `low` to `high`, both of them included; with `log` each order of magnitude is as likely."""

    type: Literal["int"] = "int"
    low: int = Field(ge=-(2**53), le=2**53)
    high: int = Field(ge=-(2**53), le=2**53)
    log: bool = False

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        _check_bounds(self.low, self.high, self.log)
        return self


class FloatRange(Spec):
    """Numbers from `low` to `high`; with `log` each order of magnitude is as likely."""

    type: Literal["float"] = "float"
    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        _check_bounds(self.low, self.high, self.log)
        return self


Range = IntRange | FloatRange
Choices = Annotated[list[JsonValue], Field(max_length=MAX_EXPERIMENTS)]


def _kind(value: Any) -> str | None:
    match value:
        case list():
            return "list"
        case IntRange() | FloatRange():
            return value.type
        case {"type": kind}:
            return str(kind)
        case {"low": int(), "high": int()}:
            return "int"
        case {}:
            return "float"
        case _:
            return None


Dimension = list[JsonValue] | IntRange | FloatRange
"""The values that a field may take: a list of them, or a range."""

CheckedDimension = Annotated[
    Annotated[Choices, UnionTag("list")]
    | Annotated[IntRange, UnionTag("int")]
    | Annotated[FloatRange, UnionTag("float")],
    Discriminator(
        _kind,
        custom_error_type="dimension",
        custom_error_message="write a list of values, or a range: low, high, and log if you like",
    ),
]


class MedianPruner(Spec):
    """Ends a trial whose best value so far is worse than the median of the others' at the same epoch (Golovin et al.
    2017, "Google Vizier", section 3.2.2)."""

    name: Literal["median"] = "median"
    warmup_epochs: int = Field(default=1, ge=0, le=10_000, description="no trial ends before so many epochs")
    startup_trials: int = Field(default=4, ge=1, le=1000, description="none ends before so many have been finished")


class HyperbandPruner(Spec):
    """Successive halving in several brackets: some trials get a short look only, some a long one (Li et al. 2018, JMLR
    18)."""

    name: Literal["hyperband"] = "hyperband"
    min_epochs: int = Field(default=1, ge=1, le=10_000, description="every trial gets so many")
    reduction_factor: int = Field(default=3, ge=2, le=100, description="one of so many goes on to the next rung")


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Pruner = Annotated[MedianPruner | HyperbandPruner, Field(discriminator="name")]
Sampler = Literal["grid", "random", "tpe"]
Objective = Literal["val_accuracy", "val_loss"]


class SweepSpec(Spec):
    """A sweep. `preset` fills in whatever is not given; otherwise `base` and `space` are required."""

    preset: str | None = Field(default=None, description="a sweep preset's name: it fills in whatever is not given")
    name: Name = "sweep"
    tags: list[Tag] = Field(default=[], max_length=MAX_TAGS, description="every experiment of the sweep gets them, too")
    base: dict[str, Any] = Field(description="what all experiments have in common, as it would be submitted itself")
    space: dict[str, CheckedDimension] = Field(
        min_length=1,
        max_length=50,
        description="what is varied: a list of values or a range for each dotted path, e.g. `optimizer.learning_rate`",
    )
    sampler: Sampler = "grid"
    trials: int | None = Field(
        default=None, ge=1, description=f"points to try; {DEFAULT_TRIALS} by default, and all of a grid"
    )
    parallel: int = Field(default=2, ge=1, le=MAX_EXPERIMENTS, description="points that are tried at the same time")
    seeds: int = Field(default=1, ge=1, le=100, description="experiments a point: the base's seed, and those after it")
    objective: Objective = Field(
        default="val_accuracy", description="a point's value is that of its best epoch, the mean of its seeds'"
    )
    pruner: Annotated[Pruner | None, BeforeValidator(_named)] = Field(
        default=None, description="ends trials early that will hardly become the best; `median` or `hyperband`"
    )
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="of the sampler")

    @property
    def maximises(self) -> bool:
        """Whether a larger objective is the better one."""
        return self.objective == "val_accuracy"

    @property
    def points(self) -> int:
        """How many points are tried."""
        if self.sampler != "grid":
            return self.trials or DEFAULT_TRIALS
        every = math.prod(len(values) for values in self.space.values() if isinstance(values, list))
        return min(every, self.trials or every)

    @property
    def epochs(self) -> int:
        """Epochs of a trial, at most."""
        match self.space.get("epochs"):
            case IntRange(high=high):
                return high
            case list(choices):
                return max(int(str(choice)) for choice in choices)
            case _:
                return self.experiments(next(self.probes()), 0)[0].epochs

    def grid(self) -> Iterator[Params]:
        """All points of a grid; the last path's values follow each other."""
        choices = [values for values in self.space.values() if isinstance(values, list)]
        for values in itertools.product(*choices):
            yield dict(zip(self.space, values, strict=True))

    def request(self, params: Params) -> dict[str, Any]:
        """The base with a point's values in it, as it would be submitted."""
        request = copy.deepcopy(self.base)
        # What holds others comes before them: `optimizer` before `optimizer.learning_rate`.
        for path in sorted(params, key=lambda path: path.count(".")):
            paths.put(request, path, params[path])
        return request

    def experiments(self, params: Params, number: int) -> list[ExperimentSpec]:
        """The experiments of a point, one for each seed.

        Raises:
            ValidationError: the point is no possible experiment.
        """
        first = ExperimentSpec.model_validate(self.request(params))
        tags = list(dict.fromkeys([*self.tags, *first.tags]))
        common = {"name": f"{self.name[:180]}, trial {number}", "tags": tags}
        return [first.model_copy(update={**common, "seed": first.seed + index}) for index in range(self.seeds)]

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("preset"), str):
            return given
        preset = SWEEP_PRESETS.get(given["preset"])
        if preset is None:
            known = ", ".join(SWEEP_PRESETS)
            raise _refusal(f"there is no such sweep preset; there are: {known}", "preset")
        filled = preset.spec | {"name": preset.name} | given
        if isinstance(given.get("base"), dict):
            filled["base"] = preset.spec["base"] | given["base"]
        return filled

    @model_validator(mode="after")
    def _can_be_sampled(self) -> Self:
        for path, dimension in self.space.items():
            if not dimension:
                raise _refusal("there is no value in the list", "space", path)
            if self.sampler == "grid" and isinstance(dimension, Range):
                raise _refusal("a grid needs lists of values; sample ranges with random or tpe", "space", path)
            if path.split(".")[0] in UNDECISIVE:
                raise _refusal("it decides nothing about the outcome", "space", path)
        if self.seeds > 1 and "seed" in self.space:
            raise _refusal("the space varies the seed already", "seeds")
        if self.seeds > 1 and self.pruner:
            raise _refusal("a trial of several seeds has several learning curves: leave the pruner out", "pruner")
        if (count := self.points * self.seeds) > MAX_EXPERIMENTS:
            counted = f"{self.points:,} points" + (f" with {self.seeds} seeds each" if self.seeds > 1 else "")
            field = "space" if self.sampler == "grid" else "trials"
            message = f"these are {counted}: {count:,} experiments, and at most {MAX_EXPERIMENTS:,} are allowed"
            raise _refusal(message, field)
        return self

    @model_validator(mode="after")
    def _has_possible_points(self, info: ValidationInfo) -> Self:
        if info.context is STORED:
            return self
        for params in self.probes():
            try:
                spec = self.experiments(params, 0)[0]
            except ValidationError as error:
                raise _explained(error, self.request(params), self.space) from None
            if spec.validation.on == "none":
                raise _refusal("a sweep needs a validation metric: set validation to a split or the test set", "base")
            if spec.seed + self.seeds > MAX_SEED + 1:
                raise _refusal(f"the last one would be larger than {MAX_SEED}", "seeds")
        return self

    def probes(self) -> Iterator[Params]:
        """Points that show whether all are possible: every point of a grid; else every end, one at a time."""
        if self.sampler == "grid":
            yield from itertools.islice(self.grid(), self.points)
            return
        ends = {
            path: dimension if isinstance(dimension, list) else [dimension.low, dimension.high]
            for path, dimension in self.space.items()
        }
        first = {path: values[0] for path, values in ends.items()}
        yield first
        for path, values in ends.items():
            for value in values[1:]:
                yield first | {path: value}


def _check_bounds(low: float, high: float, log: bool) -> None:
    if low > high:
        raise _refusal(f"low ({low}) is larger than high ({high})", "low")
    if log and low <= 0:
        raise _refusal("a logarithmic range begins above 0", "low")


def _explained(error: ValidationError, request: dict[str, Any], space: Mapping[str, Any]) -> ValidationError:
    """What a point's experiment was refused for, said of the field of the sweep that is to blame."""
    first = error.errors()[0]
    location = paths.plain(first["loc"], request)
    message = "there is no such field" if first["type"] == "extra_forbidden" else first["msg"]
    for path in space:
        steps = path.split(".")
        if location[: len(steps)] == steps[: len(location)] or location == [path]:
            return _refusal(message, "space", path)
    return _refusal(message, "base", *location)


def _refusal(message: str, *field: str) -> ValidationError:
    # Braces would be read as a format template.
    error = PydanticCustomError("sweep", "{message}", {"message": message})
    return ValidationError.from_exception_data("sweep", [InitErrorDetails(type=error, loc=field, input=None)])
