"""How the tests compile: without LLVM's optimisations, in half the time; by `JAX_DISABLE_MOST_OPTIMIZATIONS=0 make test`, as users do.

Without them XLA's own program is the same to the last instruction; it is made into slower machine code, in less
time. Last bits may differ. The modules that use `as_users_compile` are about these, or run longer than they compile.
"""

import os

import jax
import pytest

_FLAG = "JAX_DISABLE_MOST_OPTIMIZATIONS"
# In the environment it is for the processes that tests start, too.
_SOONER = os.environ.setdefault(_FLAG, "1") != "0"
jax.config.update(_FLAG.lower(), _SOONER)


@pytest.fixture(scope="module")
def as_users_compile():
  """For modules about machine code, or whose programs run longer than they compile."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv(_FLAG, "0")
    jax.clear_caches()
    jax.config.update(_FLAG.lower(), False)
    yield
    jax.config.update(_FLAG.lower(), _SOONER)
    jax.clear_caches()
