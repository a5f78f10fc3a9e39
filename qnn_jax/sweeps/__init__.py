"""The engine: points, groups, records, workers, launchers, progress. It knows no table and no data set."""

from qnn_jax import _extras

_extras.need("qnn_jax.sweeps", "absl", "ml_collections", "rich")
