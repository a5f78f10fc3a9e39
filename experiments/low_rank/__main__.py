"""A full Q trained on MNIST, truncated to low ranks and tested again.

python -m experiments.low_rank --config=configs/low_rank.py[:network|:smoke] --workdir=DIR
"""

from experiments.low_rank.report import report
from experiments.low_rank.task import TASK, check, check_data
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
