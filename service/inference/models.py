"""Loaded models: read from the database, verified, and kept as long as there is memory for them."""

import hashlib
import logging
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.card import ARTIFACT, ONNX_ARTIFACTS, Golden, ServingCard, Variant
from service.errors import ModelRefused, UnknownArtifact, UnknownModel
from service.inference.session import ClassifierSession
from service.store import artifacts
from service.store.database import reading

logger = logging.getLogger(__name__)

GOLDEN_TOLERANCE = {Variant.FP32: 1e-3, Variant.INT8: 5e-2}
"""Largest difference of a golden probability. Machines round differently; with 8 bits a rounding counts for more."""

MEMORY_FACTOR = 2
"""Memory that a model takes, in sizes of its file: its weights, and the same packed for the processor."""


class Servable(NamedTuple):
    """A model that is loaded and did what it did when it was exported."""

    experiment_id: int
    variant: Variant
    card: ServingCard
    session: ClassifierSession
    sha256: str
    memory: int


class Models:
    """Loads models on demand and keeps those used last, in at most `memory_bytes` (but always one).

    A model that is pushed out goes when the last batch that uses it is done.
    """

    def __init__(self, database: Engine, memory_bytes: int) -> None:
        self._database = database
        self._memory_bytes = memory_bytes
        self._loaded: OrderedDict[tuple[int, Variant], Servable] = OrderedDict()
        self._lock = Lock()
        # Many requests for a new model load it once, and those for a loaded one do not wait for it.
        self._loading = Lock()

    def loaded(self, experiment_id: int, variant: Variant) -> Servable | None:
        """The model, if it is loaded."""
        with self._lock:
            key = (experiment_id, variant)
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def get(self, experiment_id: int, variant: Variant) -> Servable:
        """The model, loaded if it is not yet.

        Raises:
            UnknownModel: the experiment has no such file.
            ModelRefused: the file is damaged, or does not do what it did when it was exported.
        """
        if found := self.loaded(experiment_id, variant):
            return found
        with self._loading:
            if found := self.loaded(experiment_id, variant):
                return found
            with reading(self._database) as session:
                stored = _read(session, experiment_id, variant)
            servable = _load(stored)
            self._keep(servable)
            return servable

    def verify(self, experiment_id: int, variant: Variant) -> None:
        """Make sure that the stored model can be served, and keep it ready: what a promotion asks for first.

        Raises:
            UnknownModel, ModelRefused: as `get` does; a model that is being served is not touched by that.
        """
        with self._loading:
            with reading(self._database) as session:
                stored = _read(session, experiment_id, variant)
            present = self.loaded(experiment_id, variant)
            if present is None or present.sha256 != stored.sha256:
                self._keep(_load(stored))

    def _keep(self, servable: Servable) -> None:
        with self._lock:
            self._loaded[servable.experiment_id, servable.variant] = servable
            while len(self._loaded) > 1 and sum(kept.memory for kept in self._loaded.values()) > self._memory_bytes:
                (experiment_id, variant), _ = self._loaded.popitem(last=False)
                logger.info("model %s (%s) is unloaded to make room", experiment_id, variant)


class _Stored(NamedTuple):
    experiment_id: int
    variant: Variant
    onnx: bytes
    sha256: str
    card: ServingCard


def _read(session: Session, experiment_id: int, variant: Variant) -> _Stored:
    try:
        file = artifacts.get(session, experiment_id, ONNX_ARTIFACTS[variant])
    except UnknownArtifact:
        raise UnknownModel(f"Experiment {experiment_id} has no {variant} model.") from None
    if hashlib.sha256(file.content).hexdigest() != file.sha256:
        raise ModelRefused(f"Model {experiment_id} ({variant}) is damaged: its file is not the one that was stored.")
    return _Stored(experiment_id, variant, file.content, file.sha256, _card(session, experiment_id))


def _card(session: Session, experiment_id: int) -> ServingCard:
    try:
        return ServingCard.model_validate_json(artifacts.get(session, experiment_id, ARTIFACT).content)
    except UnknownArtifact:
        return ServingCard()
    except ValidationError as error:
        raise ModelRefused(f"Model {experiment_id} has a damaged {ARTIFACT}: {error.errors()[0]['msg']}.") from None


def _load(stored: _Stored) -> Servable:
    session = ClassifierSession(stored.onnx)
    if stored.card.golden:
        _compare(session, stored.card.golden, stored)
    logger.info("model %s (%s) is loaded", stored.experiment_id, stored.variant)
    memory = MEMORY_FACTOR * len(stored.onnx)
    return Servable(stored.experiment_id, stored.variant, stored.card, session, stored.sha256, memory)


def _compare(session: ClassifierSession, golden: Golden, stored: _Stored) -> None:
    pixels = np.frombuffer(golden.images, np.uint8).reshape(-1, 28, 28, 1).astype(np.float32)
    expected = golden.probabilities.get(stored.variant)
    if expected is None:
        return
    difference = float(np.abs(session.run(pixels).probabilities - np.asarray(expected, np.float32)).max())
    # Written so that NaN is refused, too.
    if not difference <= GOLDEN_TOLERANCE[stored.variant]:
        raise ModelRefused(
            f"Model {stored.experiment_id} ({stored.variant}) does not give its golden predictions here: "
            f"a probability differs by {difference:.2g}."
        )
