"""The experiments: `python -m experiments.NAME`. If a package is missing, they end with one sentence."""

import os
import signal
import sys


def _end(number, _):
  what = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
  os.write(2, f"{what}; the same command carries on from what is finished\n".encode())
  os._exit(128 + number)


# The imports below take seconds, and nothing is on disk yet. Until `command.main` takes over, a signal ends
# the program with one line. This must not happen where another program imports this package, so we look at
# argv: it is '-m' only at the very start of `python -m`.
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
