"""What the memory check of Table 4's configuration counts, and whom it names."""

import pytest

from experiments.table4 import check
from qnn_jax.errors import InputError
from qnn_jax.sweeps import checks

pytestmark = pytest.mark.fast


def test_the_model_that_needs_it_is_named():
  told = "^the model lowrank:900000000 with hidden = 10 would take "
  with pytest.raises(InputError, match=told):
    check.memory(10, ("ann", "lowrank:900000000", "lowrank"), 784, 10)
  with pytest.raises(InputError, match="^hidden = 1000000000 would take "):
    check.memory(10**9, ("qnn", "lowrank:2"), 784, 10)


def test_lowrank_without_a_size_counts_its_default(monkeypatch):
  assert [check.rank(model) for model in ("qnn", "lowrank", "lowrank:7")] == [0, 4, 7]
  counted = []
  monkeypatch.setattr(checks, "memory", lambda needed, what: counted.append(needed))
  # With few hidden neurons rank 4 has more numbers than a full Q.
  for models in (("lowrank",), ("lowrank:4",), ("qnn",)):
    check.memory(2, models, 784, 10)
  assert counted[0] == counted[1] > counted[2]
