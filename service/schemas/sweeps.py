"""Sweeps and their trials."""

from datetime import datetime
from typing import Any

from pydantic import Field

from service.schemas.base import Schema
from service.states import State, SweepState, TrialState


class TrialExperiment(Schema):
    """An experiment of a trial: one of its seeds."""

    id: int
    seed: int
    state: State
    epochs: int = Field(description="trained so far")
    value: float | None = Field(description="the objective in its best epoch so far")
    best_epoch: int | None
    test_accuracy: float | None


class Trial(Schema):
    """A point of the space, and what it came to. Means and standard deviations are over its seeds."""

    number: int
    state: TrialState
    params: dict[str, Any] = Field(description="a value for each path of the space")
    value: float | None = Field(
        description="mean of the objective in each seed's best epoch; preliminary until it ends"
    )
    value_std: float | None = Field(description="of the sample; null for fewer than two seeds, as for all of them")
    test_accuracy: float | None
    test_accuracy_std: float | None
    train_seconds: float | None
    epochs: int = Field(description="trained so far, all seeds together")
    pruned_epoch: int | None = Field(description="after how many epochs it was ended early, if it was")
    error: str | None = Field(description="why there is no experiment of this point")
    experiments: list[TrialExperiment]


class SweepProgress(Schema):
    """How far a sweep is."""

    trials: int = Field(description="that it shall have in the end")
    begun: int
    ended: int
    epochs: int = Field(description="trained so far, by all experiments together")


class Sweep(Schema):
    """A sweep's record."""

    id: int
    name: str
    tags: list[str]
    state: SweepState
    spec: dict[str, Any] = Field(description="with its preset and all defaults resolved; can be submitted again")
    progress: SweepProgress
    best: Trial | None = Field(description="of the trials that have succeeded")
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class SweepDetails(Sweep):
    """A sweep with its trials, the best first."""

    trials: list[Trial]


class Sweeps(Schema):
    """Part of a list, newest first. `next_cursor` asks for what follows; it is null on the last page."""

    items: list[Sweep]
    next_cursor: str | None
