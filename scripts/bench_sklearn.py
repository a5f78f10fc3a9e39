"""Accuracy and CPU time of `QuadraticLogisticRegression` beside what one would otherwise pick.

  python scripts/bench_sklearn.py [--json] [--small] [--sets=iris,wine,...] [--features=standardised,raw]

Ten data sets, stratified 5-fold, features standardised beforehand or raw. The peers are
LogisticRegression (C=1) and SGDClassifier on PolynomialFeatures(2), and QDA, all else as it comes. A model has
a process of its own for each line: `first s` is the CPU time, all threads, of the first fit there, imports
and data apart, `next s` the median of the other folds' fits. `accuracy` is the mean of the folds, in
percent. `less` are the points and `ratio` the times by which our accuracy is below the first peer's
and our next fit longer. --small takes at most 200 samples and the two smallest features of it all.
"""

import statistics
import time
import warnings

import _bench
import numpy as np
from absl import flags

from qnn_jax.sweeps import processes

MODELS = ("ours", "poly2 + LR", "QDA", "poly2 + SGD")
_MADE = {"20,000 x 20": (20000, 20, 10), "20,000 x 100": (20000, 100, 20), "50,000 x 54": (50000, 54, 15)}
SETS = ("iris", "wine", "breast_cancer", "digits", "moons", "circles", "noisy XOR", *_MADE)
FEATURES = ("standardised", "raw")

_JSON = flags.DEFINE_bool("json", False, "One JSON object a line in place of the table.")
_SMALL = flags.DEFINE_bool("small", False, "At most 200 samples, for a try.")
_SETS = flags.DEFINE_multi_enum("sets", SETS, SETS, "Which; may be given several times.")
_FEATURES = flags.DEFINE_multi_enum("features", FEATURES, FEATURES, "Which.")


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
  from sklearn import datasets

  if name in _MADE:
    samples, features, informative = _MADE[name]
    return datasets.make_classification(
      samples, features, n_informative=informative, random_state=0
    )
  if name == "moons":
    return datasets.make_moons(1000, noise=0.2, random_state=0)
  if name == "circles":
    return datasets.make_circles(1000, noise=0.1, factor=0.6, random_state=0)
  if name == "noisy XOR":
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 2))
    return x + rng.normal(0, 0.2, x.shape), (x[:, 0] * x[:, 1] > 0).astype(int)
  return getattr(datasets, f"load_{name}")(return_X_y=True)


def model(name: str):
  from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
  from sklearn.linear_model import LogisticRegression, SGDClassifier
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import PolynomialFeatures

  from qnn_jax.sklearn import QuadraticLogisticRegression

  if name == "ours":
    return QuadraticLogisticRegression()
  if name == "QDA":
    return QuadraticDiscriminantAnalysis()
  peer = LogisticRegression() if name == "poly2 + LR" else SGDClassifier(random_state=0)
  return make_pipeline(PolynomialFeatures(2), peer)


def measure(name: str, features: str, which: str, small: bool) -> tuple[float, float, float, bool]:
  """Accuracy in percent, CPU seconds of the first and of the next fits, whether all was warned of."""
  from sklearn.base import clone
  from sklearn.exceptions import ConvergenceWarning
  from sklearn.model_selection import StratifiedKFold
  from sklearn.preprocessing import StandardScaler

  x, y = data(name)
  if small:
    rows = np.random.default_rng(0).permutation(len(x))[:200]
    x, y = x[rows], y[rows]
  scores, seconds, unconverged = [], [], 0
  folds = StratifiedKFold(5, shuffle=True, random_state=0)
  with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for train, test in folds.split(x, y):
      scaler = StandardScaler().fit(x[train])
      scale = scaler.transform if features == "standardised" else np.asarray
      given, asked = scale(x[train]), scale(x[test])
      begin = time.process_time()
      try:
        fitted = clone(model(which)).fit(given, y[train])
      except np.linalg.LinAlgError:  # QDA refuses singular covariances
        return float("nan"), float("nan"), float("nan"), 0
      seconds.append(time.process_time() - begin)
      scores.append(fitted.score(asked, y[test]))
  unconverged = sum(issubclass(warning.category, ConvergenceWarning) for warning in told)
  return 100 * float(np.mean(scores)), seconds[0], statistics.median(seconds[1:]), unconverged
