"""What a worker writes, on both databases: all of it or nothing, never without its lease. And what can be read then."""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service import schemas
from service.errors import (
    Conflict,
    IllegalTransition,
    InvalidInput,
    LeaseLost,
    NotReached,
    UnknownArtifact,
    UnknownExperiment,
    UnknownModel,
)
from service.specs.experiment import ExperimentSpec
from service.states import State
from service.store import artifacts, experiments, queue, registry, results
from service.store.database import reading, writing
from service.store.queue import Lease
from service.store.tables import Base, Experiment

RESULT = schemas.Result(
    test_loss=0.0277, test_accuracy=0.9903, parameters=4_738_826, train_seconds=96.5, images_per_second=3730.6
)

EVALUATION = schemas.Evaluation(
    loss=0.0277,
    accuracy=0.9903,
    labels=list(range(10)),
    confusion_matrix=[[980 if row == column else 0 for column in range(10)] for row in range(10)],
    per_class=[
        schemas.ClassReport(label=label, precision=0.99, recall=0.98, f1=0.985, support=980) for label in range(10)
    ],
)

FILES = {"model.keras": b"PK\x03\x04", "model.onnx": bytes(range(256)), "manifest.json": b"{}"}


def spec(**given: Any) -> ExperimentSpec:
    return ExperimentSpec.model_validate({"model": {"layers": [{"type": "flatten"}]}, "epochs": 4} | given)


def submit(database: Engine, **given: Any) -> int:
    with writing(database) as session:
        return queue.enqueue(session, spec(**given)).id


def claim(database: Engine, lease_seconds: float = 60) -> Lease:
    with writing(database) as session:
        lease = queue.claim(session, "worker-1", lease_seconds)
    assert lease is not None
    return lease


def begun(database: Engine, **given: Any) -> Lease:
    """The lease of an experiment that has just been put in and claimed."""
    submit(database, **given)
    return claim(database)


def measured(epoch: int, train_loss: float = 0.5) -> schemas.EpochMetrics:
    return schemas.EpochMetrics(
        epoch=epoch,
        train_loss=train_loss,
        train_accuracy=0.85,
        val_loss=0.4,
        val_accuracy=0.88,
        seconds=12.5,
        learning_rate=1.0,
    )


def start(session: Session, lease: Lease) -> None:
    results.start(session, lease, "cpu:0", 7850)


def progress(session: Session, lease: Lease) -> None:
    results.progress(session, lease, 0.3)


def epoch(session: Session, lease: Lease) -> None:
    results.epoch(session, lease, measured(1))


def succeed(session: Session, lease: Lease) -> None:
    results.succeed(session, lease, RESULT, EVALUATION, FILES, b"fine\n")


def fail(session: Session, lease: Lease) -> None:
    results.fail(session, lease, "diverged", "The loss became NaN.", b"oh\n")


def cancelled(session: Session, lease: Lease) -> None:
    results.cancelled(session, lease, b"stopped\n")


def write(database: Engine, lease: Lease, *steps: Callable[[Session, Lease], None]) -> int:
    """Each step in a transaction of its own; returns the experiment's id."""
    for step in steps:
        with writing(database) as session:
            step(session, lease)
    return lease.experiment_id


def look(database: Engine, experiment_id: int) -> Experiment:
    with reading(database) as session:
        return experiments.get(session, experiment_id)


def metrics(database: Engine, experiment_id: int) -> list[schemas.EpochMetrics]:
    with reading(database) as session:
        return [schemas.EpochMetrics.model_validate(row) for row in experiments.metrics(session, experiment_id)]


def events(database: Engine, experiment_id: int) -> list[tuple[str, dict[str, Any]]]:
    with reading(database) as session:
        found = experiments.events(session, experiment_id)
    assert [event.number for event in found] == list(range(1, len(found) + 1)), "numbered without gaps"
    return [(event.type, event.data) for event in found]


def content(database: Engine, experiment_id: int, name: str) -> bytes:
    with reading(database) as session:
        return artifacts.get(session, experiment_id, name).content


def all_rows(database: Engine) -> dict[str, Sequence[Any]]:
    """The whole content of the database."""
    with reading(database) as session:
        return {
            table.name: session.execute(select(table).order_by(*table.primary_key)).all()
            for table in Base.metadata.sorted_tables
        }


# The fence


@pytest.mark.parametrize("late", [start, progress, epoch, succeed, fail, cancelled])
def test_a_worker_whose_experiment_was_given_to_another_changes_nothing(
    database: Engine, late: Callable[[Session, Lease], None]
) -> None:
    submit(database)
    lost = claim(database, lease_seconds=-1)
    write(database, lost, start, epoch)
    with writing(database) as session:
        queue.reclaim_expired(session)
    claim(database)
    before = all_rows(database)

    # The error is caught inside the transaction, which is then committed: it must not hold anything.
    with writing(database) as session, pytest.raises(LeaseLost, match=f"{lost.experiment_id} is no longer"):
        late(session, lost)
    assert all_rows(database) == before


@pytest.mark.parametrize("end", [succeed, fail, cancelled])
def test_what_has_ended_is_final(database: Engine, end: Callable[[Session, Lease], None]) -> None:
    lease = begun(database)
    write(database, lease, end)
    before = all_rows(database)
    for late in (start, progress, epoch, succeed, fail, cancelled):
        with writing(database) as session, pytest.raises(LeaseLost):
            late(session, lease)
    assert all_rows(database) == before


def test_an_expired_lease_holds_as_long_as_nobody_has_taken_it(database: Engine) -> None:
    submit(database)
    lease = claim(database, lease_seconds=-1)
    assert look(database, write(database, lease, succeed)).state == State.SUCCEEDED


# On the way


def test_start_tells_what_is_trained_where(database: Engine) -> None:
    lease = begun(database)
    write(database, lease, start)
    assert look(database, lease.experiment_id).parameters == 7850
    assert events(database, lease.experiment_id)[-1] == ("started", {"device": "cpu:0", "parameters": 7850})


def test_progress_moves_the_fraction_and_leaves_no_event(database: Engine) -> None:
    lease = begun(database)
    write(database, lease, progress)
    assert look(database, lease.experiment_id).progress == {"epoch": 0, "epochs": 4, "fraction": 0.3}
    assert [kind for kind, _ in events(database, lease.experiment_id)] == ["queued", "running"]


def test_an_epoch_is_a_row_an_event_and_progress(database: Engine) -> None:
    lease = begun(database)
    write(database, lease, start, epoch)
    assert metrics(database, lease.experiment_id) == [measured(1)]
    assert look(database, lease.experiment_id).progress == {"epoch": 1, "epochs": 4, "fraction": 0.25}
    assert events(database, lease.experiment_id)[-1] == ("epoch", measured(1).model_dump())


def test_epochs_are_read_in_order(database: Engine) -> None:
    lease = begun(database)
    with writing(database) as session:
        for number in (1, 2, 3, 4):
            results.epoch(session, lease, measured(number, train_loss=1 / number))
    assert [row.train_loss for row in metrics(database, lease.experiment_id)] == [1, 1 / 2, 1 / 3, 1 / 4]


def test_an_epoch_without_validation_keeps_its_gaps(database: Engine) -> None:
    lease = begun(database)
    unwatched = measured(1).model_copy(update={"val_loss": None, "val_accuracy": None})
    with writing(database) as session:
        results.epoch(session, lease, unwatched)
    assert metrics(database, lease.experiment_id) == [unwatched]


def test_an_epoch_that_is_written_twice_is_one_row(database: Engine) -> None:
    lease = begun(database)
    with writing(database) as session:
        results.epoch(session, lease, measured(1, train_loss=0.5))
    with writing(database) as session:
        results.epoch(session, lease, measured(1, train_loss=0.25))
    assert metrics(database, lease.experiment_id) == [measured(1, train_loss=0.25)]


def test_a_new_attempt_s_start_replaces_what_the_last_one_measured(database: Engine) -> None:
    submit(database)
    first = claim(database, lease_seconds=-1)
    experiment_id = write(database, first, start, epoch)
    with writing(database) as session:
        queue.reclaim_expired(session)
    second = claim(database)
    assert metrics(database, experiment_id) == [measured(1)]

    write(database, second, start)
    assert metrics(database, experiment_id) == []
    with writing(database) as session:
        results.epoch(session, second, measured(1, train_loss=0.125))
    assert metrics(database, experiment_id) == [measured(1, train_loss=0.125)]


def test_a_start_leaves_other_experiments_metrics_alone(database: Engine) -> None:
    other = write(database, begun(database), start, epoch)
    write(database, begun(database), start)
    assert metrics(database, other) == [measured(1)]


def test_events_can_be_read_from_a_number_on(database: Engine) -> None:
    experiment_id = write(database, begun(database), start, epoch)
    with reading(database) as session:
        later = experiments.events(session, experiment_id, after=2)
    assert [(event.number, event.type) for event in later] == [(3, "started"), (4, "epoch")]


# The end


def test_success_is_the_result_the_evaluation_the_files_and_the_state(database: Engine) -> None:
    experiment_id = write(database, begun(database), start, epoch, succeed)

    experiment = look(database, experiment_id)
    assert experiment.state == State.SUCCEEDED
    assert experiment.finished_at is not None
    assert experiment.result == RESULT.model_dump()
    assert experiment.fraction == 1.0
    assert (experiment.worker, experiment.lease_token, experiment.lease_expires_at) == ("worker-1", None, None)
    with reading(database) as session:
        evaluation = experiments.evaluation(session, experiment_id)
        assert schemas.Evaluation.model_validate(evaluation) == EVALUATION
        names = [file.name for file in artifacts.of(session, experiment_id)]
    assert names == ["log.txt", "manifest.json", "model.keras", "model.onnx"]
    assert {name: content(database, experiment_id, name) for name in FILES} == FILES
    assert content(database, experiment_id, "log.txt") == b"fine\n"
    assert events(database, experiment_id)[-1] == ("succeeded", RESULT.model_dump())


def test_success_that_cannot_be_stored_whole_leaves_nothing(database: Engine) -> None:
    lease = begun(database)
    write(database, lease, start, epoch)
    before = all_rows(database)

    def succeed_and_fail() -> None:
        with writing(database) as session:
            succeed(session, lease)
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"):
        succeed_and_fail()
    assert all_rows(database) == before

    write(database, lease, succeed)
    assert look(database, lease.experiment_id).state == State.SUCCEEDED


def test_failure_keeps_the_metrics_and_the_log_and_says_why(database: Engine) -> None:
    experiment_id = write(database, begun(database), start, epoch, fail)

    experiment = look(database, experiment_id)
    assert experiment.state == State.FAILED
    assert experiment.finished_at is not None
    assert experiment.error == {"code": "diverged", "message": "The loss became NaN."}
    assert experiment.result is None
    assert metrics(database, experiment_id) == [measured(1)]
    assert content(database, experiment_id, "log.txt") == b"oh\n"
    assert events(database, experiment_id)[-1] == ("failed", experiment.error)


@pytest.mark.parametrize("odd", ["\x00", "\ud800"], ids=["nul", "surrogate"])
def test_failure_is_stored_whatever_its_message_holds(database: Engine, odd: str) -> None:
    # Messages come from exceptions of other libraries and from paths, which may hold what no database stores.
    lease = begun(database)
    with writing(database) as session:
        results.fail(session, lease, "training_error", f"OSError: cannot read a{odd}b", b"")
    error = look(database, lease.experiment_id).error
    assert error is not None
    assert error["message"].startswith("OSError: cannot read a")


def test_cancellation_keeps_the_metrics_and_the_log(database: Engine) -> None:
    experiment_id = write(database, begun(database), start, epoch, cancelled)

    experiment = look(database, experiment_id)
    assert (experiment.state, experiment.error, experiment.result) == (State.CANCELLED, None, None)
    assert experiment.finished_at is not None
    assert metrics(database, experiment_id) == [measured(1)]
    assert content(database, experiment_id, "log.txt") == b"stopped\n"
    assert events(database, experiment_id)[-1] == ("cancelled", {})


def test_a_success_cannot_be_cancelled_any_more(database: Engine) -> None:
    experiment_id = write(database, begun(database), succeed)
    before = all_rows(database)
    with writing(database) as session, pytest.raises(IllegalTransition, match="succeeded cannot become cancelled"):
        queue.cancel(session, experiment_id)
    assert all_rows(database) == before


def test_a_success_stands_although_its_owner_asked_for_the_end_too_late(database: Engine) -> None:
    lease = begun(database)
    with writing(database) as session:
        queue.cancel(session, lease.experiment_id)
    assert look(database, write(database, lease, succeed)).state == State.SUCCEEDED


@pytest.mark.parametrize("steps", [[], [start, epoch], [fail]])
def test_there_is_no_evaluation_before_the_success(
    database: Engine, steps: list[Callable[[Session, Lease], None]]
) -> None:
    experiment_id = write(database, begun(database), *steps)
    with reading(database) as session, pytest.raises(NotReached, match="has no evaluation"):
        experiments.evaluation(session, experiment_id)


# Files


def test_a_file_s_size_and_hash_are_those_of_its_content(database: Engine) -> None:
    experiment_id = write(database, begun(database), succeed)
    with reading(database) as session:
        stored = {file.name: file for file in artifacts.of(session, experiment_id)}
    for name, data in FILES.items():
        assert stored[name].size == len(data)
        assert stored[name].sha256 == hashlib.sha256(data).hexdigest()
        assert stored[name].media_type == artifacts.MEDIA_TYPES[name]


def test_a_file_that_is_stored_again_is_replaced(database: Engine) -> None:
    experiment_id = submit(database)
    for data in (b"first", b"second, longer"):
        with writing(database) as session:
            artifacts.put(session, experiment_id, "log.txt", data)
    with reading(database) as session:
        (log,) = artifacts.of(session, experiment_id)
    assert (log.size, log.sha256) == (14, hashlib.sha256(b"second, longer").hexdigest())
    assert content(database, experiment_id, "log.txt") == b"second, longer"


def test_a_file_that_is_not_there_is_unknown(database: Engine) -> None:
    experiment_id = submit(database)
    with reading(database) as session:
        for name in ("model.onnx", "no.such", "", "../log.txt", "log.txt\x00", "x" * 1000):
            with pytest.raises(UnknownArtifact):
                artifacts.get(session, experiment_id, name)


def test_files_of_an_unknown_experiment_are_its_own_error(database: Engine) -> None:
    with reading(database) as session:
        for experiment_id in (0, 1, 2**31, 10**30):
            with pytest.raises(UnknownExperiment):
                artifacts.of(session, experiment_id)
            with pytest.raises(UnknownExperiment):
                artifacts.get(session, experiment_id, "log.txt")


# Models and aliases


def served(database: Engine, reference: str) -> schemas.ServedModel:
    with reading(database) as session:
        return registry.resolve(session, reference)


def test_the_first_success_takes_the_default_alias_and_keeps_it(database: Engine) -> None:
    first = write(database, begun(database, name="first"), succeed)
    second = write(database, begun(database, name="second"), succeed)
    assert served(database, "production") == schemas.ServedModel(id=first, name="first", alias="production")
    assert look(database, second).state == State.SUCCEEDED


def test_a_failure_does_not_take_the_default_alias(database: Engine) -> None:
    write(database, begun(database), fail)
    later = write(database, begun(database), succeed)
    assert served(database, "production").id == later


def test_an_alias_that_was_given_away_is_not_taken_back_by_a_later_success(database: Engine) -> None:
    write(database, begun(database), succeed)
    chosen = write(database, begun(database), succeed)
    with writing(database) as session:
        registry.set_alias(session, "production", chosen)
    write(database, begun(database), succeed)
    assert served(database, "production").id == chosen


def test_a_model_is_found_by_its_id_and_by_every_alias(database: Engine) -> None:
    experiment_id = write(database, begun(database, name="good"), succeed)
    with writing(database) as session:
        alias = registry.set_alias(session, "canary-2_b", experiment_id)
        assert (alias.alias, alias.experiment_id) == ("canary-2_b", experiment_id)
    assert served(database, str(experiment_id)) == schemas.ServedModel(id=experiment_id, name="good", alias=None)
    assert served(database, "canary-2_b").alias == "canary-2_b"


def test_an_alias_that_moves_is_stamped_anew(database: Engine) -> None:
    first = write(database, begun(database), succeed)
    second = write(database, begun(database), succeed)
    with writing(database) as session:
        before = registry.set_alias(session, "canary", first).updated_at
    with writing(database) as session:
        moved = registry.set_alias(session, "canary", second)
    assert moved.experiment_id == second
    assert moved.updated_at > before


def test_a_name_that_nothing_has_is_an_unknown_model(database: Engine) -> None:
    write(database, begun(database), succeed)
    nothing = [
        "none",
        "0",
        "7",
        "007",
        "2147483648",
        "99999999999",
        "",
        "Production",
        "prod uction",
        "é",
        "a\x00",
        "-1",
    ]
    with reading(database) as session:
        for reference in nothing:
            with pytest.raises(UnknownModel, match="no model"):
                registry.resolve(session, reference)


def test_without_any_model_the_error_says_how_to_get_one(database: Engine) -> None:
    write(database, begun(database), fail)
    with reading(database) as session, pytest.raises(UnknownModel, match="submit an experiment"):
        registry.resolve(session, "production")


@pytest.mark.parametrize("end", [None, fail, cancelled])
def test_only_a_success_is_a_model(database: Engine, end: Callable[[Session, Lease], None] | None) -> None:
    lease = begun(database)
    write(database, lease, *([end] if end else []))
    with reading(database) as session, pytest.raises(UnknownModel):
        registry.resolve(session, str(lease.experiment_id))
    with writing(database) as session, pytest.raises(Conflict, match="has no model to serve"):
        registry.set_alias(session, "canary", lease.experiment_id)
    with reading(database) as session:
        assert registry.models(session) == []


def test_an_alias_that_could_be_mistaken_is_refused(database: Engine) -> None:
    experiment_id = write(database, begun(database), succeed)
    with writing(database) as session:
        for alias in ("", "1", "9lives", "Canary", "a b", "a/b", "-a", "ä", "a" * 65, "a\n"):
            with pytest.raises(InvalidInput, match="is not an alias"):
                registry.set_alias(session, alias, experiment_id)


def test_an_alias_for_an_unknown_experiment_is_refused(database: Engine) -> None:
    with writing(database) as session:
        for experiment_id in (0, 1, 2**31, 10**30):
            with pytest.raises(UnknownExperiment):
                registry.set_alias(session, "canary", experiment_id)


def test_models_are_listed_newest_first_with_their_aliases(database: Engine) -> None:
    first = write(database, begun(database, name="first"), succeed)
    write(database, begun(database, name="lost"), fail)
    second = write(database, begun(database, name="second"), succeed)
    with writing(database) as session:
        registry.set_alias(session, "canary", first)
    with reading(database) as session:
        listed = registry.models(session)
    assert [(model.id, model.name, model.aliases) for model in listed] == [
        (second, "second", []),
        (first, "first", ["canary", "production"]),
    ]
    assert all(math.isclose(model.test_accuracy, 0.9903) and model.parameters == 4_738_826 for model in listed)


# Lists


def page_ids(database: Engine, **filters: Any) -> list[int]:
    with reading(database) as session:
        return [experiment.id for experiment in experiments.page(session, **filters)]


def test_pages_follow_each_other_without_overlap_while_new_experiments_come_in(database: Engine) -> None:
    ids = [submit(database) for _ in range(5)]
    first = page_ids(database, limit=2)
    submit(database)
    second = page_ids(database, limit=2, before=first[-1])
    third = page_ids(database, limit=2, before=second[-1])
    assert first + second + third == ids[::-1]
    assert page_ids(database, before=third[-1]) == []


def test_pages_are_filtered_by_state_and_by_tag(database: Engine) -> None:
    failed = write(database, begun(database, tags=["blue", "red"]), fail)
    red = submit(database, tags=["red"])
    plain = submit(database)
    assert page_ids(database, tag="red") == [red, failed]
    assert page_ids(database, state=State.QUEUED) == [plain, red]
    assert page_ids(database, state=State.QUEUED, tag="red") == [red]
    assert page_ids(database, state=State.SUCCEEDED) == []
    assert page_ids(database, tag="re") == []
    assert page_ids(database, tag="red", before=red) == [failed]


def test_experiments_are_counted_by_state_those_that_nothing_is_in_too(database: Engine) -> None:
    write(database, begun(database), fail)
    write(database, begun(database), succeed)
    submit(database)
    submit(database)
    with reading(database) as session:
        assert experiments.count_by_state(session) == {
            State.QUEUED: 2,
            State.RUNNING: 0,
            State.SUCCEEDED: 1,
            State.FAILED: 1,
            State.CANCELLED: 0,
        }
