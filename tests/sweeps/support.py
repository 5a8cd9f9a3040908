"""A worker that is played by what a worker writes."""

from sqlalchemy import Engine

from service import schemas
from service.store import results
from service.store.database import writing
from service.store.leases import Lease

REPORT = schemas.Evaluation(
    loss=0.1,
    accuracy=0.5,
    labels=list(range(10)),
    confusion_matrix=[[1] * 10] * 10,
    per_class=[schemas.ClassReport(label=label, precision=0.5, recall=0.5, f1=0.5, support=10) for label in range(10)],
)


def finish(database: Engine, lease: Lease) -> None:
    """Train: the larger the batch and the learning rate, the better."""
    value = lease.spec.batch_size / 100 + lease.spec.optimizer.learning_rate / 10
    with writing(database) as session:
        results.start(session, lease, "cpu:0", 7850)
        metrics = schemas.EpochMetrics(
            epoch=1,
            train_loss=0.5,
            train_accuracy=value,
            val_loss=0.5,
            val_accuracy=value,
            seconds=1.0,
            learning_rate=1.0,
        )
        results.epoch(session, lease, metrics)
        result = schemas.Result(
            test_loss=0.1, test_accuracy=value / 2, parameters=7850, train_seconds=1.5, images_per_second=100.0
        )
        results.succeed(session, lease, result, REPORT, {}, b"")
