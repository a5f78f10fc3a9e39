"""The one exception a user's mistake raises."""


class InputError(ValueError):
  """Bad input: one sentence that says what was wrong and what would be right.

  The command-line programs print it without a traceback; everything else that is raised is a bug.
  """
