"""The workers: who is there, on which machine, and when each was last heard of."""

from collections import defaultdict

from sqlalchemy import case, delete, select, update
from sqlalchemy.orm import Session

from service import schemas
from service.states import State
from service.store.clock import now
from service.store.tables import Experiment, Worker


def register(session: Session, *, name: str, host: str, pid: int, device: str, slots: int, version: str) -> None:
    """A worker has begun."""
    session.merge(Worker(name=name, host=host, pid=pid, device=device, slots=slots, version=version))
    session.flush()


def beat(session: Session, name: str) -> bool:
    """A worker is still there. False if it is not registered: somebody took it for dead and forgot it."""
    statement = update(Worker).where(Worker.name == name).values(last_beat_at=now()).returning(Worker.name)
    return session.scalar(statement.execution_options(synchronize_session=False)) is not None


def unregister(session: Session, name: str) -> None:
    """A worker ends."""
    session.execute(delete(Worker).where(Worker.name == name))


def listing(session: Session, silent_seconds: float) -> list[schemas.Worker]:
    """All workers, the newest first, with the experiments that each trains. One that was not heard of for
    `silent_seconds` is not `alive`."""
    trained: dict[str, list[int]] = defaultdict(list)
    running = select(Experiment.worker, Experiment.id).where(Experiment.state == State.RUNNING)
    for name, experiment_id in session.execute(running.order_by(Experiment.id)):
        trained[str(name)].append(experiment_id)
    heard = case((Worker.last_beat_at >= now(-silent_seconds), True), else_=False)
    query = select(Worker, heard.label("heard")).order_by(Worker.started_at.desc(), Worker.name)
    columns = [column.name for column in Worker.__table__.columns]
    return [
        schemas.Worker(
            **{name: getattr(worker, name) for name in columns},
            alive=bool(is_heard),
            experiments=trained[worker.name],
        )
        for worker, is_heard in session.execute(query)
    ]
