"""Threads are set once, from what the machine is, and never against the user's own word."""

import os

import pytest

from loracle import threads


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "x")  # so that it is put back
        monkeypatch.delenv(name)


def test_one_thread_a_core_and_no_more_than_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    threads.prepare_threads()
    assert os.environ["OMP_NUM_THREADS"] == str(threads.count_cores())
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert threads.count_cores() == 1


@pytest.mark.parametrize(("load", "policy"), [(0.0, None), (40.0, "PASSIVE")])
def test_waiting_threads_sleep_where_others_are_at_work(
    monkeypatch: pytest.MonkeyPatch, load: float, policy: str | None
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(threads, "count_cores", lambda: 8)
    threads.prepare_threads()
    assert os.environ.get("OMP_WAIT_POLICY") == policy


def test_what_the_environment_says_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setattr(os, "getloadavg", lambda: (40.0, 0.0, 0.0))
    threads.prepare_threads()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("3", "ACTIVE")
