"""Minibatches: which images a step sees is a function of the seed and the step alone.

So a training that begins again at step s gets what the undisturbed one got there. Grain loads ahead of the
training. Its own shuffle goes element by element, 7 ms a batch of 128 on one core
where a permutation of NumPy's takes 0.01 ms, so that an element is a whole batch here.
"""

import dataclasses
from collections.abc import Iterator

import grain
import numpy as np

from qnn_jax.datasets import Images

_AHEAD = 8  # batches


@dataclasses.dataclass(frozen=True)
class Batches:
  """All minibatches of a training, by step: `batches[s]` is (images uint8 [B, h, w, c], labels int32 [B]).

  Every epoch sees all images once in a fresh order; those left over when batches do not come out even wait
  for another epoch.

  Attributes:
    images: that a split has.
    chosen: [N] the places of those that are used.
    seed: of the orders.
    size: B.
    epochs: how many.
  """

  images: Images
  chosen: np.ndarray
  seed: int
  size: int
  epochs: int

  @property
  def an_epoch(self) -> int:
    """Steps of an epoch."""
    return len(self.chosen) // self.size

  def __len__(self) -> int:
    return self.an_epoch * self.epochs

  def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
    epoch, place = divmod(int(step), self.an_epoch)
    order = np.random.default_rng((self.seed, 1, epoch)).permutation(len(self.chosen))
    mine = order[place * self.size : (place + 1) * self.size]
    return self.images.batch(self.chosen[mine])

  def ahead_from(self, step: int, loaders: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches from this step on, loaded ahead by so many threads.

    Pillow decodes without Python's lock. Grain's processes would be left behind where this one is killed.
    """
    options = grain.ReadOptions(num_threads=loaders, prefetch_buffer_size=max(_AHEAD, loaders))
    return iter(grain.MapDataset.source(self)[step:].to_iter_dataset(options))


def choose(size: int, images: int, seed: int) -> np.ndarray:
  """[size] places of images out of so many, drawn without repetition; all in their order for size 0."""
  if not size:
    return np.arange(images)
  return np.random.default_rng((seed, 0)).permutation(images)[:size]
