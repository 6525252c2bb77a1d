from __future__ import annotations

import threading
from functools import partial

import pytest

from quantwidget.jobs import Jobs, in_one_step

SOON = 30.0


def test_a_job_is_asked_for_until_it_is_done():
    gate, begun = threading.Event(), []

    def call():
        begun.append(threading.current_thread())
        gate.wait()
        return 7

    jobs, job = Jobs(kept=4), partial(in_one_step, call)
    assert jobs.ask("a", job, 0.01) is None
    assert jobs.ask("a", job, 0) is None
    gate.set()
    assert jobs.ask("a", job, SOON) == 7
    assert jobs.ask("a", job, 0) == 7
    assert len(begun) == 1
    assert begun[0] is not threading.current_thread()


def test_what_a_job_raises_is_raised_and_the_next_request_begins_anew():
    calls = iter([ValueError("no"), 5])

    def call():
        found = next(calls)
        if isinstance(found, Exception):
            raise found
        return found

    jobs, job = Jobs(kept=4), partial(in_one_step, call)
    with pytest.raises(ValueError, match="no"):
        jobs.ask("a", job, SOON)
    assert jobs.ask("a", job, SOON) == 5


def finished(key, done):
    return in_one_step(lambda: done.append(key) or 1)


def test_only_so_many_are_kept_and_what_is_forgotten_is_not_begun():
    begun, gate, done = threading.Event(), threading.Event(), []
    jobs = Jobs(kept=2)

    def first():
        begun.set()
        return gate.wait() and 1

    jobs.ask("first", lambda: in_one_step(first), 0)
    assert begun.wait(SOON)
    for key in ("second", "third", "fourth"):
        jobs.ask(key, partial(finished, key, done), 0)
    gate.set()
    assert jobs.ask("third", partial(finished, "third", done), SOON) == 1
    assert jobs.ask("fourth", partial(finished, "fourth", done), SOON) == 1
    assert sorted(done) == ["fourth", "third"]


def test_what_is_asked_for_last_goes_before_what_is_half_done():
    begun, go, seen = threading.Event(), threading.Semaphore(0), []

    def long():
        begun.set()
        for number in range(3):
            assert go.acquire(timeout=SOON)
            seen.append(number)
            yield
        return 9

    jobs = Jobs(kept=4)
    assert jobs.ask("long", long, 0) is None
    assert begun.wait(SOON)
    assert jobs.ask("short", partial(finished, "short", seen), 0) is None
    go.release()
    assert jobs.ask("short", partial(finished, "short", seen), SOON) == 1
    assert seen == [0, "short"]
    go.release(2)
    assert jobs.ask("long", long, SOON) == 9
    assert seen == [0, "short", 1, 2]


def test_a_forgotten_job_stops_after_its_step():
    begun, go, closed = threading.Event(), threading.Semaphore(0), threading.Event()

    def endless():
        begun.set()
        try:
            while True:
                assert go.acquire(timeout=SOON)
                yield
        finally:
            closed.set()

    jobs = Jobs(kept=4)
    assert jobs.ask("endless", endless, 0) is None
    assert begun.wait(SOON)
    jobs.forget()
    go.release()
    assert jobs.ask("next", lambda: in_one_step(lambda: 2), SOON) == 2
    assert closed.wait(SOON)


def test_forgotten_jobs_are_begun_anew():
    jobs = Jobs(kept=2)
    assert jobs.ask("a", lambda: in_one_step(lambda: 1), SOON) == 1
    jobs.forget()
    assert jobs.ask("a", lambda: in_one_step(lambda: 2), SOON) == 2
