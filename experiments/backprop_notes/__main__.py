"""Compares the backpropagation notes with this package. configs/backprop_notes.py describes the experiment.

python -m experiments.backprop_notes --config=configs/backprop_notes.py[:smoke] --workdir=DIR
"""

from experiments.backprop_notes.report import report
from experiments.backprop_notes.task import TASK, check
from qnn_jax import command
from qnn_jax.experiment import Experiment, config_beside

EXPERIMENT = Experiment(TASK, report=report, check=check, default_config=config_beside(__file__))

if __name__ == "__main__":
  command.main(EXPERIMENT)
