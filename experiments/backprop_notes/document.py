"""The backpropagation notes, transcribed line by line in NumPy, without anything of this package."""

import numpy as np

Layer = tuple[np.ndarray, np.ndarray]  # W [n, m] as the document has it, rows are neurons; b [n]


def sigmoid(z: np.ndarray) -> np.ndarray:
  """The logistic function, in NumPy."""
  return 1 / (1 + np.exp(-z))


def gradients(layers: list[Layer], x: np.ndarray, y: np.ndarray) -> list[Layer]:
  """The document's recursion for one sample, line by line: dL/dW [n, m] and dL/db [n] of each layer.

  Its delta^c is dL/da^{c-1}, the derivative at a layer's input; the delta of the paper, dL/dz, is
  the document's dL/db. Its a^l = sigma(z^l) holds for the last layer too, yhat = a^k.

  Args:
    layers: (W, b) from the first layer to the last, k.
    x, y: one sample's input [m] and target [n].
  """
  a, z = [x], [np.empty(0)]  # as in the document, z begins at 1
  for weight, bias in layers:
    z.append(weight @ a[-1] + bias)  # z^l = W^l a^{l-1} + b^l
    a.append(sigmoid(z[-1]))  # a^l = sigma(z^l)

  def slope(layer: int) -> np.ndarray:
    return sigmoid(z[layer]) * (1 - sigmoid(z[layer]))  # sigma'(z)

  # Backwards top layer
  k = len(layers)
  weight = layers[k - 1][0]
  db = (a[k] - y) * slope(k) * 1
  delta = db @ weight  # (1 x n)(n x m) = 1 x m
  dw = np.outer(db, a[k - 1])
  found = [(dw, db)]
  # Backwards lower layers
  for c in range(k - 1, 0, -1):
    by_bias = (db @ layers[c][0]) * slope(c)  # dL/db^{c+1} x W^{c+1} x sigma'(z^c)
    i = delta * slope(c)
    np.testing.assert_allclose(i, by_bias, rtol=1e-12)  # The document has dL/db^c in two ways.
    dw = np.outer(i, a[c - 1])
    delta = i @ layers[c - 1][0]
    db = by_bias
    found.append((dw, db))
  return found[::-1]


def batch_gradients(layers: list[Layer], x: np.ndarray, y: np.ndarray) -> list[Layer]:
  """The mean over samples x [B, m], y [B, n] of `gradients`."""
  return [(dw.mean(0), db.mean(0)) for dw, db in sample_gradients(layers, x, y)]


def sample_gradients(layers: list[Layer], x: np.ndarray, y: np.ndarray) -> list[Layer]:
  """`gradients` of every sample, stacked: dL/dW [B, n, m] and dL/db [B, n] of each layer."""
  every = [gradients(layers, xs, ys) for xs, ys in zip(x, y)]
  return [(np.stack(dw), np.stack(db)) for dw, db in (zip(*layer) for layer in zip(*every))]


def descent(layers: list[Layer], x, y, rate: float, steps: int) -> list[float]:
  """The loss before every step of full-batch gradient descent, all in NumPy."""
  loss = []
  for _ in range(steps):
    outputs = x.T
    for weight, bias in layers:
      outputs = sigmoid(weight @ outputs + bias[:, None])
    loss.append(((outputs.T - y) ** 2 / 2).sum(1).mean())  # L = (yhat - y)^2 / 2
    mean = batch_gradients(layers, x, y)
    layers = [(w - rate * dw, b - rate * db) for (w, b), (dw, db) in zip(layers, mean)]
  return loss
