"""low_rank: a seed trained once and tested at every rank, in parts, and its files from its records alone."""

import numpy as np
import pytest
from in_process import files, read_csv, run

from configs.low_rank import get_config
from experiments.low_rank.__main__ import EXPERIMENT
from experiments.low_rank.task import check, check_data
from qnn_jax import QuadraticLinear
from qnn_jax.errors import InputError
from qnn_jax.sweeps.trained import load_model


def small(**changes):
  config = get_config("smoke")
  config.update({"ranks": (1, 3, 6), "hidden": 6, "train_size": 600, "seeds": 1} | changes)
  return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("low_rank")
  assert len(run(EXPERIMENT, small(keep_params=True), workdir)) == 1  # a training for all ranks
  return workdir


def test_the_whole_rank_is_the_full_q_and_every_rank_leaves_out_less(finished):
  rows = read_csv(finished / "results.csv")
  assert [row["rank"] for row in rows] == ["1", "3", "6"]
  errors = [float(row["error"]) for row in rows]
  assert 1 > errors[0] > errors[1] > errors[2] == 0
  assert float(rows[-1]["change"]) == pytest.approx(0, abs=0.02)  # an image or two, by rounding
  assert len({row["full_accuracy"] for row in rows}) == 1
  assert {"low_rank.md", "low_rank.csv", "low_rank.png"} <= files(finished).keys()


def test_what_is_kept_is_the_truncated_network(finished):
  whole, low = (load_model(finished, rank=rank) for rank in (6, 1))
  assert whole.layers[-1].v.shape == (6, 6, 10) and low.layers[-1].v.shape == (6, 1, 10)
  np.testing.assert_array_equal(whole.layers[0].kernel[...], low.layers[0].kernel[...])
  full = whole.layers[-1].to_quadratic()
  assert isinstance(full, QuadraticLinear)
  # The largest eigenvalue in magnitude, of every neuron.
  np.testing.assert_allclose(low.layers[-1].s[...][0], whole.layers[-1].s[...][0], rtol=1e-5)


def test_more_ranks_later_are_a_training_again_and_the_same_numbers(finished, tmp_path):
  run(EXPERIMENT, small(ranks=(1, 3)), tmp_path)
  assert len(run(EXPERIMENT, small(), tmp_path)) == 1
  assert read_csv(tmp_path / "results.csv") == read_csv(finished / "results.csv")


def test_a_single_layer_has_no_hidden_one(tmp_path):
  config = small(hidden=0, ranks=(1,), train_size=128, keep_params=True)
  run(EXPERIMENT, config, tmp_path)
  assert load_model(tmp_path).v.shape == (784, 1, 10)


@pytest.mark.parametrize(
  "changes, told",
  [
    ({"ranks": (0, 1)}, "^ranks must be whole numbers of at least 1"),
    ({"ranks": (2, 2)}, "^ranks must hold at least one value and each once"),
    ({"hidden": -1}, "^hidden must be a whole number of at least 0"),
    ({"learning_rate": 0.0}, "^learning_rate must be a positive number"),
    ({"train_size": 100}, "^train_size must be at least batch_size, 128, got 100$"),
  ],
)
def test_what_makes_no_sense_is_refused(changes, told):
  with pytest.raises(InputError, match=told):
    check(small(**changes))


def test_what_does_not_fit_the_data_is_refused():
  with pytest.raises(InputError, match="^ranks must be at most 6, the inputs of the last layer"):
    check_data(small(ranks=(1, 7)))
  with pytest.raises(InputError, match="^train_size is 70000, but the data set has 60000"):
    check_data(small(train_size=70000))
