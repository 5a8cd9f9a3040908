"""Promotions back and forth while clients predict: does any request fail, is any answered by a model of the past?

    python benchmarks/promotions.py                                            # 300, SQLite and Postgres
    python benchmarks/promotions.py --data-dir numeral-data                    # with its two newest models, of a copy
    python benchmarks/promotions.py --model-memory 1                           # only one model is kept in memory

A client that has been told of a promotion may rely on it: whatever is sent after that must be answered by the new model
or a later one, by every process of the API. The promotions come to any of the processes. Memory must not grow.

The exit status is 1 if anything is not as it must be.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import databases
import load
import made
import numpy as np
import output
import servers
import snapshot
import stub
import workloads
from databases import Database, fresh_database
from fleet import end_on_sigterm
from load import Ask, Exchange, Generators
from output import Figures
from servers import Server
from sqlalchemy import Engine

from service.store import registry
from service.store.database import reading

ALIAS = "/v1/models/aliases/production"
FIRST_LOOK = 20
"""Promotions until the memory is looked at first: by then all that is done once is done."""

GROWTH_BYTES = 10 * 1024 * 1024
PAUSE_SECONDS = (0.01, 0.08)
"""Between promotions, so that there are moments at which only one model may answer."""

LOOKS, LOOK_SECONDS = 5, 0.05
WARM_SECONDS = 1.0
LONGEST_SECONDS = 3600.0
MEBIBYTE = 1024 * 1024
MILLISECONDS = 1000


class Promotion(NamedTuple):
    """A model that has become the production one: asked for at one moment, acknowledged at another."""

    model: int
    sent: float
    acknowledged: float


def run(database: Database, arguments: argparse.Namespace) -> Figures:
    """Promote under load, and see what the clients got."""
    models = _models(database)
    settings = {"database_url": database.url, "api_processes": arguments.processes}
    if arguments.model_memory is not None:
        settings["model_memory_bytes"] = arguments.model_memory
    with servers.numeral(database.folder, **settings) as server, Generators() as generators:
        workload = workloads.as_json("/v1/predict", np.zeros((28, 28), np.uint8), None)
        server.wait_until_answers(*workload[1:4])
        server.settle()
        promotions = [_promote(server, models[0])]
        answers = generators.closed(Ask(server.url, *workload[1:4]), arguments.connections, LONGEST_SECONDS)
        time.sleep(WARM_SECONDS)
        promotions += _promote_in_turn(server, models, min(FIRST_LOOK, arguments.promotions), stub.dice(arguments.seed))
        before = _memory(server)
        left = arguments.promotions - len(promotions) + 1
        promotions += _promote_in_turn(server, models, left, stub.dice(arguments.seed))
        after = _memory(server)
        generators.end()
        exchanges = answers.wait()
    growth = after - before
    seconds = [each.seconds for each in exchanges if each.status != load.BROKEN]
    return {
        "promotions": len(promotions) - 1,
        "api_processes": arguments.processes,
        "connections": arguments.connections,
        "promotion_median_ms": statistics.median(each.acknowledged - each.sent for each in promotions) * MILLISECONDS,
        "answers": len(exchanges),
        "answers_that_one_model_alone_may_give": sum(len(_allowed(each, promotions)) == 1 for each in exchanges),
        "answer_median_ms": statistics.median(seconds) * MILLISECONDS,
        "answer_p99_ms": statistics.quantiles(seconds, n=100)[-1] * MILLISECONDS,
        "answer_max_ms": max(seconds) * MILLISECONDS,
        "failed": [each.status for each in exchanges if each.status != 200],
        "by_the_wrong_model": [each.model for each in exchanges if _is_wrong(each, promotions)],
        f"rss_after_{FIRST_LOOK}_mb": before / MEBIBYTE,
        "rss_in_the_end_mb": after / MEBIBYTE,
        "grown_by_too_many_mb": [growth / MEBIBYTE] if growth > GROWTH_BYTES else [],
    }


def _models(database: Database) -> list[int]:
    """Two models: the newest ones there are, or made now."""
    engine = database.engine()
    found = _newest(engine)
    while len(found) < 2:
        made.succeed(engine, seed=len(found))
        found = _newest(engine)
    engine.dispose()
    return found[:2]


def _newest(engine: Engine) -> list[int]:
    with reading(engine) as session:
        return [model.id for model in registry.models(session)]


def _promote_in_turn(server: Server, models: Sequence[int], count: int, chance: random.Random) -> Iterator[Promotion]:
    for number in range(count):
        time.sleep(chance.uniform(*PAUSE_SECONDS))
        yield _promote(server, models[(number + 1) % len(models)])


def _promote(server: Server, model: int) -> Promotion:
    sent = time.monotonic()
    # On a connection of its own: the kernel chooses the process that gets it.
    status, answer = server.ask(ALIAS, workloads.JSON, json.dumps({"experiment_id": model}).encode(), "PUT")
    if status != 200:
        raise RuntimeError(f"a promotion was answered {status}: {answer[:300]!r}\n{server.log()}")
    return Promotion(model, sent, time.monotonic())


def _allowed(exchange: Exchange, promotions: Sequence[Promotion]) -> set[int]:
    """The models that may answer: the one that was in production for sure, and those that may have come since."""
    last = bisect_right(promotions, exchange.sent, key=lambda promotion: promotion.acknowledged) - 1
    end = bisect_right(promotions, exchange.answered, key=lambda promotion: promotion.sent)
    return {promotion.model for promotion in promotions[max(last, 0) : end]}


def _is_wrong(exchange: Exchange, promotions: Sequence[Promotion]) -> bool:
    return exchange.status == 200 and exchange.model not in _allowed(exchange, promotions)


def _memory(server: Server) -> float:
    looks = []
    for _ in range(LOOKS):
        time.sleep(LOOK_SECONDS)
        looks.append(server.rss())
    return statistics.median(looks)


@contextmanager
def _copied(data_dir: Path) -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="numeral-") as name:
        yield Database("sqlite", snapshot.copy(data_dir, Path(name)), Path(name), None)


def main() -> int:
    """Run it on each database; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    databases.add_option(parser)
    parser.add_argument("--data-dir", type=Path, help="of a service on SQLite; what is missing of two models is made")
    parser.add_argument("--promotions", type=int, default=300)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2, help="of the API")
    parser.add_argument("--model-memory", type=int, metavar="BYTES", help="for loaded models, in each process")
    parser.add_argument("--seed", type=int, default=0)
    output.add_option(parser)
    arguments = parser.parse_args()

    end_on_sigterm()
    found: dict[str, Figures] = {}
    for kind in ("sqlite",) if arguments.data_dir else databases.chosen(arguments):
        with _copied(arguments.data_dir) if arguments.data_dir else fresh_database(kind) as database:
            found[kind] = run(database, arguments)
    output.show("promotions", found)
    output.save(arguments.json, found)
    return 0 if all(map(output.is_right, found.values())) else 1


if __name__ == "__main__":
    raise SystemExit(main())
