"""Exceptions that the command line prints as one sentence, without a traceback."""


class InputError(ValueError):
  """Bad input. The message is one sentence that says what was wrong and what would be right.

  The command-line programs print the message without a traceback. Any other exception is a bug.
  """


class WorkdirError(InputError):
  """A workdir cannot be written: the disk is full or read-only, or permission is missing.

  The files that are in the workdir stay as they were.
  """

  @classmethod
  def of(cls, error: OSError) -> "WorkdirError":
    """Makes the exception from an `error` that was raised while writing `error.filename`."""
    return cls(
      f"cannot write {error.filename}: {error.strerror or error}; all that is on disk is as it was, and the "
      "same command carries on once it can be written"
    )


class WorkerDied(RuntimeError):
  """A worker process of a sweep ended before its work was done: it was killed, say, or ran out of memory."""


class MissingExtra(InputError, ImportError):
  """A package of an optional extra is not installed. The message names the extra."""


def out_of_memory(error: BaseException) -> str | None:
  """The message of an `error` that says that memory ran out, in Python or XLA; None for other errors."""
  why = (str(error).strip().splitlines() or [""])[0]
  if isinstance(error, MemoryError):
    return why
  if "RESOURCE_EXHAUSTED" in why:  # XLA raises one type of exception for every error
    return why.partition("RESOURCE_EXHAUSTED")[2].lstrip(": ")
  return None
