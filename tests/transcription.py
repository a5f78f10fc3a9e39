"""Algorithms 1 and 2 line by line in float64 NumPy: the truth that the trainers are held against.

Nothing here comes from the package under test, and nothing is rearranged for speed. The errata are
mended: the loops start from a^0 <- x, and b and c of Algorithm 2 are updated as (59) and (60) say.
Inside, everything has the paper's layout (W^l [n_l, n_{l-1}], Q^l [n_l, n_{l-1}, n_{l-1}]);
`train` converts from and to the shapes of the modules at its two ends.
"""

import numpy as np

HEADS = {
  "ann": ("kernel", "bias"),
  "qnn": ("q", "kernel", "bias"),
  "rpqnn": ("kernel", "bias", "u", "c"),
  "heavy": ("heavy_kernel", "kernel", "bias"),
  "lowrank": ("v", "s", "kernel", "bias"),
}


def train(head, params, x, y, steps, learning_rate):
  """The parameters after `steps` samples, taken in their given order and cyclically.

  Args:
    head: ann, qnn, rpqnn, heavy or lowrank, the kind of the last layer. Every other layer is affine or of
      the same kind as the head, as its parameters' names tell.
    params: {"layers": {0: {"kernel": [n, h], "bias": [h]}, ..., L - 1: {...}}}, the pure dict of a
      `Classifier`'s state; "layers" may also be a list. A q is packed [P, m] or full [m, n, n].
    x: [N, n] samples.
    y: [N, C] targets in [0, 1].
    steps: updates; step t takes sample t mod N.
    learning_rate: eta.

  Returns:
    New params in the layout of `params`, float64.
  """
  layers = params["layers"]
  keys = range(len(layers))
  if set(layers[len(layers) - 1]) != set(HEADS[head]):
    raise ValueError(f"the last layer is no {head}: it has {sorted(layers[len(layers) - 1])}")
  algorithm = {
    "ann": train_qnn,
    "qnn": train_qnn,
    "rpqnn": train_rpqnn,
    "heavy": train_heavy,
    "lowrank": train_lowrank,
  }[head]
  theta = [_to_paper(layers[key]) for key in keys]
  samples = np.asarray(x, np.float64), np.asarray(y, np.float64)
  algorithm(samples, theta, steps, learning_rate)
  trained = [_from_paper(theta[key], layers[key]) for key in keys]
  return {"layers": trained if isinstance(layers, list) else dict(enumerate(trained))}


def sigma(z):
  return 1 / (1 + np.exp(-z))


def sigma_prime(z):
  return sigma(z) * (1 - sigma(z))


def M(a):
  """(35): a_r^2 on the diagonal, 2 a_r a_s off it."""
  n = len(a)
  return np.array([[a[r] ** 2 if r == s else 2 * a[r] * a[s] for s in range(n)] for r in range(n)])


def A_times(a, Q):
  """(44): row k of A^{l-1} Q^l is a^T Q^{lk}."""
  return np.array([a @ Q_k for Q_k in Q])


def train_qnn(D, theta, steps, eta):
  """Algorithm 1, in place. A layer without "Q" is an ordinary one, Q^l fixed at none."""
  L = len(theta)
  W, b, Q = ([None] + [layer.get(name) for layer in theta] for name in ("W", "b", "Q"))
  V, z, a, delta = ([None] * (L + 1) for _ in range(4))
  i = 0
  for _ in range(steps):
    # Forward Propagation
    a[0] = D[0][i]
    for l in range(1, L + 1):
      V[l] = np.zeros_like(W[l]) if Q[l] is None else A_times(a[l - 1], Q[l])
      z[l] = b[l] + (W[l] + V[l]) @ a[l - 1]
      a[l] = sigma(z[l])
    y_hat = a[L]
    delta[L] = y_hat - D[1][i]
    # Backward Propagation
    for l in range(L, 1, -1):
      delta[l - 1] = sigma_prime(z[l - 1]) * ((W[l].T + 2 * V[l].T) @ delta[l])
    for l in range(1, L + 1):
      b[l] = b[l] - eta * delta[l]
      W[l] = W[l] - eta * np.outer(delta[l], a[l - 1])
      if Q[l] is not None:
        Q[l] = Q[l] - eta * np.multiply.outer(delta[l], M(a[l - 1]))
    i = (i + 1) % len(D[0])
  for l in range(1, L + 1):
    theta[l - 1].update(W=W[l], b=b[l], **({} if Q[l] is None else {"Q": Q[l]}))


def train_rpqnn(D, theta, steps, eta):
  """Algorithm 2, in place. A layer without "U" is an ordinary one, its second factor fixed at 1."""
  L = len(theta)
  W, b, U, c = ([None] + [layer.get(name) for layer in theta] for name in ("W", "b", "U", "c"))
  v1, v2, z, a, delta = ([None] * (L + 1) for _ in range(5))
  i = 0
  for _ in range(steps):
    # Forward Propagation
    a[0] = D[0][i]
    for l in range(1, L + 1):
      v1[l] = W[l] @ a[l - 1] + b[l]
      v2[l] = np.ones_like(b[l]) if U[l] is None else U[l] @ a[l - 1] + c[l]
      z[l] = v1[l] * v2[l]
      a[l] = sigma(z[l])
    y_hat = a[L]
    delta[L] = y_hat - D[1][i]
    # Backward Propagation
    for l in range(L, 1, -1):
      bracket = W[l].T @ (delta[l] * v2[l])
      if U[l] is not None:
        bracket = U[l].T @ (delta[l] * v1[l]) + bracket
      delta[l - 1] = sigma_prime(z[l - 1]) * bracket
    for l in range(1, L + 1):
      b[l] = b[l] - eta * delta[l] * v2[l]  # (59); printed with v1
      W[l] = W[l] - eta * np.outer(delta[l] * v2[l], a[l - 1])
      if U[l] is not None:
        c[l] = c[l] - eta * delta[l] * v1[l]  # (60); printed with v2
        U[l] = U[l] - eta * np.outer(delta[l] * v1[l], a[l - 1])
    i = (i + 1) % len(D[0])
  for l in range(1, L + 1):
    theta[l - 1].update(W=W[l], b=b[l], **({} if U[l] is None else {"U": U[l], "c": c[l]}))


def train_heavy(D, theta, steps, eta):
  """The same loop around the Heavy layer's forward and backward pass, in place.

  In the document's rows Y = (X * X) H + X W + b; H [n_l, n_{l-1}] is kept transposed here, as W is.
  A layer without "H" is an ordinary one.
  """
  L = len(theta)
  W, b, H = ([None] + [layer.get(name) for layer in theta] for name in ("W", "b", "H"))
  z, a, delta = ([None] * (L + 1) for _ in range(3))
  i = 0
  for _ in range(steps):
    a[0] = D[0][i]
    for l in range(1, L + 1):
      z[l] = W[l] @ a[l - 1] + b[l]
      if H[l] is not None:
        z[l] = H[l] @ a[l - 1] ** 2 + z[l]
      a[l] = sigma(z[l])
    y_hat = a[L]
    delta[L] = y_hat - D[1][i]
    for l in range(L, 1, -1):
      # The gradient on the inputs: delta . [W + 2 X H], entry (k, t) of it w_kt + 2 a_t h_kt.
      slope = W[l] if H[l] is None else W[l] + 2 * a[l - 1][None, :] * H[l]
      delta[l - 1] = sigma_prime(z[l - 1]) * (slope.T @ delta[l])
    for l in range(1, L + 1):
      b[l] = b[l] - eta * delta[l]
      W[l] = W[l] - eta * np.outer(delta[l], a[l - 1])
      if H[l] is not None:
        H[l] = H[l] - eta * np.outer(delta[l], a[l - 1] ** 2)
    i = (i + 1) % len(D[0])
  for l in range(1, L + 1):
    theta[l - 1].update(W=W[l], b=b[l], **({} if H[l] is None else {"H": H[l]}))


def train_lowrank(D, theta, steps, eta):
  """Algorithm 1 with Q_k = V_k diag(s_k) V_k^T, in place; V [n_l, n_{l-1}, r], S [n_l, r].

  dL/dQ_k is delta_k a a^T for a change of Q_k that keeps it symmetric, as one of V_k or s_k does. A layer
  without "V" is an ordinary one.
  """
  L = len(theta)
  z, a, delta = ([None] * (L + 1) for _ in range(3))
  Q = [None] * (L + 1)
  i = 0
  for _ in range(steps):
    a[0] = D[0][i]
    for l in range(1, L + 1):
      layer = theta[l - 1]
      Q[l] = (
        [V @ np.diag(s) @ V.T for V, s in zip(layer["V"], layer["S"])] if "V" in layer else None
      )
      z[l] = layer["b"] + layer["W"] @ a[l - 1]
      if Q[l] is not None:
        z[l] = z[l] + A_times(a[l - 1], Q[l]) @ a[l - 1]
      a[l] = sigma(z[l])
    delta[L] = a[L] - D[1][i]
    for l in range(L, 1, -1):
      bracket = theta[l - 1]["W"].T
      if Q[l] is not None:
        bracket = bracket + 2 * A_times(a[l - 1], Q[l]).T  # (47)
      delta[l - 1] = sigma_prime(z[l - 1]) * (bracket @ delta[l])
    for l in range(1, L + 1):
      layer = theta[l - 1]
      steps_of = {"b": delta[l], "W": np.outer(delta[l], a[l - 1])}
      if Q[l] is not None:
        dQ = [delta_k * np.outer(a[l - 1], a[l - 1]) for delta_k in delta[l]]
        V, S = layer["V"], layer["S"]
        steps_of["S"] = np.array([np.diag(V_k.T @ dQ_k @ V_k) for V_k, dQ_k in zip(V, dQ)])
        steps_of["V"] = np.array([2 * dQ_k @ V_k @ np.diag(s) for V_k, s, dQ_k in zip(V, S, dQ)])
      layer.update({name: layer[name] - eta * step for name, step in steps_of.items()})
    i = (i + 1) % len(D[0])


# The modules' names for the paper's letters; all but q are stored transposed, inputs first.
_LETTERS = {"kernel": "W", "bias": "b", "u": "U", "c": "c", "heavy_kernel": "H", "s": "S"}


def _to_paper(layer):
  theta = {}
  for name, value in layer.items():
    value = np.array(value, np.float64)
    if name == "q":
      theta["Q"] = value if value.ndim == 3 else _full(value)
    elif name == "v":
      theta["V"] = value.transpose(2, 0, 1)
    else:
      theta[_LETTERS[name]] = value.T
  return theta


def _from_paper(theta, layer):
  params = {name: theta[_LETTERS[name]].T for name in layer if name in _LETTERS}
  if "v" in layer:
    params["v"] = theta["V"].transpose(1, 2, 0)
  if "q" in layer:
    packed = np.ndim(layer["q"]) == 2
    rows, columns = np.triu_indices(theta["Q"].shape[-1])
    params["q"] = theta["Q"][:, rows, columns].T if packed else theta["Q"]
  return params


def _full(packed):
  """[P, m] upper triangles, row by row, -> [m, n, n] symmetric."""
  n = next(n for n in range(len(packed) + 1) if n * (n + 1) // 2 == len(packed))
  full = np.zeros((packed.shape[1], n, n))
  for p, (i, j) in enumerate(zip(*np.triu_indices(n), strict=True)):
    full[:, i, j] = full[:, j, i] = packed[p]
  return full
