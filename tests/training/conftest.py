"""The trainers are tested as users compile them: their blocks must not differ from the plain scan by more than rounding."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _as_users_compile(as_users_compile):
  """Every module of this folder."""
