"""What may be asked of an alias."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.card import Share, Variant


class AliasTarget(BaseModel):
    """What an alias shall mean, and what must be true of it. What is left out has its default, not its present value.

    A gate that is not passed leaves the alias as it is.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    experiment_id: int
    variant: Annotated[Variant, Field(strict=False)] = Variant.FP32
    shadows: str | None = Field(
        default=None, description="another alias: what that is asked this alias's model answers, too, to be compared"
    )
    minimum_accuracy: Share | None = Field(default=None, description="gate: its test accuracy at least")
    not_worse: bool = Field(
        default=False, description="gate: as accurate as what the alias means, on the same test set"
    )
