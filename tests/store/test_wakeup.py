"""Waking workers, on both databases: a call comes at once, a listener outlives its connection and holds nothing."""

import queue as queues
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from service.states import State
from service.store import control, queue, wakeup
from service.store.database import reading, writing
from service.store.wakeup import CHANGED, QUEUED, REQUESTED, Listener
from tests.store.support import EXPIRED, MAKE, begun, give_back, lose, spec, submit, transact

PROMPT_SECONDS = 1.0
"""Far less than a poll takes, far more than a call does."""

postgres_only = pytest.mark.parametrize("database", ["postgres"], indirect=True)
sqlite_only = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

Calls = queues.SimpleQueue[str]


@contextmanager
def listening(database: Engine) -> Iterator[Calls]:
    """What is called from now on."""
    calls: Calls = queues.SimpleQueue()
    listener = Listener(database, calls.put)
    try:
        # It begins with a call of its own: something may have been called before.
        assert calls.get(timeout=30) == CHANGED
        yield calls
    finally:
        listener.close()


def backends(database: Engine) -> list[tuple[int, str]]:
    """Process id and state of each connection that listens."""
    query = "SELECT pid, state FROM pg_stat_activity WHERE datname = current_database() AND query = %s"
    with reading(database) as session:
        found = session.connection().exec_driver_sql(query, (f"LISTEN {wakeup.CHANNEL}",))
        return [(pid, state) for pid, state in found]


def as_told(database: Engine, what: str) -> str:
    """SQLite's listeners only know that something has changed."""
    return what if database.dialect.name == "postgresql" else CHANGED


# Calls


def running(database: Engine) -> Any:
    return begun(database, lease_seconds=EXPIRED)


def about_to_pause(database: Engine) -> Any:
    lease = running(database)
    transact(database, control.pause, lease.experiment_id)
    return lease


@pytest.mark.parametrize(
    ("prepare", "act", "what"),
    [
        (lambda _: None, lambda session, _: queue.enqueue(session, spec()), QUEUED),
        (MAKE[State.PAUSED], control.resume, QUEUED),
        (MAKE[State.FAILED], control.retry, QUEUED),
        (running, give_back, QUEUED),
        (running, lose, QUEUED),
        (running, lambda session, _: queue.reclaim_expired(session, 0), QUEUED),
        (MAKE[State.RUNNING], control.cancel, REQUESTED),
        (MAKE[State.RUNNING], control.pause, REQUESTED),
        (lambda database: about_to_pause(database).experiment_id, control.cancel, REQUESTED),
    ],
    ids=["enqueue", "resume", "retry", "give_back", "lose", "reclaim", "cancel", "pause", "cancel_instead"],
)
def test_whatever_a_worker_must_know_calls_it_at_once(
    database: Engine, prepare: Callable[[Engine], Any], act: Callable[[Session, Any], Any], what: str
) -> None:
    subject = prepare(database)
    with listening(database) as calls:
        transact(database, act, subject)
        committed = time.monotonic()
        assert calls.get(timeout=30) == as_told(database, what)
        assert time.monotonic() - committed < PROMPT_SECONDS


def test_all_who_listen_are_called(database: Engine) -> None:
    with listening(database) as first, listening(database) as second:
        submit(database)
        assert [calls.get(timeout=30) for calls in (first, second)] == [as_told(database, QUEUED)] * 2


def test_each_of_several_calls_comes(database: Engine) -> None:
    with listening(database) as calls:
        for _ in range(5):
            submit(database)
            assert calls.get(timeout=30) == as_told(database, QUEUED)


@postgres_only
def test_what_is_rolled_back_calls_nobody(database: Engine) -> None:
    experiment_id = MAKE[State.RUNNING](database)
    with listening(database) as calls:
        with writing(database) as session:
            queue.enqueue(session, spec())
            session.rollback()
        # Calls come in the order of the commits: whatever the first transaction called would be here by now.
        transact(database, control.cancel, experiment_id)
        assert calls.get(timeout=30) == REQUESTED


@postgres_only
def test_nobody_is_called_before_the_commit(database: Engine) -> None:
    experiment_id = MAKE[State.RUNNING](database)
    with listening(database) as calls:
        with writing(database) as session:
            queue.enqueue(session, spec())
            transact(database, control.cancel, experiment_id)
            assert calls.get(timeout=30) == REQUESTED
        assert calls.get(timeout=30) == QUEUED


# The connection


@postgres_only
def test_a_listener_outlives_its_connection_and_looks_for_what_it_has_missed(database: Engine) -> None:
    with listening(database) as calls:
        ((pid, _),) = backends(database)
        with writing(database) as session:
            terminated = session.connection().exec_driver_sql("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            assert terminated.scalar_one()
        submit(database)
        assert calls.get(timeout=30) == CHANGED
        submit(database)
        assert calls.get(timeout=30) == QUEUED
        ((another, _),) = backends(database)
        assert another != pid


@postgres_only
def test_no_transaction_is_open_while_it_listens(database: Engine) -> None:
    with listening(database) as calls:
        submit(database)
        assert calls.get(timeout=30) == QUEUED
        ((_, state),) = backends(database)
        assert state == "idle"


@sqlite_only
def test_no_snapshot_is_kept_while_it_looks(database: Engine) -> None:
    with listening(database) as calls:
        for _ in range(3):
            submit(database)
            assert calls.get(timeout=30) == CHANGED
            with database.connect() as connection:
                driver = connection.connection.driver_connection
                assert driver is not None
                # The log can be emptied only if nobody reads an older state than the newest.
                busy, *_ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert not busy


@sqlite_only
def test_who_only_reads_calls_nobody(database: Engine) -> None:
    submit(database)
    with listening(database) as calls:
        for _ in range(100):
            with reading(database) as session:
                queue.has_work(session)
        assert calls.empty()


@postgres_only
def test_what_waits_in_the_pool_is_not_what_listens(database: Engine) -> None:
    with listening(database):
        pids = {pid for pid, _ in backends(database)}
        with reading(database) as session:
            assert session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one() not in pids
        assert database.pool.checkedout() == 0


# The end


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "wakeup"]


def test_closing_ends_the_thread_and_its_connection(database: Engine) -> None:
    with listening(database) as calls:
        assert len(threads()) == 1
    assert threads() == []
    assert database.pool.checkedout() == 0
    while database.dialect.name == "postgresql" and backends(database):
        pass
    while not calls.empty():
        calls.get()
    submit(database)
    assert calls.empty()


def test_a_listener_can_be_closed_while_the_database_is_away() -> None:
    nowhere = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing", connect_args={"connect_timeout": 2})
    calls: Calls = queues.SimpleQueue()
    listener = Listener(nowhere, calls.put)
    begun_at = time.monotonic()
    listener.close()
    assert time.monotonic() - begun_at < 10
    assert calls.empty()
    assert threads() == []
    nowhere.dispose()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_listener_waits_for_a_free_connection(database: Engine) -> None:
    narrow = create_engine(database.url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    calls: Calls = queues.SimpleQueue()
    with narrow.connect():
        listener = Listener(narrow, calls.put)
        (thread,) = threads()
        thread.join(wakeup.RECONNECT_SECONDS)
        alive = thread.is_alive()
    try:
        assert alive
        assert calls.get(timeout=30) == CHANGED
    finally:
        listener.close()
        narrow.dispose()
