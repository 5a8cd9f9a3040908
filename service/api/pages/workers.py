"""Workers: who trains, and what."""

from fastapi import Response

from service import schemas
from service.api.deps import AppSettings, Database
from service.api.pages.base import pages
from service.states import State
from service.store import experiments, workers
from service.store.database import reading
from service.web.rendering import render

router = pages()


@router.get("/workers")
def index(database: Database, settings: AppSettings) -> Response:
    """The workers that have not said goodbye."""
    with reading(database) as session:
        items = workers.listing(session, settings.lease_seconds)
        counts = experiments.count_by_state(session)
        trained = {
            number: schemas.Experiment.model_validate(experiments.get(session, number))
            for worker in items
            for number in worker.experiments
        }
    alive = [worker for worker in items if worker.alive]
    return render(
        "workers.html",
        section="workers",
        workers=sorted(items, key=lambda worker: not worker.alive),
        alive=len(alive),
        slots=sum(worker.slots for worker in alive),
        busy=sum(len(worker.experiments) for worker in alive),
        waiting=counts[State.QUEUED],
        trained=trained,
        silent_seconds=settings.lease_seconds,
    )
