"""Predictions over HTTP: the service beside LitServe, a plain FastAPI endpoint, and onnxruntime without a server.

    uv run --with litserve python benchmarks/serving.py
    uv run python benchmarks/serving.py --data-dir numeral-data --litserve-python ~/litserve/bin/python

Needs wrk (`apt install wrk`) and MNIST. Without --data-dir a `baseline` is trained first, for one epoch; with it, that
directory's production model is used, of a copy. All get the same ONNX file, the same images, as many processes, and one
thread of onnxruntime in each; the service has its metrics and logs as it is shipped, the others write no access log. A
round starts each server afresh and measures it while nothing else runs; the rounds follow each other, so that a machine
that slows down is fair to all. Answers are compared with onnxruntime's own before anything is measured.

The exit status is 1 if a server answered anything but 200.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import contenders
import numpy as np
import onnxruntime
import output
import servers
import snapshot
import targets
import wrk
from contenders import BATCHES, CONNECTIONS, LITSERVE, NUMERAL, ONE_PROCESS, PLAIN, Contender, Material
from fleet import end_on_sigterm
from servers import Server
from targets import Target
from workloads import JSON, Workload

from service.client import Client
from service.data import catalogue
from service.settings import load_settings

RAW = "onnxruntime"
RAW_BATCHES = (1, *BATCHES)

LARGE_REQUEST = 1000
"""Images."""

CHECKS = 8
"""Times that each workload is asked before it is measured, so that every process has loaded what it takes."""

WARM_SECONDS = 2
WARM_CONNECTIONS = 16
LOG_SHOWN = 2000
"""Last characters of a server's log, where it may say why it failed."""

MEBIBYTE = 1024 * 1024


class Cell(NamedTuple):
    """What is measured."""

    server: str
    workload: str
    connections: int | None


class Measured(NamedTuple):
    """One measurement, or the median of several. What onnxruntime without a server has not is None."""

    images_per_second: float
    requests_per_second: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    rss_mb: float | None = None
    cold_start_seconds: float | None = None
    failed: int = 0


Round = dict[Cell, Measured]


def measure(contender: Contender, seconds: int) -> Round:
    """Start a server, and measure all that it is asked."""
    measured: Round = {}
    with contender.start() as server:
        first, _ = contender.cells[0]
        cold = server.wait_until_answers(first.path, first.content_type, first.body)
        server.settle()
        for workload in dict.fromkeys(workload for workload, _ in contender.cells):
            _check(server, contender.name, workload)
        _load(server, first, WARM_CONNECTIONS, WARM_SECONDS)
        for workload, connections in contender.cells:
            # What the last clients did not wait for is still being worked on.
            server.settle()
            load = _load(server, workload, connections, seconds)
            if load.failed:
                print(f"{contender.name}, {workload.name}, {connections} at once: {load}\n{server.log()[-LOG_SHOWN:]}")
            measured[Cell(contender.name, workload.name, connections)] = Measured(
                load.requests_per_second * workload.images,
                load.requests_per_second,
                load.p50_ms,
                load.p99_ms,
                server.rss() / MEBIBYTE,
                cold,
                load.failed,
            )
    return measured


def measure_raw(onnx: Path, threads: int, seconds: int) -> Round:
    """onnxruntime without a server, with one thread and with as many as the servers have."""
    measured: Round = {}
    for count, batch in product(sorted({1, threads}), RAW_BATCHES):
        command = [sys.executable, str(contenders.PEERS / "raw.py"), str(onnx)]
        command += ["--threads", str(count), "--batch", str(batch), "--seconds", str(seconds)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        measured[_raw(count, batch)] = Measured(float(printed))
    return measured


def lines(processes: int) -> list[Target[Round]]:
    """What must come out, and what is only stated."""

    def speed(server: str, workload: str, connections: int | None) -> Callable[[Round], float]:
        return lambda found: found[Cell(server, workload, connections)].images_per_second

    def raw(threads: int) -> Callable[[Round], float]:
        return lambda found: max(found[_raw(threads, batch)].images_per_second for batch in BATCHES)

    def plain(connections: int) -> Callable[[Round], float]:
        ways = [speed(PLAIN, contenders.octets_in(batch), connections) for batch in BATCHES]
        return lambda found: max(way(found) for way in ways)

    def over(one: Callable[[Round], float], other: Callable[[Round], float]) -> Callable[[Round], float]:
        return lambda found: one(found) / other(found)

    def quickness(found: Round) -> float:
        peer, ours = (found[Cell(server, contenders.JSON, 16)] for server in (LITSERVE, NUMERAL))
        return peer.p50_ms / 2 / ours.p99_ms

    json_speed = {connections: speed(NUMERAL, contenders.JSON, connections) for connections in CONNECTIONS}
    alone, *busy = CONNECTIONS
    wanted: list[Target[Round]] = []
    for connections in busy:
        ours, at = json_speed[connections], f"JSON, {connections} at once"
        wanted += [
            Target(f"{at}: to LitServe", 4, over(ours, speed(LITSERVE, contenders.JSON, connections))),
            Target(f"{at}: to {PLAIN}", 2.5, over(ours, speed(PLAIN, contenders.JSON, connections))),
            Target(f"{at}: to {RAW} in {processes} threads", 0.5, over(ours, raw(processes))),
            Target(
                f"{at}: int8 to fp32", 1.6, over(speed(NUMERAL, contenders.INT8, connections), json_speed[connections])
            ),
            Target(f"PNG as it is, {connections} at once: to JSON", 0.7, over(_png(connections), ours)),
        ]
    wanted.append(Target("JSON, 16 at once: half of LitServe's p50 to our p99", 1, quickness))
    wanted.append(
        Target(f"JSON, 1 at once: to {PLAIN}", 1, over(json_speed[alone], speed(PLAIN, contenders.JSON, alone)))
    )
    for connections in (1, 2):
        ours, at = speed(ONE_PROCESS, contenders.OCTETS, connections), f"{contenders.OCTETS}, {connections} at once"
        wanted.append(Target(f"{at}: one process to {RAW} in {processes} threads", 0.7, over(ours, raw(processes))))
        wanted.append(Target(f"{at}: one process to {PLAIN}", 1, over(ours, plain(connections))))
    several = speed(NUMERAL, contenders.OCTETS, 1)
    wanted.append(
        Target(
            f"{contenders.OCTETS}, 1 at once: {processes} processes to {RAW} in 1 thread", 0.7, over(several, raw(1))
        )
    )
    wanted.append(
        Target(f"{contenders.OCTETS}, 1 at once: {processes} processes to {PLAIN}", 1, over(several, plain(1)))
    )
    for workload, connections in product((contenders.PREPROCESSED, contenders.DRAWING), CONNECTIONS):
        name = f"{workload}, {connections} at once: to PNG as it is"
        wanted.append(Target(name, None, over(speed(NUMERAL, workload, connections), _png(connections))))
    return wanted


def show(found: dict[Cell, Measured]) -> None:
    """The table."""
    width = max(len(cell.server) for cell in found)
    broad = max(len(cell.workload) for cell in found)
    heads = ("at once", "req/s", "p50 ms", "p99 ms", "images/s", "RSS MB", "cold s", "failed")
    print(f"\n{'server':{width}}  {'workload':{broad}}" + "".join(f"{head:>10}" for head in heads))
    for cell, of in found.items():
        cells = (
            _shown(cell.connections, "d"),
            _shown(of.requests_per_second, ",.0f"),
            _shown(of.p50_ms, ",.1f"),
            _shown(of.p99_ms, ",.1f"),
            _shown(of.images_per_second, ",.0f"),
            _shown(of.rss_mb, ",.0f"),
            _shown(of.cold_start_seconds, ".2f"),
            _shown(of.failed, "d"),
        )
        print(f"{cell.server:{width}}  {cell.workload:{broad}}" + "".join(f"{each:>10}" for each in cells))


def prepare(folder: Path, data_dir: Path | None) -> Material:
    """Have a model in a data directory of our own, its ONNX file beside it, and images with their digits."""
    settings = load_settings()
    images = catalogue.load("mnist", settings.datasets_dir, settings.cache_dir).test.images[:LARGE_REQUEST]
    if data_dir is None:
        _train(folder, settings.datasets_dir)
    else:
        snapshot.copy(data_dir, folder)
    with servers.numeral(folder) as server, Client(server.url) as client:
        client.wait_until_ready(servers.START_SECONDS)
        model = json.loads(_asked(server, "GET", "/v1/models/production"))
        onnx = folder / "model.onnx"
        onnx.write_bytes(_asked(server, "GET", f"/v1/experiments/{model['id']}/artifacts/model.onnx"))
        if model["int8"]:
            target = {"experiment_id": model["id"], "variant": "int8"}
            _asked(server, "PUT", f"/v1/models/aliases/{contenders.INT8_ALIAS}", json.dumps(target).encode())
    return Material(folder, onnx, images, _digits(onnx, images), model["int8"])


def main() -> int:
    """Measure, print, and say whether each ratio is what it must be; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="of a service, with a model that is in production")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--litserve-python", default=sys.executable, metavar="FILE", help="interpreter with LitServe")
    output.add_option(parser)
    arguments = parser.parse_args()
    if wrk.is_missing():
        raise SystemExit("wrk is needed to generate load: apt install wrk")
    litserve_python = arguments.litserve_python
    if not contenders.has_litserve(litserve_python):
        print(f"{litserve_python} has no LitServe: it is left out (uv run --with litserve, or --litserve-python).")
        litserve_python = None

    end_on_sigterm()
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="numeral-") as name:
        material = prepare(Path(name), arguments.data_dir)
        if not material.int8:
            print("The model has no int8 variant: that is left out.")
        for _ in range(arguments.rounds):
            measured: Round = {}
            for contender in contenders.contenders(material, arguments.processes, litserve_python):
                measured |= measure(contender, arguments.seconds)
            rounds.append(measured | measure_raw(material.onnx, arguments.processes, arguments.seconds))
            # After every round: it would be a pity about a quarter of an hour.
            found = {cell: _median([each[cell] for each in rounds]) for cell in rounds[0]}
            judged = targets.judge(lines(arguments.processes), rounds)
            output.save(arguments.json, _as_json(rounds, found, judged))
    show(found)
    targets.show(judged)
    return 1 if any(of.failed for of in found.values()) else 0


def _load(server: Server, workload: Workload, connections: int, seconds: int) -> wrk.Load:
    return wrk.run(server.url + workload.path, workload.content_type, workload.body, connections, seconds)


def _check(server: Server, name: str, workload: Workload) -> None:
    for _ in range(CHECKS):
        status, answer = server.ask(workload.path, workload.content_type, workload.body)
        if status != 200 or not workload.is_answered_by(answer):
            raise RuntimeError(f"{name} answers {workload.name} wrongly, {status}: {answer[:300]!r}\n{server.log()}")


def _train(folder: Path, datasets_dir: Path | None) -> None:
    datasets = {} if datasets_dir is None else {"datasets_dir": datasets_dir.absolute()}
    with servers.numeral(folder, "up", **datasets) as server, Client(server.url) as client:
        client.wait_until_ready(servers.START_SECONDS)
        experiment = client.submit({"preset": "baseline", "epochs": 1, "int8": True})
        for event in client.events(experiment.id):
            print(event.type, event.data, flush=True)


def _asked(server: Server, method: str, path: str, body: bytes = b"") -> bytes:
    status, answer = server.ask(path, JSON, body, method)
    if status != 200:
        raise RuntimeError(f"{method} {path} was answered {status}: {answer[:300]!r}")
    return answer


def _digits(onnx: Path, images: np.ndarray) -> tuple[int, ...]:
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    probabilities = session.run(None, {session.get_inputs()[0].name: images[..., np.newaxis].astype(np.float32)})[0]
    return tuple(probabilities.argmax(axis=1).tolist())


def _raw(threads: int, batch: int) -> Cell:
    return Cell(RAW, f"{threads} × 1 thread, batches of {batch}", None)


def _png(connections: int) -> Callable[[Round], float]:
    return lambda found: found[Cell(NUMERAL, contenders.PNG, connections)].images_per_second


def _median(measured: Sequence[Measured]) -> Measured:
    columns = zip(*(each[:-1] for each in measured), strict=True)
    middle = [None if None in values else statistics.median(values) for values in columns]
    return Measured(*middle, failed=sum(each.failed for each in measured))


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _as_json(rounds: Sequence[Round], found: Round, judged: Sequence[targets.Found]) -> dict[str, object]:
    def rows(measured: Round) -> list[dict[str, object]]:
        return [cell._asdict() | of._asdict() for cell, of in measured.items()]

    return {
        "medians": rows(found),
        "ratios": [each._asdict() for each in judged],
        "rounds": [rows(measured) for measured in rounds],
    }


if __name__ == "__main__":
    raise SystemExit(main())
