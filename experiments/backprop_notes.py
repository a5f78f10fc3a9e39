"""The backpropagation notes: their delta recursion in NumPy beside this package's gradients."""

import functools
import itertools
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qnn_jax import experiment, losses, ops
from qnn_jax.atomic import atomic_write_text
from qnn_jax.errors import InputError
from qnn_jax.reports import panels
from qnn_jax.reports.plot import save_png
from qnn_jax.reports.rows import Row, markdown_table, read_rows, write_rows

Layer = tuple[np.ndarray, np.ndarray]  # W [n, m] as the document has it, rows are neurons; b [n]


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  if not (workdir / "results.csv").exists():
    results, agreement = compute(config)
    write_rows(workdir / "agreement.csv", agreement)
    write_rows(workdir / "results.csv", results)  # last: where it is, all is
  results, agreement = read_rows(workdir / "results.csv"), read_rows(workdir / "agreement.csv")
  write_rows(workdir / "backprop_notes.csv", agreement)
  text = report(agreement, results)
  atomic_write_text(workdir / "backprop_notes.md", text)
  save_png(draw(config, results, agreement), workdir / "backprop_notes.png")
  print(text)


def sigmoid(z: np.ndarray) -> np.ndarray:
  """The logistic function, in NumPy."""
  return 1 / (1 + np.exp(-z))


def document_gradients(layers: list[Layer], x: np.ndarray, y: np.ndarray) -> list[Layer]:
  """The document's recursion for one sample, line by line: dL/dW [n, m] and dL/db [n] a layer.

  Its delta^c is dL/da^{c-1}, the derivative at a layer's input; the delta of the paper, dL/dz, is
  the document's dL/db. Its a^l = sigma(z^l) holds for the last layer too, yhat = a^k.

  Args:
    layers: (W, b) from the first layer to the last, k.
    x, y: one sample's input [m] and target [n].
  """
  a, z = [x], [None]
  for weight, bias in layers:
    z.append(weight @ a[-1] + bias)  # z^l = W^l a^{l-1} + b^l
    a.append(sigmoid(z[-1]))  # a^l = sigma(z^l)

  def slope(layer: int) -> np.ndarray:
    return sigmoid(z[layer]) * (1 - sigmoid(z[layer]))  # sigma'(z)

  # Backwards top layer
  k = len(layers)
  weight = layers[k - 1][0]
  db = (a[k] - y) * slope(k) * 1
  delta = db @ weight  # (1 x n)(n x m) = 1 x m
  dw = np.outer(db, a[k - 1])
  gradients = [(dw, db)]
  # Backwards lower layers
  for c in range(k - 1, 0, -1):
    by_bias = (db @ layers[c][0]) * slope(c)  # dL/db^{c+1} x W^{c+1} x sigma'(z^c)
    i = delta * slope(c)
    np.testing.assert_allclose(i, by_bias, rtol=1e-12)  # The document has dL/db^c in two ways.
    dw = np.outer(i, a[c - 1])
    delta = i @ layers[c - 1][0]
    db = by_bias
    gradients.append((dw, db))
  return gradients[::-1]


def document_batch_gradients(layers: list[Layer], x: np.ndarray, y: np.ndarray) -> list[Layer]:
  """The mean over samples x [B, m], y [B, n] of `document_gradients`."""
  return [
    tuple(part.mean(0) for part in layer) for layer in document_sample_gradients(layers, x, y)
  ]


def document_sample_gradients(layers: list[Layer], x: np.ndarray, y: np.ndarray) -> list[Layer]:
  """`document_gradients` of every sample, stacked: dL/dW [B, n, m] and dL/db [B, n] a layer."""
  every = [document_gradients(layers, xs, ys) for xs, ys in zip(x, y)]
  return [tuple(map(np.stack, zip(*layer))) for layer in zip(*every)]


def network(params: list[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
  """The same network in this package: kernels [m, n], the transposes of the document's W."""
  for kernel, bias in params:
    x = jax.nn.sigmoid(ops.affine(x, kernel, bias))
  return x


def mean_loss(params, x: jax.Array, y: jax.Array) -> jax.Array:
  """Mean half squared error over the samples."""
  return losses.half_squared_error(network(params, x), y).mean()


def as_params(layers: list[Layer], dtype=jnp.float32) -> list[tuple[jax.Array, jax.Array]]:
  """(W [n, m], b) -> (kernel [m, n], bias)."""
  return [(jnp.asarray(weight.T, dtype), jnp.asarray(bias, dtype)) for weight, bias in layers]


def start(sizes: tuple[int, ...], seed: int) -> list[Layer]:
  """Weights N(0, 4 / inputs), wide enough for sigmoids to start in different places."""
  if len(sizes) < 2 or not all(isinstance(size, int) and size > 0 for size in sizes):
    raise InputError(f"sizes must be at least two whole numbers of at least 1, got {tuple(sizes)}")
  rng = np.random.default_rng(seed)
  pairs = itertools.pairwise(sizes)
  return [(rng.normal(size=(n, m)) * 2 / np.sqrt(m), rng.normal(size=n)) for m, n in pairs]


def samples(config: ml_collections.ConfigDict) -> tuple[np.ndarray, np.ndarray]:
  """x [B, inputs] on a grid over [-1, 1] (or random, if it is not two inputs), y in [0.1, 0.9]."""
  inputs, outputs = config.sizes[0], config.sizes[-1]
  if inputs == 2:
    side = np.linspace(-1, 1, config.grid)
    x = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
  else:
    x = np.random.default_rng(config.seed).uniform(-1, 1, (config.grid**2, inputs))
  # The product of the inputs, put where a sigmoid output can reach it.
  return x, np.repeat(0.5 + 0.4 * x.prod(1, keepdims=True), outputs, 1)


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value that makes no sense; `start` looks at the sizes."""
  for name, least in (("steps", 1), ("grid", 1), ("seed", 0)):
    if config[name] < least:
      raise InputError(f"{name} must be at least {least}, got {config[name]}")
  if not 0 < config.rate < np.inf:
    raise InputError(f"rate must be a positive number, got {config.rate}")


def compute(config: ml_collections.ConfigDict) -> tuple[list[Row], list[Row]]:
  """Trains by the package, and a stretch of the same descent by the document, from one start."""
  layers = start(config.sizes, config.seed)
  x, y = samples(config)
  agreement = compare("start", layers, x, y)
  params, loss = descend(as_params(layers), x, y, config.rate, config.steps)
  by_document = document_descent(layers, x, y, config.rate, min(config.steps, 100))
  end = [(np.asarray(kernel, float).T, np.asarray(bias, float)) for kernel, bias in params]
  agreement += compare("end", end, x, y)
  results = [
    {
      "step": step,
      "loss": float(value),
      "loss_document": float(by_document[step]) if step < len(by_document) else None,
    }
    for step, value in enumerate(np.asarray(loss))
  ]
  return results, agreement


@functools.partial(jax.jit, static_argnames=("rate", "steps"))
def descend(params, x, y, rate: float, steps: int):
  """Full-batch gradient descent: the last parameters and the loss before every step."""

  def step(params, _):
    loss, grads = jax.value_and_grad(mean_loss)(params, x, y)
    return jax.tree.map(lambda p, g: p - rate * g, params, grads), loss

  return jax.lax.scan(step, params, length=steps)


def document_descent(layers: list[Layer], x, y, rate: float, steps: int) -> list[float]:
  """The loss before every step of the same descent, all in NumPy."""
  loss = []
  for _ in range(steps):
    outputs = x.T
    for weight, bias in layers:
      outputs = sigmoid(weight @ outputs + bias[:, None])
    loss.append(((outputs.T - y) ** 2 / 2).sum(1).mean())  # L = (yhat - y)^2 / 2
    gradients = document_batch_gradients(layers, x, y)
    layers = [(w - rate * dw, b - rate * db) for (w, b), (dw, db) in zip(layers, gradients)]
  return loss


def compare(when: str, layers: list[Layer], x: np.ndarray, y: np.ndarray) -> list[Row]:
  """The largest difference of the two mean gradients in each layer, relative to its terms.

  The terms are the samples' gradients: near a minimum they cancel, and the mean that is left is
  much smaller than what was rounded on the way. So the scale is the terms' largest mean magnitude.
  """
  ours = jax.jit(jax.grad(mean_loss))(as_params(layers), x, y)
  document = document_sample_gradients(layers, x, y)
  rows = []
  for index, ((kernel, bias), (dw, db)) in enumerate(zip(ours, document), start=1):
    rows.append(
      {
        "when": when,
        "layer": index,
        "shape": "x".join(map(str, dw.shape[1:])),
        "largest_dW": float(np.abs(dw.mean(0)).max()),
        "difference_dW": relative_difference(np.asarray(kernel).T, dw),
        "difference_db": relative_difference(np.asarray(bias), db),
      }
    )
  return rows


def relative_difference(ours: np.ndarray, terms: np.ndarray) -> float:
  """Largest |ours - mean of terms| as a part of the terms' largest mean magnitude."""
  return float(np.abs(ours - terms.mean(0)).max() / np.abs(terms).mean(0).max())


def report(agreement: list[Row], results: list[Row]) -> str:
  """Gradient agreement a layer, and how far the two descents part."""
  heads = {key: key.replace("_", " ") for key in agreement[0]}
  formats = dict.fromkeys(("largest_dW", "difference_dW", "difference_db"), ".1e")
  both = [row for row in results if row["loss_document"] is not None]
  gap = max(abs(row["loss"] / row["loss_document"] - 1) for row in both)
  return f"""\
# The backpropagation notes against this package

Largest difference between the document's mean gradients (NumPy, float64) and ours (float32), as a
part of the largest mean magnitude of the samples' gradients.

{markdown_table(agreement, heads, formats)}
Loss {results[0]["loss"]:.5f} at the start and {results[-1]["loss"]:.5f} after {len(results)} steps.
Over the first {len(both)} steps the two descents' losses differ by at most {gap:.1e} of themselves.
"""


def draw(config: ml_collections.ConfigDict, results: list[Row], agreement: list[Row]) -> Figure:
  """The training curve by both, and the agreement a layer."""
  figure, axes = panels.figure_with_panels(
    "Backpropagation by the document and by JAX",
    f"A {'-'.join(map(str, config.sizes))} sigmoid network with the half squared error, full-batch "
    "descent from one start",
    ["training loss", "largest difference of gradients, relative"],
  )
  axes[0].plot(
    [row["step"] + 1 for row in results], [row["loss"] for row in results], color=panels.BLUE
  )
  both = [row for row in results if row["loss_document"] is not None]
  marked = sorted({int(step) for step in np.geomspace(1, len(both), 12)})
  axes[0].plot(
    marked,
    [both[step - 1]["loss_document"] for step in marked],
    color=panels.ORANGE,
    marker="o",
    markersize=7,
    markerfacecolor="none",
    linestyle="none",
  )
  axes[0].set(xlabel="step", ylabel="mean half squared error", xscale="log", yscale="log")
  for when, filled in (("start", False), ("end", True)):
    rows = [row for row in agreement if row["when"] == when]
    for part, marker, colour in (("dW", "s", panels.GREEN), ("db", "^", panels.PURPLE)):
      axes[1].plot(
        [row["layer"] for row in rows],
        [row[f"difference_{part}"] for row in rows],
        color=colour,
        marker=marker,
        markersize=6,
        markerfacecolor=colour if filled else "none",
        linewidth=1,
        linestyle="-" if filled else (0, (3, 2)),
      )
  axes[1].axhline(np.finfo(np.float32).eps, color=panels.GREY, linewidth=1, linestyle=":")
  largest = max(row[f"difference_{part}"] for row in agreement for part in ("dW", "db"))
  axes[1].set(xlabel="layer", yscale="log", ylim=(1e-8, max(1e-5, 2 * largest)))
  axes[1].set_xticks(range(1, len(config.sizes)))
  styles = [
    ("JAX", panels.BLUE, "none", "-", None),
    ("the document, in NumPy", panels.ORANGE, "o", "none", "none"),
    ("dL/dW", panels.GREEN, "s", "-", None),
    ("dL/db", panels.PURPLE, "^", "-", None),
    ("at the start", panels.GREY, "o", (0, (3, 2)), "none"),
    ("float32 rounding", panels.GREY, "none", ":", None),
  ]
  handles = [
    Line2D([], [], color=colour, marker=marker, linestyle=line, markerfacecolor=face or colour)
    for _, colour, marker, line, face in styles
  ]
  panels.legend_below(figure, handles, [style[0] for style in styles])
  return figure


if __name__ == "__main__":
  experiment.run("backprop_notes", main, check)
