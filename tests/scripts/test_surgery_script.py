"""scripts/surgery.py, once and tiny: what it prints with --json."""

import json
import pathlib
import subprocess
import sys

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"
TINY = ("--json", "--images=50", "--epochs=1", "--more=1", "--seeds=1")


def run(*flags):
  program = [sys.executable, str(SCRIPTS / "surgery.py"), *TINY, *flags]
  return subprocess.run(program, check=False, capture_output=True, text=True, cwd=SCRIPTS.parent)


def test_the_control_and_a_kind():
  done = run("--kinds=heavy")
  assert done.returncode == 0, done.stderr
  control, heavy = map(json.loads, done.stdout.splitlines())
  assert (control["kind"], heavy["kind"]) == ("nothing exchanged", "heavy")
  # Of a convolution 8 -> 16 with windows of 3 x 3 and of a layer 32 -> 10.
  assert heavy["parameters"] - control["parameters"] == 9 * 8 * 16 + 32 * 10
  assert control["outputs_moved"] == 0 <= heavy["outputs_moved"] < 1e-5
  assert control["before"] == heavy["before"] and control["better_by"] == 0


def test_an_unknown_kind_is_told_before_anything_is_trained():
  done = run("--kinds=cnn")
  assert done.returncode == 1 and done.stderr.startswith("error: unknown head 'cnn'; choose one of")
