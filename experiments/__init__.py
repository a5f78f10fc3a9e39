"""The experiments: `python -m experiments.NAME`. Without what they need they end with one sentence."""

import sys

from qnn_jax import _extras
from qnn_jax.errors import MissingExtra

try:
  _extras.need("every experiment", "absl", "ml_collections", "rich", "matplotlib", "scipy")
except MissingExtra as error:
  sys.exit(f"error: {error}")
