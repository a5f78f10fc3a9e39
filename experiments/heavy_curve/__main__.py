"""Heavy and Dense layers, stacked in any order and depth, fitted to a curve.

python -m experiments.heavy_curve --config=configs/heavy_curve.py[:smoke] --workdir=DIR
"""

from experiments.heavy_curve.check import check
from experiments.heavy_curve.report import report
from experiments.heavy_curve.task import TASK
from qnn_jax import command
from qnn_jax.experiment import Experiment, config_beside

EXPERIMENT = Experiment(
  TASK,
  columns=("model", "parameters", "rate", "seed", "train_rmse", "test_rmse", "status"),
  report=report,
  check=check,
  default_config=config_beside(__file__),
)

if __name__ == "__main__":
  command.main(EXPERIMENT)
