"""XOR with a single quadratic neuron: Fig. 1. configs/xor.py describes the experiment.

python -m experiments.xor --config=configs/xor.py[:smoke] --workdir=DIR
"""

from experiments.xor.report import report
from experiments.xor.task import COLUMNS, TASK, check
from qnn_jax import command
from qnn_jax.experiment import Experiment, config_beside

EXPERIMENT = Experiment(
  TASK,
  columns=COLUMNS,
  report=report,
  check=check,
  seed="start",
  default_config=config_beside(__file__),
)

if __name__ == "__main__":
  command.main(EXPERIMENT)
