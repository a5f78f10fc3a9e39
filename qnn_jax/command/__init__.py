"""The command line that every experiment has: its __main__.py calls `main`.

python -m experiments.NAME --config=configs/NAME.py[:PRESET] --workdir=DIR [--config.FIELD=VALUE]
  [--sweep.FIELD=VALUE,VALUE | --sweep=NAME] [--slice=I/N] [--workers=N]
  [--dry_run | --list | --report_only | --cancel] [--launch=slurm --slurm_...]
"""

from qnn_jax import _extras

_extras.need("qnn_jax.command", "absl", "ml_collections", "rich")

from qnn_jax.command.program import main  # noqa: E402

__all__ = ["main"]
