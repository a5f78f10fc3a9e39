"""A network of one's own: variables that are no parameters, resuming with them, and its faults in a sentence."""

import numpy as np
import optax
import pytest
from flax import nnx
from in_process import store_of
from trainings import EXPERIMENT, Killed, numbers, parameters, small, train

from experiments.train import program
from experiments.train.task import check, check_data
from qnn_jax import QuadraticLinear, models
from qnn_jax.datasets import open_split
from qnn_jax.errors import InputError
from qnn_jax.sweeps.trained import load_model


class Own(nnx.Module):
  """Statistics, and random keys."""

  def __init__(self, network, image_shape, classes, *, dtype, param_dtype, rngs):
    types = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
    self.norm = nnx.BatchNorm(image_shape[-1], momentum=0.5, **types)
    self.drop = nnx.Dropout(0.5, rngs=rngs)
    size = image_shape[0] * image_shape[1] * image_shape[2]
    self.head = models.make_layer(network.head, size, classes, **types)

  def __call__(self, images):
    x = self.drop(self.norm(images))
    return self.head(x.reshape(len(x), -1))


@pytest.fixture(autouse=True)
def registered(monkeypatch):
  monkeypatch.setattr(models._build, "_OWN", {})
  models.register("own", Own)


def own(**changes):
  return small(network="own", learning_rate=0.01, train_size=320, batch_size=32, **changes)


def row_of(workdir):
  (found,) = store_of(EXPERIMENT, workdir).found.values()
  return found.metrics


def loss_and_accuracy(model, split):
  images = open_split("digits", split)
  x, y = images.batch(np.arange(len(images)))
  logits = model(x.astype(np.float32) / 255 - 0.5)
  loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
  return float(loss), 100 * float((logits.argmax(-1) == y).mean())


def test_its_statistics_count_in_tests_and_come_back(tmp_path):
  train(own(epochs=30), tmp_path)
  row = row_of(tmp_path)
  assert row["parameters"] == 2 + models.count_parameters(
    lambda: QuadraticLinear(64, 10, rngs=nnx.Rngs(0))
  )
  model = load_model(tmp_path)
  model.eval()
  _, accuracy = loss_and_accuracy(model, "test[:100]")
  assert row["accuracy"] == pytest.approx(accuracy) and accuracy > 80
  with pytest.raises(InputError, match="^network must be one of mlp, cnn, own, got 'mine'$"):
    check(small(network="mine"))


def test_the_best_network_is_its_statistics_too(tmp_path):
  config = own(epochs=12, validation_split="test[100:300]", patience=2, log_every=0)
  config.learning_rate = 0.2
  train(config, tmp_path)
  row = row_of(tmp_path)
  model = load_model(tmp_path)
  model.eval()
  loss, _ = loss_and_accuracy(model, "test[100:300]")
  assert row["best_epoch"] < row["epochs_run"]
  assert loss == pytest.approx(min(row["curve_watched_loss"]), rel=1e-4)


def test_it_resumes_with_its_random_keys(tmp_path, killed_at):
  config = own(
    epochs=2, validation_split="test[100:200]", patience=5, checkpoint_seconds=0.0, log_every=3
  )
  train(config, tmp_path / "whole")
  done = killed_at(15)
  with pytest.raises(Killed):
    train(config, tmp_path / "killed")
  train(config, tmp_path / "killed")
  assert len(done) == 15 + 20 - 12  # from the checkpoint at 12
  ours, theirs = (parameters(tmp_path / place) for place in ("killed", "whole"))
  for path, value in theirs.items():
    np.testing.assert_array_equal(ours[path], value, err_msg=str(path))
  assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")


def test_a_checkpoint_of_other_code_is_set_aside(tmp_path, killed_at, caplog):
  done = killed_at(15)
  config = own(epochs=2, checkpoint_seconds=0.0, log_every=3)
  with pytest.raises(Killed):
    train(config, tmp_path)

  class Other(Own):
    def __init__(self, network, *args, **kwargs):
      super().__init__(network, *args, **kwargs)
      self.norm = nnx.BatchNorm(8, axis=-2, rngs=kwargs["rngs"])

  models.register("own", Other)
  program.program_of.cache_clear()
  train(config, tmp_path)
  told = [record.getMessage() for record in caplog.records]
  assert len(told) == 2 and all("is damaged" in line and "in this network" in line for line in told)
  assert len(done) == 15 + 20


def raises(self, images):
  raise ValueError("no\nimages today")


@pytest.mark.parametrize(
  "call, told",
  [
    (raises, r"^the network 'own' cannot be used: ValueError at test_own_network.py:\d+: no images today$"),
    (lambda self, x: x.reshape(len(x), -1)[:, :3], r"must return logits of the shape \(32, 10\), .* got \(32, 3\)$"),
    (lambda self, x: x.sum((1, 2, 3)), r"must return logits of the shape \(32, 10\), .* got \(32,\)$"),
    (lambda self, x: (x, x), "^the network 'own' cannot be used: AttributeError"),
    (lambda self, x: x if x.mean() > 0 else -x, "^the network 'own' cannot be used: TracerBoolConversionError"),
  ],
  ids=["raises", "three", "one", "tuple", "branch"],
)  # fmt: skip
def test_its_faults_are_told_in_one_sentence(call, told, monkeypatch):
  monkeypatch.setattr(Own, "__call__", call)
  with pytest.raises(InputError, match=told) as error:
    check_data(own())
  assert "\n" not in str(error.value)


def test_what_is_no_network_is_refused():
  for make, told in (
    (lambda *args, **kwargs: None, "must be an nnx.Module, got NoneType"),
    (lambda network: None, "cannot be used: TypeError"),
  ):
    models.register("own", make)
    with pytest.raises(InputError, match=told):
      check_data(own())
  with pytest.raises(InputError, match="must have a name other than mlp and cnn, got 'cnn'"):
    models.register("cnn", Own)
  with pytest.raises(InputError, match="must be registered by a function, got 3"):
    models.register("mine", 3)


def test_a_validation_loss_that_is_no_number_is_never_the_best(tmp_path, monkeypatch):
  test = program.Program.test
  monkeypatch.setattr(
    program.Program, "test", lambda self, *a: test(self, *a)._replace(loss=float("nan"))
  )
  train(own(epochs=6, validation_split="test[100:200]", patience=2, log_every=0), tmp_path)
  (found,) = store_of(EXPERIMENT, tmp_path).found.values()
  assert found.status == "diverged" and found.metrics["epochs_run"] == 2
  assert found.metrics["ended"] == "no lower validation loss at all"
