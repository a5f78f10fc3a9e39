"""Minibatches. The images of a step depend only on the seed and the step.

So a training that resumes at step s gets the same batch as one that was not interrupted. Grain loads batches ahead
of the training. Grain's own shuffle works element by element, and takes 7 ms for a batch of 128 on one core. A NumPy
permutation takes 0.01 ms, so we shuffle with NumPy and give Grain whole batches as elements.
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

  Every epoch uses all images once in a new random order. If they do not divide evenly into batches, the rest is left
  out of that epoch.

  Attributes:
    images: the images of the split.
    chosen: [N] the indices of the images that are used.
    seed: the seed of the random orders.
    size: the batch size B.
    epochs: the number of epochs.
  """

  images: Images
  chosen: np.ndarray
  seed: int
  size: int
  epochs: int

  @property
  def an_epoch(self) -> int:
    """The number of steps in an epoch."""
    return len(self.chosen) // self.size

  def __len__(self) -> int:
    return self.an_epoch * self.epochs

  def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
    epoch, place = divmod(int(step), self.an_epoch)
    order = np.random.default_rng((self.seed, 1, epoch)).permutation(len(self.chosen))
    mine = order[place * self.size : (place + 1) * self.size]
    return self.images.batch(self.chosen[mine])

  def ahead_from(self, step: int, loaders: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches from this step on, loaded ahead by this number of threads.

    Threads are enough, because Pillow decodes without Python's lock. Grain's worker processes would live on if this
    process were killed.
    """
    options = grain.ReadOptions(num_threads=loaders, prefetch_buffer_size=max(_AHEAD, loaders))
    return iter(grain.MapDataset.source(self)[step:].to_iter_dataset(options))


def choose(size: int, images: int, seed: int) -> np.ndarray:
  """[size] indices of images, drawn without repetition; size 0 gives all indices in order."""
  if not size:
    return np.arange(images)
  return np.random.default_rng((seed, 0)).permutation(images)[:size]
