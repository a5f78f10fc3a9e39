"""The minibatch trainer: what it computes, seeds as a vmap, divergence, and the two rates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from qnn_jax import layers, losses, models
from qnn_jax.errors import InputError
from qnn_jax.training import minibatch


def make_model(rngs, kind="qnn"):
  return models.Classifier(3, 4, 2, kind, hidden_kind="heavy", rngs=rngs)


def data(samples=20):
  x = jax.random.normal(jax.random.key(1), (samples, 3))
  return x, (x[:, :2] > 0).astype(jnp.float32)


def run(optimizer, *, model=make_model, loss=losses.sigmoid_cross_entropy, key=0, **kwargs):
  train = minibatch.make_train(model, loss, optimizer, **({"epochs": 3, "batch_size": 6} | kwargs))
  return jax.jit(train)(jax.random.key(key), *data())


def test_full_batch_descent_is_plain_gradient_descent():
  trained = run(optax.sgd(0.3), epochs=4, batch_size=20)
  # The model that the trainer starts: a run at rate zero gives it back.
  params = run(optax.sgd(0.0), epochs=1, batch_size=20).params
  graph = nnx.graphdef(make_model(nnx.Rngs(0)))
  x, y = data()

  def mean_loss(params):
    return losses.sigmoid_cross_entropy(nnx.merge(graph, params)(x), y).mean()

  by_hand = []
  for _ in range(4):
    loss, grads = jax.value_and_grad(mean_loss)(params)
    by_hand.append(loss)
    params = jax.tree.map(lambda p, g: p - 0.3 * g, params, grads)
  np.testing.assert_allclose(trained.loss, by_hand, rtol=1e-5)
  jax.tree.map(
    lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6),
    nnx.to_pure_dict(trained.params),
    nnx.to_pure_dict(params),
  )


def test_a_training_in_parts_is_the_same_as_one_without_a_stop():
  whole = run(optax.adam(0.02), epochs=5)

  def parts(rate, stops):  # the rate is a value of the program
    trainer = minibatch.make_trainer(
      make_model, losses.sigmoid_cross_entropy, optax.adam(rate), batch_size=6
    )
    state, found = trainer.start(jax.random.key(0)), []
    for epochs in stops:
      state, loss = trainer.run(state, *data(), epochs)
      found.append(loss)
    return minibatch.finish(state, jnp.concatenate(found))

  found = jax.jit(parts, static_argnums=1)(0.02, (2, 3))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, whole)
  with pytest.raises(InputError, match="batch_size must be at least 1, got 0"):
    minibatch.make_trainer(make_model, losses.half_squared_error, optax.sgd(1), batch_size=0)


def test_every_epoch_sees_whole_batches_of_distinct_samples_in_a_new_order():
  class Affine(nnx.Module):
    def __init__(self, rngs):
      self.weight = nnx.Param(jnp.zeros(()))

    def __call__(self, x):
      return x + 0 * self.weight

  # The loss of a batch is a sum of distinct powers of two, and so tells its samples.
  train = minibatch.make_train(
    Affine, lambda out, y: out[:, 0] * 6, optax.sgd(1.0), epochs=2, batch_size=6
  )
  x = 2.0 ** jnp.arange(20)[:, None]
  losses_seen = np.asarray(train(jax.random.key(3), x, x).loss).astype(int)
  assert losses_seen.shape == (6,)
  assert [int(loss).bit_count() for loss in losses_seen] == [6] * 6
  for epoch in (losses_seen[:3], losses_seen[3:]):
    assert int(np.bitwise_or.reduce(epoch)).bit_count() == 18
  assert set(losses_seen[:3]) != set(losses_seen[3:])


def test_seeds_are_a_vmap():
  train = minibatch.make_train(
    make_model, losses.half_squared_error, optax.adam(0.02), epochs=3, batch_size=6
  )
  x, y = data()
  keys = jax.random.split(jax.random.key(7), 3)
  together = jax.jit(jax.vmap(train, (0, None, None)))(keys, x, y)
  assert together.loss.shape == (3, 9)
  assert np.unique(np.asarray(together.loss[:, 0])).size == 3
  alone = jax.jit(train)(keys[1], x, y)
  np.testing.assert_allclose(together.loss[1], alone.loss, rtol=1e-4)
  predict = minibatch.make_predict(make_model)
  outputs = jax.vmap(predict, (0, None))(together, x)
  np.testing.assert_allclose(outputs[1], predict(alone, x), rtol=1e-3, atol=1e-5)


def test_it_learns():
  trained = run(optax.adam(0.05), epochs=60, batch_size=10)
  assert trained.loss[-1] < 0.3 * trained.loss[0]
  assert not trained.diverged
  assert trained.diverged_at == trained.loss.size


def test_divergence_is_reported_with_its_step():
  trained = run(optax.sgd(1e4), loss=losses.half_squared_error, epochs=20)
  assert trained.diverged
  first = int(trained.diverged_at)
  assert 0 < first < 60
  assert np.isfinite(trained.loss[:first]).all() and not np.isfinite(trained.loss[first])


def test_a_last_step_that_overflows_has_diverged():
  def steep(outputs, targets):
    return 1e3 * losses.sigmoid_cross_entropy(outputs, targets)

  trained = run(optax.sgd(3e38), loss=steep, epochs=1, batch_size=20)
  assert np.isfinite(trained.loss).all()
  assert trained.diverged


def test_other_variables_are_carried_and_predictions_use_the_evaluation_mode():
  class Network(nnx.Module):
    def __init__(self, rngs):
      self.linear = nnx.Linear(3, 2, rngs=rngs)
      self.norm = nnx.BatchNorm(2, rngs=rngs)
      self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
      return self.dropout(self.norm(self.linear(x)))

  trained = run(optax.sgd(0.1), model=Network)
  assert np.abs(np.asarray(trained.rest["norm"]["mean"][...])).max() > 0
  predict = minibatch.make_predict(Network)
  outputs = predict(trained, data()[0])
  np.testing.assert_array_equal(outputs, predict(trained, data()[0]))
  assert (np.asarray(outputs) != 0).all()  # what dropout would have zeroed


@pytest.mark.fast
@pytest.mark.parametrize("form", [nnx.state, lambda module: module], ids=["state", "module"])
@pytest.mark.parametrize(
  "kind, quadratic",
  [("qnn", {"q"}), ("heavy", {"heavy_kernel"}), ("rpqnn", {"u"}), ("ann", set())],
)
def test_labels_name_the_quadratic_parameters(form, kind, quadratic):
  network = models.Classifier(3, 4, 2, kind, hidden_kind=kind, rngs=nnx.Rngs(0))
  labels = minibatch.quadratic_labels(form(network))
  for layer in (0, 1):
    names = dict(labels["layers"][layer])
    assert {name for name, label in names.items() if label == "quadratic"} == quadratic
    assert set(names.values()) <= {"quadratic", "affine"}


class Named(nnx.Module):
  """A user's own parameters under our names, and a quadratic one under another."""

  def __init__(self):
    self.q, self.u = nnx.Param(jnp.ones(2)), nnx.BatchStat(jnp.ones(2))
    self.curvature = layers.QuadraticParam(jnp.ones(2))

  def __call__(self, x):
    return x * self.q + x * x * self.curvature


def test_the_type_says_what_is_quadratic_and_not_the_name():
  found = dict(minibatch.quadratic_labels(Named()))
  assert found == {"q": "affine", "u": "affine", "curvature": "quadratic"}


@pytest.mark.parametrize(
  "wrong, told",
  [
    ({"q": {"kernel": 0.0}}, "not dict"),
    (nnx.to_pure_dict(nnx.state(Named())), "not dict"),
    (nnx.as_pure(nnx.state(Named())), "not a state of bare arrays"),
    (jnp.ones(2), "not ArrayImpl"),
  ],
  ids=["dict", "pure dict", "pure state", "array"],
)
def test_labels_of_what_has_no_types_are_refused(wrong, told):
  with pytest.raises(InputError, match=f"^the labels are read off the types .*{told}$"):
    minibatch.quadratic_labels(wrong)


@pytest.mark.parametrize("rate", [optax.sgd, optax.adam], ids=lambda rate: rate.__name__)
def test_the_partition_in_an_nnx_optimizer(rate):
  """Which hands bare arrays to its transformation."""
  model = Named()
  optimizer = nnx.Optimizer(
    model, minibatch.quadratic_partition(rate(0.0), rate(0.1)), wrt=nnx.Param
  )

  @nnx.jit
  def step(model, optimizer, x):
    optimizer.update(model, nnx.grad(lambda model: jnp.sum(model(x) ** 2))(model))

  for _ in range(3):
    step(model, optimizer, jnp.ones(2))
  assert (model.curvature[...] == 1).all() and (model.q[...] < 0.8).all()


def test_the_partition_gives_each_group_its_own_rate():
  start = run(optax.sgd(0.0))
  frozen = run(minibatch.quadratic_partition(optax.sgd(0.0), optax.sgd(0.1)))
  only = run(minibatch.quadratic_partition(optax.sgd(0.1), optax.sgd(0.0)))
  for layer, quadratic in ((0, "heavy_kernel"), (1, "q")):
    before = start.params["layers"][layer]
    for name in before:
      moved_affine = bool((frozen.params["layers"][layer][name][...] != before[name][...]).any())
      moved_quadratic = bool((only.params["layers"][layer][name][...] != before[name][...]).any())
      assert moved_affine == (name != quadratic)
      assert moved_quadratic == (name == quadratic)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"batch_size": 21}])
def test_numbers_that_cannot_be(wrong):
  with pytest.raises(InputError, match=next(iter(wrong))):
    run(optax.sgd(0.1), **wrong)


def test_inputs_and_targets_of_different_lengths():
  train = minibatch.make_train(
    functools.partial(make_model, kind="ann"),
    losses.half_squared_error,
    optax.sgd(0.1),
    epochs=1,
    batch_size=2,
  )
  with pytest.raises(InputError, match=r"\(4, 3\) and \(5, 2\)"):
    train(jax.random.key(0), jnp.zeros((4, 3)), jnp.zeros((5, 2)))
