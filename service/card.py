"""A model's serving card, the artifact `serving.json`: what serving it takes beside its weights.

Training writes it (`service.train.calibrate`), the inference side reads it. A model that was trained before there were
cards is served with `ServingCard()`: uncalibrated, and verified by nothing but a run.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ARTIFACT = "serving.json"


class Variant(StrEnum):
    """A precision that a model can be served in."""

    FP32 = "fp32"
    INT8 = "int8"


ONNX_ARTIFACTS = {Variant.FP32: "model.onnx", Variant.INT8: "model.int8.onnx"}
"""The file of each variant. An experiment that has none of a variant cannot be served in it."""

Share = Annotated[float, Field(ge=0, le=1)]


class Golden(BaseModel):
    """Test images with what each variant said about them when it was exported: a loaded model must say so again."""

    images: bytes = Field(description="base64 in JSON: N × 784 unsigned bytes")
    probabilities: dict[Variant, list[list[float]]] = Field(description="(N, 10) raw probabilities of each variant")

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class ServingCard(BaseModel):
    """How a model's raw probabilities become an answer.

    Attributes:
        preprocess_version: `service.inference.preprocess.VERSION` that the model was calibrated with.
        temperature: divides the logits (Guo et al. 2017, "On Calibration of Modern Neural Networks").
        threshold: confidence under which a picture is not taken for a digit, unless the caller says otherwise.
        floor: the same for pixels that are taken as they are. It is so low that no image of the test set is refused:
            such pixels come from callers who know MNIST's form, and their answers are the evaluation's.
        calibrated_on: the data that temperature and threshold were fitted on.
        test_accuracy: of each variant that was kept.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    preprocess_version: int = 0
    temperature: float = Field(default=1.0, gt=0)
    threshold: Share = 0.5
    floor: Share = 0.0
    calibrated_on: Literal["validation", "test", "nothing"] = "nothing"
    calibration_images: int = 0
    test_accuracy: dict[Variant, Share] = {}
    golden: Golden | None = None
