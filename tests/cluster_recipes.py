"""What tests of scripts/cluster share: the recipes, and a toy sweep in the place of Table 4's."""

import csv
import os
import pathlib
import shlex
import subprocess
import sys

import command_line
import pytest

ROOT = command_line.ROOT
CLUSTER = ROOT / "scripts" / "cluster"


def toy(text, folder):
  """A recipe's command or script, for tests/toys/line.py in place of Table 4, with its shared folder here."""
  assert "-m experiments.table4" in text and "configs/table4.py" in text and "/results" in text
  text = text.replace("-m experiments.table4", "line.py")
  text = text.replace("configs/table4.py", "configs/line.py")
  return text.replace("/results", str(folder))


def toy_arguments(arguments, folder):
  """The same of a list of arguments."""
  return shlex.split(toy(shlex.join(arguments), folder))


def toy_checkout(folder):
  """A folder with the toy and its configuration, and with a .venv, as a checkout has."""
  (folder / "checkout" / ".venv" / "bin").mkdir(parents=True)
  for name in ("line.py", "configs"):
    (folder / "checkout" / name).symlink_to(command_line.TOYS / name)
  script(folder / "checkout" / ".venv" / "bin" / "python", f'exec {sys.executable} "$@"')
  return folder / "checkout"


def script(path, text):
  """An executable bash script."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
  path.chmod(0o755)


def bash(text, cwd, **environment):
  """Runs a script as schedulers do; fails with what it said, unless it ends well."""
  clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SKYPILOT", "JAX_"))}
  done = subprocess.run(
    ["bash", "-c", text], check=False, cwd=cwd, capture_output=True, text=True,
    env=clean | {"PYTHONPATH": str(ROOT)} | environment,
  )  # fmt: skip
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


def rows(workdir):
  """Of results.csv."""
  with (workdir / "results.csv").open(encoding="utf-8") as file:
    return list(csv.DictReader(file))


def whole(folder):
  """The toy's rows of one command that runs all."""
  done = command_line.run("line.py", f"--workdir={folder}", "--workers=1", cwd=command_line.TOYS)
  assert done.returncode == 0, done.stderr
  return rows(folder)


def needs_distributed():
  """Skips where the command has no --distributed."""
  if "distributed:" not in command_line.run("experiments.xor", "--help").stdout:
    pytest.skip("this version has no --distributed")


def tool(name):
  """A program that pip has put beside Python, or that PATH has; None if there is none."""
  beside = pathlib.Path(sys.executable).with_name(name)
  if beside.exists():
    return str(beside)
  found = (pathlib.Path(folder) / name for folder in os.get_exec_path())
  return next((str(path) for path in found if path.exists()), None)
