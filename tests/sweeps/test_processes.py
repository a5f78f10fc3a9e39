"""Processes on cores of their own, which end with the one that started them."""

import os
import subprocess
import sys

import pytest

from qnn_jax.errors import InputError, WorkerDied
from qnn_jax.sweeps import processes


def report(put, number):
  cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
  put((number, cores))
  put((number, os.environ.get("GLIBC_TUNABLES")))


def test_every_process_gets_its_arguments_cores_and_large_pages(monkeypatch):
  monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
  found = list(processes.run(report, [(0,), (1,)]))
  for i, cores in enumerate(processes.core_groups(2)):
    mine = [thing for number, thing in found if number == i]
    if hasattr(os, "sched_getaffinity"):
      assert mine[0] == set(cores or os.sched_getaffinity(0))
    assert mine[1] == "glibc.malloc.hugetlb=1"
  assert len(found) == 4
  assert "GLIBC_TUNABLES" not in os.environ


def fail_or_wait(put, error, barrier):
  if error:
    raise error
  barrier.wait()  # for ever


@pytest.mark.parametrize(
  "error, told",
  [
    (InputError("0 is too few"), pytest.raises(InputError, match="^0 is too few$")),
    (KeyError("x"), pytest.raises(WorkerDied, match="^worker 1 died with exit code 1$")),
  ],
)
def test_nobody_waits_for_a_process_that_fails(error, told, capfd):
  barrier = processes.context.Barrier(2)
  with told:
    list(processes.run(fail_or_wait, [(None, barrier), (error, barrier)]))
  assert ("KeyError: 'x'" in capfd.readouterr().err) == isinstance(error, KeyError)


def test_a_call_has_a_process_of_its_own():
  assert processes.call(os.getppid) == os.getpid()
  assert processes.call(os.sync) is None


def leave(put):
  os._exit(0)


def test_a_process_that_leaves_before_its_end_is_noticed():
  with pytest.raises(WorkerDied, match="^worker 0 ended before its work was done$"):
    list(processes.run(leave, [()]))


PARENT = """
import time
from qnn_jax.sweeps import processes

def work(put):
  put("started")
  time.sleep(100)

if __name__ == "__main__":
  running = processes.run(work, [(), ()])
  print(next(running), next(running), flush=True)
  time.sleep(100)
"""


def test_processes_end_with_a_parent_that_is_killed(tmp_path):
  (tmp_path / "parent.py").write_text(PARENT, encoding="utf-8")
  parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE)
  assert parent.stdout.readline() == b"started started\n"
  parent.kill()
  # The output ends when the last process that holds it does.
  assert parent.communicate(timeout=30) == (b"", None)


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
