"""The experiments: `python -m experiments.NAME`. Without what they need they end with one sentence."""

import os
import signal
import sys


def _end(number, _):
  what = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
  os.write(2, f"{what}; the same command carries on from what is finished\n".encode())
  os._exit(128 + number)


# The imports below take seconds, and nothing is on disk yet: until `command.main` takes over, a signal ends
# the program with one line. Not where another program imports this: argv is '-m' only at the very start.
if sys.argv[0] == "-m":
  for _name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
    _number = getattr(signal, _name, None)
    if _number is not None and signal.getsignal(_number) != signal.SIG_IGN:
      signal.signal(_number, _end)

from qnn_jax import _extras  # noqa: E402
from qnn_jax.errors import MissingExtra  # noqa: E402

try:
  _extras.need("every experiment", "absl", "ml_collections", "rich", "matplotlib", "scipy")
except MissingExtra as error:
  sys.exit(f"error: {error}")
