"""The search around Table 4's recipe: what each recipe changes, and the command."""

import csv

import jax
import numpy as np
import pytest
from command_line import run

from configs import table4
from configs.recipe import RECIPES, get_config
from experiments.recipe.task import TASK, RecipeProgram, check
from qnn_jax import ops
from qnn_jax.errors import InputError
from qnn_jax.training.fleet import Net

SEEDS = (0, 1)


def points_of(name, **values):
  config = get_config("smoke")
  config.update(values)
  config.recipes = (name,)
  check(config)
  return TASK.points_of(config)


def lanes_of(name, **values):
  """(program of a small QNN, a point a seed) of a recipe."""
  points = points_of(name, models=("qnn",), **values)
  return RecipeProgram((Net("qnn", 10),), points[0].fields.values), points


def test_every_recipe_is_one_and_the_first_is_table4s():
  config = get_config()
  check(config)
  found = {point["recipe"]: point.fields.values for point in TASK.points_of(config)}
  assert list(found) == list(RECIPES)
  theirs, former = table4.get_config(), table4.get_config("former")
  for name in ("input_shift", "init", "init_scale", "learning_rate"):
    assert found["found"][name] == config[name] == theirs[name]
    assert found["former"][name] == former[name]
  assert len({str(fields) for fields in found.values()}) == len(RECIPES)


def test_another_recipe_in_the_table_changes_no_point_of_those_there():
  config = get_config("smoke")
  before = set(TASK.points_of(config))
  config.changes.mine = {"init_scale": 0.03}
  config.recipes = (*config.recipes, "mine")
  assert before < set(TASK.points_of(config))


def test_orders():
  program, points = lanes_of("found")

  def order(name, epoch=0):
    program.values = lanes_of(name)[1][0].fields.values
    chunks = [chunk for chunk, _ in program.chunks(points, 60, epoch, epoch + 1)]
    return np.concatenate([np.asarray(c.order).swapaxes(0, 1).reshape(2, -1) for c in chunks], 1)

  drawn = order("found")
  np.testing.assert_array_equal(order("found", 1), drawn)
  np.testing.assert_array_equal(order("order_sorted"), np.sort(drawn, 1))
  np.testing.assert_array_equal(order("order_first"), np.stack([np.arange(60)] * 2))
  epochs = [order("reshuffled", epoch) for epoch in (0, 1)]
  assert (epochs[0] != epochs[1]).any()
  for shuffled in epochs:
    np.testing.assert_array_equal(np.sort(shuffled, 1), np.sort(drawn, 1))


def quadratic(name, **values):
  program, points = lanes_of(name, **values)
  params = program.params(points)
  state = program.trainer.start(program.starting(points, params), program.rates(points))
  full = np.moveaxis(np.asarray(state["tails"][0]["q"]), -1, 0)[: len(points)]  # [S, C, h, h]
  return params[0]["layers"], full


def test_starts():
  layers, _ = quadratic("bias_zero")
  for layer in layers.values():
    assert not layer["bias"].any() and layer["kernel"].all()
  layers, _ = quadratic("q_zero")
  assert not layers[1]["q"].any()
  n = layers[1]["kernel"].shape[1]
  mirrored, _ = quadratic("q_mirrored")
  off = ops.multiplicity(n) == 2
  spread = lambda q: q[:, off].std() / q[:, ~off].std()
  # A mean of two draws is narrower by the root of two; a mirrored half is not.
  assert spread(quadratic("found")[0][1]["q"]) == pytest.approx(0.5**0.5, rel=0.1)
  assert spread(mirrored[1]["q"]) == pytest.approx(1, rel=0.1)
  layers, full = quadratic("q_raw")
  assert abs(full).max() < 0.01 and full.std() == pytest.approx(0.02 / 12**0.5, rel=0.05)
  assert not np.allclose(full, full.swapaxes(-1, -2))
  np.testing.assert_allclose(
    jax.vmap(ops.unpack)(layers[1]["q"]), (full + full.swapaxes(-1, -2)) / 2, atol=1e-8
  )


def test_a_raw_q_takes_the_form_that_holds_it_in_full_whatever_is_asked_for():
  _, full = quadratic("q_raw")
  _, asked = quadratic("q_raw", tails="kernel")  # as 'auto' would on an accelerator
  np.testing.assert_array_equal(asked, full)


@pytest.mark.parametrize(
  "values, message",
  (
    ({"recipes": ("cubic",)}, "unknown recipe 'cubic' in recipes; choose among bias_zero, former"),
    ({"changes": {"found": {"seeds": 3}}}, "changes 'seeds', which is no field of a recipe"),
    ({"seeds": 1}, "seeds must be at least 2, for a spread, got 1"),
    ({"order": "backwards"}, "order must be one of drawn, first, sorted, reshuffled, got 'backw"),
    ({"hidden": (0,)}, "hidden must be whole numbers of at least 1"),
    ({"init_scale": -1.0}, "init_scale must be a positive number"),
    ({"input_shift": float("nan")}, "input_shift must be a finite number"),
  ),
)
def test_bad_values(values, message):
  config = get_config("smoke")
  config.update(values)
  with pytest.raises(InputError, match=message):
    check(config)


def test_the_command_runs_and_resumes_a_point_at_a_time(tmp_path):
  arguments = (
    "--config=configs/recipe.py:smoke", f"--workdir={tmp_path}/run", "--config.models=('qnn',)",
    "--config.hidden=(3,)", "--config.train_sizes=(60,)", "--config.epochs=(1,)",
  )  # fmt: skip

  def rows():
    done = run("experiments.recipe", *arguments)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return list(csv.DictReader((tmp_path / "run/results.csv").read_text().splitlines()))

  first = rows()
  assert [(row["recipe"], row["seed"]) for row in first] == [
    (name, seed) for name in get_config("smoke").recipes for seed in ("0", "1")
  ]
  files = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/records").iterdir()}
  (gone,) = [path for path in files if "recipereshuffled" in path.name]
  gone.unlink()
  assert rows() == first
  after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/records").iterdir()}
  assert after.keys() == files.keys()
  assert {path for path in files if after[path] != files[path]} == {gone}
