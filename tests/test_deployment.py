"""The images and the compose file, as far as they can be tried without a container engine.

The Dockerfile's own installation steps for the target `api` are run here in a clean folder, and what they install is
started with the image's own entry point, health check and stop signal. That needs `uv` (`make test` sees to it).
"""

import json
import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import typer
import yaml

from service.cli import app
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "docker-compose.yml"
ONE_SHOT = {"migrate"}
IMAGES = ("api", "worker")


class Instruction(NamedTuple):
    keyword: str
    text: str


class Stage(NamedTuple):
    parent: str
    instructions: list[Instruction]


def read_stages() -> dict[str, Stage]:
    """The Dockerfile's stages by name: comments dropped, continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    stages: dict[str, Stage] = {}
    instructions: list[Instruction] = []
    for line in re.sub(r"\\\n", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        keyword, _, text = line.partition(" ")
        if keyword == "FROM":
            parent, _, name = text.partition(" AS ")
            instructions = []
            stages[name] = Stage(parent, instructions)
        else:
            instructions.append(Instruction(keyword, text.strip()))
    return stages


STAGES = read_stages()
SERVICES = yaml.safe_load(COMPOSE.read_text())["services"]
VOLUMES = yaml.safe_load(COMPOSE.read_text())["volumes"]
BUILT = {name: service for name, service in SERVICES.items() if "build" in service}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def lineage(name: str) -> list[Instruction]:
    """A stage's instructions behind those of the stages that it starts from."""
    stage = STAGES.get(name)
    return [*lineage(stage.parent), *stage.instructions] if stage else []


def last(name: str, keyword: str) -> str:
    """The instruction that is in force at the end of a stage."""
    return [instruction.text for instruction in lineage(name) if instruction.keyword == keyword][-1]


def exec_form(name: str, keyword: str) -> list[str]:
    """The command of an instruction in exec form; of HEALTHCHECK, what follows CMD."""
    return json.loads(re.sub(r"^(--\S+ )*CMD ", "", last(name, keyword)))


def environment(name: str) -> dict[str, str]:
    """What the ENV instructions of an image set."""
    texts = [instruction.text for instruction in lineage(name) if instruction.keyword == "ENV"]
    return dict(pair.split("=", 1) for text in texts for pair in shlex.split(text))


def uv_commands(name: str) -> list[str]:
    """The RUN instructions of a stage itself, without their mounts: all of them are calls of uv."""
    runs = [instruction.text for instruction in STAGES[name].instructions if instruction.keyword == "RUN"]
    return [re.sub(r"^(--mount=\S+\s+)+", "", run) for run in runs]


def copied(name: str) -> list[str]:
    """What a stage copies from the build context."""
    return [source for keyword, text in STAGES[name].instructions if keyword == "COPY" for source in text.split()[:-1]]


def folders(service: dict[str, Any]) -> dict[str, str]:
    """Which volume or folder of the host is mounted where."""
    mounts = [mount.removesuffix(":ro").rsplit(":", 1) for mount in service.get("volumes", [])]
    return {inside: outside for outside, inside in mounts}


# The compose file


def test_compose_file_is_valid_by_the_compose_specification():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE.name]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check_unless_it_runs_once(name):
    service = SERVICES[name]
    check = service.get("healthcheck", {})
    if name in ONE_SHOT:
        assert check == {"disable": True}
    elif "build" in service:
        # The image's: written once, it cannot differ between compose file and image.
        assert exec_form(service["build"]["target"], "HEALTHCHECK")[:2] == ["python", "-c"]
        assert not check.get("disable")
    else:
        assert check["test"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_comes_back_by_itself_unless_it_runs_once(name):
    assert SERVICES[name]["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")


def test_database_is_migrated_once_before_anything_uses_it():
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in BUILT.keys() - ONE_SHOT:
        assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}


def test_password_must_be_given_and_is_written_nowhere():
    secrets = [
        value
        for service in SERVICES.values()
        for variable, value in service.get("environment", {}).items()
        if re.search("PASSWORD|SECRET|TOKEN|KEY", variable)
    ]
    assert len(secrets) == len(SERVICES)
    for value in secrets:
        # `:?` refuses an empty password, too; compose prints what follows it.
        assert re.fullmatch(r"\$\{POSTGRES_PASSWORD:\?[^}]+\}", value)
    assert not re.search(r"://[^/\s@]+:[^/\s@$]+@", COMPOSE.read_text()), "a URL holds a password"


def test_all_services_use_the_database_that_the_compose_file_starts():
    database = SERVICES["postgres"]["environment"]
    url = f"postgresql://{database['POSTGRES_USER']}@postgres:5432/{database['POSTGRES_DB']}"
    assert {service["environment"]["NUMERAL_DATABASE_URL"] for service in BUILT.values()} == {url}


def test_only_the_gpu_worker_reserves_a_gpu():
    devices = SERVICES["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    assert [name for name, service in SERVICES.items() if "deploy" in service] == ["worker"]


def test_workers_are_opt_in_by_profile_and_the_rest_is_not():
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "worker": ["gpu"],
        "worker-cpu": ["cpu"],
    }


@pytest.mark.parametrize("name", BUILT)
def test_every_build_names_a_target_and_arguments_that_the_dockerfile_has(name):
    build = BUILT[name]["build"]
    assert build["target"] in IMAGES
    arguments = {text.partition("=")[0] for keyword, text in lineage(build["target"]) if keyword == "ARG"}
    assert set(build.get("args", {})) <= arguments
    # Two parallel builds that export one name collide.
    assert "image" not in BUILT[name]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_runs_without_root_and_without_capabilities(name):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc"} & set(service)
    if "build" in service:
        assert "user" not in service, "the image's user is in force"
        assert service["read_only"] is True
        assert service["init"] is True
    else:
        assert service["user"] not in {"root", "0"}


def test_api_is_the_only_service_that_is_reachable_from_outside():
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "api": [f"${{NUMERAL_PORT:-8000}}:{environment('api')['NUMERAL_PORT']}"]
    }


def test_volumes_are_mounted_where_the_images_write_and_the_workers_look():
    mounts = {name: folders(service) for name, service in SERVICES.items()}
    for name in ("worker", "worker-cpu"):
        assert mounts[name][environment("worker")["NUMERAL_CACHE_DIR"]] == "cache"
        assert (
            mounts[name][SERVICES[name]["environment"]["NUMERAL_DATASETS_DIR"]] == "${NUMERAL_DATASETS_DIR:-datasets}"
        )
    assert mounts["postgres"] == {"/var/lib/postgresql": "postgres"}
    assert set(VOLUMES) == {"cache", "datasets", "postgres"}
    for service in BUILT.values():
        writable = {mount.partition(":")[0] for mount in service["tmpfs"]}
        assert writable == {"/tmp", environment("api")["NUMERAL_DATA_DIR"]}  # what a read-only container can write


@pytest.mark.parametrize("path", [DOCKERFILE, COMPOSE, ROOT / "docs/deployment.md"], ids=lambda path: path.name)
def test_every_variable_that_is_named_is_a_setting(path):
    named = set(re.findall(r"\bNUMERAL_[A-Z_]+\b", path.read_text()))
    settings = {
        f"NUMERAL_{name.upper()}" for name, field in Settings.model_fields.items() if not field.validation_alias
    }
    assert named
    assert named <= settings


# The images


def test_api_image_has_no_training_stack_and_the_worker_image_has():
    # The API leads sweeps, and their sampler tpe is an extra.
    assert all(re.findall(r"--(?:all-)?extras? ?\S*", command) == ["--extra sweep"] for command in uv_commands("api"))
    assert all('--extra "$EXTRA"' in command for command in uv_commands("worker"))
    default = last("worker", "ARG").removeprefix("EXTRA=")
    chosen = {service["build"].get("args", {}).get("EXTRA", default) for service in BUILT.values()}
    assert (default, chosen) == ("gpu", {"gpu", "train"})
    assert chosen <= set(PROJECT["project"]["optional-dependencies"])


@pytest.mark.parametrize("image", IMAGES)
def test_image_installs_what_is_locked_and_keeps_dependencies_in_a_layer_of_their_own(image):
    dependencies, project = uv_commands(image)
    for command in (dependencies, project):
        assert command.startswith("uv sync --frozen --no-dev ")
    assert dependencies.endswith("--no-install-project")
    assert project.endswith("--no-editable")
    steps = [text for keyword, text in STAGES[image].instructions if keyword in {"COPY", "RUN"}]
    assert steps[0] == "pyproject.toml uv.lock ./"
    assert steps[1].endswith(dependencies)
    assert steps[-1].endswith(project)


@pytest.mark.parametrize("image", IMAGES)
def test_image_runs_a_known_command_as_a_user_without_rights(image):
    assert last(image, "USER") == "10001:10001"
    assert exec_form(image, "ENTRYPOINT") == list(PROJECT["project"]["scripts"])
    assert STAGES[image].instructions[-1].keyword == "CMD"


@pytest.mark.parametrize("image", IMAGES)
def test_image_sends_nothing_to_the_makers_of_onnxruntime(image):
    assert environment(image)["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize(
    "words",
    [*(exec_form(image, "CMD") for image in IMAGES), *(service["command"] for service in BUILT.values())],
    ids=" ".join,
)
def test_every_command_of_images_and_services_exists(words):
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]


def test_build_context_is_what_the_dockerfile_copies():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert let_in == set(copied("api")) == set(copied("worker"))
    assert all((ROOT / path).exists() for path in let_in)
    assert any(fnmatch("service/api/__pycache__", line) for line in lines[1:])


def test_versions_of_uv_and_python_are_those_of_the_project():
    [pinned] = re.findall(r"\buv==(\S+)", DOCKERFILE.read_text())
    assert f"UV_VERSION := {pinned}\n" in (ROOT / "Makefile").read_text()
    [python] = re.findall(r"^FROM python:(3\.\d+)-slim\S* AS base$", DOCKERFILE.read_text(), re.MULTILINE)
    assert f"Programming Language :: Python :: {python}" in PROJECT["project"]["classifiers"]


@pytest.mark.parametrize(
    ("processes", "healthy"),
    [
        ([["python", "-m", "service.worker.child", "5"], ["numeral", "worker"]], True),
        ([["numeral", "worker"]], False),
        # Of a child that has died but is not reaped yet, the system tells no command line.
        ([["numeral", "worker"], None, []], False),
    ],
    ids=["child", "no child", "dead child"],
)
def test_worker_is_healthy_while_it_has_a_training_process(monkeypatch, tmp_path, processes, healthy):
    listed = [type("Process", (), {"info": {"cmdline": cmdline}}) for cmdline in processes]
    monkeypatch.setattr(psutil, "process_iter", lambda attributes: iter(listed))
    script = tmp_path / "check.py"
    script.write_text(exec_form("worker", "HEALTHCHECK")[2])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script))
    assert (not end.value.code) is healthy


# The api image, installed as the Dockerfile says


class Installed(NamedTuple):
    """An environment that the Dockerfile's steps made."""

    folder: Path
    env: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    if shutil.which("uv") is None:
        pytest.skip("needs uv on PATH to run the Dockerfile's installation steps (`make test` puts it there)")
    folder = tmp_path_factory.mktemp("image")
    source = folder / "src"
    source.mkdir()
    ours = re.compile("NUMERAL_|POSTGRES_|PG|PYTHON|VIRTUAL_ENV$|UV_PROJECT|KERAS_")
    outside = {name: value for name, value in os.environ.items() if not ours.match(name)}
    building = {
        **outside,
        "UV_PROJECT_ENVIRONMENT": str(folder / "env"),
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
    }
    for keyword, text in STAGES["api"].instructions:
        if keyword == "COPY":
            copy(text, source)
        elif keyword == "RUN":
            [command] = [command for command in uv_commands("api") if text.endswith(command)]
            done = subprocess.run(
                ["sh", "-c", command], cwd=source, env=building, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stderr}"
    # What runs from here on is what was installed.
    shutil.rmtree(source)
    (folder / "data").mkdir()
    running = {
        **outside,
        "PATH": f"{folder / 'env/bin'}{os.pathsep}{os.environ['PATH']}",
        "NUMERAL_DATA_DIR": str(folder / "data"),
        "NUMERAL_CACHE_DIR": str(folder / "cache"),
    }
    return Installed(folder, running)


def copy(text: str, folder: Path) -> None:
    """What COPY does: files into the destination, of a folder the contents."""
    *sources, destination = text.split()
    assert not any(source.startswith("--") for source in sources), "only what the build context has"
    for source in sources:
        path = ROOT / source
        if path.is_dir():
            shutil.copytree(path, folder / destination, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, folder / destination)


def test_installed_command_explains_itself(installed):
    done = installed.run("numeral", "--help")
    assert done.returncode == 0, done.stderr
    assert "worker" in done.stdout


def test_installed_package_brings_its_migrations(installed):
    done = installed.run("numeral", "db", "upgrade")
    assert done.returncode == 0, done.stderr
    assert (installed.folder / "data/numeral.db").is_file()


@pytest.mark.parametrize("name", ["tensorflow", "keras", "sklearn", "onnx", "pytest"])
def test_installed_environment_has_neither_training_nor_development_packages(installed, name):
    done = installed.run("python", "-c", f"import {name}")
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


def test_a_worker_of_the_api_image_says_what_it_lacks(installed):
    done = installed.run("numeral", "worker")
    assert done.returncode == 1
    assert "numeral[train]" in done.stderr


@pytest.fixture
def served(installed) -> Iterator[tuple[Installed, subprocess.Popen[bytes]]]:
    """The image's entry point and command, on a port of its own."""
    assert installed.run("numeral", "db", "upgrade").returncode == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    here = installed._replace(env={**installed.env, "NUMERAL_HOST": "127.0.0.1", "NUMERAL_PORT": str(port)})
    assert here.run(*exec_form("api", "HEALTHCHECK")).returncode == 1, "nothing answers yet"
    command = [*exec_form("api", "ENTRYPOINT"), *exec_form("api", "CMD")]
    with subprocess.Popen(command, cwd=here.folder, env=here.env, stderr=subprocess.DEVNULL) as process:
        yield here, process
        process.kill()


def test_api_image_reports_health_and_ends_on_its_stop_signal(served):
    here, process = served
    deadline = time.monotonic() + 60
    while here.run(*exec_form("api", "HEALTHCHECK")).returncode != 0:
        assert process.poll() is None, "the API ended by itself"
        assert time.monotonic() < deadline, "the API is not healthy after a minute"
    process.send_signal(signal.Signals[last("api", "STOPSIGNAL")])
    # Docker kills after 10 s.
    assert process.wait(timeout=9) == 0
