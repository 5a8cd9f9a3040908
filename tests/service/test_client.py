"""The Python client: what it asks for and returns, and a service that goes away and comes back."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.card import Variant
from service.client import Client
from service.errors import InvalidInput, ServiceError, Unreachable
from service.schemas import Preprocess
from service.specs.experiment import ExperimentSpec
from service.specs.presets import PRESETS
from service.store import control, queue, results, workers
from service.store.database import migrate, open_engine, writing
from service.store.leases import Lease

BASELINE = {"preset": "baseline"}


def serve(data_dir: Path, port: int) -> subprocess.Popen[bytes]:
    """`numeral api`, ready."""
    command = [sys.executable, "-m", "service", "api", "--data-dir", str(data_dir), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with Client(f"http://127.0.0.1:{port}") as client:
        client.wait_until_ready(60)
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    assert process.wait(30) == 0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    """The database of an API that has no worker."""
    engine = open_engine(f"sqlite:///{tmp_path / 'numeral.db'}")
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def alone(database: Engine, tmp_path: Path, free_port: int) -> Iterator[Client]:
    """A client of an API that has no worker."""
    api = serve(tmp_path, free_port)
    try:
        with Client(f"http://127.0.0.1:{free_port}") as client:
            yield client
    finally:
        stop(api)


def enqueue(database: Engine) -> int:
    with writing(database) as session:
        return queue.enqueue(session, ExperimentSpec.model_validate(BASELINE)).id


def claim(database: Engine) -> Lease:
    with writing(database) as session:
        lease = queue.claim(session, "worker-1", 60)
    assert lease is not None
    return lease


def fail(database: Engine) -> None:
    lease = claim(database)
    with writing(database) as session:
        results.fail(session, lease, "diverged", "The loss became NaN.", b"")


@pytest.mark.parametrize("retried", [False, True], ids=["queued", "retried"])
def test_a_follower_survives_a_restart_of_the_service(
    database: Engine, tmp_path: Path, free_port: int, retried: bool
) -> None:
    experiment_id = enqueue(database)
    told = ["queued"]
    if retried:
        fail(database)
        with writing(database) as session:
            control.retry(session, experiment_id)
        told += ["running", "failed", "queued"]
    seen: list[str] = []
    all_told = threading.Event()

    def follow() -> None:
        with Client(f"http://127.0.0.1:{free_port}") as client:
            for event in client.events(experiment_id):
                if event.type != "progress":
                    seen.append(event.type)
                if seen == told:
                    all_told.set()

    api = serve(tmp_path, free_port)
    follower = threading.Thread(target=follow)
    follower.start()
    assert all_told.wait(30)
    stop(api)
    api = serve(tmp_path, free_port)
    try:
        with writing(database) as session:
            control.cancel(session, experiment_id)
        follower.join(60)
        assert seen == [*told, "cancelled"]
    finally:
        stop(api)


def test_the_owners_requests(alone: Client, database: Engine) -> None:
    experiment_id = alone.submit(BASELINE).id
    assert alone.pause(experiment_id).state == "paused"
    assert alone.resume(experiment_id).state == "queued"
    fail(database)
    assert alone.retry(experiment_id).state == "queued"
    claim(database)
    assert alone.pause(experiment_id).pause_requested
    assert alone.cancel(experiment_id).cancel_requested
    assert [attempt.outcome for attempt in alone.attempts(experiment_id)] == ["diverged", None]
    with pytest.raises(ServiceError, match="cancel it before") as caught:
        alone.delete(experiment_id)
    assert (caught.value.status, caught.value.problem["code"]) == (409, "conflict")


def test_a_deleted_experiment_is_gone_for_its_followers_too(alone: Client, database: Engine) -> None:
    experiment_id = enqueue(database)
    events = alone.events(experiment_id)
    assert next(events).type == "queued"
    alone.delete(experiment_id)
    with pytest.raises(ServiceError, match=f"no experiment {experiment_id}") as caught:
        list(events)
    assert caught.value.status == 404


def test_an_idempotency_key_makes_one_experiment(alone: Client) -> None:
    spec = ExperimentSpec.model_validate(BASELINE)
    ids = {alone.submit(given, idempotency_key="once").id for given in (spec, BASELINE, spec)}
    assert ids == {item.id for item in alone.experiments()}
    assert len(ids) == 1
    with pytest.raises(ServiceError) as caught:
        alone.submit(BASELINE | {"epochs": 1}, idempotency_key="once")
    assert caught.value.problem["code"] == "idempotency_key_reused"


@pytest.mark.parametrize("key", ["a\nb", "a\r\nX-Other: b", "ü", "a\0b"])
def test_a_key_that_no_header_can_carry_is_not_sent(alone: Client, key: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be sent"):
        alone.submit(BASELINE, idempotency_key=key)
    assert list(alone.experiments()) == []


def test_reuse_is_asked_for(alone: Client) -> None:
    """What the service then does is shown in tests/api."""
    assert alone.submit(BASELINE, reuse=True).state == "queued"
    with pytest.raises(ServiceError, match="reuse"):
        alone.submit(BASELINE | {"reuse": "yes"})


@pytest.mark.usefixtures("trained")
def test_what_a_worker_has_trained_is_reused(client: Client, quick: dict[str, object]) -> None:
    reused = client.submit(quick | {"name": "again"}, reuse=True)
    assert (reused.state, reused.name) == ("succeeded", "quick")


def test_workers_are_listed(alone: Client, database: Engine) -> None:
    assert alone.workers() == []
    with writing(database) as session:
        workers.register(session, name="worker-1", host="box", pid=7, device="cpu:0", slots=2, version="0.1.0")
    [worker] = alone.workers()
    assert (worker.name, worker.slots, worker.alive, worker.experiments) == ("worker-1", 2, True, [])


def test_the_problem_documents_text_and_code_are_raised(client: Client) -> None:
    with pytest.raises(ServiceError, match="no such preset") as caught:
        client.submit({"preset": "nope"})
    assert caught.value.status == 422
    assert caught.value.problem["code"] == "invalid_request"


@pytest.mark.parametrize("name", ["production#x", "../presets", "a b", "ü"])
def test_a_models_name_is_one_segment_of_the_path_whatever_it_is(client: Client, name: str) -> None:
    with pytest.raises(ServiceError) as caught:
        client.predict_numbers([[0] * 784], model=name)
    assert caught.value.status == 404


def test_no_answer_is_an_error_of_its_own(free_port: int) -> None:
    with Client(f"http://127.0.0.1:{free_port}") as client, pytest.raises(Unreachable, match="No answer"):
        client.health()


def test_lists_go_on_over_pages(client: Client, quick: dict[str, object]) -> None:
    tag = "client-pages"
    ids = [client.submit(quick | {"tags": [tag]}).id for _ in range(3)]
    for experiment_id in ids:
        client.cancel(experiment_id)
    assert [item.id for item in client.experiments(tag=tag)] == ids[::-1]
    assert [item.id for item in client.experiments(tag=tag, limit=2)] == ids[:0:-1]


def test_models_and_aliases(client: Client, trained: int) -> None:
    assert client.promote(trained, "staging").experiment_id == trained
    model = next(model for model in client.models() if model.id == trained)
    assert "staging" in model.aliases
    assert client.model("staging") == client.model(trained)
    assert [alias.alias for alias in client.aliases()] == ["production", "staging"]
    assert client.alias("staging") == client.promote(trained, "staging", minimum_accuracy=0.1, not_worse=True)
    assert [change.action for change in client.history("staging")] == ["promote"]
    for refused in (lambda: client.rollback("staging"), lambda: client.promote(trained, variant=Variant.INT8)):
        with pytest.raises(ServiceError) as caught:
            refused()
        assert caught.value.problem["code"] == "conflict"
    with pytest.raises(InvalidInput, match="minimum_accuracy"):
        client.promote(trained, minimum_accuracy=2)
    assert client.predict_numbers([[0] * 784], model="staging").model.id == trained
    [told] = client.predict_bytes(bytes(784), threshold=0.0, explain=True, preprocess=Preprocess.NONE).predictions
    assert told.explanation is not None
    assert told.explanation.preprocess == "none"
    client.delete_alias("staging")
    with pytest.raises(ServiceError, match="no alias 'staging'"):
        client.alias("staging")
    assert [preset.name for preset in client.presets()] == list(PRESETS)
    assert {dataset.name for dataset in client.datasets()} == {"mnist", "optdigits"}
