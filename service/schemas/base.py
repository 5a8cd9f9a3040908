"""What all answers have in common."""

from pydantic import BaseModel, ConfigDict


class Schema(BaseModel):
    """Base of all answers; can be read off a table row's attributes."""

    model_config = ConfigDict(from_attributes=True)
