"""ExperimentSpec: all that decides an experiment's outcome, and refuses what cannot work."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from service.specs.augmentation import Augmentation
from service.specs.base import Spec
from service.specs.layers import Layer
from service.specs.optimizers import Adadelta, Optimizer
from service.specs.presets import PRESETS, fill
from service.specs.schedules import Cosine, Schedule
from service.specs.shapes import INPUT_SHAPE, ImpossibleLayer, Shape, after, classifier, sizes

MAX_PARAMETERS = 100_000_000
"""Most parameters of a model: 400 MB of weights, and three times that while Adam trains them."""

MAX_ACTIVATIONS = 20_000_000
"""Most numbers that a model puts out for one image, over all of its layers: 80 MB an image of a batch."""

MAX_LAYERS = 100

# No control characters: they have no business in a name, and Postgres cannot store a NUL.
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=PRINTABLE)]
Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=PRINTABLE)]


class ModelSpec(Spec):
    """A stack of layers. The service adds the scaling before it and the softmax layer over the classes behind it."""

    layers: list[Layer] = Field(min_length=1, max_length=MAX_LAYERS)

    @property
    def parameters(self) -> int:
        """How many parameters the Keras model has, the softmax layer's included."""
        stack = sizes(self.layers)
        return sum(size.parameters for size in stack) + classifier(stack[-1].shape).parameters

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        shape: Shape = INPUT_SHAPE
        parameters = activations = 0
        for index, layer in enumerate(self.layers):
            try:
                shape, added = after(layer, shape)
            except ImpossibleLayer as error:
                field = (error.field,) if error.field else ()
                raise _refusal("impossible_layer", str(error), ("layers", index, *field)) from None
            parameters += added
            activations += math.prod(shape)
            if parameters > MAX_PARAMETERS:
                message = f"the model has {parameters:,} parameters up to here; at most {MAX_PARAMETERS:,} are allowed"
                raise _refusal("too_many_parameters", message, ("layers", index))
            if activations > MAX_ACTIVATIONS:
                message = f"the layers up to here put out {activations:,} numbers an image; at most {MAX_ACTIVATIONS:,}"
                raise _refusal("too_many_activations", message, ("layers", index))
        try:
            parameters += classifier(shape).parameters
        except ImpossibleLayer:
            message = "the last layer must put out a vector: end with flatten, dense or global_average_pooling2d"
            raise _refusal("impossible_layer", message, ("layers", len(self.layers) - 1)) from None
        if parameters > MAX_PARAMETERS:
            message = f"the model has {parameters:,} parameters; at most {MAX_PARAMETERS:,} are allowed"
            raise _refusal("too_many_parameters", message, ("layers",))
        return self


class ValidateOnTest(Spec):
    """Watch the test set. Selecting by it flatters the result; it is here because the notebook did so."""

    on: Literal["test"] = "test"


class ValidateOnSplit(Spec):
    """Hold out a fraction of the training images, chosen by the seed."""

    on: Literal["split"] = "split"
    fraction: float = Field(default=0.1, gt=0, lt=1)


class NoValidation(Spec):
    """Watch nothing: the validation columns of the metrics stay empty."""

    on: Literal["none"] = "none"


Validation = Annotated[ValidateOnTest | ValidateOnSplit | NoValidation, Field(discriminator="on")]


class EarlyStopping(Spec):
    """Stop when the validation metric has not become better by `min_delta` for `patience` epochs."""

    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    patience: int = Field(default=3, ge=1, le=1000)
    min_delta: float = Field(default=0.0, ge=0)
    restore_best: bool = True


class ExperimentSpec(Spec):
    """One experiment. `preset` fills in whatever is not given; otherwise only `model` is required."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"preset": "baseline"},
                {"preset": "baseline", "name": "quick look", "train_limit": 5000, "epochs": 2},
                {
                    "name": "small dense net",
                    "model": {"layers": [{"type": "flatten"}, {"type": "dense", "units": 64, "activation": "relu"}]},
                    "optimizer": {"name": "adam", "learning_rate": 0.002},
                    "epochs": 3,
                },
            ]
        }
    )

    preset: str | None = Field(default=None, description="a preset's name: it fills in whatever is not given")
    name: Name = "experiment"
    tags: list[Tag] = Field(default=[], max_length=20)
    priority: int = Field(default=0, ge=-1000, le=1000, description="higher is trained first")
    max_attempts: int = Field(
        default=3, ge=1, le=100, description="give up when so many attempts have lost their worker or process"
    )
    dataset: str = Field(default="mnist", min_length=1, max_length=64)
    train_limit: int | None = Field(default=None, ge=10, description="train on the first so many training images")
    rescale: float = Field(
        default=1 / 255, gt=0, le=1, description="factor of the scaling layer that every model begins with"
    )
    model: ModelSpec
    optimizer: Optimizer = Adadelta()
    schedule: Schedule | None = Field(
        default=None, description="how the learning rate moves; null: it stays what the optimizer says"
    )
    loss: Literal["categorical_crossentropy", "mse"] = "categorical_crossentropy"
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="part of a training label that is spread over all digits (Szegedy et al. 2016, arXiv:1512.00567); "
        "validation and test loss are without it",
    )
    batch_size: int = Field(default=128, ge=1, le=16384)
    epochs: int = Field(default=6, ge=1, le=10_000)
    seed: int = Field(default=0, ge=0, lt=2**31)
    validation: Validation = ValidateOnSplit()
    early_stopping: EarlyStopping | None = None
    augmentation: Augmentation | None = None
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    int8: bool = Field(
        default=False,
        description="also make a model of 8-bit integers, kept if it loses at most 0.1 points of test accuracy",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("preset"), str):
            return given
        preset = PRESETS.get(given["preset"])
        if preset is None:
            raise _refusal(
                "unknown_preset",
                f"there is no such preset; there are: {', '.join(PRESETS)}",
                ("preset",),
                given["preset"],
            )
        return fill(given, preset)

    @field_validator("tags")
    @classmethod
    def _without_repeats(cls, tags: list[str]) -> list[str]:
        return list(dict.fromkeys(tags))

    @model_validator(mode="after")
    def _smooths_labels_of_a_cross_entropy(self) -> Self:
        if self.label_smoothing and self.loss != "categorical_crossentropy":
            message = "label smoothing needs the loss categorical_crossentropy"
            raise _refusal("nothing_to_smooth", message, ("label_smoothing",), self.label_smoothing)
        return self

    @model_validator(mode="after")
    def _warms_up_in_its_epochs(self) -> Self:
        if isinstance(self.schedule, Cosine) and self.schedule.warmup_epochs > self.epochs:
            message = f"the rate cannot rise for longer than the {self.epochs} epoch(s) of the training"
            field = ("schedule", "cosine", "warmup_epochs")
            raise _refusal("warmup_too_long", message, field, self.schedule.warmup_epochs)
        return self

    @model_validator(mode="after")
    def _stops_by_what_it_watches(self) -> Self:
        if self.early_stopping and self.validation.on == "none":
            message = "early stopping needs a validation metric: set validation to a split or the test set"
            raise _refusal("nothing_to_monitor", message, ("early_stopping",))
        return self


class Submission(ExperimentSpec):
    """An experiment, and how it is to be put into the queue."""

    reuse: bool = Field(
        default=False,
        description="answer with an experiment that has succeeded with the same spec, data and code, if there is one",
    )

    @property
    def spec(self) -> ExperimentSpec:
        """The experiment alone, as it is stored."""
        # Validated already, as part of this.
        return ExperimentSpec.model_construct(**{name: getattr(self, name) for name in ExperimentSpec.model_fields})


def _refusal(kind: Any, message: str, field: tuple[str | int, ...], value: Any = None) -> ValidationError:
    """A validation error that points at a field inside the object being validated, not at the object."""
    # Braces would be read as a format template.
    error = PydanticCustomError(kind, "{message}", {"message": message})
    return ValidationError.from_exception_data("spec", [InitErrorDetails(type=error, loc=field, input=value)])
