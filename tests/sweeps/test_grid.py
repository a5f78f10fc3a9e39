"""The grid of a configuration, and the configurations that make none."""

import pytest

from configs import table4
from qnn_jax.errors import InputError
from qnn_jax.reports.paper import Cell
from qnn_jax.sweeps.grid import check_sizes, grid
from qnn_jax.training.fleet import Net
from qnn_jax.training.per_sample import Method


def changed(**changes):
  config = table4.get_config("smoke")
  config.update(changes)
  return config


def test_the_whole_table_is_180_cells():
  whole = grid(table4.get_config())
  cells = [
    cell for size in whole.train_sizes for mark in whole.marks for cell in whole.cells(size, mark)
  ]
  assert len(set(cells)) == 180
  assert whole.seeds == tuple(range(25))
  assert (whole.data_dir, whole.shared_order) == (None, False)
  fleet = whole.fleet
  assert (fleet.in_features, fleet.classes, fleet.dtype) == (784, 10, "float32")
  assert fleet.learning_rate == fleet.init_scale == 0.01


def test_sizes_and_marks_ascend_whatever_the_configuration_says():
  config = changed(train_sizes=(600, 60), epochs=(7, 2), hidden=(5, 3), models=("qnn", "ann"))
  config.update(method="scan", block=50, sub_block=4, shared_order=True, data_dir="here")
  ours = grid(config)
  assert (ours.train_sizes, ours.marks) == ((60, 600), (2, 7))
  assert ours.fleet.nets == (Net("qnn", 3), Net("ann", 3), Net("qnn", 5), Net("ann", 5))
  # The order of the nets, which is that of the results.
  assert ours.cells(60, 7) == [
    Cell(60, 7, 3, "qnn"), Cell(60, 7, 3, "ann"), Cell(60, 7, 5, "qnn"), Cell(60, 7, 5, "ann")
  ]  # fmt: skip
  assert ours.method == Method("scan", 50, 4)
  assert (ours.shared_order, ours.data_dir) == (True, "here")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"models": ("ann", "cubic")}, "unknown head 'cubic' in models; choose among ann, qnn"),
    ({"models": ()}, "models must hold at least one value and each once, got ()"),
    ({"hidden": (10, 10)}, "hidden must hold at least one value and each once, got (10, 10)"),
    ({"hidden": (0,)}, "hidden must be whole numbers of at least 1, got (0,)"),
    ({"hidden": (10, -1)}, "hidden must be whole numbers of at least 1, got (10, -1)"),
    ({"hidden": (2.5,)}, "hidden must be whole numbers of at least 1, got (2.5,)"),
    ({"train_sizes": ("600",)}, "train_sizes must be whole numbers of at least 1, got ('600',)"),
    ({"train_sizes": ()}, "train_sizes must hold at least one value and each once, got ()"),
    ({"epochs": (0, 5)}, "epochs must be whole numbers of at least 1, got (0, 5)"),
    ({"seeds": 0}, "must be at least 1, got 0"),
    ({"learning_rate": 0.0}, "learning_rate must be a positive number, got 0.0"),
    ({"learning_rate": float("nan")}, "learning_rate must be a positive number, got nan"),
    ({"init_scale": float("inf")}, "init_scale must be a positive number, got inf"),
    ({"init_scale": -0.1}, "init_scale must be a positive number, got -0.1"),
    ({"dtype": "float16"}, "dtype must be float32 or float64, got 'float16'"),
    ({"method": "batch"}, "unknown method 'batch'; choose one of block, scan"),
    ({"block": 0}, "block and sub_block must be at least 1, got block=0, sub_block=6"),
  ],
)
def test_a_value_that_makes_no_sense_is_named(change, message):
  with pytest.raises(InputError) as error:
    grid(changed(**change))
  assert message in str(error.value)


def test_a_size_beyond_the_data_set():
  check_sizes((1, 60000), 60000)
  with pytest.raises(InputError, match="^train_sizes holds 70000, but the data set has 60000 "):
    check_sizes((600, 70000), 60000)
