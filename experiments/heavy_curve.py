"""Heavy and Dense layers, stacked in any order and depth, fitted to a curve."""

import functools
import pathlib

import jax
import ml_collections
import numpy as np
import optax
from flax import nnx
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from qnn_jax import experiment, losses, models
from qnn_jax.atomic import atomic_write_text
from qnn_jax.errors import InputError
from qnn_jax.reports import panels
from qnn_jax.reports.plot import save_png
from qnn_jax.reports.rows import Row, markdown_table, read_rows, write_rows
from qnn_jax.training import minibatch

COLOURS = (panels.BLUE, panels.PURPLE, panels.YELLOW, panels.GREEN, panels.ORANGE, panels.SKY)
MARKERS = "oD^sPv"


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  if not (workdir / "results.csv").exists():
    results, losses_over_steps, fits = compute(config)
    write_rows(workdir / "losses.csv", losses_over_steps)
    write_rows(workdir / "fits.csv", fits)
    write_rows(workdir / "results.csv", results)  # last: where it is, all is
  results = read_rows(workdir / "results.csv")
  summary = summarize(results)
  write_rows(workdir / "heavy_curve.csv", summary)
  text = report(summary)
  atomic_write_text(workdir / "heavy_curve.md", text)
  fits, curves = read_rows(workdir / "fits.csv"), read_rows(workdir / "losses.csv")
  save_png(draw(config, results, summary, curves, fits), workdir / "heavy_curve.png")
  print(text)


def curve(x):
  """The curve: a wave whose frequency rises with |x + 1/2|; x [...] in [-1, 1]."""
  return np.sin(3.2 * np.pi * (x + 0.5) ** 2)


def training_points(config: ml_collections.ConfigDict) -> tuple[np.ndarray, np.ndarray]:
  """x [points, 1] evenly spaced and y [points, 1] with noise, the same for all networks."""
  x = np.linspace(-1, 1, config.points)[:, None]
  noise = np.random.default_rng(config.data_seed).normal(size=x.shape)
  return x.astype(np.float32), (curve(x) + config.noise * noise).astype(np.float32)


def make_network(network: ml_collections.ConfigDict, rngs: nnx.Rngs) -> nnx.Module:
  """One input, one linear output, and between them what the configuration names."""
  *hidden_kinds, head = network.kinds
  return models.Classifier(
    1, tuple(network.hidden), 1, head, hidden_kind=tuple(hidden_kinds), rngs=rngs
  )


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value that makes no sense and that no callee tells of."""
  for name in ("steps", "seeds", "points"):
    if config[name] < 1:
      raise InputError(f"{name} must be at least 1, got {config[name]}")
  if not config.rates or not config.networks:
    raise InputError("rates and networks must name at least one each")
  if not all(isinstance(rate, (int, float)) and 0 < rate < np.inf for rate in config.rates):
    raise InputError(f"rates must be positive numbers, got {tuple(config.rates)}")
  if not 0 <= config.noise < np.inf:
    raise InputError(f"noise must be at least 0 and finite, got {config.noise}")
  if config.data_seed < 0:
    raise InputError(f"data_seed must be at least 0, got {config.data_seed}")
  for name, network in config.networks.items():
    if not all(isinstance(size, int) for size in network.hidden):
      raise InputError(f"networks.{name}.hidden must be whole numbers, got {tuple(network.hidden)}")
    if len(network.kinds) != len(network.hidden) + 1:
      raise InputError(
        f"networks.{name}.kinds must name every hidden layer and the last, got "
        f"{tuple(network.kinds)} with hidden {tuple(network.hidden)}"
      )


def compute(config: ml_collections.ConfigDict) -> tuple[list[Row], list[Row], list[Row]]:
  """Trains every network at every rate: a row a seed, the losses over steps, the fits."""
  x, y = training_points(config)
  grid = np.linspace(-1, 1, 401, dtype=np.float32)[:, None]
  keys = jax.random.split(jax.random.key(0), config.seeds)
  shown = np.unique(np.geomspace(1, config.steps, 200).astype(int)) - 1
  results, curves, fits = [], [], []
  for name, network in config.networks.items():
    make_model = functools.partial(make_network, network)
    size = sum(p.size for p in jax.tree.leaves(nnx.state(make_model(nnx.Rngs(0)), nnx.Param)))
    predict = jax.jit(jax.vmap(minibatch.make_predict(make_model), (0, None)))
    for rate in config.rates:
      train = minibatch.make_train(
        make_model,
        losses.half_squared_error,
        optax.adam(rate),
        epochs=config.steps,
        batch_size=config.points,
      )
      trained = jax.jit(jax.vmap(train, (0, None, None)))(keys, x, y)
      fitted = np.asarray(predict(trained, grid))[..., 0]
      errors = root_mean_square(fitted - curve(grid[:, 0]))
      residuals = root_mean_square(np.asarray(predict(trained, x) - y)[..., 0])
      run = {"model": name, "parameters": size, "rate": rate}
      results += [
        run | {"seed": s, "train_rmse": float(r), "test_rmse": float(e), "status": status}
        for s, (r, e, status) in enumerate(zip(residuals, errors, statuses(trained.diverged)))
      ]
      low, middle, high = np.quantile(np.asarray(trained.loss)[:, shown], (0.1, 0.5, 0.9), axis=0)
      curves += [
        run | {"step": int(i) + 1, "low": float(a), "median": float(b), "high": float(c)}
        for i, a, b, c in zip(shown, low, middle, high)
      ]
      median_seed = int(np.argsort(errors)[(len(errors) - 1) // 2])
      fits += [
        run | {"seed": median_seed, "x": float(a), "fit": float(b)}
        for a, b in zip(grid[:, 0], fitted[median_seed])
      ]
  return results, curves, fits


def root_mean_square(values: np.ndarray) -> np.ndarray:
  """Over the last axis."""
  return np.sqrt((values**2).mean(-1))


def statuses(diverged: jax.Array) -> list[str]:
  """'diverged' or 'ok' a seed."""
  return ["diverged" if bad else "ok" for bad in np.asarray(diverged)]


def summarize(results: list[Row]) -> list[Row]:
  """A row a network and rate, over its seeds that did not diverge."""
  summary = []
  for model, size, rate in dict.fromkeys((r["model"], r["parameters"], r["rate"]) for r in results):
    rows = [row for row in results if (row["model"], row["rate"]) == (model, rate)]
    good = [row for row in rows if row["status"] == "ok"]
    errors = [row["test_rmse"] for row in good] or [np.nan]
    summary.append(
      {
        "model": model,
        "parameters": size,
        "rate": rate,
        "train_rmse_median": float(np.median([row["train_rmse"] for row in good] or [np.nan])),
        "test_rmse_median": float(np.median(errors)),
        "test_rmse_best": float(min(errors)),
        "test_rmse_worst": float(max(errors)),
        "seeds": len(rows),
        "diverged": len(rows) - len(good),
      }
    )
  return summary


def report(summary: list[Row]) -> str:
  """The table in markdown."""
  heads = {key: key.replace("_", " ").replace("rmse", "error") for key in summary[0]}
  formats = {key: ".4f" for key in heads if "rmse" in key}
  return f"""\
# Heavy and Dense layers fitted to a curve

Root-mean-square errors: training against the noisy points, test against the clean curve.

{markdown_table(summary, heads, formats)}"""


def draw(config, results: list[Row], summary: list[Row], curves, fits) -> Figure:
  """The fits, the losses over steps, and every seed's error at every rate."""
  names = list(dict.fromkeys(row["model"] for row in summary))
  best = {name: best_rate(name, summary) for name in names}
  figure, axes = panels.figure_with_panels(
    "Heavy layers fit a curve",
    f"Networks of equal size, {config.points} points with noise {config.noise:g}, "
    f"{config.seeds} seeds. Left and middle: each at the rate with its lowest training error.",
    [
      "fit of the median seed",
      "loss over steps, median and 80 % of seeds",
      "test error, a dot a seed",
    ],
    width=3.9,
  )
  axes[0].scatter(*training_points(config), s=9, color="#bbbbbb", zorder=1)
  for i, name in enumerate(names):
    style = {"color": COLOURS[i % len(COLOURS)], "linewidth": 1.6}
    fit = [row for row in fits if (row["model"], row["rate"]) == (name, best[name])]
    axes[0].plot([row["x"] for row in fit], [row["fit"] for row in fit], **style)
    loss = [row for row in curves if (row["model"], row["rate"]) == (name, best[name])]
    steps = [row["step"] for row in loss]
    axes[1].plot(steps, [row["median"] for row in loss], **style)
    low, high = [row["low"] for row in loss], [row["high"] for row in loss]
    axes[1].fill_between(steps, low, high, color=style["color"], alpha=0.16, linewidth=0)
    for j, rate in enumerate(config.rates):
      errors = [row["test_rmse"] for row in results if (row["model"], row["rate"]) == (name, rate)]
      # Side by side a rate, and seeds spread a little, so that no dot hides another.
      place = j + 0.25 * (i - (len(names) - 1) / 2) + np.linspace(-0.07, 0.07, len(errors))
      marker = MARKERS[i % len(MARKERS)]
      axes[2].scatter(place, errors, s=16, color=style["color"], marker=marker, alpha=0.8)
  axes[0].set(xlabel="x", ylabel="y", xticks=(-1, -0.5, 0, 0.5, 1))
  axes[1].set(xlabel="step", ylabel="half squared error", xscale="log", yscale="log")
  axes[2].set(xlabel="rate", ylabel="root-mean-square error", yscale="log")
  axes[2].set_xticks(range(len(config.rates)), [f"{rate:g}" for rate in config.rates])
  # Between two powers of ten only some values fit as labels, and those are read best as decimals.
  axes[2].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
  axes[2].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
  axes[2].yaxis.set_minor_locator(NullLocator())
  axes[2].set_xlim(-0.6, len(config.rates) - 0.4)
  handles = [
    Line2D([], [], color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)], markersize=5)
    for i in range(len(names))
  ]
  sizes = {row["model"]: row["parameters"] for row in summary}
  labels = [f"{name}, {sizes[name]} parameters, rate {best[name]:g}" for name in names]
  panels.legend_below(figure, handles, labels)
  return figure


def best_rate(name: str, summary: list[Row]) -> float:
  """The rate with the lowest median training error: chosen without a look at the clean curve."""
  rows = [row for row in summary if row["model"] == name]
  return min(rows, key=lambda row: np.nan_to_num(row["train_rmse_median"], nan=np.inf))["rate"]


if __name__ == "__main__":
  experiment.run("heavy_curve", main, check)
