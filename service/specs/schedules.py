"""How the learning rate moves over a training; the optimizer's `learning_rate` is its peak.

A schedule follows the steps, not the epochs: the rate changes after every batch. It is laid out over all of the spec's
epochs, also where early stopping ends the training before.
"""

from typing import Annotated, Literal

from pydantic import Field

from service.specs.base import Spec

Fraction = Annotated[float, Field(ge=0, le=1)]


class Cosine(Spec):
    """Half a cosine from the peak down to `final_fraction` of it, without restarts: Loshchilov, Hutter (2017),
    arXiv:1608.03983. Before it the rate can rise in a straight line from 0."""

    name: Literal["cosine"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0, description="epochs that the rate rises for, at most all of them")
    final_fraction: Fraction = Field(default=0.0, description="of the peak, at the end of the last epoch")


class OneCycle(Spec):
    """Straight up to the peak, then straight down below where it began: Smith (2018), arXiv:1803.09820, with the last
    two of its three parts as one, and without its cycle of momentum."""

    name: Literal["one_cycle"] = "one_cycle"
    warmup_fraction: float = Field(default=0.3, ge=0, lt=1, description="part of all steps that the rate rises for")
    start_fraction: Fraction = Field(default=0.04, description="of the peak, at the first step")
    final_fraction: Fraction = Field(default=0.0, description="of the peak, at the end of the last epoch")


Schedule = Annotated[Cosine | OneCycle, Field(discriminator="name")]
