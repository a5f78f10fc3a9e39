"""Three quadratic layers in a row, from a naive start and from a stable one."""

import functools
import itertools
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from flax import nnx
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qnn_jax import experiment, losses, models
from qnn_jax.atomic import atomic_write_text
from qnn_jax.datasets.mnist import load_mnist
from qnn_jax.errors import InputError
from qnn_jax.initializers import symmetrized
from qnn_jax.reports import panels
from qnn_jax.reports.plot import save_png
from qnn_jax.reports.rows import Row, markdown_table, read_rows, write_rows
from qnn_jax.training import minibatch

# name: kind of every layer, does Q start at zero, does Q have a rate of its own
VARIANTS = {
  "naive": ("qnn", False, False),
  "own rate only": ("qnn", False, True),
  "zero start only": ("qnn", True, False),
  "stable": ("qnn", True, True),
  "plain network": ("ann", True, False),
}
COLOURS = dict(
  zip(VARIANTS, (panels.ORANGE, panels.YELLOW, panels.PURPLE, panels.GREEN, panels.BLUE))
)


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  if not (workdir / "results.csv").exists():
    results, curves = compute(config)
    write_rows(workdir / "losses.csv", curves)
    write_rows(workdir / "results.csv", results)  # last: where it is, all is
  results, curves = read_rows(workdir / "results.csv"), read_rows(workdir / "losses.csv")
  summary = summarize(results)
  write_rows(workdir / "deep_quadratic.csv", summary)
  text = report(summary)
  atomic_write_text(workdir / "deep_quadratic.md", text)
  save_png(draw(config, results, curves), workdir / "deep_quadratic.png")
  print(text)


def small_mnist(config: ml_collections.ConfigDict):
  """x [N, 49] in [0, 1], one-hot y [N, 10], test x [T, 49] and labels [T]."""
  mnist = load_mnist(config.data_dir or None)
  if not config.batch_size <= config.train_size <= len(mnist.train_labels):
    raise InputError(
      f"train_size must be from batch_size, {config.batch_size}, to {len(mnist.train_labels)}, "
      f"got {config.train_size}"
    )
  images = mnist.train_images[: config.train_size]
  targets = np.eye(10, dtype=np.float32)[mnist.train_labels[: config.train_size]]
  shown = slice(config.test_size)
  return shrink(images), targets, shrink(mnist.test_images[shown]), mnist.test_labels[shown]


def shrink(images: np.ndarray) -> np.ndarray:
  """uint8 [N, 784] -> [N, 49]: the mean brightness of 4 x 4 pixels, in [0, 1]."""
  blocks = images.reshape(-1, 7, 4, 7, 4).mean((2, 4), dtype=np.float32)
  return blocks.reshape(-1, 49) / 255


def make_network(config, kind: str, zero_start: bool, rngs: nnx.Rngs) -> models.Classifier:
  """Layers of one kind throughout; their own start has Q zero, and the naive one draws Q."""
  network = models.Classifier(49, tuple(config.hidden), 10, kind, hidden_kind=kind, rngs=rngs)
  if not zero_start:
    q_init = symmetrized(jax.nn.initializers.normal(config.naive_std))
    for layer in network.layers:
      layer.q[...] = q_init(rngs.params(), layer.q.shape, jnp.float32)
  return network


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value that makes no sense and that no callee tells of."""
  for name in config.variants:
    if name not in VARIANTS:
      raise InputError(f"unknown variant '{name}'; choose among {', '.join(VARIANTS)}")
  if not config.variants or len(set(config.variants)) < len(config.variants):
    raise InputError(
      f"variants must name at least one and each once, got {tuple(config.variants)}; "
      f"choose among {', '.join(VARIANTS)}"
    )
  for name in ("seeds", "test_size"):
    if config[name] < 1:
      raise InputError(f"{name} must be at least 1, got {config[name]}")
  if not all(isinstance(size, int) for size in config.hidden):
    raise InputError(f"hidden must be whole numbers, got {tuple(config.hidden)}")
  for name in ("rate", "quadratic_rate"):
    if not 0 < config[name] < np.inf:
      raise InputError(f"{name} must be a positive number, got {config[name]}")
  for name in ("momentum", "naive_std"):
    if not 0 <= config[name] < np.inf:
      raise InputError(f"{name} must be at least 0 and finite, got {config[name]}")


def compute(config: ml_collections.ConfigDict) -> tuple[list[Row], list[Row]]:
  """Trains every variant: a row a seed, and the losses over steps."""
  x, y, test_x, test_labels = small_mnist(config)
  constant = float(((y - y.mean(0)) ** 2 / 2).sum(1).mean())  # loss of the best constant
  keys = jax.random.split(jax.random.key(0), config.seeds)
  results, curves = [], []
  for name in config.variants:
    kind, zero_start, own_rate = VARIANTS[name]
    make_model = functools.partial(make_network, config, kind, zero_start)
    rate = config.quadratic_rate if own_rate else config.rate
    optimizer = minibatch.quadratic_partition(
      optax.sgd(rate, config.momentum), optax.sgd(config.rate, config.momentum)
    )
    train = minibatch.make_train(
      make_model,
      losses.half_squared_error,
      optimizer,
      epochs=config.epochs,
      batch_size=config.batch_size,
    )
    trained = jax.jit(jax.vmap(train, (0, None, None)))(keys, x, y)
    predict = functools.partial(minibatch.make_predict(make_model), inputs=test_x)
    # One seed after another: V of (44) is 48 x 48 numbers for each of 10,000 images.
    outputs = jax.jit(functools.partial(jax.lax.map, predict))(trained)
    accuracy = (np.asarray(outputs).argmax(-1) == test_labels).mean(-1)
    epoch = len(x) // config.batch_size
    for seed, loss in enumerate(np.asarray(trained.loss)):
      finite = loss[np.isfinite(loss)]
      last = float(loss[-epoch:].mean())
      diverged = bool(trained.diverged[seed])
      run = {"variant": name, "seed": seed}
      results.append(
        run
        | {
          "parameters": sum(p[seed].size for p in jax.tree.leaves(trained.params)),
          "first_loss": float(loss[0]),
          "largest_loss": float(finite.max()) if finite.size else None,
          "last_loss": None if diverged else last,
          "constant_loss": constant,
          "accuracy": None if diverged else 100 * float(accuracy[seed]),
          "steps_until_diverged": int(trained.diverged_at[seed]) if diverged else None,
          "status": "diverged" if diverged else "ok" if last < constant else "stuck",
        }
      )
      curves += [run | {"step": step, "loss": value} for step, value in thinned(loss)]
  return results, curves


def thinned(loss: np.ndarray) -> list[tuple[float, float]]:
  """(step, mean loss) over about 60 stretches, each longer than the last; only what is finite."""
  finite = loss[: np.argmin(np.isfinite(loss))] if not np.isfinite(loss).all() else loss
  edges = np.unique(np.geomspace(1, len(loss) + 1, 60).astype(int))
  edges = np.unique(np.append(edges[edges <= len(finite)], len(finite) + 1))
  return [
    (float(np.sqrt(a * (b - 1))), float(finite[a - 1 : b - 1].astype(float).mean()))
    for a, b in itertools.pairwise(edges)
  ]


def summarize(results: list[Row]) -> list[Row]:
  """A row a variant; loss and accuracy over the seeds that did not diverge."""
  summary = []
  for name in dict.fromkeys(row["variant"] for row in results):
    rows = [row for row in results if row["variant"] == name]
    left = [row for row in rows if row["status"] != "diverged"]
    steps = [row["steps_until_diverged"] for row in rows if row["status"] == "diverged"]
    accuracy = [row["accuracy"] for row in left]
    summary.append(
      {
        "variant": name,
        "parameters": rows[0]["parameters"],
        "seeds": len(rows),
        "diverged": len(steps),
        "stuck": sum(row["status"] == "stuck" for row in rows),
        "steps_until_diverged": max(steps, default=None),
        "first_loss": float(np.median([row["first_loss"] for row in rows])),
        "last_loss": float(np.median([row["last_loss"] for row in left])) if left else None,
        "accuracy": float(np.mean(accuracy)) if left else None,
        "accuracy_worst": min(accuracy, default=None),
      }
    )
  return summary


def report(summary: list[Row]) -> str:
  """The table in markdown."""
  heads = {key: key.replace("_", " ") for key in summary[0]}
  formats = {"parameters": ",d", "first_loss": ".2f", "last_loss": ".3f"}
  formats |= dict.fromkeys(("accuracy", "accuracy_worst"), ".2f")
  return f"""\
# Quadratic layers at every depth

Diverged: a loss or parameter is not finite. Stuck: over the last epoch no better than the best
constant. Losses are medians, accuracy (percent, test set) is the mean over seeds not diverged.

{markdown_table(summary, heads, formats)}"""


def draw(config: ml_collections.ConfigDict, results: list[Row], curves: list[Row]) -> Figure:
  """Loss over steps, a line a seed, and the test accuracies."""
  sizes = "-".join(map(str, (49, *config.hidden, 10)))
  figure, axes = panels.figure_with_panels(
    "Three quadratic layers: start and rate decide",
    f"{sizes} on MNIST at 7 x 7 pixels, {config.seeds} seeds. Naive: Q from N(0, "
    f"{config.naive_std**2:g}) at the common rate {config.rate:g}. Stable: Q from zero at a rate "
    f"of its own, {config.quadratic_rate:g}. A cross: not finite from here on; losses above 10⁶ "
    "are drawn there.",
    ["training loss, a line a seed", "test accuracy, a dot a seed"],
    width=4.6,
    height=3.3,
  )
  top = 1e6
  for row in results:
    colour, key = COLOURS[row["variant"]], (row["variant"], row["seed"])
    line = [r for r in curves if (r["variant"], r["seed"]) == key]
    steps, loss = [r["step"] for r in line], [min(r["loss"], top) for r in line]
    axes[0].plot(steps, loss, color=colour, linewidth=1.2, alpha=0.85)
    if row["status"] == "diverged" and line:
      axes[0].plot(steps[-1], loss[-1], "x", color=colour, markersize=8, clip_on=False, zorder=5)
  axes[0].axhline(results[0]["constant_loss"], color=panels.GREY, linewidth=1, linestyle=":")
  axes[0].set(xlabel="step", ylabel="half squared error", xscale="log", yscale="log")
  axes[0].set_ylim(0.05, top)
  for place, name in enumerate(config.variants):
    rows = [row for row in results if row["variant"] == name]
    values = [row["accuracy"] for row in rows if row["accuracy"] is not None]
    spread = place + np.linspace(-0.15, 0.15, len(values))
    axes[1].scatter(spread, values, s=24, color=COLOURS[name], clip_on=False, zorder=3)
    lost = len(rows) - len(values)
    if lost:
      note = f"{lost} of {len(rows)}\ndiverged"
      axes[1].text(place, 40, note, color=panels.BLACK, fontsize=9, ha="center", va="center")
  axes[1].axhline(10, color=panels.GREY, linewidth=1, linestyle=":")
  axes[1].set(ylabel="accuracy (%)", ylim=(0, 100), xlim=(-0.6, len(config.variants) - 0.4))
  names = [name.replace(" ", "\n", 1) for name in config.variants]
  axes[1].set_xticks(range(len(names)), names)
  handles = [Line2D([], [], color=COLOURS[name], linewidth=2) for name in config.variants]
  handles.append(Line2D([], [], color=panels.GREY, linewidth=1, linestyle=":"))
  panels.legend_below(figure, handles, [*config.variants, "a constant"])
  return figure


if __name__ == "__main__":
  experiment.run("deep_quadratic", main, check)
