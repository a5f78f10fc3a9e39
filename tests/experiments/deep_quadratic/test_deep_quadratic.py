"""Quadratic layers at every depth: the smoke preset, its files, and what must show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from in_process import files, read_csv, report, run

from configs import deep_quadratic as deep_quadratic_config
from experiments.deep_quadratic import data, task
from experiments.deep_quadratic.__main__ import EXPERIMENT
from qnn_jax import layers
from qnn_jax.errors import InputError
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.trained import load_model


def small(**changes):
  """A network so small that it trains at once."""
  config = deep_quadratic_config.get_config("smoke")
  config.update({"hidden": (4, 3), "train_size": 160, "variants": ("naive", "stable")} | changes)
  return config


def rows_of(workdir):
  found = Store(workdir, "deep_quadratic", task.TASK.axis_names).read().found
  return {point.values: row.metrics for point, row in found.items()}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
  """The workdir of the smoke preset with its parameters."""
  workdir = tmp_path_factory.mktemp("smoke")
  config = deep_quadratic_config.get_config("smoke")
  config.keep_params = True
  assert len(run(EXPERIMENT, config, workdir)) == 2  # a variant with all its seeds
  return workdir


def test_smoke_diverges_from_the_naive_start_and_not_from_the_stable_one(smoke):
  rows = read_csv(smoke / "results.csv")
  assert list(rows[0]) == [
    "variant", "seed", "parameters", "first_loss", "largest_loss", "last_loss", "constant_loss",
    "accuracy", "steps_until_diverged", "status",
  ]  # fmt: skip
  for row in rows:
    assert (row["status"] == "diverged") == (row["variant"] == "naive")
    if row["variant"] == "naive":
      assert 0 < int(row["steps_until_diverged"]) < 40
      assert row["last_loss"] == row["accuracy"] == ""
    else:
      assert float(row["last_loss"]) < float(row["first_loss"])
  assert len(rows) == 4
  assert (smoke / "deep_quadratic.png").read_bytes().startswith(b"\x89PNG")
  config = deep_quadratic_config.get_config("smoke")
  config.keep_params = True
  assert run(EXPERIMENT, config, smoke) == []  # a finished run is not computed again


def test_a_kept_network_answers_as_it_did_when_it_was_trained(smoke):
  small = data.small_data("mnist", "", 1280, 500)
  model = load_model(smoke, variant="stable", seed=1)
  right = 100 * (np.asarray(model(small.test_x)).argmax(-1) == small.test_labels).mean()
  assert right == pytest.approx(rows_of(smoke)["stable", 1]["accuracy"], abs=0.21)  # an image
  assert [type(layer) for layer in model.layers] == [layers.QuadraticLinear] * 3
  params = jax.tree.leaves(nnx.state(load_model(smoke, variant="naive", seed=0), nnx.Param))
  assert not all(np.isfinite(leaf).all() for leaf in params)


def test_what_is_missing_is_made_again_and_the_report_is_of_records_alone(tmp_path):
  config = small()
  run(EXPERIMENT, config, tmp_path)
  before, rows = files(tmp_path), rows_of(tmp_path)
  (record,) = (tmp_path / "records").glob("variantstable-*.json")
  record.unlink()
  (group,) = run(EXPERIMENT, config, tmp_path)
  assert [point.values for point in group.points] == [("stable", 0), ("stable", 1)]
  assert files(tmp_path) == before
  for name in before:
    (tmp_path / name).unlink()
  report(EXPERIMENT, config, tmp_path)
  assert files(tmp_path) == before
  # More seeds, and another variant, leave what there is.
  groups = run(EXPERIMENT, small(seeds=3, variants=("stable", "plain network")), tmp_path)
  assert {point.values for group in groups for point in group.points} == {
    ("stable", 2), ("plain network", 0), ("plain network", 1), ("plain network", 2),
  }  # fmt: skip
  assert {point: rows_of(tmp_path)[point] for point in rows} == rows


def test_hidden_sizes_can_be_swept(tmp_path):
  groups = run(EXPERIMENT, small(seeds=1), tmp_path, {"hidden": "(4,),(4,3)"})
  assert len(groups) == 4
  rows = read_csv(tmp_path / "results.csv")
  assert [(row["variant"], row["hidden"]) for row in rows] == [
    ("naive", "(4,)"), ("stable", "(4,)"), ("naive", "(4, 3)"), ("stable", "(4, 3)"),
  ]  # fmt: skip
  assert list(rows[0])[:3] == ["variant", "hidden", "seed"]
  assert "## hidden = (4, 3)" in (tmp_path / "deep_quadratic.md").read_text()


def test_a_seed_s_numbers_are_its_own(tmp_path):
  run(EXPERIMENT, small(seeds=1, variants=("stable",)), tmp_path / "one")
  run(EXPERIMENT, small(seeds=3, variants=("stable",)), tmp_path / "three")
  one, three = (rows_of(tmp_path / name)["stable", 0] for name in ("one", "three"))
  assert one["first_loss"] == pytest.approx(three["first_loss"], rel=1e-5)
  assert one["last_loss"] == pytest.approx(three["last_loss"], rel=1e-4)


def test_all_three_layers_are_quadratic_and_start_where_they_should():
  config = deep_quadratic_config.get_config()
  zero = task.make_network(config, "qnn", True, (49, 10), nnx.Rngs(0))
  drawn = task.make_network(config, "qnn", False, (49, 10), nnx.Rngs(0))
  assert [type(layer) for layer in zero.layers] == [layers.QuadraticLinear] * 3
  for one, other in zip(zero.layers, drawn.layers):
    assert not one.q[...].any()
    # (Q + Q^T) / 2: variance 1 on the diagonal, 1/2 off it, where most entries are.
    assert float(other.q[...].std()) == pytest.approx(0.5**0.5, rel=0.05)
    np.testing.assert_array_equal(one.kernel[...], other.kernel[...])


def test_a_quadratic_network_with_q_zero_is_the_plain_one():
  config = deep_quadratic_config.get_config()
  quadratic = task.make_network(config, "qnn", True, (49, 10), nnx.Rngs(3))
  plain = task.make_network(config, "ann", True, (49, 10), nnx.Rngs(3))
  for one, other in zip(plain.layers, quadratic.layers):
    one.kernel[...] = other.kernel[...]
  x = jax.random.uniform(jax.random.key(0), (5, 49))
  np.testing.assert_allclose(quadratic(x), plain(x), rtol=1e-5, atol=1e-6)


def test_pixels_are_averaged_where_they_are():
  image = np.zeros((28, 28), np.uint8)
  image[4:8, 12:16] = 255  # the block in row 1, column 3
  image[27, 27] = 16
  small = data.shrink(image.reshape(1, 784), (28, 28, 1)).reshape(7, 7)
  assert small[1, 3] == 1 and small[6, 6] == pytest.approx(1 / 255)
  assert np.count_nonzero(small) == 2


@pytest.mark.parametrize(
  "shape, expected",
  [
    ((8, 8, 1), (4, 4, 1)),
    ((7, 7, 1), (7, 7, 1)),
    ((30, 15, 3), (6, 3, 3)),
    ((32, 32, 3), (6, 6, 3)),
  ],
  ids=str,
)
def test_pictures_of_other_sizes_are_shrunk_by_a_whole_factor(shape, expected):
  images = np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)
  small = data.shrink(images.reshape(2, -1), shape).reshape(2, *expected)
  factor = -(-max(shape[:2]) // 7)
  for row, column, channel in np.ndindex(expected):
    rows, columns = (slice(i * factor, (i + 1) * factor) for i in (row, column))
    block = images[:, rows, columns, channel].reshape(2, -1)
    np.testing.assert_allclose(small[:, row, column, channel], block.mean(1) / 255, rtol=1e-6)


def test_thinned_losses_stop_where_they_are_not_finite():
  line = task.thinned(np.array([4.0, 3.0, jnp.inf, jnp.nan, 1.0]))
  assert [value for _, value in line] == [4.0, 3.0]
  whole = task.thinned(np.full(500, 2.0))
  assert len(whole) < 70 and {value for _, value in whole} == {2.0}


@pytest.mark.parametrize(
  "change, message",
  [
    ({"variants": ("naif",)}, "variants must be one of naive, own rate only"),
    ({"variants": ()}, "variants must hold at least one value and each once"),
    ({"variants": ("naive", "naive")}, "variants must hold at least one value and each once"),
    ({"train_size": 31}, "train_size must be at least batch_size, 32, got 31"),
    ({"hidden": ()}, "hidden must be a tuple of at least one layer's size, got ()"),
    ({"hidden": (4, True)}, "hidden must be whole numbers of at least 1"),
    ({"hidden": (10**6,)}, "GiB of memory"),
    ({"hidden": (10**12, 10**12)}, "GiB of memory"),
    ({"epochs": 10**9}, "GiB of memory"),
    ({"seeds": 10**9}, "more than fit in memory"),
    ({"seeds": True}, "seeds must be a whole number of at least 1, got True"),
    ({"learning_rate": 0.0}, "learning_rate must be a positive number, got 0.0"),
    ({"quadratic_learning_rate": True}, "quadratic_learning_rate must be a positive number"),
    ({"momentum": -0.5}, "momentum must be a finite number of at least 0, got -0.5"),
    ({"init_scale": float("inf")}, "init_scale must be a finite number of at least 0, got inf"),
    ({"train_size": 60001}, "train_size must be at most 60000, as the data set has it, got 60001"),
    ({"test_size": 10001}, "test_size must be at most 10000, as the data set has it, got 10001"),
    ({"dataset": "mnits"}, "no data set mnits, only digits, mnist"),
  ],
)
def test_mistakes(change, message):
  values = deep_quadratic_config.get_config("smoke").to_dict() | change
  config = type(deep_quadratic_config.get_config())(values)
  with pytest.raises(InputError) as error:
    EXPERIMENT.check(config)
    EXPERIMENT.task.points_of(config)
    EXPERIMENT.check_data(config)
  assert message in str(error.value)


def test_unknown_preset():
  with pytest.raises(InputError, match="no preset 'fast'"):
    deep_quadratic_config.get_config("fast")
