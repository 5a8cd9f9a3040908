"""What a worker writes, on both databases: all of it or nothing. And what can be read then."""

import hashlib

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service import schemas
from service.errors import NotReached, UnknownArtifact, UnknownExperiment
from service.states import State
from service.store import artifacts, experiments, results, reuse
from service.store.database import reading, writing
from tests.store.support import (
    EVALUATION,
    EXPIRED,
    FILES,
    RESULT,
    Step,
    all_rows,
    begun,
    cancelled,
    claim,
    epoch,
    event_types,
    events,
    fail,
    look,
    measured,
    metrics,
    progress,
    reclaim,
    see,
    start,
    submit,
    succeed,
    transact,
    write,
)


def content(database: Engine, experiment_id: int, name: str) -> bytes:
    return see(database, artifacts.get, experiment_id, name).content


# On the way


def test_start_tells_what_is_trained_where(database: Engine) -> None:
    lease = begun(database)
    write(database, lease, start)
    assert look(database, lease.experiment_id).parameters == 7850
    assert events(database, lease.experiment_id)[-1] == (
        "started",
        {"device": "cpu:0", "parameters": 7850, "epoch": 0},
    )
    assert look(database, lease.experiment_id).fingerprint is None


def test_start_keeps_what_tells_that_another_experiment_would_be_the_same(database: Engine) -> None:
    lease = begun(database)
    transact(database, results.start, lease, "cpu:0", 7850, fingerprint="f" * 64)
    assert look(database, lease.experiment_id).fingerprint == "f" * 64
    # Not yet a success.
    assert see(database, reuse.find, "f" * 64) is None
    transact(database, succeed, lease)
    assert see(database, reuse.find, "f" * 64).id == lease.experiment_id
    assert see(database, reuse.find, "0" * 64) is None


def test_progress_moves_the_fraction_and_leaves_no_event(database: Engine) -> None:
    lease = begun(database)
    write(database, lease, progress)
    assert look(database, lease.experiment_id).progress == {"epoch": 0, "epochs": 4, "fraction": 0.3}
    assert event_types(database, lease.experiment_id) == ["queued", "running"]


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
    transact(database, results.epoch, lease, unwatched)
    assert metrics(database, lease.experiment_id) == [unwatched]


def test_an_epoch_that_is_written_twice_is_one_row(database: Engine) -> None:
    lease = begun(database)
    transact(database, results.epoch, lease, measured(1, train_loss=0.5))
    transact(database, results.epoch, lease, measured(1, train_loss=0.25))
    assert metrics(database, lease.experiment_id) == [measured(1, train_loss=0.25)]


def test_a_new_attempt_s_start_replaces_what_the_last_one_measured(database: Engine) -> None:
    experiment_id = write(database, begun(database, lease_seconds=EXPIRED), start, epoch)
    reclaim(database)
    second = claim(database)
    assert metrics(database, experiment_id) == [measured(1)]

    write(database, second, start)
    assert metrics(database, experiment_id) == []
    transact(database, results.epoch, second, measured(1, train_loss=0.125))
    assert metrics(database, experiment_id) == [measured(1, train_loss=0.125)]


def test_a_start_leaves_other_experiments_metrics_alone(database: Engine) -> None:
    other = write(database, begun(database), start, epoch)
    write(database, begun(database), start)
    assert metrics(database, other) == [measured(1)]


def test_events_can_be_read_from_a_number_on(database: Engine) -> None:
    experiment_id = write(database, begun(database), start, epoch)
    later = see(database, experiments.events, experiment_id, after=2)
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

    def succeed_and_fail(session: Session) -> None:
        succeed(session, lease)
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"):
        transact(database, succeed_and_fail)
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
    transact(database, results.fail, lease, "training_error", f"OSError: cannot read a{odd}b", b"")
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


def test_losing_the_process_keeps_the_metrics_and_the_log_of_each_attempt_until_the_next(database: Engine) -> None:
    lease = begun(database, max_attempts=2)
    write(database, lease, start, epoch)
    for words, state in ((b"first\n", State.QUEUED), (b"second\n", State.FAILED)):
        lost = transact(database, results.lose, lease, "process_exited", "It is gone.", words, 0)
        assert lost == look(database, lease.experiment_id).state == state
        assert content(database, lease.experiment_id, "log.txt") == words
        lease = claim(database) if state == State.QUEUED else lease
    assert metrics(database, lease.experiment_id) == [measured(1)]


@pytest.mark.parametrize("steps", [[], [start, epoch], [fail]])
def test_there_is_no_evaluation_before_the_success(database: Engine, steps: list[Step]) -> None:
    experiment_id = write(database, begun(database), *steps)
    with reading(database) as session, pytest.raises(NotReached, match="has no evaluation"):
        experiments.evaluation(session, experiment_id)


# Files


def test_a_file_s_size_and_hash_are_those_of_its_content(database: Engine) -> None:
    experiment_id = write(database, begun(database), succeed)
    stored = {file.name: file for file in see(database, artifacts.of, experiment_id)}
    for name, data in FILES.items():
        assert stored[name].size == len(data)
        assert stored[name].sha256 == hashlib.sha256(data).hexdigest()
        assert stored[name].media_type == artifacts.MEDIA_TYPES[name]


def test_a_file_that_is_stored_again_is_replaced(database: Engine) -> None:
    experiment_id = submit(database)
    for data in (b"first", b"second, longer"):
        transact(database, artifacts.put, experiment_id, "log.txt", data)
    (log,) = see(database, artifacts.of, experiment_id)
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
