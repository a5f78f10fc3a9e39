"""Submissions: DIR/slurm has a file for each job that was submitted to a cluster's queue.

The file is written before the job is submitted, and has the job's name. So a reader of the queue knows which
units each task runs, even if the launcher died before it learnt the job's number.
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from qnn_jax.atomic import atomic_write_text
from qnn_jax.errors import InputError
from qnn_jax.sweeps import damage, signals
from qnn_jax.sweeps.damage import Damaged, Unreadable
from qnn_jax.sweeps.leases import Leases
from qnn_jax.sweeps.store import FORMAT

CLAIM = "submission"
"""The name of the lease that a launcher holds while it submits."""

_KEPT = ("_log.out", "_log.err", "_submission.sh")  # the files of submitit that stay

_KINDS = {
  "name": (str,), "tasks": (list,), "command": (list,), "options": (dict,), "workdir": (str,), "job": (str,),
  "submitted": (int, float),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Submission:
  """A job array.

  Attributes:
    name: of the job in the queue, and of the file.
    tasks: the units of each task.
    command: the command line of a task, without its units.
    options: the options of the job, as they were given.
    workdir: its absolute path. A copy of the workdir has the file too, but not the job.
    job: the number of the job; empty until it has one.
    submitted: the time, in seconds since 1970.
  """

  name: str
  tasks: Sequence[Sequence[str]]
  command: Sequence[str]
  options: Mapping[str, object]
  workdir: str
  job: str = ""
  submitted: float = dataclasses.field(default_factory=lambda: round(time.time(), 3))


def path_of(workdir: pathlib.Path, name: str) -> pathlib.Path:
  """The file of a submission; its other files are in a folder of the same name."""
  return workdir / "slurm" / f"{name}.json"


def write(workdir: pathlib.Path, submission: Submission) -> pathlib.Path:
  """Writes a submission, and replaces an earlier state of it."""
  path = path_of(workdir, submission.name)
  path.parent.mkdir(exist_ok=True)
  content = {"format": FORMAT} | dataclasses.asdict(submission)
  atomic_write_text(path, json.dumps(content, indent=1) + "\n")
  return path


def remove(workdir: pathlib.Path, name: str) -> None:
  """Removes a submission whose job was not submitted."""
  path = path_of(workdir, name)
  shutil.rmtree(path.with_suffix(""), ignore_errors=True)
  path.unlink(missing_ok=True)
  with contextlib.suppress(OSError):
    path.parent.rmdir()


def tidy(workdir: pathlib.Path, busy: Collection[str]) -> None:
  """Removes what the tasks of ended jobs needed; what they printed stays.

  Args:
    workdir: of a finished sweep.
    busy: names of submissions with tasks that have not ended.
  """
  for submission in read(workdir):
    if submission.name not in busy:
      folder = path_of(workdir, submission.name).with_suffix("")
      for path in folder.iterdir() if folder.is_dir() else ():
        if not path.name.endswith(_KEPT):
          path.unlink()


@contextlib.contextmanager
def claimed(workdir: pathlib.Path, seconds: float, wait: Callable[[], object]) -> Iterator[None]:
  """In this context no other launcher submits jobs of the workdir.

  Args:
    workdir: of a sweep.
    seconds: how long another launcher's claim must stand still before it is ignored.
    wait: called once, if another is submitting.
  """
  with Leases(workdir, seconds) as leases:
    with signals.clean_up(lambda: leases.release([CLAIM])):
      if not leases.acquire([CLAIM]):
        wait()
        while not leases.acquire([CLAIM]):
          signals.check()
          time.sleep(0.1)
      yield


def read(workdir: pathlib.Path) -> list[Submission]:
  """All submissions of a workdir, the oldest first. If it is a copy, those of the original are left out.

  A damaged file is named in a warning, moved to DIR/damaged and ignored.
  """
  found = []
  for path in sorted((workdir / "slurm").glob("[!.]*.json")):
    try:
      found.append(_read(path))
    except FileNotFoundError:
      continue  # it was just removed
    except Damaged as error:
      what = f"its tasks are unknown here; scancel --name={path.stem} ends them"
      damage.set_aside(workdir, path, error, what)
    except Unreadable as error:
      damage.name_once(path, f"cannot be read ({error}) and is ignored")
  here = str(workdir.resolve())
  others = [submission for submission in found if submission.workdir != here]
  if others:
    count = "a submission" if len(others) == 1 else f"{len(others)} submissions"
    places = ", ".join(sorted({submission.workdir for submission in others}))
    damage.name_once(
      workdir / "slurm", f"has {count} of {places}, and the tasks of these are left alone"
    )
  return sorted((s for s in found if s.workdir == here), key=lambda s: s.submitted)


def units(named: str) -> frozenset[str]:
  """The units of the task `FILE:INDEX`.

  Raises:
    InputError: there is no such task.
  """
  text, _, index = named.rpartition(":")
  found = None
  with contextlib.suppress(OSError, ValueError, Damaged, Unreadable):
    found = _read(pathlib.Path(text))
  if found is None or not index.isdecimal() or int(index) >= len(found.tasks):
    raise InputError(
      f"--units={named} names no task of a submission; it is for the tasks of --launch=slurm alone"
    )
  return frozenset(found.tasks[int(index)])


def _read(path):
  data, status = damage.read_file(path)
  try:
    content = json.loads(data.decode("utf-8"))
  except (ValueError, RecursionError) as error:
    raise Damaged("it is no JSON", status) from error
  of_format = content.pop("format", None) if isinstance(content, dict) else None
  if type(of_format) is int and of_format > FORMAT:
    raise Unreadable("it is of a later version's format")
  if (
    of_format != FORMAT
    or content.keys() != _KINDS.keys()
    or not all(type(content[name]) in kinds for name, kinds in _KINDS.items())
    or not all(type(of_task) is list for of_task in content["tasks"])
  ):
    raise Damaged("it is not what was written", status)
  texts = [*content["command"], *(unit for of_task in content["tasks"] for unit in of_task)]
  if (
    not all(type(text) is str for text in texts)
    or content["name"] != path.stem
    or not 0 <= content["submitted"] < 1e12
  ):
    raise Damaged("it is not what was written", status)
  return Submission(**content)
