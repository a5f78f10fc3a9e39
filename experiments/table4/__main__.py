"""Table 4 of the paper: accuracy on MNIST by training size, epochs and hidden neurons.

python -m experiments.table4 --config=configs/table4.py[:quick|:smoke|:former] --workdir=DIR
"""

from experiments.table4.check import check
from experiments.table4.report import report, watch
from experiments.table4.task import TASK, check_data
from qnn_jax import command
from qnn_jax.experiment import Experiment, config_beside

EXPERIMENT = Experiment(
  TASK,
  columns=("model", "train_size", "epochs", "hidden", "seed", "accuracy", "status"),
  report=report,
  check=check,
  check_data=check_data,
  watch=watch,
  default_config=config_beside(__file__),
)

if __name__ == "__main__":
  command.main(EXPERIMENT)
