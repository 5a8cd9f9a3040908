"""The files that experiments produce, kept in the database."""

import hashlib
from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, undefer

from service.errors import UnknownArtifact
from service.store import experiments
from service.store.tables import Artifact

MEDIA_TYPES = {
    "model.keras": "application/zip",
    "model.onnx": "application/octet-stream",
    "model.int8.onnx": "application/octet-stream",
    "serving.json": "application/json",
    "manifest.json": "application/json",
    "predictions.npz": "application/zip",
    "log.txt": "text/plain; charset=utf-8",
}
"""The files that there can be, and what each is served as."""


def put(session: Session, experiment_id: int, name: str, content: bytes) -> None:
    """Store a file; a file of the same name is replaced."""
    session.execute(delete(Artifact).where(Artifact.experiment_id == experiment_id, Artifact.name == name))
    session.add(
        Artifact(
            experiment_id=experiment_id,
            name=name,
            media_type=MEDIA_TYPES[name],
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            content=content,
        )
    )
    session.flush()


def of(session: Session, experiment_id: int) -> Sequence[Artifact]:
    """An experiment's files by name, without their content.

    Raises:
        UnknownExperiment: no experiment has this id.
    """
    experiments.get(session, experiment_id)
    return session.scalars(
        select(Artifact).where(Artifact.experiment_id == experiment_id).order_by(Artifact.name)
    ).all()


def get(session: Session, experiment_id: int, name: str) -> Artifact:
    """One file, with its content.

    Raises:
        UnknownExperiment: no experiment has this id.
        UnknownArtifact: it has no file of this name.
    """
    experiments.get(session, experiment_id)
    known = name in MEDIA_TYPES
    found = session.get(Artifact, (experiment_id, name), options=[undefer(Artifact.content)]) if known else None
    if found is None:
        raise UnknownArtifact(experiment_id, name)
    return found
