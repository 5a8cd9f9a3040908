"""A copy of a data directory, so that the benchmarks leave the original alone, even if a service is using it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from service.store.database import migrate, open_engine

FILE = "numeral.db"


def copy(data_dir: Path, to: Path) -> str:
    """Copy its SQLite database into another folder, at this version's schema; returns the copy's URL."""
    source = (data_dir / FILE).absolute()
    if not source.is_file():
        raise SystemExit(f"There is no {FILE} in {data_dir}: --data-dir must be a data directory of the service.")
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(to / FILE)) as copied:
        original.backup(copied)
    url = f"sqlite:///{to / FILE}"
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    return url
