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

import pytest
from PIL import Image

from service import __version__
from service.data import catalogue
from service.store.database import open_engine


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
    lines = ask("predict", *files, "--model", trained).splitlines()
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
    assert "0001" in numeral("db", "upgrade", "--data-dir", tmp_path).stdout


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
