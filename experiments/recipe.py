"""The recipe behind Table 4: small changes of it, each against the paper's table. See configs/recipe.py.

  python -m experiments.recipe [--config=configs/recipe.py[:smoke]] [--workdir=DIR] [--config.key=value]

Writes DIR/results.csv (a line a run), recipe.md, recipe.csv and recipe.png. A recipe that is finished is in
DIR/records, and is not run again.
"""

import dataclasses
import functools
import itertools
import pathlib
import zlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import flags
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import track

from qnn_jax import experiment, ops
from qnn_jax.atomic import atomic_write_text
from qnn_jax.datasets import load_mnist
from qnn_jax.errors import InputError
from qnn_jax.reports import recipe as report
from qnn_jax.reports.paper import Cell
from qnn_jax.reports.plot import save_png
from qnn_jax.reports.rows import csv_text
from qnn_jax.reports.summary import Run, read_results, write_results
from qnn_jax.sweeps import processes
from qnn_jax.sweeps.grid import check_models, check_once, check_positive, check_shift, check_sizes
from qnn_jax.sweeps.launch import default_workers
from qnn_jax.sweeps.shard import runs_of
from qnn_jax.training import _compile, per_sample
from qnn_jax.training.constant import constant_inputs
from qnn_jax.training.evaluate import evaluate
from qnn_jax.training.fleet import Fleet, Net, init, sample_order

CHOICES = {
  "bias": ("drawn", "zero"),
  "q": ("symmetrised", "mirrored", "zero", "raw"),
  "order": ("drawn", "first", "sorted", "reshuffled"),
}

_WORKERS = flags.DEFINE_integer(
  "workers", None, "Worker processes that share the recipes; by default what is fastest here."
)


class Recipe(NamedTuple):
  """One recipe; see configs/recipe.py for its fields."""

  name: str
  fleet: Fleet  # nets, rate, shift and start
  mean_image: bool
  bias: str
  q: str
  order: str


def recipes(config: ml_collections.ConfigDict) -> list[Recipe]:
  """The recipes that the configuration asks for, checked; InputError names what makes no sense."""
  check_models(config)
  check_once(config, "recipes", "models", "train_sizes", "epochs", "hidden")
  for name in ("train_sizes", "epochs", "hidden"):
    if not all(isinstance(value, int) and value >= 1 for value in config[name]):
      raise InputError(f"{name} must be whole numbers of at least 1, got {tuple(config[name])}")
  if config.seeds < 2:
    raise InputError(f"seeds must be at least 2, for a spread, got {config.seeds}")
  nets = tuple(Net(model, hidden) for hidden in sorted(config.hidden) for model in config.models)
  return [_recipe(config, nets, name) for name in config.recipes]


def _recipe(config, nets, name):
  key = name.replace(".", "_")
  if key not in config.changes:
    raise InputError(
      f"unknown recipe '{name}' in recipes; choose among {', '.join(config.changes)}"
    )
  values = ml_collections.ConfigDict(config.to_dict() | config.changes[key].to_dict())
  check_positive(values, "learning_rate", "init_scale")
  check_shift(values)
  for field, choices in CHOICES.items():
    if values[field] not in choices:
      raise InputError(f"{field} must be one of {', '.join(choices)}, got '{values[field]}'")
  fleet = Fleet(
    nets,
    learning_rate=values.learning_rate,
    init=values.init,
    init_scale=values.init_scale,
    input_shift=values.input_shift,
  )
  return Recipe(name, fleet, values.mean_image, values.bias, values.q, values.order)


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Runs the recipes that are not on disk yet, and writes the table and the figure."""
  console = Console()
  wanted = recipes(config)
  records = workdir / "records"
  records.mkdir(exist_ok=True)
  todo = [recipe for recipe in wanted if not (records / f"{recipe.name}.csv").exists()]
  check_sizes(config.train_sizes, len(load_mnist(config.data_dir or None).train_images))
  workers = _WORKERS.value or min(default_workers(config.seeds), len(todo)) or 1
  each = [(config, todo[i::workers]) for i in range(min(workers, len(todo)))]
  finished = processes.run(_work, each) if todo else ()
  for name, runs in track(
    finished, "recipes", len(todo), console=console, disable=not todo, transient=True
  ):
    write_results(records / f"{name}.csv", runs)
  runs = {recipe.name: read_results(records / f"{recipe.name}.csv") for recipe in wanted}
  lines = [("recipe", *Run._fields)]
  lines += [(name, *run) for name, of_recipe in runs.items() for run in of_recipe]
  atomic_write_text(workdir / "results.csv", csv_text(lines))
  rows = report.rows(runs)
  atomic_write_text(workdir / "recipe.csv", report.to_csv(rows))
  text = report.to_markdown(rows)
  atomic_write_text(workdir / "recipe.md", text)
  save_png(report.figure(rows), workdir / "recipe.png")
  console.print(Markdown(text))
  console.print(
    f"written: {workdir}/recipe.md, recipe.csv, recipe.png, results.csv", highlight=False
  )


def _work(put, config, todo):
  """A worker process: puts (name, runs) of one recipe after another."""
  for recipe in todo:
    put((recipe.name, run(config, recipe)))


def run(config: ml_collections.ConfigDict, recipe: Recipe) -> list[Run]:
  """Trains and tests one recipe, all its sizes, nets and seeds."""
  seeds, runs = tuple(range(config.seeds)), []
  # What does not change the program is left out of what it is known by.
  alike = dataclasses.replace(recipe.fleet, init="symmetric", init_scale=0.01)
  constants, data, test_data, trainer, tested = _programs(
    alike, recipe.mean_image, config.data_dir or None
  )
  start, raw = starts(recipe, seeds)
  for size in config.train_sizes:
    state = _with_raw_q(trainer.start(start), raw)
    marks = sorted(config.epochs)
    for epoch in range(marks[-1]):
      if epoch == 0 or recipe.order == "reshuffled":
        order = orders(recipe, seeds, size, len(data[0]), epoch)
        chunks = per_sample.make_chunks(order, per_sample.Method())
        prepared = list(per_sample.passes(trainer, data[0], chunks, 1))
      for chunk in prepared:
        state = trainer.run(state, *data, chunk)
      if epoch + 1 in marks:
        evaluation = tested(trainer.finish(state), *test_data)
        cells = [Cell(size, epoch + 1, net.hidden, net.head) for net in recipe.fleet.nets]
        runs += runs_of(cells, seeds, evaluation)
  return runs


@functools.lru_cache(maxsize=1)
def _programs(fleet, mean_image, data_dir):
  """What recipes of the same inputs share: (constant inputs, training data, test data, trainer, test)."""
  data = load_mnist(data_dir)
  images, test_images = data.train_images, data.test_images
  if mean_image:
    mean = images.mean(0, dtype=np.float64)
    images, test_images = (((x - mean) / 255).astype(np.float32) for x in (images, test_images))
  constants = constant_inputs(fleet, images)
  train = jnp.asarray(images[:, constants.varies]), jnp.asarray(data.train_labels, "int32")
  test = jnp.asarray(test_images), jnp.asarray(data.test_labels, "int32")
  trainer = per_sample.make_trainer(fleet, per_sample.Method(), constants)
  return constants, train, test, trainer, _compile.jit(functools.partial(evaluate, fleet), level=1)


def starts(recipe: Recipe, seeds: tuple[int, ...]):
  """(parameters of every net, what a raw Q has beyond its symmetric part, by net; None else)."""
  params = jax.tree.map(np.array, init(recipe.fleet, seeds))
  raw = [None] * len(params)
  for i, (net, of_net) in enumerate(zip(recipe.fleet.nets, params)):
    layers = of_net["layers"].values()
    if recipe.bias == "zero":
      for layer, name in itertools.product(layers, ("bias", "c")):
        if name in layer:
          layer[name] = np.zeros_like(layer[name])
    for layer in (layer for layer in layers if "q" in layer):
      if recipe.q == "zero":
        layer["q"] = np.zeros_like(layer["q"])
      elif recipe.q in ("mirrored", "raw"):
        full = _draw_full(recipe, net, seeds, layer["q"].shape)
        if recipe.q == "mirrored":
          layer["q"] = np.asarray(jax.vmap(ops.pack)(full))
        else:
          mirror = full.swapaxes(-1, -2)
          layer["q"] = np.asarray(jax.vmap(ops.pack)((full + mirror) / 2))
          raw[i] = (full - mirror) / 2
  return params, raw


def _draw_full(recipe, net, seeds, shape):
  _, packed, m = shape
  n = ops.matrix_size(packed)
  number = zlib.crc32(f"{net.name} full Q".encode())
  draw = lambda seed: recipe.fleet.param_init(
    jax.random.fold_in(jax.random.key(seed), number), (m, n, n), recipe.fleet.dtype
  )
  return jax.vmap(draw)(jnp.asarray(seeds, jnp.uint32))


def _with_raw_q(state, raw):
  """The block trainer's state with Q as drawn: its tails hold Q [C, h, h, lanes] in full."""
  for tail, beyond in zip(state["tails"], raw):
    if beyond is not None:
      tail["q"] += per_sample.to_lanes(beyond)
  return state


def orders(recipe: Recipe, seeds: tuple[int, ...], size: int, available: int, epoch: int):
  """[S, N] the samples of one epoch, in the recipe's order."""
  drawn = np.asarray(sample_order(seeds, size, available, shared=False))
  if recipe.order == "first":
    return np.tile(np.arange(size), (len(seeds), 1))
  if recipe.order == "sorted":
    return np.sort(drawn, 1)
  if recipe.order == "reshuffled":
    shuffled = [
      np.random.default_rng((seed, epoch)).permutation(of) for seed, of in zip(seeds, drawn)
    ]
    return np.stack(shuffled)
  return drawn


if __name__ == "__main__":
  experiment.run("recipe", main, recipes)
