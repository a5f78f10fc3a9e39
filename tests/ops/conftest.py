"""Double precision for one test at a time."""

import jax
import pytest


@pytest.fixture
def x64():
  # A context, not jax.config.update: the other tests of this process keep float32.
  with jax.enable_x64(True):
    yield
