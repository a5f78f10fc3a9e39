"""Runs command lines for tests: one in a process of its own, or many in forks of one process."""

import json
import pathlib
import subprocess
import sys
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent
TOYS = pathlib.Path(__file__).parent / "toys"

# What costs a second or two each time is importing. Nothing of JAX has started by then but its modules.
_DRIVER = """
import gc, json, os, runpy, sys, warnings
import qnn_jax.command

cases, folder = json.loads(sys.argv[1]), sys.argv[2]
codes = []
gc.freeze()  # a fork then ends at once, without taking apart what it was given
for number, (program, arguments, cwd) in enumerate(cases):
  with warnings.catch_warnings(action="ignore"):
    child = os.fork()
  if child == 0:
    for stream, name in ((1, "out"), (2, "err")):
      os.dup2(os.open(f"{folder}/{number}.{name}", os.O_CREAT | os.O_WRONLY), stream)
    os.chdir(cwd)
    sys.argv[1:] = arguments
    if program.endswith(".py"):
      sys.argv[0] = program
      runpy.run_path(program, run_name="__main__")
    else:
      runpy.run_module(program, run_name="__main__", alter_sys=True)
  codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""


class Ended(NamedTuple):
  """A command that has ended."""

  returncode: int
  stdout: str
  stderr: str


def run(program, *arguments, cwd=ROOT):
  """Runs `python -m program`, or the file if it ends in .py, with these arguments."""
  start = [program] if program.endswith(".py") else ["-m", program]
  done = subprocess.run(
    [sys.executable, *start, *map(str, arguments)],
    check=False, cwd=cwd, capture_output=True, text=True,
  )  # fmt: skip
  return Ended(done.returncode, done.stdout, done.stderr)


def run_all(cases, folder):
  """Runs (program, arguments, cwd) one after another; their output passes through `folder`."""
  listed = [(program, list(map(str, args)), str(cwd)) for program, args, cwd in cases]
  done = subprocess.run(
    [sys.executable, "-c", _DRIVER, json.dumps(listed), str(folder)],
    check=False, cwd=ROOT, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  outputs = [
    [(folder / f"{i}.{name}").read_text(encoding="utf-8") for name in ("out", "err")]
    for i in range(len(listed))
  ]
  return [Ended(code, *texts) for code, texts in zip(json.loads(done.stdout), outputs, strict=True)]


def contents(folder):
  """Every file below the folder, and what is in it."""
  return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
