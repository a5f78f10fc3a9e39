"""Errors that end a command with one sentence and no traceback."""

import difflib
import re
import sys
from collections.abc import Sequence

from absl import flags

from qnn_jax.errors import InputError, WorkerDied, out_of_memory


class in_one_sentence:
  """Ends the program with one sentence if an error is raised that is not a bug.

  Attributes:
    fields: the fields of the configuration by their dotted names, as soon as they are known.
  """

  fields: Sequence[str] = ()

  def __enter__(self):
    return self

  def __exit__(self, kind, error, traceback):
    if sentence := sentence_of(error):
      sys.exit(f"error: {sentence}")
    if isinstance(error, flags.Error):
      # An error of ml_collections comes as the text of a traceback; its last line is 'module.Error: why'.
      last_line = str(error).strip().splitlines()[-1]
      sys.exit(f"error: {re.sub(r'^[A-Za-z_.]+(Error|Exception): ', '', last_line)}")
    frames = _modules_of(traceback)
    if "ml_collections" not in frames:
      return False
    while error.args and isinstance(error.args[0], Exception):  # as ml_collections nests them
      error = error.args[0]
    if isinstance(error, (AttributeError, KeyError)):
      key = str(error.args[0] if error.args else "").partition("\n")[0].strip("\"'")
      sys.exit(f"error: the configuration has no field '{key}'; {self._instead_of(key)}")
    if isinstance(error, (TypeError, ValueError)):
      why = " ".join(str(error).split())
      sys.exit(f"error: {why}; see the config file for the fields and their types")
    return False

  def _instead_of(self, key):
    names = {field.rpartition(".")[2] for field in self.fields}
    if near := difflib.get_close_matches(key, names, n=1, cutoff=0.7):
      return f"did you mean '{near[0]}'?"
    return f"it has {', '.join(sorted(self.fields))}"


def sentence_of(error: BaseException | None) -> str | None:
  """The sentence for a user's mistake, or for too little disk or memory; None for any other error."""
  if isinstance(error, (InputError, WorkerDied)):
    return str(error)
  if isinstance(error, OSError) and error.strerror:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}; all that is on disk is as it was"
  if error is not None and (memory := out_of_memory(error)) is not None:
    return (
      f"out of memory{f' ({memory})' if memory else ''}; all that is on disk is as it was: ask for fewer runs "
      "in one command, or give it more memory"
    )
  return None


def _modules_of(traceback):
  """The top-level packages whose code the traceback passes."""
  frames = []
  while traceback is not None:
    frames.append(traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0])
    traceback = traceback.tb_next
  return frames
