"""A network with quadratic layers, trained on any TFDS data set of images.

python -m experiments.train --config=configs/train.py[:digits|:smoke] --workdir=DIR [--config.head=qnn]
"""

from experiments.train.report import report
from experiments.train.task import COLUMNS, TASK, check, check_data
from qnn_jax import command
from qnn_jax.experiment import Experiment, config_beside

EXPERIMENT = Experiment(
  TASK,
  columns=COLUMNS,
  report=report,
  check=check,
  check_data=check_data,
  default_config=config_beside(__file__),
)

if __name__ == "__main__":
  command.main(EXPERIMENT)
