"""Having the notebook run: what is missing is submitted, then all of it is followed."""

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.progress_bar import ProgressBar

from service import schemas
from service.client import Client
from service.errors import ServiceError, Unreachable
from service.notebook.found import DEAD, Finder, Found, Standing, standing
from service.notebook.plan import Plan
from service.states import SweepState

LOOK_SECONDS = 1.0

RESTART_SECONDS = 300.0
"""So long a service that does not answer is waited for."""

MOST_LINES = 4
"""Running experiments that are shown."""

Answer = TypeVar("Answer")


class Missing(NamedTuple):
    """What is to be submitted: so many experiments, one or those of a sweep."""

    request: dict[str, Any]
    experiments: int
    is_sweep: bool


def submit(client: Client, plan: Plan) -> int:
    """Submit what is missing; experiments that failed or were cancelled are missing, too.

    Returns:
        How many experiments that comes to.
    """
    finder = Finder(client)
    # A service that is not there to begin with is not waited for.
    count = sum(each.experiments for each in _missing(plan, finder.look()))
    # What was being submitted when the service went may be there or not: it is looked for again.
    _patiently(client, lambda: _send(client, _missing(plan, finder.look())))
    return count


def follow(client: Client, plan: Plan, console: Console | None) -> Found:
    """Wait until all runs have ended, with a progress display on a console. A service that is restarted meanwhile is
    waited for, too.

    Raises:
        Unreachable: the service has not come back.
    """
    finder = Finder(client)
    if console is None:
        return _wait(client, plan, finder, lambda found, now: None)
    with Live(console=console, transient=True, refresh_per_second=2) as live:
        told: set[str] | None = None

        def show(found: Found, now: Standing) -> None:
            nonlocal told
            lines = _ended(plan, found)
            for title, line in lines.items():
                # What had ended before is no news.
                if told is not None and title not in told:
                    live.console.print(line)
            told = set(lines)
            live.update(_display(found, now))

        return _wait(client, plan, finder, show)


def document(plan: Plan, found: Found) -> list[dict[str, Any]]:
    """All runs for JSON; `id` and `state` are null for what there is not."""
    rows = []
    for key, title in plan.titles.items():
        experiment = found.experiments.get(key)
        rows.append(
            {
                "run": title,
                "group": plan.groups[key],
                "id": experiment.id if experiment else None,
                "state": experiment.state if experiment else None,
                "result": experiment.result.model_dump() if experiment and experiment.result else None,
                "error": experiment.error.model_dump() if experiment and experiment.error else None,
            }
        )
    return rows


def _missing(plan: Plan, found: Found) -> list[Missing]:
    missing = [Missing(run.request, 1, False) for run in plan.runs if _is_missing(found, run.identity)]
    for grid in plan.grids:
        sweep = found.sweeps.get(grid.identity)
        points = [point for point in grid.points if _is_missing(found, point.identity)]
        if sweep is not None and sweep.state == SweepState.RUNNING:
            continue
        if len(points) == len(grid.points):
            missing.append(Missing(grid.request, len(points), True))
        else:
            # A sweep that has ended takes no trials; what its other ones came to is kept.
            missing += [Missing(point.request, 1, False) for point in points]
    return missing


def _is_missing(found: Found, key: str) -> bool:
    experiment = found.experiments.get(key)
    return experiment is None or experiment.state in DEAD


def _send(client: Client, missing: Sequence[Missing]) -> None:
    for each in missing:
        if each.is_sweep:
            client.create_sweep(each.request)
        else:
            client.submit(each.request)


def _wait(client: Client, plan: Plan, finder: Finder, show: Callable[[Found, Standing], None]) -> Found:
    while True:
        found = _patiently(client, finder.look).of(plan)
        now = standing(plan, found)
        show(found, now)
        if now.ended == now.total:
            return found
        time.sleep(LOOK_SECONDS)


def _patiently(client: Client, ask: Callable[[], Answer]) -> Answer:
    """Ask; a service that does not answer, or is not ready, is being restarted: it is waited for, and asked again."""
    end = time.monotonic() + RESTART_SECONDS
    while True:
        try:
            return ask()
        except ServiceError as error:
            away = isinstance(error, Unreachable) or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            if not away or time.monotonic() > end:
                raise
        client.wait_until_ready(RESTART_SECONDS)
        time.sleep(LOOK_SECONDS)


def _ended(plan: Plan, found: Found) -> dict[str, str]:
    """A line for each run that has ended, by what it is called."""
    lines = {}
    for key, title in plan.titles.items():
        experiment = found.experiments.get(key)
        if experiment and experiment.result:
            lines[title] = f"{escape(title)}: test accuracy {experiment.result.test_accuracy:.4f}"
        elif experiment and experiment.error:
            lines[title] = f"[red]{escape(title)} failed: {escape(experiment.error.message)}[/]"
    return lines


def _display(found: Found, now: Standing) -> Group:
    counts = f"{now.ended} of {now.total} runs, {len(now.running)} running, {len(now.waiting)} waiting"
    if now.paused:
        counts += f", {len(now.paused)} paused until they are resumed"
    if now.failed:
        counts += f", {len(now.failed)} failed"
    left = seconds_left(list(found.experiments.values()), now)
    lines = [f"  {escape(title)}: {_epoch(experiment)}" for title, experiment in now.running[:MOST_LINES]]
    if more := now.running[MOST_LINES:]:
        lines.append(f"  and {len(more)} more")
    head = f"{counts}{'' if left is None else f', about {_span(left)} left'}"
    # A bar alone would not end its line.
    bar = Padding(ProgressBar(now.total, now.ended, width=60), 0)
    return Group(head, bar, *lines)


def seconds_left(experiments: Sequence[schemas.Experiment], now: Standing) -> float | None:
    """By what those took that are finished, as many at a time as are running now; None while nothing is known."""
    took = [
        (each.finished_at - each.started_at).total_seconds()
        for each in experiments
        if each.result and each.finished_at and each.started_at
    ]
    if not took or not now.running:
        return None
    done = sum(experiment.progress.fraction for _, experiment in now.running)
    left = now.total - now.ended - done
    return sum(took) / len(took) * left / len(now.running)


def _epoch(experiment: schemas.Experiment) -> str:
    progress = experiment.progress
    return f"epoch {min(progress.epoch + 1, progress.epochs)} of {progress.epochs}, {progress.fraction:.0%}"


def _span(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
