"""Table 5 of the paper: training time and accuracy of the three models, as ratios to ANN.

python -m experiments.table5 --config=configs/table5.py[:smoke] --workdir=DIR
"""

from experiments.table5.report import report
from experiments.table5.task import TASK, check, check_data
from qnn_jax import command
from qnn_jax.experiment import Experiment, config_beside

EXPERIMENT = Experiment(
  TASK,
  report=report,
  check=check,
  check_data=check_data,
  seed="seeds",
  default_config=config_beside(__file__),
)

if __name__ == "__main__":
  command.main(EXPERIMENT)
