"""Which final layer a network should have, at an equal number of parameters.

python -m experiments.heads --config=configs/heads.py[:rates|:smoke] --workdir=DIR
"""

from experiments.heads.report import report
from experiments.heads.task import COLUMNS, TASK, check, check_data
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
