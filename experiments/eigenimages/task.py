"""eigenimages' runs, one per seed: trains a single layer as low_rank does, and decomposes its Q."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import nnx

from experiments.low_rank import task as low_rank
from qnn_jax import inspect
from qnn_jax.layers import LowRankQuadraticLinear
from qnn_jax.sweeps import checks
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Group, Point, Row
from qnn_jax.sweeps.possible import NUMBER, PERCENT, SEED, Possible, list_of, or_none, whole
from qnn_jax.sweeps.task import Event, Task
from qnn_jax.sweeps.trained import module_of

AXES = {"seeds": "seed"}

_DIGITS = 4  # decimals that a row keeps of an eigenvector of length 1


def _as_low_rank(config):
  """The same configuration in the form that low_rank checks, with the numbers of eigenvectors as ranks."""
  ranks = tuple(sorted({config.places, *config.kept}))
  return ml_collections.ConfigDict(config.to_dict() | {"hidden": 0, "ranks": ranks})


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value of a configs/eigenimages.py that makes no sense."""
  checks.once(config, "kept")
  checks.whole(config, "places", "kept")
  low_rank.check(_as_low_rank(config))


def check_data(config: ml_collections.ConfigDict) -> None:
  """InputError if the data set cannot be read or is too small, or has fewer pixels than eigenvectors asked for."""
  low_rank.check_data(_as_low_rank(config))


def groups(missing: Sequence[Point], parts: int) -> list[Group]:
  """One group per seed."""
  cost = lambda values: values["epochs"] * values["train_size"]
  return [Group((point,), cost=cost(point.fields.values), program="one") for point in missing]


def run(group: Group, job: Job) -> Iterator[Event]:
  """Trains a seed, computes the eigenvectors of its Q, and tests it with only the leading ones."""
  point = group.points[0]
  values = point.fields.values
  model, diverged, test, network = yield from low_rank.train(group, job)
  metrics: dict[str, Any] = {
    "accuracy": None, "kept": list(values["kept"]), "accuracies": [], "values": [], "vectors": [],
    "shape": list(low_rank.shape_of(values)),
  }  # fmt: skip
  if not diverged:
    pairs = inspect.eigenpairs(model, values["places"])
    highest = LowRankQuadraticLinear.from_quadratic(model, max(values["kept"]))
    of_rank = lambda rank: module_of(
      network(f"lowrank:{rank}"), low_rank.truncated(model, highest, rank)
    )
    metrics |= {
      "accuracy": test(model),
      "accuracies": [test(of_rank(rank)) for rank in values["kept"]],
      "values": np.asarray(pairs.values, float).tolist(),
      "vectors": np.asarray(pairs.vectors, float).round(_DIGITS).tolist(),
    }
  row = Row(point, metrics, "diverged" if diverged else "ok")
  if job.keep_params:
    kept = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model)))
    row = row._replace(params=kept, network=network("qnn"))
  yield [row]


POSSIBLE = Possible(
  metrics={
    "accuracy": or_none(PERCENT),
    "kept": list_of(whole(1)),
    "accuracies": list_of(PERCENT),
    "values": list_of(list_of(NUMBER)),
    "vectors": list_of(list_of(list_of(NUMBER))),
    "shape": list_of(whole(1), 3),
  },
  axes={"seed": SEED},
)
TASK = Task("eigenimages", AXES, run, groups, possible=POSSIBLE)
