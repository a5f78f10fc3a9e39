"""Three quadratic layers in a row, trained from a naive and from a stable initialisation.

python -m experiments.deep_quadratic --config=configs/deep_quadratic.py[:smoke] --workdir=DIR
"""

from experiments.deep_quadratic.check import check, check_data
from experiments.deep_quadratic.report import report
from experiments.deep_quadratic.task import TASK
from qnn_jax import command
from qnn_jax.experiment import Experiment, config_beside

EXPERIMENT = Experiment(
  TASK,
  columns=(
    "variant", "seed", "parameters", "first_loss", "largest_loss", "last_loss", "constant_loss",
    "accuracy", "steps_until_diverged", "status",
  ),
  report=report,
  check=check,
  check_data=check_data,
  default_config=config_beside(__file__),
)  # fmt: skip

if __name__ == "__main__":
  command.main(EXPERIMENT)
