"""What ANN, QNN and RPQNN layers cost: Tables 1 and 2. configs/complexity.py describes the experiment.

python -m experiments.complexity --config=configs/complexity.py[:smoke] --workdir=DIR
"""

from experiments.complexity.report import COLUMNS, report
from experiments.complexity.task import TASK, check
from qnn_jax import command
from qnn_jax.experiment import Experiment, config_beside

EXPERIMENT = Experiment(
  TASK,
  columns=COLUMNS,
  report=report,
  check=check,
  seed="model",
  default_config=config_beside(__file__),
)

if __name__ == "__main__":
  command.main(EXPERIMENT)
