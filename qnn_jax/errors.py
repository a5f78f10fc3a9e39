"""The exceptions that end a program with one sentence, and without a traceback."""


class InputError(ValueError):
  """Bad input: one sentence that says what was wrong and what would be right.

  The command-line programs print it without a traceback; everything else that is raised is a bug.
  """


class WorkdirError(InputError):
  """A workdir cannot be written: a full disk, one that is read-only, no permission. Nothing in it is lost."""

  @classmethod
  def of(cls, error: OSError) -> "WorkdirError":
    """The sentence of an error in writing a file there, which `error.filename` names."""
    return cls(
      f"cannot write {error.filename}: {error.strerror or error}; all that is on disk is as it was, and the "
      "same command carries on once it can be written"
    )


class WorkerDied(RuntimeError):
  """A worker process of a sweep ended before its work: killed, or out of memory, say."""


class MissingExtra(InputError, ImportError):
  """A package that only an extra of qnn_jax brings is not installed; the sentence names the extra."""


def out_of_memory(error: BaseException) -> str | None:
  """What an exception says of the memory that there was not, Python's or XLA's; None if it is another."""
  why = (str(error).strip().splitlines() or [""])[0]
  if isinstance(error, MemoryError):
    return why
  if "RESOURCE_EXHAUSTED" in why:  # of XLA, whose exceptions have one type
    return why.partition("RESOURCE_EXHAUSTED")[2].lstrip(": ")
  return None
