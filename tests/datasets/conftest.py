"""What tests of several files damage."""

import shutil

import pytest

from qnn_jax.datasets._prepared import DEFAULT_DATA_DIR


@pytest.fixture
def data_dir(tmp_path):
  """A copy of the checkout's data directory, to be damaged; big files are links."""
  folder = tmp_path / "tfds" / "mnist" / "3.0.1"
  folder.mkdir(parents=True)
  for path in (DEFAULT_DATA_DIR / "mnist" / "3.0.1").iterdir():
    if path.suffix == ".json":
      shutil.copy(path, folder)
    else:
      (folder / path.name).symlink_to(path)
  return tmp_path / "tfds"
