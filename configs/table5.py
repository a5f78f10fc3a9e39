"""Table 5: training time and accuracy of ANN, QNN and RPQNN, as ratios to ANN.

Source: Noel and Muthiah-Nakarajan, Table 5: 60,000 samples, 5 epochs, 30 hidden neurons.

  python -m experiments.table5                                        about a minute on two cores
  python -m experiments.table5 --config=configs/table5.py:smoke       seconds, to see that it runs
  python -m experiments.table5 --sweep=widths --workdir=results/widths   10, 20 and 30 hidden neurons

With 25 runs at once, expect a time ratio QNN / ANN of about 1.5, well below the paper's 3.67, and RPQNN / ANN near
the paper's 1.05: the first layer, which the three models have in common, then takes most of a step. With one run at
a time the two ratios are about 3.7 and 1.2.
"""

import ml_collections

from qnn_jax.errors import InputError
from qnn_jax.sweeps.configs import product


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  """The paper's setting; preset 'smoke' takes seconds."""
  config = ml_collections.ConfigDict()
  config.models = ("ann", "qnn", "rpqnn")
  config.train_size = 60000
  config.epochs = 5
  config.hidden = 30
  config.runs_at_once = (1, 25)  # one run at a time, and all runs of one cell of Table 4
  config.learning_rate = 0.01
  config.input_shift = 0.5  # inputs are pixels / 255 - input_shift
  config.init = "symmetric"  # every parameter starts from U[-init_scale, init_scale)
  config.init_scale = 0.01
  config.dataset = "mnist"  # a TFDS name; the data set must be prepared in data_dir
  config.data_dir = ""  # a TFDS directory; empty: data/tfds of the checkout
  config.block = 60
  config.sub_block = 6
  config.keep_params = False
  if preset == "smoke":
    config.train_size = 1200
    config.runs_at_once = (1, 4)
  elif preset:
    raise InputError(f"unknown preset '{preset}' of configs/table5.py; choose smoke")
  return config


def sweep_widths() -> list[dict]:
  """The cost of a quadratic layer at other widths."""
  return product(hidden=(10, 20, 30))
