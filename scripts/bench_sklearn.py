"""Accuracy and CPU time of `QuadraticLogisticRegression` beside what one would otherwise pick.

  python scripts/bench_sklearn.py [--json] [--small] [--sets=iris --sets=wine ...] [--features=raw]

Ten data sets, features standardised beforehand or raw, stratified 5-fold: 5 times over where there are fewer
than 600 samples, as one is half a point there. The peers are LogisticRegression (C=1) and SGDClassifier on
PolynomialFeatures(2), and QDA, each as it comes. A model has a process of its own for each line: `first s` is
the CPU time, all threads, of the first fit there, imports and data apart, `next s` the median of the others.
`accuracy` is the mean of the folds, in percent, and `unconverged` how many fits warned of that. `less` are the
points by which our accuracy is below that of LogisticRegression, `ratio` is our next fit's time over its.
--small takes at most 200 samples.
"""

import statistics
import time
import warnings

import _bench
import numpy as np
from absl import flags

from qnn_jax.sweeps import processes

MODELS = ("ours", "poly2 + LR", "QDA", "poly2 + SGD")
_MADE = {  # samples, features, those that inform
  "20,000 x 20": (20000, 20, 10),
  "20,000 x 100": (20000, 100, 20),
  "50,000 x 54": (50000, 54, 15),
}
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


def measure(name: str, features: str, which: str, small: bool) -> tuple[float, float, float, int]:
  """Accuracy in percent, CPU seconds of the first and of a next fit, fits that had not converged."""
  from sklearn.base import clone
  from sklearn.exceptions import ConvergenceWarning
  from sklearn.model_selection import RepeatedStratifiedKFold
  from sklearn.preprocessing import StandardScaler

  x, y = data(name)
  if small:
    rows = np.random.default_rng(0).permutation(len(x))[:200]
    x, y = x[rows], y[rows]
  scores, seconds = [], []
  folds = RepeatedStratifiedKFold(
    n_splits=5, n_repeats=5 if len(x) < 600 and not small else 1, random_state=0
  )
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


def rows():
  for name in _SETS.value:
    for features in _FEATURES.value:
      found = {}
      for which in MODELS:
        _bench.tell(f"{name}, {features}, {which}")
        found[which] = processes.call(measure, name, features, which, _SMALL.value)
      peer, ours = found["poly2 + LR"], found["ours"]
      for which, (accuracy, first, later, unconverged) in found.items():
        yield {
          "set": name,
          "features": features,
          "model": which,
          "accuracy": _shown(accuracy, 2),
          "less": round(peer[0] - accuracy, 2) if which == "ours" else None,
          "first_s": _shown(first, 3),
          "next_s": _shown(later, 3),
          "ratio": round(ours[2] / peer[2], 2) if which == "ours" else None,
          "unconverged": unconverged,
        }


def _shown(value: float, digits: int) -> float | None:
  return None if np.isnan(value) else round(value, digits)


HEADINGS = {
  "set": "data set",
  "features": "features",
  "model": "model",
  "accuracy": "accuracy %",
  "less": "less",
  "first_s": "first s",
  "next_s": "next s",
  "ratio": "ratio",
  "unconverged": "unconverged",
}


def main():
  _bench.show(rows(), HEADINGS, _JSON.value)


if __name__ == "__main__":
  _bench.run(main)
