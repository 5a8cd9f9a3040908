"""Four times as many requests as the service can answer: what do they get, and how soon is all well again afterwards?

    python benchmarks/overload.py                                              # 30 s, four images a request
    python benchmarks/overload.py --data-dir numeral-data --images 1           # with its model, of a copy; JSON

First many clients ask as fast as they are answered: that is the maximum. Then requests are sent at fixed moments,
whatever is answered when (an open loop, as the world is): at a low rate, at four times the maximum, at the low rate
again. The generators take processors from the service where both run on one machine, so that it then answers less than
its maximum; with more images a request they take less.

The exit status is 1 if anything is not as it must be.
"""

import argparse
import resource
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import databases
import load
import made
import numpy as np
import output
import servers
import snapshot
import workloads
from databases import Database, fresh_database
from fleet import end_on_sigterm
from load import Ask, Exchange, Generators, Phase
from output import Figures
from workloads import Workload

MAXIMUM_CONNECTIONS = 64
BEFORE, AFTER = Phase(rate=20, seconds=2), Phase(rate=20, seconds=4)
RECOVERY_SECONDS = 1.0
"""After the overload, until a request at the low rate takes no longer than usual."""

USUAL_FACTOR = 5
"""Times the median before the overload, that a request may take and still count as answered as usual."""

USUAL_SECONDS = 0.05
"""What counts as usual in any case."""

LEAST_SENT = 0.9
"""Of what was due during the overload: otherwise the generators were the bottleneck, and it was none."""

LOG_SHOWN = 4000
"""Last characters of the service's log, where it says why it failed."""

MILLISECONDS = 1000


def run(database: Database, arguments: argparse.Namespace) -> Figures:
    """Measure the maximum, exceed it, and see what came of the requests."""
    workload = _workload(arguments.images)
    with _server(database, arguments) as server, Generators(arguments.generators) as generators:
        server.wait_until_answers(*workload[1:4])
        server.settle()
        ask = Ask(server.url, *workload[1:4])
        closed = generators.closed(ask, MAXIMUM_CONNECTIONS, arguments.maximum_seconds).wait()
        maximum = sum(each.status == 200 for each in closed) / arguments.maximum_seconds
        server.settle()
        rush = Phase(arguments.factor * maximum, arguments.seconds)
        exchanges = generators.open(ask, [BEFORE, rush, AFTER], arguments.connections).wait()
        if any(each.status >= 500 for each in exchanges):
            print(server.log()[-LOG_SHOWN:])
    before, during, after = ([each for each in exchanges if each.phase == phase] for phase in range(3))
    usual = max(USUAL_SECONDS, USUAL_FACTOR * statistics.median(each.seconds for each in before))
    return {
        "api_processes": arguments.processes,
        "images_a_request": arguments.images,
        "maximum_per_second": maximum,
        "due_per_second": rush.rate,
        "seconds": rush.seconds,
        **_counted(exchanges),
        **_overload(during, arguments.accepted_p99),
        **_recovery(after, max(each.sent for each in during), usual),
    }


def _counted(exchanges: Sequence[Exchange]) -> Figures:
    statuses = Counter(each.status for each in exchanges)
    return {
        "accepted": statuses[200],
        "refused": statuses[429],
        "nothing_was_refused": [] if statuses[429] else ["there was no overload"],
        "refused_without_saying_when": [each.due for each in exchanges if each.status == 429 and not each.says_when],
        "server_errors": [each.status for each in exchanges if each.status >= 500],
        "other_statuses": [each.status for each in exchanges if 200 < each.status < 500 and each.status != 429],
        "broken_connections": [each.due for each in exchanges if each.was_sent and each.status == load.BROKEN],
    }


def _overload(during: Sequence[Exchange], bound: float) -> Figures:
    sent = [each for each in during if each.was_sent]
    seconds = max(each.sent for each in sent) - min(each.sent for each in sent)
    accepted = [each for each in sent if each.status == 200]
    in_time = [each for each in accepted if each.answered <= during[0].due + seconds]
    p99 = _p99([each.seconds for each in accepted])
    few = len(sent) < LEAST_SENT * len(during)
    return {
        "sent_per_second": len(sent) / seconds,
        "sent_late_p99_ms": _p99([each.sent - each.due for each in sent]) * MILLISECONDS,
        "too_few_were_sent": [f"{len(sent)} of {len(during)}"] if few else [],
        "goodput_per_second": len(in_time) / seconds,
        "accepted_p50_ms": statistics.median(each.seconds for each in accepted) * MILLISECONDS,
        "accepted_p99_ms": p99 * MILLISECONDS,
        "accepted_p99_since_due_ms": _p99([each.answered - each.due for each in accepted]) * MILLISECONDS,
        "accepted_p99_over_its_bound": [p99] if p99 > bound else [],
        "refused_p99_ms": _p99([each.seconds for each in sent if each.status == 429]) * MILLISECONDS,
    }


def _recovery(after: Sequence[Exchange], end: float, usual: float) -> Figures:
    well = [each.answered - end for each in after if each.status == 200 and each.answered - each.due < usual]
    recovered = min(well, default=float("inf"))
    return {
        "usual_ms": usual * MILLISECONDS,
        "recovered_after_ms": recovered * MILLISECONDS,
        "recovered_too_late": [recovered] if recovered > RECOVERY_SECONDS else [],
        "low_rate_answers_afterwards": len(after),
        "… of which unusually slow or refused": len(after) - len(well),
    }


def _p99(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=100)[-1] if len(seconds) > 1 else 0.0


def _workload(images: int) -> Workload:
    pixels = np.random.default_rng(0).integers(0, 256, (images, 28, 28), np.uint8)
    if images == 1:
        return workloads.as_json("/v1/predict", pixels[0], None)
    return workloads.as_octets("/v1/predict", pixels, (), "octets")


def _server(database: Database, arguments: argparse.Namespace) -> servers.Server:
    settings = {"database_url": database.url, "api_processes": arguments.processes}
    if arguments.max_waiting_requests is not None:
        settings["max_waiting_requests"] = arguments.max_waiting_requests
    return servers.numeral(database.folder, **settings)


@contextmanager
def _database(data_dir: Path | None, kind: str) -> Iterator[Database]:
    if data_dir is not None:
        with tempfile.TemporaryDirectory(prefix="numeral-") as name:
            yield Database("sqlite", snapshot.copy(data_dir, Path(name)), Path(name), None)
        return
    with fresh_database(kind) as database:
        engine = database.engine()
        made.succeed(engine, seed=0)
        engine.dispose()
        yield database


def _allow_many_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=databases.KINDS, default="sqlite")
    parser.add_argument("--data-dir", type=Path, help="of a service on SQLite, with a model that is in production")
    parser.add_argument("--seconds", type=float, default=30, help="of overload")
    parser.add_argument("--maximum-seconds", type=float, default=5, help="that the maximum is measured for")
    parser.add_argument("--factor", type=float, default=4, help="times the maximum")
    parser.add_argument("--images", type=int, default=4, help="in each request: one as JSON, several as bytes")
    parser.add_argument("--processes", type=int, default=2, help="of the API")
    parser.add_argument("--generators", type=int, default=2, help="processes that generate the load")
    parser.add_argument("--connections", type=int, default=8192, help="that are opened at most")
    parser.add_argument("--max-waiting-requests", type=int, help="the service's setting")
    parser.add_argument("--accepted-p99", type=float, default=2.0, metavar="SECONDS", help="that must not be exceeded")
    output.add_option(parser)
    arguments = parser.parse_args()

    end_on_sigterm()
    _allow_many_connections()
    with _database(arguments.data_dir, arguments.database) as database:
        found = {database.kind: run(database, arguments)}
    output.show("overload", found)
    output.save(arguments.json, found)
    return 0 if all(map(output.is_right, found.values())) else 1


if __name__ == "__main__":
    raise SystemExit(main())
