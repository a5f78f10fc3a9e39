"""Processes that do something at the same moment, for tests: forks of one that has imported everything.

As a program, `python racing.py FOLDER NAME COUNT TRIES`, it makes COUNT processes call the function NAME of this
module, TRIES times in a folder of its own; nothing of JAX has started by then but its modules.
"""

import contextlib
import errno
import gc
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import traceback
import warnings

import jax
import ml_collections
import numpy as np

from qnn_jax import experiment
from qnn_jax.errors import InputError
from qnn_jax.sweeps import launch, records
from qnn_jax.sweeps.points import Fields, Group, Point, Row, Worked
from qnn_jax.sweeps.possible import NUMBER, SEED, Possible
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.task import Task

AXES = ("seed",)


def run(group, job):
  """A checkpoint a point, kept until the next; nothing else takes any time."""
  for step, point in enumerate(group.points, 1):
    found = job.load(group.points, most=step)
    job.save(group.points, step, {"w": np.full((len(group.points), 3), float(step))})
    job.drop(group.points, before=step)
    yield Worked(1.0, resumed=bool(found))
    with open(job.workdir.parent / "log", "a") as log:
      log.write(f"{point['seed']}\n")
    yield Row(point, {"value": point["seed"] / 4}, params={"w": np.ones(3)}, network={})


def groups(points, parts):
  """Two and two."""
  pairs = {}
  for point in points:
    pairs.setdefault(point["seed"] // 2, []).append(point)
  return [Group(tuple(pair)) for pair in pairs.values()]


TASK = Task(
  "racing", {"seeds": "seed"}, run, groups, possible=Possible({"value": NUMBER}, {"seed": SEED})
)


def points(count):
  return [Point(Fields({"rate": 0.1}), AXES, (seed,)) for seed in range(count)]


def sweep(workdir, count=12, **options):
  workdir.mkdir(exist_ok=True)
  return launch.Sweep(
    TASK, points(count), workdir, **{"workers": 1, "lease_seconds": 5.0, **options}
  )


def run_sweep(workdir, count=12, **options):
  """Runs what is missing; the events."""
  of = sweep(workdir, count, **options)
  store = Store(workdir, TASK.name, AXES, TASK.possible).read()
  return list(launch.run(of, store, launch.plan(of, store)))


def launcher(folder, number):
  """One of several launchers of one configuration, of whom none dies: no lease runs out, on a busy machine either."""
  launch._WAIT = 0.02
  run_sweep(folder / "run", keep_params=True, lease_seconds=600.0)


def killed(folder, number):
  """A launcher after another is killed at a random moment of its writing, until one comes through."""
  jax.default_backend, records._device = lambda: "cpu", lambda: "none"
  sync, random_of = os.fsync, random.Random(int(folder.name))

  def slowly(descriptor):  # so that half-written files are there most of the time
    time.sleep(0.002)
    sync(descriptor)

  os.fsync, kills, left = slowly, 0, 0
  while True:
    child = os.fork()
    if child == 0:
      if kills < 20:
        signal.setitimer(signal.ITIMER_REAL, random_of.uniform(0.001, 0.1))  # whose signal kills
      run_sweep(folder / "run", keep_params=True)
      os._exit(0)
    random_of.random()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left += len(list((folder / "run").glob("**/.tmp-*")))
    if code == 0 and kills >= 20:
      break
    assert code in (0, -signal.SIGALRM), code
    kills += 1
  said(folder, number, {"kills": kills, "left": left})


def claim(folder, number):
  """Opens the workdir with one of three configurations; says which, if it is accepted."""
  try:
    config = ml_collections.ConfigDict({"rate": number % 3, "seeds": 2})
    made = experiment.open_workdir(folder / "run", config, TASK)
  except InputError as error:
    assert "another configuration" in str(error), error
    return
  said(folder, number, {"rate": number % 3, "made": made})


def claim_and_release(folder, number):
  """As `claim`; whoever made the workdir gives it back, and those of rate 0 are not even that far."""
  try:
    config = ml_collections.ConfigDict({"rate": number % 3, "seeds": 2})
    made = experiment.open_workdir(folder / "run", config, TASK)
  except InputError as error:
    assert "another configuration" in str(error), error
    return
  if made:
    experiment.release(folder / "run", [folder / "run"])
  else:
    said(folder, number, {"rate": number % 3, "made": made})


def claim_without_links(folder, number):
  """As `claim`, on a file system that has no hard links, and writes slowly."""
  from qnn_jax import atomic

  def link(*_):
    raise OSError(errno.EPERM, "Operation not permitted")

  def fill(file, data, sync, fill=atomic._fill):
    half = len(data) // 2
    fill(file, data[:half], sync)
    if number % 2:
      os.sched_yield()
    fill(file, data[half:], sync)

  os.link, atomic._fill = link, fill
  claim(folder, number)


def said(folder, number, what):
  (folder / f"said{number}.json").write_text(json.dumps(what))


def race(folder, name, count, tries):
  """Runs this module as a program; a folder a try, with what the processes `said`."""
  done = subprocess.run(
    [sys.executable, __file__, str(folder), name, str(count), str(tries)],
    check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": _path()},
  )  # fmt: skip
  assert done.returncode == 0, done.stdout + done.stderr
  for number in range(tries):
    said = sorted((folder / str(number)).glob("said*.json"))
    yield folder / str(number), [json.loads(path.read_text()) for path in said]


def _path():
  return os.pathsep.join([str(pathlib.Path(__file__).parents[1]), *filter(None, sys.path)])


def _main(folder, name, count, tries):
  gc.freeze()
  failed = 0
  for number in range(int(tries)):
    place = pathlib.Path(folder) / str(number)
    place.mkdir()
    reader, writer = os.pipe()
    children = []
    for i in range(int(count)):
      with warnings.catch_warnings(action="ignore"):
        child = os.fork()
      if child == 0:
        os.close(writer)
        os.read(reader, 1)  # until all are there
        code = 0
        try:
          with contextlib.redirect_stderr(sys.stdout):
            globals()[name](place, i)
        except BaseException:
          traceback.print_exc(file=sys.stdout)
          code = 1
        sys.stdout.flush()
        os._exit(code)
      children.append(child)
    os.close(reader)
    os.close(writer)
    failed += sum(os.waitpid(child, 0)[1] != 0 for child in children)
  sys.exit(failed)


if __name__ == "__main__":
  _main(*sys.argv[1:])
