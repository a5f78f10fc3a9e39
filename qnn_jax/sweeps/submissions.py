"""Submissions: what was handed to a cluster's queue, in DIR/slurm, a file each.

The file is there before the job is, under the job's own name: whoever reads the queue knows from it which
units are whose, also if the launcher died before it learnt the job's number.
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
"""The lease of who submits."""

_KEPT = ("_log.out", "_log.err", "_submission.sh")  # of what submitit makes

_KINDS = {
  "name": (str,), "tasks": (list,), "command": (list,), "options": (dict,), "workdir": (str,), "job": (str,),
  "submitted": (int, float),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Submission:
  """A job array.

  Attributes:
    name: the job's in the queue, and the file's.
    tasks: the units of each task.
    command: what a task runs, but for its units.
    options: of the job, as they were given.
    workdir: its whole path: a copy of it has the file, but not the job.
    job: its number; empty until it has one.
    submitted: seconds since 1970.
  """

  name: str
  tasks: Sequence[Sequence[str]]
  command: Sequence[str]
  options: Mapping[str, object]
  workdir: str
  job: str = ""
  submitted: float = dataclasses.field(default_factory=lambda: round(time.time(), 3))


def path_of(workdir: pathlib.Path, name: str) -> pathlib.Path:
  """The submission's file; what else belongs to it is in a folder of the same name."""
  return workdir / "slurm" / f"{name}.json"


def write(workdir: pathlib.Path, submission: Submission) -> pathlib.Path:
  """Keeps a submission, in the place of an earlier state of it."""
  path = path_of(workdir, submission.name)
  path.parent.mkdir(exist_ok=True)
  content = {"format": FORMAT} | dataclasses.asdict(submission)
  atomic_write_text(path, json.dumps(content, indent=1) + "\n")
  return path


def remove(workdir: pathlib.Path, name: str) -> None:
  """Forgets a submission that has come to nothing."""
  path = path_of(workdir, name)
  shutil.rmtree(path.with_suffix(""), ignore_errors=True)
  path.unlink(missing_ok=True)
  with contextlib.suppress(OSError):
    path.parent.rmdir()


def tidy(workdir: pathlib.Path, busy: Collection[str]) -> None:
  """Removes what the tasks of ended jobs needed; what they printed stays.

  Args:
    workdir: of a finished sweep.
    busy: names of submissions that have tasks which have not ended.
  """
  for submission in read(workdir):
    if submission.name not in busy:
      folder = path_of(workdir, submission.name).with_suffix("")
      for path in folder.iterdir() if folder.is_dir() else ():
        if not path.name.endswith(_KEPT):
          path.unlink()


@contextlib.contextmanager
def claimed(workdir: pathlib.Path, seconds: float, wait: Callable[[], object]) -> Iterator[None]:
  """Within it no other launcher submits anything of the workdir.

  Args:
    workdir: of a sweep.
    seconds: how long another's claim must stand still before it counts for nothing.
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
  """All submissions of a workdir, the oldest first; not those of another, of which it is a copy.

  A damaged file is named in a warning, set aside, and counts for nothing.
  """
  found = []
  for path in sorted((workdir / "slurm").glob("[!.]*.json")):
    try:
      found.append(_read(path))
    except FileNotFoundError:
      continue  # it has come to nothing this moment
    except Damaged as error:
      what = f"its tasks are unknown here; scancel --name={path.stem} ends them"
      damage.set_aside(workdir, path, error, what)
    except Unreadable as error:
      damage.name_once(path, f"cannot be read ({error}) and counts for nothing")
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
