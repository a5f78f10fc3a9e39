"""Processes on cores of their own."""

import os

from qnn_jax.sweeps import processes


def report(number, results):
  cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
  results.put((number, cores, os.environ.get("GLIBC_TUNABLES")))


def test_every_process_gets_its_arguments_cores_and_large_pages(monkeypatch):
  monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
  results = processes.context.Queue()
  started = processes.start(report, [(0, results), (1, results)])
  found = sorted(results.get(timeout=60) for _ in started)
  for process in started:
    process.join()
    assert process.exitcode == 0
  groups = processes.core_groups(2)
  for i, (number, cores, tunables) in enumerate(found):
    assert number == i
    assert cores is None or cores == set(groups[i] or os.sched_getaffinity(0))
    assert tunables == "glibc.malloc.hugetlb=1"
  assert "GLIBC_TUNABLES" not in os.environ


def test_what_the_user_tunes_stays(monkeypatch):
  monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
  with processes._large_pages():
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=0"
  assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=0"


def test_workers_have_cores_of_their_own(monkeypatch):
  monkeypatch.setattr(processes.os, "sched_getaffinity", lambda _: {2, 3, 5, 7, 11}, raising=False)
  assert processes.core_groups(2) == [(2, 3), (5, 7)]
  assert processes.core_groups(6) == [()] * 6
  monkeypatch.delattr(processes.os, "sched_getaffinity")
  assert processes.core_groups(2) == [(), ()]
