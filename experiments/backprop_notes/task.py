"""The runs: a gradient descent by this package and its first steps by the document's recursion.

Gradients are compared at the start and at the end.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from experiments.backprop_notes import document
from experiments.backprop_notes.document import Layer
from qnn_jax import losses, ops
from qnn_jax.errors import InputError
from qnn_jax.sweeps import checks, compiling
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Group, Point, Row, Worked
from qnn_jax.sweeps.possible import NUMBER, SEED, Possible, list_of, or_none
from qnn_jax.sweeps.task import Event, Task

AGREEMENT = ("largest_dW", "difference_dW", "difference_db")

_DOCUMENT_EPOCHS = 100  # of the document's descent, which goes sample by sample in Python
_STRETCH = 2000  # epochs in one call of the compiled program


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value that makes no sense."""
  check_sizes(config.sizes)
  checks.whole(config, "grid", "epochs", "seeds")
  checks.number(config, "learning_rate", above=0)
  numbers = sum((1.0 + n) * m for n, m in itertools.pairwise(config.sizes))
  # The document's gradients of every sample in float64, and the same again while their means are computed.
  checks.memory(
    24.0 * (config.grid**2 + 2) * (numbers + config.sizes[0]),
    f"grid = {config.grid:,} with sizes = {tuple(config.sizes)}",
  )
  checks.memory(100.0 * config.epochs, f"a loss for each of epochs = {config.epochs:,}")


def check_sizes(sizes: Sequence[int]) -> None:
  """InputError unless these are the inputs of a network and the neurons of at least one layer."""
  checks.whole(ml_collections.ConfigDict({"sizes": tuple(sizes)}), "sizes")
  if len(sizes) < 2:
    raise InputError(
      f"sizes must hold the inputs and the neurons of at least one layer, got {tuple(sizes)}"
    )


def network(params: list[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
  """The document's network in this package: kernels [m, n] are the transposes of the document's W."""
  for kernel, bias in params:
    x = jax.nn.sigmoid(ops.affine(x, kernel, bias))
  return x


def mean_loss(params, x: jax.Array, y: jax.Array) -> jax.Array:
  """Mean half squared error over the samples."""
  return losses.half_squared_error(network(params, x), y).mean()


def as_params(layers: list[Layer], dtype=jnp.float32) -> list[tuple[jax.Array, jax.Array]]:
  """(W [n, m], b) -> (kernel [m, n], bias)."""
  return [(jnp.asarray(weight.T, dtype), jnp.asarray(bias, dtype)) for weight, bias in layers]


def as_layers(params) -> list[Layer]:
  """The inverse of `as_params`, in float64."""
  return [(np.asarray(kernel, float).T, np.asarray(bias, float)) for kernel, bias in params]


def start(sizes: Sequence[int], seed: int) -> list[Layer]:
  """Weights from N(0, 4 / inputs), wide enough for the sigmoid neurons to differ at the start."""
  rng = np.random.default_rng(seed)
  pairs = itertools.pairwise(sizes)
  return [(rng.normal(size=(n, m)) * 2 / np.sqrt(m), rng.normal(size=n)) for m, n in pairs]


def samples(sizes: Sequence[int], grid: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """x [B, inputs] on a grid over [-1, 1]^2 (random unless there are two inputs), and y in [0.1, 0.9]."""
  if sizes[0] == 2:
    side = np.linspace(-1, 1, grid)
    x = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
  else:
    x = np.random.default_rng(seed).uniform(-1, 1, (grid**2, sizes[0]))
  # The product of the inputs, scaled to values that a sigmoid output can reach.
  return x, np.repeat(0.5 + 0.4 * x.prod(1, keepdims=True), sizes[-1], 1)


def run(group: Group, job: Job) -> Iterator[Event]:
  """Trains with this package, and for the first steps also with the document's recursion, from the same start."""
  for point in group.points:
    yield from _run(point, job, group.cost / len(group.points))


def _run(point: Point, job: Job, cost: float):
  sizes, epochs, rate = point["sizes"], point["epochs"], point["learning_rate"]
  layers, (x, y) = start(sizes, point["seed"]), samples(sizes, point["grid"], point["seed"])
  metrics: dict[str, Any] = yield from compare("start", layers, x, y)
  by_document = document.descent(layers, x, y, rate, min(epochs, _DOCUMENT_EPOCHS))
  yield Worked(cost / 2)
  params, loss = as_params(layers), []
  for done in range(0, epochs, _STRETCH):
    count = min(_STRETCH, epochs - done)
    params, of_stretch = yield from compiling.call(descend, params, x, y, rate, count)
    loss += np.asarray(of_stretch).tolist()
    yield Worked(cost / 2 * count / epochs)
  metrics |= yield from compare("end", as_layers(params), x, y)
  metrics |= {"loss": loss, "loss_document": [float(value) for value in by_document]}
  row = Row(point, metrics, "ok" if np.isfinite(loss[-1]) else "diverged")
  if job.keep_params:
    row = row._replace(**kept(sizes, params))
  yield row


@functools.partial(jax.jit, static_argnames=("rate", "epochs"))
def descend(params, x, y, rate: float, epochs: int):
  """Full-batch gradient descent: the final parameters, and the loss before every step."""

  def step(params, _):
    loss, grads = jax.value_and_grad(mean_loss)(params, x, y)
    return jax.tree.map(lambda p, g: p - rate * g, params, grads), loss

  return jax.lax.scan(step, params, length=epochs)


@jax.jit
def gradients(params, x, y):
  """This package's mean gradients, in the form of its parameters."""
  return jax.grad(mean_loss)(params, x, y)


def compare(when: str, layers: list[Layer], x: np.ndarray, y: np.ndarray):
  """The largest difference of the two mean gradients in each layer, relative to its terms.

  The terms are the samples' gradients. Near a minimum they cancel, and their mean is much smaller than the
  rounding errors of the terms. So we divide by the largest mean magnitude of the terms.

  Returns:
    For `yield from`: metric -> one value per layer, for each of `AGREEMENT`, with a name that ends in `when`.
  """
  ours = yield from compiling.call(gradients, as_params(layers), x, y)
  columns: dict[str, list[float]] = {f"{name}_{when}": [] for name in AGREEMENT}
  for (kernel, bias), (dw, db) in zip(ours, document.sample_gradients(layers, x, y), strict=True):
    values = (
      float(np.abs(dw.mean(0)).max()),
      relative_difference(np.asarray(kernel).T, dw),
      relative_difference(np.asarray(bias), db),
    )
    for column, value in zip(columns.values(), values, strict=True):
      column.append(value)
  return columns


def relative_difference(ours: np.ndarray, terms: np.ndarray) -> float:
  """Largest |ours - mean of terms|, divided by the largest mean magnitude of the terms."""
  return float(np.abs(ours - terms.mean(0)).max() / np.abs(terms).mean(0).max())


def kept(sizes: Sequence[int], params) -> dict[str, Any]:
  """`params` and `network` of a row. The module returns z of the last layer, without the sigmoid."""
  layers = [{"kernel": kernel, "bias": bias} for kernel, bias in params]
  inputs, *hidden, outputs = sizes
  if not hidden:
    described = {"layer": "ann", "in_features": inputs, "out_features": outputs}
    return {"params": layers[0], "network": described}
  described = {"in_features": inputs, "hidden": hidden, "classes": outputs, "head": "ann"}
  return {"params": {"layers": dict(enumerate(layers))}, "network": described}


def _fits(values, run):
  lengths = {
    "loss": values["epochs"],
    "loss_document": min(values["epochs"], _DOCUMENT_EPOCHS),
    **dict.fromkeys(_AGREEMENTS, len(values["sizes"]) - 1),
  }
  return all(len(run[name]) == length for name, length in lengths.items())


_AGREEMENTS = [f"{name}_{when}" for name in AGREEMENT for when in ("start", "end")]
POSSIBLE = Possible(
  metrics=dict.fromkeys(("loss", "loss_document", *_AGREEMENTS), list_of(or_none(NUMBER))),
  axes={"seed": SEED},
  statuses=("ok", "diverged"),
  fits=_fits,
)
TASK = Task("backprop_notes", {"seeds": "seed"}, run, possible=POSSIBLE)
