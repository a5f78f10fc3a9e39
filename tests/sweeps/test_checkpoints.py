"""Checkpoints: lanes carry on in whatever company, and what is damaged counts for none."""

import numpy as np
import pytest
from toy import AXES, point

from qnn_jax.errors import InputError
from qnn_jax.sweeps import arrays, checkpoints, damage, leftovers
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.store import Store


@pytest.fixture
def warnings(monkeypatch):
  told = []
  monkeypatch.setattr(damage.logging, "warning", lambda text, *values: told.append(text % values))
  return told


def lanes(*seeds, **fields):
  return [point(seed=seed, **fields) for seed in seeds]


def parameters(*values):
  """A tree with a lane for each value."""
  first = np.array(values, float).reshape(-1, 1, 1) * np.ones((3, 4))
  return [{"layers": {0: {"kernel": first}, 1: {"q": np.ones((len(values), 6), "f4")}}}]


def kernel(found):
  return found[1][0]["layers"][0]["kernel"][:, 0, 0].tolist()


def test_a_checkpoint_is_read_for_its_own_lanes(tmp_path, warnings):
  assert checkpoints.read(tmp_path, lanes(0, 1)) is None
  for of, step, value in (lanes(0, 1), 5, 1), (lanes(0, 1), 10, 2), (lanes(0, 2), 3, 3):
    checkpoints.write(tmp_path, of, step, parameters(value, value))
  checkpoints.write(tmp_path, lanes(0, 1, scale=1.0), 4, parameters(4, 4))
  for of, step, value in (lanes(0, 1), 10, 2), (lanes(0, 2), 3, 3), (lanes(0, 1, scale=1.0), 4, 4):
    found = checkpoints.read(tmp_path, of)
    assert found[0] == step and kernel(found) == [value, value]
    assert set(found[1][0]["layers"]) == {0, 1}
    assert found[1][0]["layers"][1]["q"].dtype == np.float32
  assert checkpoints.read(tmp_path, lanes(0, 1), most=9)[0] == 5
  assert checkpoints.read(tmp_path, lanes(0, 1), most=4) is None
  assert checkpoints.read(tmp_path, lanes(1, 2)) is None  # not equally far
  assert warnings == []


def test_lanes_are_gathered_from_other_companies(tmp_path):
  checkpoints.write(tmp_path, lanes(0, 1), 5, parameters(1.0, 7.0))
  checkpoints.write(tmp_path, lanes(2, 3), 5, parameters(2.0, 3.0))
  found = checkpoints.read(tmp_path, lanes(3, 1))
  assert found[0] == 5 and kernel(found) == [3.0, 7.0]
  assert checkpoints.read(tmp_path, lanes(3, 4)) is None


def test_only_what_belongs_to_these_lanes_alone_is_removed(tmp_path):
  for of, step in (lanes(0, 1), 5), (lanes(0, 1), 10), (lanes(0, 2), 3):
    checkpoints.write(tmp_path, of, step, parameters(1, 1))
  checkpoints.remove(tmp_path, lanes(0, 1, 3), before=10)
  assert checkpoints.read(tmp_path, lanes(0, 1), most=9) is None
  assert checkpoints.read(tmp_path, lanes(0, 1))[0] == 10
  checkpoints.remove(tmp_path, lanes(0, 1))
  checkpoints.remove(tmp_path, lanes(0, 1))  # two workers may both be done
  assert checkpoints.read(tmp_path, lanes(0, 1)) is None
  assert checkpoints.read(tmp_path, lanes(0, 2)) is not None
  (tmp_path / "checkpoints" / ".tmp-half-written").write_bytes(b"of a worker that was killed")
  leftovers.remove(tmp_path, -1.0)
  checkpoints.tidy(tmp_path)
  assert checkpoints.read(tmp_path, lanes(0, 2)) is not None
  assert len(list((tmp_path / "checkpoints").iterdir())) == 1
  checkpoints.remove(tmp_path, lanes(0, 2))
  checkpoints.tidy(tmp_path)
  checkpoints.tidy(tmp_path)
  assert not (tmp_path / "checkpoints").exists()


def test_lanes_leave_the_checkpoints_that_they_share_with_others(tmp_path):
  checkpoints.write(tmp_path, lanes(0, 1, 2), 5, parameters(1, 1, 1))
  checkpoints.write(tmp_path, lanes(0, 1), 9, parameters(1, 1))
  checkpoints.release(tmp_path, lanes(0, 1), most=5)
  assert checkpoints.read(tmp_path, lanes(2))[0] == 5  # another command's, as good as before
  assert checkpoints.read(tmp_path, lanes(0, 1))[0] == 9  # on the way to more epochs
  assert checkpoints.read(tmp_path, lanes(0, 1), most=8) is None


@pytest.mark.parametrize(
  "damage",
  [
    lambda content: content[:-10],
    lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
    lambda content: b"",
    lambda content: bytes(4),
    lambda content: bytes(len(content)),
  ],
  ids=("cut off", "one bit", "empty", "four zeros", "all zeros"),
)
def test_a_damaged_checkpoint_counts_as_none(tmp_path, warnings, damage):
  path = checkpoints.write(tmp_path, lanes(0, 1), 5, parameters(1, 1))
  path.write_bytes(damage(path.read_bytes()))
  assert checkpoints.read(tmp_path, lanes(0, 1)) is None
  assert warnings and all(str(path) in told and "is damaged" in told for told in warnings)
  checkpoints.write(tmp_path, lanes(0, 1), 7, parameters(2, 2))
  assert checkpoints.read(tmp_path, lanes(0, 1))[0] == 7


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(tmp_path, warnings):
  checkpoints.write(tmp_path, lanes(0), 5, parameters(1))
  path = checkpoints.write(tmp_path, lanes(0), 6, parameters(2))
  content = path.read_bytes()
  at = content.index(np.full(4, 2.0).tobytes())  # in an array, not in the header
  path.write_bytes(content[:at] + b"\xff" + content[at + 1 :])
  found = checkpoints.read(tmp_path, lanes(0))
  assert found[0] == 5 and kernel(found) == [1.0]
  assert any(str(path) in told for told in warnings)


def test_pickles_of_the_former_format_are_refused_untouched(tmp_path):
  (tmp_path / "checkpoints").mkdir()
  path = tmp_path / "checkpoints" / "size600-epochs5-seed0.ckpt"
  path.write_bytes(b"a pickle")
  with pytest.raises(InputError, match="is a checkpoint of an older format; name another") as error:
    Store(tmp_path, "toy", AXES).read()
  assert str(path) in str(error.value) and path.read_bytes() == b"a pickle"


def test_another_format_is_refused(tmp_path):
  path = tmp_path / "checkpoints" / "step3-0.npz"
  arrays.write_tree(path, {}, {"format": 2, "lanes": [], "step": 3})
  with pytest.raises(InputError, match="step3-0.npz is a checkpoint of another format"):
    checkpoints.read(tmp_path, lanes(0))
  assert path.exists()


def test_a_job_removes_all_that_it_saved(tmp_path):
  job = Job(tmp_path)
  assert job.load(lanes(0, 1)) is None
  for step in (1, 2):
    job.save(lanes(0, 1), step, parameters(step, step))
    job.drop(lanes(0, 1), before=step)
  job.save(lanes(2), 1, parameters(1))
  checkpoints.write(tmp_path, lanes(3), 1, parameters(1))  # another's
  assert job.load(lanes(0, 1), most=1) is None and job.load(lanes(0, 1))[0] == 2
  job.end()
  assert len(list((tmp_path / "checkpoints").iterdir())) == 1
