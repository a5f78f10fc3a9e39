"""The exceptions that end a program with one sentence, and without a traceback."""


class InputError(ValueError):
  """Bad input: one sentence that says what was wrong and what would be right.

  The command-line programs print it without a traceback; everything else that is raised is a bug.
  """


class WorkerDied(RuntimeError):
  """A worker process of a sweep ended before its work: killed, or out of memory, say."""


class MissingExtra(InputError, ImportError):
  """A package that only an extra of qnn_jax brings is not installed; the sentence names the extra."""
