"""Accuracy and CPU time of `QuadraticLogisticRegression`, compared with the usual alternatives.

  python scripts/bench_sklearn.py [--json] [--small] [--sets=iris --sets=wine ...] [--features=raw]
  python scripts/bench_sklearn.py --mnist [--iterations=20]

Ten data sets, with standardised or raw features, in stratified 5-fold cross-validation. The alternatives are
LogisticRegression (C=1) and SGDClassifier on PolynomialFeatures(2), and QDA, all with default settings, except that
SGDClassifier makes at most 100 passes: its default of 1,000 takes minutes on raw features. Each line is measured in
a process of its own. `first s` is the CPU time, over all threads, of the first fit, without imports and data; `next
s` is the median of the other fits. `5-fold %` is the mean accuracy. `5 x 5 %` is that of five repetitions, for sets
with fewer than 600 samples, where one sample is half a point. `unconverged` is the number of fits that warned of
this. `less` is by how many points our accuracy is below that of LogisticRegression (by 5 x 5 % if there is one).
`ratio` is our `next s` divided by that of LogisticRegression. --small takes at most 200 samples.

--mnist fits the 60,000 images, with pixels from 0 to 1 in float32, and compares with LogisticRegression on the
pixels: test accuracy, CPU and wall seconds, and the peak memory of the process in GiB.
"""

import resource
import statistics
import time
import warnings

import _bench
import numpy as np
from absl import flags

from qnn_jax.sweeps import processes

MODELS = ("ours", "poly2, LR", "QDA", "poly2, SGD")
_MADE = {  # samples, features, those that inform
  "20,000 x 20": (20000, 20, 10),
  "20,000 x 100": (20000, 100, 20),
  "50,000 x 54": (50000, 54, 15),
}
SETS = ("iris", "wine", "breast_cancer", "digits", "moons", "circles", "noisy XOR", *_MADE)
FEATURES = ("standardised", "raw")

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object per line instead of a table.")
_SMALL = flags.DEFINE_bool("small", False, "Use at most 200 samples, for a quick test.")
_SETS = flags.DEFINE_multi_enum("sets", SETS, SETS, "Data sets; may be given several times.")
_MNIST = flags.DEFINE_bool("mnist", False, "Use MNIST instead of the ten sets.")
_ITERATIONS = flags.DEFINE_integer(
  "iterations", 20, "Most iterations of our model on MNIST.", lower_bound=1
)
_FEATURES = flags.DEFINE_multi_enum("features", FEATURES, FEATURES, "Kinds of features.")


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

  if name == "ours":
    from qnn_jax.sklearn import QuadraticLogisticRegression

    return QuadraticLogisticRegression()
  if name == "QDA":
    return QuadraticDiscriminantAnalysis()
  peer = (
    LogisticRegression() if name == "poly2, LR" else SGDClassifier(max_iter=100, random_state=0)
  )
  return make_pipeline(PolynomialFeatures(2), peer)


def measure(name: str, features: str, which: str, small: bool) -> dict[str, float]:
  """Accuracies in percent, CPU seconds of the first and of a later fit, and the number of unconverged fits."""
  from sklearn.base import clone
  from sklearn.exceptions import ConvergenceWarning
  from sklearn.model_selection import RepeatedStratifiedKFold
  from sklearn.preprocessing import StandardScaler

  x, y = data(name)
  if small:
    rows = np.random.default_rng(0).permutation(len(x))[:200]
    x, y = x[rows], y[rows]
  scores, seconds = [], []
  repeats = 5 if len(x) < 600 and not small else 1
  folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=repeats, random_state=0)
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
        return {}
      seconds.append(time.process_time() - begin)
      scores.append(100 * fitted.score(asked, y[test]))
  found = {
    "accuracy": np.mean(scores[:5]),
    "first_s": seconds[0],
    "next_s": statistics.median(seconds[1:]),
    "unconverged": sum(issubclass(warning.category, ConvergenceWarning) for warning in told),
  }
  return found if repeats == 1 else {**found, "repeated": np.mean(scores)}


def rows():
  for name in _SETS.value:
    for features in _FEATURES.value:
      found = {}
      for which in MODELS:
        _bench.tell(f"{name}, {features}, {which}")
        found[which] = processes.call(measure, name, features, which, _SMALL.value)
      ours, peer = found["ours"], found["poly2, LR"]
      kind = "repeated" if "repeated" in ours else "accuracy"
      ours["less"], ours["ratio"] = peer[kind] - ours[kind], ours["next_s"] / peer["next_s"]
      for which, values in found.items():
        row = {"set": name, "features": features, "model": which}
        yield row | {key: _shown(values.get(key)) for key in HEADINGS if key not in row}


def measure_mnist(which: str, iterations: int) -> dict[str, float]:
  from sklearn.linear_model import LogisticRegression

  from qnn_jax.datasets import load_dataset
  from qnn_jax.sklearn import QuadraticLogisticRegression

  mnist = load_dataset()
  train, test = (
    images.reshape(len(images), -1) / np.float32(255)
    for images in (mnist.train_images, mnist.test_images)
  )
  chosen = LogisticRegression()
  if which == "ours":
    # Pixels at the edge are almost constant: standardised, their few other values are hundreds.
    chosen = QuadraticLogisticRegression(standardize=False, max_iter=iterations, verbose=True)
  cpu, wall = time.process_time(), time.monotonic()
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # both end at their number of iterations
    chosen.fit(train, mnist.train_labels)
  return {
    "cpu_s": time.process_time() - cpu,
    "wall_s": time.monotonic() - wall,
    "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    "accuracy": 100 * chosen.score(test, mnist.test_labels),
    "iterations": int(np.max(chosen.n_iter_)),
  }


def rows_of_mnist():
  for which in ("ours", "LR on pixels"):
    _bench.tell(f"MNIST, {which}")
    found = processes.call(measure_mnist, which, _ITERATIONS.value)
    yield {"model": which} | {name: _shown(value) for name, value in found.items()}


def _shown(value: float | None) -> float | int | None:
  return value if value is None or isinstance(value, int) else round(float(value), 3)


HEADINGS = {
  "set": "data set",
  "features": "features",
  "model": "model",
  "accuracy": "5-fold %",
  "repeated": "5 x 5 %",
  "less": "less",
  "first_s": "first s",
  "next_s": "next s",
  "ratio": "ratio",
  "unconverged": "unconverged",
}
OF_MNIST = {
  "model": "model",
  "accuracy": "test %",
  "cpu_s": "cpu s",
  "wall_s": "wall s",
  "memory": "peak GiB",
  "iterations": "iterations",
}


def main():
  if _MNIST.value:
    _bench.show(rows_of_mnist(), OF_MNIST, _JSON.value)
  else:
    _bench.show(rows(), HEADINGS, _JSON.value)


if __name__ == "__main__":
  _bench.run(main)
