from __future__ import annotations

import threading

import pytest

from quantwidget.jobs import Jobs

SOON = 30.0


def test_a_job_is_asked_for_until_it_is_done():
    gate, begun = threading.Event(), []

    def call():
        begun.append(threading.current_thread())
        gate.wait()
        return 7

    jobs = Jobs(kept=4)
    assert jobs.ask("a", call, 0.01) is None
    assert jobs.ask("a", call, 0) is None
    gate.set()
    assert jobs.ask("a", call, SOON) == 7
    assert jobs.ask("a", call, 0) == 7
    assert len(begun) == 1
    assert begun[0] is not threading.current_thread()


def test_what_a_job_raises_is_raised_and_the_next_request_begins_anew():
    calls = iter([ValueError("no"), 5])

    def call():
        found = next(calls)
        if isinstance(found, Exception):
            raise found
        return found

    jobs = Jobs(kept=4)
    with pytest.raises(ValueError, match="no"):
        jobs.ask("a", call, SOON)
    assert jobs.ask("a", call, SOON) == 5


def test_only_so_many_are_kept_and_what_is_forgotten_is_not_begun():
    gate, done = threading.Event(), []
    jobs = Jobs(kept=2)
    jobs.ask("first", lambda: gate.wait() and 1, 0)
    for key in ("second", "third", "fourth"):
        jobs.ask(key, lambda key=key: done.append(key) or 1, 0)
    gate.set()
    assert jobs.ask("fourth", lambda: 0, SOON) == 1
    assert done == ["third", "fourth"]


def test_forgotten_jobs_are_begun_anew():
    jobs = Jobs(kept=2)
    assert jobs.ask("a", lambda: 1, SOON) == 1
    jobs.forget()
    assert jobs.ask("a", lambda: 2, SOON) == 2
