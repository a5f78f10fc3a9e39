"""The leading eigenvectors of a trained Q as images.

python -m experiments.eigenimages --config=configs/eigenimages.py[:smoke] --workdir=DIR
"""

from experiments.eigenimages.report import report
from experiments.eigenimages.task import TASK, check, check_data
from qnn_jax import command
from qnn_jax.experiment import Experiment, config_beside

EXPERIMENT = Experiment(
  TASK,
  report=report,
  check=check,
  check_data=check_data,
  default_config=config_beside(__file__),
)

if __name__ == "__main__":
  command.main(EXPERIMENT)
