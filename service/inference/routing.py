"""Which model an alias or an id means at this moment."""

from threading import Lock

from sqlalchemy import Engine

from service.store import aliases, registry
from service.store.aliases import Route
from service.store.database import AWAY, reading
from service.store.registry import Resolved
from service.store.watch import Watch


class Routing:
    """Resolves references, and remembers what it found until the database changes.

    What `resolve` answers was true at some moment after it was called: once a promotion has been acknowledged, no
    process gives the old model to a request that comes after it. Nothing has to be told to any of them for that.
    If the database does not answer, what is known goes on to be served.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._watch = Watch(database)
        self._known: dict[str, Resolved] = {}
        self._shadows: list[Route] | None = None
        self._lock = Lock()
        # On Postgres only changes of aliases are noticed, and an id's experiment may be deleted.
        self._knows_ids = database.dialect.name == "sqlite"

    def resolve(self, reference: str) -> Resolved:
        """The model that an alias or an id means.

        Raises:
            UnknownModel: none.
        """
        with self._lock:
            if self._watch.changed():
                self._known.clear()
                self._shadows = None
            found = self._known.get(reference)
            if found is None:
                with reading(self._database) as session:
                    found = registry.resolve(session, reference)
                if found.alias or self._knows_ids:
                    self._known[reference] = found
            return found

    def shadows(self, alias: str) -> list[Route]:
        """The aliases that shadow this one, as of the last `resolve`; none while the database does not answer."""
        with self._lock:
            if self._shadows is None:
                try:
                    with reading(self._database) as session:
                        self._shadows = [route for route in aliases.routing(session) if route.shadows]
                except AWAY:
                    return []
            return [route for route in self._shadows if route.shadows == alias]

    def close(self) -> None:
        """Give the connection up."""
        self._watch.close()
