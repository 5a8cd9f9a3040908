"""The Python client, where a service goes away and comes back."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.client import Client
from service.errors import ServiceError, Unreachable
from service.specs.experiment import ExperimentSpec
from service.store import queue
from service.store.database import migrate, open_engine, writing


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


def test_a_follower_survives_a_restart_of_the_service(tmp_path: Path, free_port: int) -> None:
    database = open_engine(f"sqlite:///{tmp_path / 'numeral.db'}")
    migrate(database)
    with writing(database) as session:
        experiment_id = queue.enqueue(session, ExperimentSpec.model_validate({"preset": "baseline"})).id
    seen: list[str] = []
    first_seen = threading.Event()

    def follow() -> None:
        with Client(f"http://127.0.0.1:{free_port}") as client:
            for event in client.events(experiment_id):
                if event.type != "progress":
                    seen.append(event.type)
                first_seen.set()

    api = serve(tmp_path, free_port)
    follower = threading.Thread(target=follow)
    follower.start()
    assert first_seen.wait(30)
    stop(api)
    api = serve(tmp_path, free_port)
    try:
        with writing(database) as session:
            queue.cancel(session, experiment_id)
        follower.join(60)
        assert seen == ["queued", "cancelled"]
    finally:
        stop(api)
        database.dispose()


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
    assert client.set_alias("staging", trained).experiment_id == trained
    model = next(model for model in client.models() if model.id == trained)
    assert "staging" in model.aliases
    assert client.predict_numbers([[0] * 784], model="staging").model.id == trained
    assert [preset.name for preset in client.presets()] == ["baseline"]
    assert {dataset.name for dataset in client.datasets()} == {"mnist", "optdigits"}
