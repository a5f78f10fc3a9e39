"""Six clusters with a single layer: Table 3, Fig. 2. configs/clusters.py describes the experiment.

python -m experiments.clusters --config=configs/clusters.py[:smoke] --workdir=DIR
"""

from experiments.clusters.report import report
from experiments.clusters.task import TASK, check
from qnn_jax import command
from qnn_jax.experiment import Experiment, config_beside

EXPERIMENT = Experiment(
  TASK,
  columns=("model", "seed", "accuracy", "all_right", "status"),
  report=report,
  check=check,
  default_config=config_beside(__file__),
)

if __name__ == "__main__":
  command.main(EXPERIMENT)
