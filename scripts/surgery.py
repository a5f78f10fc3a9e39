"""Exchanges the last convolution and the last linear layer of a trained CNN in one call, and trains on.

  python scripts/surgery.py [--json] [--seeds=5] [--images=5000] [--epochs=10] [--more=10]
    [--kinds=qnn,rpqnn,heavy,lowrank:4]

Every seed trains a CNN with Adam on the first images of MNIST. Each kind then starts from a copy of this CNN: the two
layers are exchanged, the outputs on the test images are compared with the CNN's, and training goes on for --more
epochs with a new optimiser. The control, 'nothing exchanged', does the same without the exchange. With the same seed
all of them see the samples in the same order. 'better by' is the mean difference to the control, seed by seed, in
points of test accuracy, with its standard error.

Cost: 12 minutes of one core's time, 5 of them the full quadratic convolution's.
"""

import statistics
import time
from typing import Any

import _bench
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from flax import nnx

import qnn_jax
from qnn_jax import heads, losses
from qnn_jax.datasets import load_dataset
from qnn_jax.training.minibatch import quadratic_partition

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object per line instead of a table.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "Seeds 0 to N - 1.", lower_bound=1)
_IMAGES = flags.DEFINE_integer("images", 5000, "Number of training images.", lower_bound=50)
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Epochs before the exchange.", lower_bound=1)
_MORE = flags.DEFINE_integer("more", 10, "Epochs after the exchange.", lower_bound=1)
_KINDS = flags.DEFINE_list("kinds", ["qnn", "rpqnn", "heavy", "lowrank:4"], "Names of heads.")
_RATE = flags.DEFINE_float(
  "rate", 1e-3, "Adam's learning rate for kernels and biases.", lower_bound=0
)
_QUADRATIC_RATE = flags.DEFINE_float(
  "quadratic_rate", 1e-3, "Adam's learning rate for quadratic parameters.", lower_bound=0
)

BATCH = 50
EXCHANGED = ("conv2", "head")
CONTROL = "nothing exchanged"
HEADINGS = {
  "kind": "kind",
  "parameters": "parameters",
  "outputs_moved": "outputs moved by",
  "before": "accuracy before",
  "after": "accuracy after",
  "better_by": "better by",
  "standard_error": "+-",
  "loss": "training loss",
  "seconds": "s a seed",
}


class CNN(nnx.Module):
  """28 x 28 grey pixels -> 10 logits."""

  def __init__(self, rngs: nnx.Rngs):
    self.conv1 = nnx.Conv(1, 8, (3, 3), strides=2, rngs=rngs)
    self.conv2 = nnx.Conv(8, 16, (3, 3), strides=2, rngs=rngs)
    self.hidden = nnx.Linear(7 * 7 * 16, 32, rngs=rngs)
    self.head = nnx.Linear(32, 10, rngs=rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    x = nnx.relu(self.conv2(nnx.relu(self.conv1(x))))
    return self.head(nnx.relu(self.hidden(x.reshape(x.shape[0], -1))))


outputs = nnx.jit(lambda model, x: model(x))


@nnx.jit
def train_epoch(model, optimizer, key, x, y):
  """Trains on all samples once, in an order drawn with the key; returns the mean loss."""

  def step(carry, rows):
    model, optimizer = carry
    mean_loss = lambda model: losses.softmax_cross_entropy(model(x[rows]), y[rows]).mean()
    loss, gradients = nnx.value_and_grad(mean_loss)(model)
    optimizer.update(model, gradients)
    return (model, optimizer), loss

  batches = x.shape[0] // BATCH
  order = jax.random.permutation(key, x.shape[0])[: batches * BATCH].reshape(batches, BATCH)
  scan = nnx.scan(step, in_axes=(nnx.Carry, 0), out_axes=(nnx.Carry, 0))
  return scan((model, optimizer), order)[1].mean()


def train(model, seed: int, epochs, data) -> float:
  """Trains the model in place with a new Adam; returns the last epoch's loss."""
  rates = quadratic_partition(optax.adam(_QUADRATIC_RATE.value), optax.adam(_RATE.value))
  optimizer = nnx.Optimizer(model, rates, wrt=nnx.Param)
  for epoch in epochs:
    loss = train_epoch(model, optimizer, jax.random.fold_in(jax.random.key(seed), epoch), *data)
  return float(loss)


def accuracy(model, x, labels) -> float:
  return 100 * float((np.asarray(outputs(model, x)).argmax(1) == labels).mean())


def run_seed(kind: str, trained: CNN, seed: int, data, test) -> dict[str, float]:
  """The results of one kind, from a copy of a trained CNN."""
  model = nnx.clone(trained)
  before = outputs(model, test[0])
  if kind != CONTROL:
    qnn_jax.replace(model, dict.fromkeys(EXCHANGED, kind), rngs=nnx.Rngs(seed))
  moved = float(jnp.abs(outputs(model, test[0]) - before).max())
  start = time.perf_counter()
  loss = train(model, seed, range(_EPOCHS.value, _EPOCHS.value + _MORE.value), data)
  return {
    "parameters": sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))),
    "outputs_moved": moved,
    "before": accuracy(trained, *test),
    "after": accuracy(model, *test),
    "loss": loss,
    "seconds": time.perf_counter() - start,
  }


def rows():
  data, test = mnist()
  trained = []
  for seed in range(_SEEDS.value):
    trained.append(CNN(nnx.Rngs(seed)))
    train(trained[-1], seed, range(_EPOCHS.value), data)
    _bench.tell(f"seed {seed}: trained, {accuracy(trained[-1], *test):.2f} %")
  control: list[dict[str, float]] = []
  for kind in (CONTROL, *_KINDS.value):
    runs = [run_seed(kind, model, seed, data, test) for seed, model in enumerate(trained)]
    control = control or runs
    yield summary(kind, runs, control)


def summary(kind, runs, control) -> dict[str, Any]:
  mean = lambda name: statistics.mean(run[name] for run in runs)
  gains = [run["after"] - other["after"] for run, other in zip(runs, control)]
  spread = statistics.stdev(gains) if len(gains) > 1 else 0.0
  return {
    "kind": kind,
    "parameters": int(mean("parameters")),
    "outputs_moved": max(run["outputs_moved"] for run in runs),
    "before": round(mean("before"), 2),
    "after": round(mean("after"), 2),
    "better_by": round(statistics.mean(gains), 2),
    "standard_error": round(spread / len(gains) ** 0.5, 2),
    "loss": round(mean("loss"), 4),
    "seconds": round(mean("seconds"), 1),
  }


def mnist():
  """((images [N, 28, 28, 1] in [-1/2, 1/2], one-hot [N, 10]), (test images, labels))."""
  found = load_dataset()
  scaled = lambda images: jnp.asarray(images.reshape(-1, 28, 28, 1) / np.float32(255) - 0.5)
  n = _IMAGES.value
  y = jax.nn.one_hot(found.train_labels[:n], 10)
  return (scaled(found.train_images[:n]), y), (scaled(found.test_images), found.test_labels)


def main():
  for kind in _KINDS.value:
    heads.get(kind)
  _bench.show(rows(), HEADINGS, _JSON.value)


if __name__ == "__main__":
  _bench.run(main)
