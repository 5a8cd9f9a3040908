"""The base of every part of a spec."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Immutable; refuses unknown fields, numbers sent as text and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
