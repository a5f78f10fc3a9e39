"""Small changes to Table 4's training recipe, each compared with the paper's table. See configs/recipe.py.

python -m experiments.recipe [--config=configs/recipe.py[:smoke]] [--workdir=DIR] [--config.key=value]
"""

from experiments.recipe.report import report
from experiments.recipe.task import TASK, check
from experiments.table4.task import check_data
from qnn_jax import command
from qnn_jax.experiment import Experiment, config_beside

EXPERIMENT = Experiment(
  TASK,
  columns=("recipe", "model", "train_size", "epochs", "hidden", "seed", "accuracy", "status"),
  report=report,
  check=check,
  check_data=check_data,
  default_config=config_beside(__file__),
)

if __name__ == "__main__":
  command.main(EXPERIMENT)
