"""Records -> tables, pictures and the fidelity to the paper."""

from qnn_jax import _extras

_extras.need("qnn_jax.reports", "matplotlib", "scipy")
