"""What ends a command before anything has run: it is told of, and is in nobody's way afterwards."""

import pytest
from command_line import TOYS, run_all

PROGRAM = """
import sys
import jax, qnn_jax.errors
sys.path.insert(0, {toys!r})
import line
from qnn_jax import command
from qnn_jax.experiment import Experiment

def fail(config):
  raise {error}

command.main(Experiment(line.TASK, check_data=fail))
"""
WHAT_TO_DO = (
  "; all that is on disk is as it was: ask for fewer runs in one command, or give it more memory"
)
ERRORS = {
  "MemoryError()": f"error: out of memory{WHAT_TO_DO}\n",
  "MemoryError('Unable to allocate 7 PiB')": (
    f"error: out of memory (Unable to allocate 7 PiB){WHAT_TO_DO}\n"
  ),
  "jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory: 8 GB\\nmore')": (
    f"error: out of memory (Out of memory: 8 GB){WHAT_TO_DO}\n"
  ),
  "qnn_jax.errors.WorkerDied('worker 0 died')": "error: worker 0 died\n",
  "qnn_jax.errors.InputError('there are no data')": "error: there are no data\n",
  "KeyError('a bug')": "KeyError: 'a bug'\n",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
  folder, output = tmp_path_factory.mktemp("programs"), tmp_path_factory.mktemp("output")
  cases = []
  for number, error in enumerate(ERRORS):
    program = folder / f"{number}.py"
    program.write_text(PROGRAM.format(toys=str(TOYS), error=error))
    cases.append((str(program), [f"--workdir={folder}/made/within/{number}", "--workers=1"], TOYS))
  return folder, run_all(cases, output)


def test_each_is_one_sentence_unless_it_is_a_bug(ended):
  for (error, told), done in zip(ERRORS.items(), ended[1], strict=True):
    assert done.returncode == 1 and done.stdout == "", error
    assert done.stderr == told or error.startswith("KeyError") and done.stderr.endswith(told)


def test_the_workdir_is_given_back_with_the_folders_around_it(ended):
  assert not (ended[0] / "made").exists()
