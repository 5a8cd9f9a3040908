"""The `numeral` command against a running service, and what it says when something is wrong."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from sqlalchemy import Engine, delete, update

from service import __version__
from service.data import catalogue
from service.data.catalogue import CATALOGUE
from service.specs.experiment import ExperimentSpec
from service.specs.fingerprint import fingerprint
from service.store import control, queue, results, workers
from service.store.clock import now
from service.store.database import migrate, migrations, open_engine, writing
from service.store.leases import Lease
from service.store.tables import Base, Checkpoint, Experiment, Worker


def numeral(*arguments: object, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service", *(str(argument) for argument in arguments)]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, env={**os.environ, "COLUMNS": "140", **environment}
    )


@pytest.fixture(scope="module")
def other_server() -> Iterator[str]:
    """A server that answers everything, but is not Numeral."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def do_DELETE(self) -> None:
            self.do_GET()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def ask(service):
    """Runs a command against the running service; it must end with the status."""

    def run(*arguments: object, stdin: str | None = None, status: int = 0) -> str:
        done = numeral(*arguments, stdin=stdin, NUMERAL_SERVER=service.url)
        assert done.returncode == status, done.stderr
        return done.stdout

    return run


class Alone(NamedTuple):
    """An API without a worker, so that an experiment stays in the state that a test has brought it into."""

    url: str
    data_dir: Path
    database: Engine

    def ask(self, *arguments: object, status: int = 0) -> str:
        """Run a command; it must end with the status. Returns what it printed."""
        done = numeral(*arguments, NUMERAL_SERVER=self.url, NUMERAL_DATA_DIR=str(self.data_dir))
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stdout + done.stderr

    def submit(self, *arguments: object) -> int:
        """Put an experiment into the queue; returns its id."""
        submitted = json.loads(self.ask("experiment", "submit", "--preset", "baseline", *arguments, "--json"))
        return submitted["id"]

    def claim(self) -> Lease:
        """Let a worker take what is best in the queue."""
        with writing(self.database) as session:
            lease = queue.claim(session, "worker-1", 60)
        assert lease is not None
        return lease


@pytest.fixture(scope="module")
def api_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    data_dir = tmp_path_factory.mktemp("alone")
    database = open_engine(f"sqlite:///{data_dir / 'numeral.db'}")
    migrate(database)
    command = [sys.executable, "-m", "service", "api", "--port", "0", "--data-dir", str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            [url] = re.findall(r"http://[^ ]+", process.stdout.readline())
            yield Alone(url, data_dir, database)
        finally:
            process.terminate()
    database.dispose()


@pytest.fixture
def alone(api_alone: Alone) -> Iterator[Alone]:
    yield api_alone
    with writing(api_alone.database) as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(delete(table))


def test_submit_and_watch_show_the_whole_way(ask, quick: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(quick))
    shown = ask("experiment", "submit", file, "--name", "from a file", "--set", "epochs=2", "--watch")
    assert "epoch   1" in shown
    assert "epoch   2" in shown
    assert "(from a file) succeeded: test accuracy 0." in shown


def test_a_spec_can_come_through_a_pipe(ask, quick: dict[str, object]) -> None:
    shown = json.loads(
        ask("experiment", "submit", "-", "--set", "optimizer.learning_rate=0.5", "--json", stdin=json.dumps(quick))
    )
    assert shown["spec"]["optimizer"]["learning_rate"] == 0.5
    assert shown["spec"]["optimizer"]["name"] == "adam"


def test_cancel_says_what_will_happen(ask, quick: dict[str, object]) -> None:
    endless = json.dumps(quick | {"epochs": 10_000})
    submitted = json.loads(ask("experiment", "submit", "-", "--json", stdin=endless))["id"]
    assert re.search("is cancelled|will be stopped", ask("experiment", "cancel", submitted))
    assert "cancelled" in ask("experiment", "watch", submitted, status=1)


def test_what_waits_is_paused_resumed_cancelled_retried_and_deleted_at_once(alone: Alone) -> None:
    experiment_id = alone.submit()
    for command, said in (
        ("pause", "is paused"),
        ("resume", "is queued again"),
        ("cancel", "is cancelled"),
        ("retry", "is queued again"),
        ("delete", "is deleted"),
    ):
        assert alone.ask("experiment", command, experiment_id) == f"Experiment {experiment_id} {said}.\n"
    assert f"no experiment {experiment_id}" in alone.ask("experiment", "show", experiment_id, status=1)


def test_what_runs_is_paused_and_cancelled_by_its_worker(alone: Alone) -> None:
    experiment_id = alone.submit()
    alone.claim()
    assert "will be paused by its worker" in alone.ask("experiment", "pause", experiment_id)
    assert "goes on and will not be paused" in alone.ask("experiment", "resume", experiment_id)
    assert "will be stopped by its worker" in alone.ask("experiment", "cancel", experiment_id)
    for command in ("pause", "delete"):
        refused = alone.ask("experiment", command, experiment_id, status=1)
        assert refused.startswith("numeral: ")
        assert len(refused.splitlines()) == 1


def test_requests_as_json_are_the_record(alone: Alone) -> None:
    experiment_id = alone.submit()
    states = [
        json.loads(alone.ask("experiment", command, experiment_id, "--json"))["state"]
        for command in ("pause", "resume", "cancel")
    ]
    assert states == ["paused", "queued", "cancelled"]
    deleted = json.loads(alone.ask("experiment", "delete", experiment_id, "--json"))
    assert deleted == {"id": experiment_id, "deleted": True}


def test_show_has_a_table_of_attempts_if_there_were_several(alone: Alone) -> None:
    experiment_id = alone.submit()
    for code in ("process_killed", "process_exited"):
        assert "outcome" not in alone.ask("experiment", "show", experiment_id)
        lease = alone.claim()
        with writing(alone.database) as session:
            queue.lose(session, lease, code, f"It was {code}.", retry_seconds=0)
    shown = alone.ask("experiment", "show", experiment_id)
    assert re.search("1 +worker-1 .*process_killed +It was process_killed", shown)
    assert re.search("2 +worker-1 .*process_exited", shown)
    record = json.loads(alone.ask("experiment", "show", experiment_id, "--json"))
    assert (record["id"], record["attempt"]) == (experiment_id, 2)


def test_watch_tells_of_a_pause_and_goes_on_after_it(alone: Alone) -> None:
    experiment_id = alone.submit()
    with writing(alone.database) as session:
        control.pause(session, experiment_id)
        control.resume(session, experiment_id)
    lease = alone.claim()
    with writing(alone.database) as session:
        control.pause(session, experiment_id)
        control.resume(session, experiment_id)
        results.start(session, lease, "cpu:0", 7850, epoch=1)
        results.fail(session, lease, "diverged", "The loss became NaN.", b"")
    with writing(alone.database) as session:
        control.retry(session, experiment_id)
        control.cancel(session, experiment_id)
    lines = alone.ask("experiment", "watch", experiment_id, status=1).splitlines()
    assert [line for line in lines if line] == [
        "paused until it is resumed",
        "queued again: resumed",
        "training 7,850 parameters on cpu:0, after epoch 1",
        "queued again: retried",
        f"Experiment {experiment_id} (baseline) cancelled",
    ]


def test_a_key_submits_once(alone: Alone) -> None:
    assert alone.submit("--idempotency-key", "k 1") == alone.submit("--idempotency-key", "k 1")
    again = ("experiment", "submit", "--preset", "baseline", "--name", "other", "--idempotency-key", "k 1")
    assert "with another request before" in alone.ask(*again, status=1)


def test_what_has_succeeded_is_reused(alone: Alone) -> None:
    experiment_id = alone.submit("--reuse")
    identity = fingerprint(ExperimentSpec.model_validate({"preset": "baseline"}), CATALOGUE["mnist"].sha256)
    measured = {"test_loss": 0.1, "test_accuracy": 0.99, "train_seconds": 1.0, "images_per_second": 1.0}
    succeeded = {"state": "succeeded", "finished_at": now(), "parameters": 7850, "fingerprint": identity}
    with writing(alone.database) as session:
        session.execute(update(Experiment).values(succeeded | measured))
    said = alone.ask("experiment", "submit", "--preset", "baseline", "--name", "again", "--reuse")
    assert said.startswith(f"Experiment {experiment_id} succeeded before.")
    assert alone.submit() != experiment_id


def test_workers_are_a_table(alone: Alone) -> None:
    assert "numeral worker" in alone.ask("workers")
    assert json.loads(alone.ask("workers", "--json")) == []
    for name, beat in (("silent", now(-3600)), ("heard", now())):
        with writing(alone.database) as session:
            workers.register(session, name=name, host="box", pid=7, device="NVIDIA [0]", slots=2, version="0.1.0")
            session.get_one(Worker, name).last_beat_at = beat
    shown = {line.split()[0]: line for line in alone.ask("workers").splitlines()}
    assert "NVIDIA [0]" in shown["heard"]
    assert "(silent)" in shown["silent"]
    assert "(silent)" not in shown["heard"]
    assert {item["name"]: item["alive"] for item in json.loads(alone.ask("workers", "--json"))} == {
        "silent": False,
        "heard": True,
    }


def test_gc_counts_and_removes(alone: Alone) -> None:
    experiment_id = alone.submit()
    with writing(alone.database) as session:
        control.cancel(session, experiment_id)
        session.add(Checkpoint(experiment_id=experiment_id, epoch=1, fraction=0.5, size=1, content=b"x"))

    def found(*options: str) -> dict[str, int]:
        counted = json.loads(alone.ask("db", "gc", "--json", *options))
        return {kind: number for kind, number in counted.items() if number}

    assert re.search("1 +checkpoints of ended experiments", alone.ask("db", "gc", "--dry-run"))
    assert found() == {"checkpoints_of_ended_experiments": 1}
    assert found("--dry-run") == {}
    assert "Removed" in alone.ask("db", "gc")


def test_gc_without_a_schema_says_what_to_run(tmp_path: Path) -> None:
    for environment in ({}, {"NUMERAL_DATABASE_URL": "postgresql://127.0.0.1:9/x"}):
        done = numeral("db", "gc", "--data-dir", tmp_path, **environment)
        assert done.returncode == 1
        assert re.search("numeral db upgrade|cannot be used", done.stderr)
        assert len(done.stderr.splitlines()) == 1


def test_list_and_show(ask, trained: int) -> None:
    assert "quick" in ask("experiment", "list")
    assert trained in [item["id"] for item in json.loads(ask("experiment", "list", "--state", "succeeded", "--json"))]
    shown = ask("experiment", "show", trained)
    assert "succeeded" in shown
    assert "Confusion matrix" in shown
    assert json.loads(ask("experiment", "show", trained, "--json"))["id"] == trained


def test_watch_as_json_is_an_event_a_line(ask, trained: int) -> None:
    events = [json.loads(line) for line in ask("experiment", "watch", trained, "--json").splitlines()]
    assert [event["event"] for event in events][-1] == "succeeded"
    assert [event["number"] for event in events if event["event"] != "progress"] == list(range(1, len(events) + 1))


def test_predict_prints_a_digit_a_file(ask, trained: int, tmp_path: Path) -> None:
    test = catalogue.load("optdigits", None, tmp_path).test
    files = []
    for index in range(3):
        files.append(tmp_path / f"{index}.png")
        Image.fromarray(test.images[index]).save(files[-1])
    header, *lines = ask("predict", *files, "--model", trained).splitlines()
    assert header.split() == ["file", "digit", "confidence", "reason"]
    assert len(lines) == 3
    assert all("%" in line for line in lines)
    answer = json.loads(ask("predict", files[0], "--model", trained, "--json"))
    assert answer["model"]["id"] == trained


def test_names_are_shown_as_they_are(ask, quick: dict[str, object]) -> None:
    for name in (r"\[/]", "[bold]x[/]", "[/nothing]"):
        submitted = json.loads(ask("experiment", "submit", "-", "--name", name, "--json", stdin=json.dumps(quick)))[
            "id"
        ]
        ask("experiment", "cancel", submitted)
        assert name in ask("experiment", "list")
        assert name in ask("experiment", "show", submitted)


MISTAKES = {
    "no service there": (["experiment", "list", "--server", "http://127.0.0.1:9"], "No answer from"),
    "no address": (["experiment", "list", "--server", "nonsense"], "not a usable address"),
    "another server": (["experiment", "list", "--server", "OTHER"], "does not answer as Numeral does"),
    "another server's stream": (["experiment", "watch", "1", "--server", "OTHER"], "does not answer as Numeral does"),
    "NaN": (["experiment", "submit", "--preset", "baseline", "--set", "rescale=NaN"], "cannot be sent"),
    "half a character": (["experiment", "submit", "--preset", "baseline", "--name", "a\udcffb"], "cannot be sent"),
    "unknown id": (["experiment", "show", "999999"], "no experiment 999999"),
    "pausing nothing": (["experiment", "pause", "999999"], "no experiment 999999"),
    "deleting nothing": (["experiment", "delete", "999999"], "no experiment 999999"),
    "deleting there": (["experiment", "delete", "1", "--server", "OTHER"], "does not answer as Numeral does"),
    "workers of another": (["workers", "--server", "OTHER"], "does not answer as Numeral does"),
    "a key of two lines": (
        ["experiment", "submit", "--preset", "baseline", "--idempotency-key", "a\nb"],
        "cannot be sent",
    ),
    "a long key": (
        ["experiment", "submit", "--preset", "baseline", "--idempotency-key", "x" * 256],
        "Idempotency-Key",
    ),
    "unknown preset": (["experiment", "submit", "--preset", "nope"], "no such preset"),
    "not JSON": (["experiment", "submit", "-"], "cannot be read as JSON"),
    "no such file": (["experiment", "submit", "nowhere.json"], "cannot be read"),
    "bad --set": (["experiment", "submit", "--preset", "baseline", "--set", "epochs"], "FIELD=VALUE"),
    "no picture there": (["predict", "nowhere.png"], "cannot be read"),
    "not a picture": (["predict", __file__], "not a picture"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_answered_with_one_line(service, other_server: str, arguments: list[str], message: str) -> None:
    arguments = [other_server if argument == "OTHER" else argument for argument in arguments]
    done = numeral(*arguments, stdin="", NUMERAL_SERVER=service.url)
    assert done.returncode == 1
    assert done.stdout.strip() == ""
    assert done.stderr.startswith("numeral: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"NUMERAL_PORT": "high"}, "NUMERAL_PORT='high'"),
        ({"NUMERAL_ENGINE": "ray"}, "NUMERAL_ENGINE='ray'"),
        ({"KERAS_BACKEND": "theano"}, "KERAS_BACKEND='theano'"),
        ({"NUMERAL_DATABASE_URL": "mysql://x/y"}, "not supported"),
        ({"NUMERAL_DATABASE_URL": "postgresql://127.0.0.1:9/x"}, "cannot be used"),
        ({"NUMERAL_DATA_DIR": "/proc/nothing"}, "cannot be made"),
        ({"NUMERAL_HEARTBEAT_SECONDS": "20"}, "at most half of the lease"),
    ],
)
def test_a_bad_setting_is_answered_with_one_line(environment: dict[str, str], message: str) -> None:
    done = numeral("up", **environment)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_taken_port_is_answered_with_one_line(service, tmp_path: Path) -> None:
    port = service.url.rpartition(":")[2]
    done = numeral("up", "--port", port, "--data-dir", tmp_path)
    assert done.returncode == 1
    assert f"Port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_api_without_a_schema_says_what_to_run(tmp_path: Path) -> None:
    done = numeral("api", "--data-dir", tmp_path)
    assert done.returncode == 1
    assert "numeral db upgrade" in done.stderr
    newest = max(file.name[:4] for file in (migrations() / "versions").glob("*.py"))
    assert newest in numeral("db", "upgrade", "--data-dir", tmp_path).stdout


def test_a_newer_versions_schema_is_left_alone(tmp_path: Path) -> None:
    numeral("db", "upgrade", "--data-dir", tmp_path)
    database = open_engine(f"sqlite:///{tmp_path / 'numeral.db'}")
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.dispose()
    for command in (["db", "upgrade"], ["up"], ["api"], ["worker"]):
        done = numeral(*command, "--data-dir", tmp_path)
        assert done.returncode == 1
        assert "newer version" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_two_upgrades_at_once_both_end_well(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service", "db", "upgrade", "--data-dir", str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs


def test_doctor_looks_without_touching(tmp_path: Path) -> None:
    done = numeral("doctor", "--json", "--data-dir", tmp_path / "nothing")
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 0
    assert __version__ in findings["numeral"]["detail"]
    assert findings["training"]["verdict"] == "ok"
    assert "does not exist yet" in findings["database"]["detail"]
    assert list(tmp_path.iterdir()) == []


def test_doctor_fails_where_the_service_could_not_work() -> None:
    done = numeral("doctor", NUMERAL_DATABASE_URL="mysql://x/y")
    assert done.returncode == 1
    assert "not supported" in done.stdout
