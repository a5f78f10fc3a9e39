"""Section 2's quadratic neurons as scikit-learn estimators: a classifier and a regressor.

The one room that needs scikit-learn, an optional extra: `pip install 'qnn_jax[sklearn]'`. Nothing
else imports it.
"""

try:
  import sklearn as _  # noqa: F401
except ImportError as error:
  raise ImportError(
    "qnn_jax.sklearn needs scikit-learn 1.7 or later: pip install 'qnn_jax[sklearn]'"
  ) from error

from qnn_jax.sklearn._classifier import QuadraticLogisticRegression
from qnn_jax.sklearn._regressor import QuadraticRegressor

__all__ = ["QuadraticLogisticRegression", "QuadraticRegressor"]
