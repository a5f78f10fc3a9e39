"""Fig. 1's runs: single quadratic neurons that learn XOR from the identity and from random starts, side by side.

Each start is a point. Its `init` is 'identity', 'random' (for N(0, s^2)), or the name of another distribution.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from qnn_jax.datasets.xor import make_xor
from qnn_jax.initializers import STARTS
from qnn_jax.inspect import CONICS, quadric_kind
from qnn_jax.sweeps import checks, compiling
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Group, Point, Row, Worked, alike_in_parts
from qnn_jax.sweeps.possible import NUMBER, Possible, list_of, or_none, text, whole
from qnn_jax.sweeps.task import Event, Task
from qnn_jax.training import devices, logistic

POINTS = 4
THETA = ("b", "w1", "w2", "q11", "q12", "q22")
COLUMNS = ("init", "start", "correct", "solved_epoch", "kind", "final_kind", *THETA)

_IDENTITY = np.array([0, 0, 0, 1, 0, 1], np.float32)

# Neurons per device and epochs in one call. A call returns every neuron after every epoch, which takes 24 MB.
_MOST_STARTS = 1000
_STRETCH = 1000


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value that makes no sense."""
  checks.whole(config, "seeds", "epochs")
  checks.number(config, "learning_rate", above=0)
  checks.number(config, "init_scale", least=0)
  checks.choice("init", config.init, STARTS)


def points(config: ml_collections.ConfigDict) -> Iterator[dict[str, Any]]:
  """One start from Q = I with w = 0 and b = 0, then `config.seeds` random ones."""
  yield {"init": "identity", "start": 0}
  for start in range(config.seeds):
    yield {"init": "random" if config.init == "normal" else config.init, "start": start}


def groups(missing: Sequence[Point], parts: int) -> list[Group]:
  """Groups of starts that train in the same way, about `parts` groups in all."""
  return [
    Group(part, cost=len(part) * part[0]["epochs"], program=f"{len(part)} starts")
    for part in alike_in_parts(
      missing, parts, lambda point: point.fields, _MOST_STARTS * devices.count()
    )
  ]


def start_of(point: Point) -> np.ndarray:
  """The initial theta [6] of a point. Start k depends only on k, not on the number of starts."""
  if point["init"] == "identity":
    return _IDENTITY
  init = "normal" if point["init"] == "random" else point["init"]
  return np.asarray(_start(point["start"], 2, 1, init, point["init_scale"])[:, 0])


_start = jax.jit(logistic.start, static_argnums=(1, 2, 3))


def run(group: Group, job: Job) -> Iterator[Event]:
  """Trains a group's neurons and examines each of them after every epoch."""
  epochs, rate = group.points[0]["epochs"], group.points[0]["learning_rate"]
  watched = _Watched.of(len(group.points))
  theta = devices.put(np.stack([start_of(point) for point in group.points], axis=1), 1)
  for done in range(0, epochs, _STRETCH):
    count = min(_STRETCH, epochs - done)
    path = yield from compiling.call(_path, theta, rate, count)
    theta = path[-1]
    watched = _watch(watched, done, np.asarray(path)[..., : len(group.points)])
    yield Worked(count * len(group.points))
  yield [_row(point, watched, k, job) for k, point in enumerate(group.points)]


@functools.partial(jax.jit, static_argnames="epochs")
def _path(theta, rate, epochs):
  """[epochs, 6, K]: the parameters of K neurons after each epoch."""
  data = make_xor()
  phi = logistic.features(jnp.asarray(data.x))[..., None]

  def step(theta, _):
    theta = logistic.epoch(theta, phi, data.targets[:, None], rate)
    return theta, theta

  spread = devices.over_runs(lambda theta: jax.lax.scan(step, theta, length=epochs)[1], (1,), 2)
  return spread(theta)


class _Watched(NamedTuple):
  """The results of K neurons so far.

  Attributes:
    solved: [K] the first epoch, counted from 1, after which all four points are right; 0 if there is none.
    theta: [6, K] the parameters after that epoch.
    correct: [K] how many points are right after the last epoch.
    final: [6, K] the parameters after the last epoch.
  """

  solved: np.ndarray
  theta: np.ndarray
  correct: np.ndarray
  final: np.ndarray

  @classmethod
  def of(cls, count: int) -> "_Watched":
    """Before the first epoch."""
    return cls(np.zeros(count, int), np.zeros((6, count)), np.zeros(count, int), np.empty(0))


def _watch(watched: _Watched, done: int, path: np.ndarray) -> _Watched:
  """Adds the results of path [epochs, 6, K], the parameters after each of the epochs that follow `done`."""
  data = make_xor()
  # In float64, and only for finite neurons: a neuron that diverged overflowed float32, and is never right.
  path = path.astype(np.float64)
  finite = np.where(np.isfinite(path).all(1, keepdims=True), path, 0)
  z = np.asarray(logistic.features(jnp.asarray(data.x)), np.float64) @ finite
  correct = (z * data.bipolar[:, None] > 0).sum(1)
  right = correct == POINTS
  new = np.flatnonzero((watched.solved == 0) & right.any(0))
  at = right.argmax(0)[new]
  solved, theta = watched.solved.copy(), watched.theta.copy()
  solved[new] = done + 1 + at
  theta[:, new] = path[at, :, new].T
  return _Watched(solved, theta, correct[-1], path[-1])


def _row(point: Point, watched: _Watched, k: int, job: Job) -> Row:
  final, epoch = watched.final[:, k], int(watched.solved[k])
  theta = watched.theta[:, k] if epoch else final
  metrics = {
    "correct": int(watched.correct[k]),
    "solved_epoch": epoch or None,
    "kind": _kind(theta),
    "final_kind": _kind(final),
    **{name: float(f"{value:.6g}") for name, value in zip(THETA, theta)},
    "final_theta": final.tolist(),
  }
  row = Row(point, metrics, "diverged" if metrics["final_kind"] == "diverged" else "ok")
  if not job.keep_params:
    return row
  q, kernel, bias = logistic.split(final.astype(np.float32)[:, None], n=2)
  network = {"layer": "qnn", "in_features": 2, "out_features": 1}
  return row._replace(params={"q": q, "kernel": kernel, "bias": bias}, network=network)


def _kind(theta: np.ndarray) -> str:
  if not np.isfinite(theta).all():
    return "diverged"
  b, w1, w2, q11, q12, q22 = theta
  return quadric_kind([[q11, q12], [q12, q22]], [w1, w2], b)


def workers(wanted: Sequence[Point], cores: int) -> int:
  """One worker per thousand starts: one process trains that many before another process has started."""
  return min(cores, math.ceil(len(wanted) / _MOST_STARTS))


POSSIBLE = Possible(
  metrics={
    "correct": whole(0, POINTS),
    "solved_epoch": or_none(whole(1)),
    "kind": text(*CONICS, "diverged"),
    "final_kind": text(*CONICS, "diverged"),
    **dict.fromkeys(THETA, NUMBER),
    "final_theta": list_of(or_none(NUMBER), len(THETA)),
  },
  axes={"init": text(), "start": whole()},
  statuses=("ok", "diverged"),
)
TASK = Task(
  "xor",
  {"init": "init", "seeds": "start"},
  run,
  groups=groups,
  points=points,
  workers=workers,
  possible=POSSIBLE,
)
