"""Many processes at one database at the same moment: claims, transactions that read and then write, cancellations.

    python benchmarks/contention.py claims --processes 32 --jobs 10000
    python benchmarks/contention.py readwrite --processes 16 --seconds 120
    python benchmarks/contention.py cancels --cancels 200

The exit status is 1 if anything is not as it must be.
"""

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator

import cancels
import databases
import jobs
import output
from databases import Database, fresh_database
from fleet import end_on_sigterm
from output import Figures
from sqlalchemy import Engine, func, select
from together import together

from service.store import queue
from service.store.database import reading, writing
from service.store.tables import Experiment

LEASE_SECONDS = 3600
COUNTERS = 4
READS_PER_WRITE = 3


def claims(database: Database, arguments: argparse.Namespace) -> Figures:
    """Have many processes empty one queue at once: each job must be claimed once."""
    engine = database.engine()
    submitted = jobs.submit(engine, [jobs.spec(seed) for seed in range(arguments.jobs)])
    engine.dispose()
    shares = together(_claim_all, arguments.processes, database.url)
    claimed = Counter(number for share in shares for number in share.done)
    seconds = max(share.ended for share in shares) - min(share.began for share in shares)
    return {
        "processes": arguments.processes,
        "jobs": len(submitted),
        "distinct_claims": len(claimed),
        "claimed_twice": [number for number, times in claimed.items() if times > 1],
        "never_claimed": sorted(set(submitted) - set(claimed)),
        "errors": [share.error for share in shares if share.error],
        "claims_per_second": len(claimed) / seconds,
        "slowest_claim_seconds": max(share.slowest for share in shares),
        "fewest_claims_of_a_process": min(len(share.done) for share in shares),
        "seconds": seconds,
    }


def readwrite(database: Database, arguments: argparse.Namespace) -> Figures:
    """Have many processes read a row and write what follows from it: no write may be lost, and no error seen."""
    engine = database.engine()
    counters = jobs.submit(engine, [jobs.spec(seed) for seed in range(COUNTERS)])
    shares = together(_count, arguments.processes, database.url, counters, arguments.seconds)
    written = sum(len(share.done) for share in shares)
    with reading(engine) as session:
        counted = session.scalars(select(func.sum(Experiment.priority))).one()
        integrity = session.connection().exec_driver_sql("PRAGMA integrity_check").scalar()
    engine.dispose()
    return {
        "processes": arguments.processes,
        "seconds": arguments.seconds,
        "transactions": written,
        "transactions_per_second": written / arguments.seconds,
        "slowest_transaction_seconds": max(share.slowest for share in shares),
        "fewest_transactions_of_a_process": min(len(share.done) for share in shares),
        "errors": [share.error for share in shares if share.error],
        "lost_writes": [written - counted] if written != counted else [],
        "integrity_errors": [integrity] if integrity != "ok" else [],
    }


def cancellations(database: Database, arguments: argparse.Namespace) -> Figures:
    """Cancel experiments about when they end."""
    return cancels.run(database, arguments.cancels, arguments.workers, arguments.seed, arguments.deadline)


def _claim_all(engine: Engine) -> Iterator[int]:
    while True:
        with writing(engine) as session:
            lease = queue.claim(session, "claimant", LEASE_SECONDS)
        if lease is None:
            return
        yield lease.experiment_id


def _count(engine: Engine, counters: list[int], seconds: float) -> Iterator[int]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        chosen = random.choice(counters)  # noqa: S311  (nothing is secret here)
        with reading(engine) as session:
            before = session.get_one(Experiment, chosen).priority
        with writing(engine) as session:
            counter = session.get_one(Experiment, chosen)
            assert counter.priority >= before, "what was read once was taken back"
            counter.priority += 1
        yield chosen


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    many_claims = kinds.add_parser("claims", help=claims.__doc__)
    many_claims.set_defaults(measure=claims)
    databases.add_option(many_claims)
    many_claims.add_argument("--processes", type=int, default=32)
    many_claims.add_argument("--jobs", type=int, default=10_000)

    many_writes = kinds.add_parser("readwrite", help=readwrite.__doc__)
    # Postgres has no such trouble: there, whoever reads in order to write locks the row.
    many_writes.set_defaults(measure=readwrite, database="sqlite")
    many_writes.add_argument("--processes", type=int, default=16)
    many_writes.add_argument("--seconds", type=float, default=120)

    many_cancels = kinds.add_parser("cancels", help=cancellations.__doc__)
    many_cancels.set_defaults(measure=cancellations)
    databases.add_option(many_cancels)
    many_cancels.add_argument("--cancels", type=int, default=200)
    many_cancels.add_argument("--workers", type=int, default=8)
    many_cancels.add_argument("--seed", type=int, default=0)
    many_cancels.add_argument("--deadline", type=float, default=1800, metavar="SECONDS", help="for each database")
    for kind in (many_claims, many_writes, many_cancels):
        output.add_option(kind)
    return parser


def main() -> int:
    """Run what was asked for on each database; the exit status."""
    arguments = _options().parse_args()
    end_on_sigterm()
    found: dict[str, Figures] = {}
    for kind in databases.chosen(arguments):
        with fresh_database(kind) as database:
            found[kind] = arguments.measure(database, arguments)
    output.show(arguments.measure.__name__, found)
    output.save(arguments.json, found)
    return 0 if all(map(output.is_right, found.values())) else 1


if __name__ == "__main__":
    raise SystemExit(main())
