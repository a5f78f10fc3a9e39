"""Accelerators to compile for without having one: their descriptions for XLA, and the estimates' assumptions."""

import dataclasses
import os
from typing import Any

import jax
from jax.experimental import topologies

from qnn_jax.errors import InputError

# NVIDIA's published figures of the H100 SXM5 80 GB, in the format of XLA's GpuTargetConfigProto.
_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84978434048
  cuda_compute_capability { major: 9 minor: 0 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


# The values of `sample_us` below were counted by hand. They become outdated when training/_steps.py, _kernel_*.py, JAX
# or its compilers change. Counted with JAX 0.10.2 for `_kernel.run`, compiled on a CPU only: 25 seeds of the nets with
# 10 to 30 hidden neurons, 10 classes, blocks of 60. Each count is that of the longest loop, the loop over samples.
#   H100: XLA_FLAGS=--xla_dump_to=DIR writes PTX; `ptxas -v -arch=sm_90a` of CUDA 13 makes it a cubin, `nvdisasm -c` lists it;
#         instructions from a loop's label to its branch.
#   v5e:  LIBTPU_INIT_ARGS="--xla_jf_dump_to=DIR --xla_jf_dump_llo_text=true" with libtpu 0.0.52; bundles of the loop in
#         the kernel's *final_bundles.txt.


@dataclasses.dataclass(frozen=True)
class Target:
  """An accelerator.

  Attributes:
    name: its name on the command line.
    platform: its name for `per_sample.make_trainer`.
    extra: the extra of this project that compiling for it needs.
    shapes: the arrangements of its chips, by their number.
    clock: cycles per second for XLA's own estimate; 0 if XLA makes none.
    launch_us: least and most microseconds of what XLA does not estimate: a kernel's launch or an operation.
    sample_us: least and most microseconds per sample in the kernel of a head with 10 classes and 32 neurons.
    at_once: how many runs of a kernel are computed side by side.
    flops: floating-point operations per second of products in float32.
    bandwidth: bytes per second.
    assumes: the sources of these numbers, one sentence each.
  """

  name: str
  platform: str
  extra: str
  shapes: dict[int, str]
  clock: float
  launch_us: tuple[float, float]
  sample_us: dict[str, tuple[float, float]]
  at_once: int
  flops: float
  bandwidth: float
  assumes: tuple[str, ...]

  def devices(self, chips: int) -> tuple[jax.Device, ...]:
    """The devices to compile for, given the number of chips.

    Raises:
      InputError: there is no such number of chips, or what the extra installs is missing.
    """
    if chips not in self.shapes:
      numbers = ", ".join(map(str, self.shapes))
      raise InputError(f"{self.name} can have {numbers} chips here, got {chips}")
    shape = self.shapes[chips]
    if self.platform == "gpu":
      arguments: dict[str, Any] = {
        "platform": "cuda", "topology": shape, "target_config": _H100
      }  # fmt: skip
    else:
      # Do not query Google's metadata server, and do not claim a chip, so that other processes can compile too.
      os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
      os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
      more = {"chips_per_host_bounds": (1, 1, 1)} if chips == 1 else {}
      arguments = {"topology_name": shape, "platform": "tpu", **more}
    try:
      found = topologies.get_topology_desc(**arguments).devices
    except Exception as error:
      why = " ".join(str(error).split())
      if "lockfile" in why:
        raise InputError(
          f"another process uses libtpu; end it, or remove /tmp/libtpu_lockfile if there is none ({why})"
        ) from error
      raise InputError(
        f"compiling for {self.name} needs pip install 'qnn_jax[{self.extra}]' ({why})"
      ) from error
    return tuple(found)[:chips]


TARGETS = {
  "h100": Target(
    "h100",
    "gpu",
    "compile-cuda",
    {n: f"1x1x{n}" for n in range(1, 9)},
    0,
    (2.0, 5.0),
    # Instructions of a warp for a sample, by hand as above: 1,221 (with 38 barriers), 334, 421, 438.
    {"qnn": (1.3, 2.6), "ann": (0.2, 0.8), "rpqnn": (0.25, 1.0), "heavy": (0.25, 1.0)},
    132,
    67e12 / 3,
    3.35e12 / 2,
    (
      "2 to 5 us for each launch",
      "a sample in a kernel takes at least the time to issue its instructions at 1.8 GHz (two warps per scheduler for "
      "qnn, one for the others), at most twice that time for qnn, which has 38 barriers, and at most four times for "
      "the others, whose instructions wait for one another",
      "each of the 132 multiprocessors computes one run at a time (its registers hold one run of qnn, and more of the "
      "others); wider nets take longer in proportion to their parameters; above 32 neurons the parameters of qnn do "
      "not fit into registers, which is not estimated",
      "products run at a third of 67 TFLOP/s in float32, or the first layers' parameters are read at half of 3.35 TB/s",
    ),
  ),
  "v5e": Target(
    "v5e",
    "tpu",
    "compile-tpu",
    {1: "v5e:1x1", 4: "v5e:2x2", 8: "v5e:2x4"},
    1.5e9,
    (0.2, 1.0),
    # Bundles of a sample, by hand as above, a cycle each: 2,750, 300, 405, 440.
    {"qnn": (1.8, 2.8), "ann": (0.2, 0.4), "rpqnn": (0.27, 0.5), "heavy": (0.29, 0.5)},
    128,
    197e12 / 6 / 3,
    819e9 / 2,
    (
      "a cycle takes 1/1.5 GHz, which follows from 197 TFLOP/s with four units of 128 x 128",
      "an operation takes one to two times XLA's own estimate in cycles, and 0.2 to 1 us to start; operations without "
      "an estimate by XLA take only the time to start",
      "a sample in a kernel takes at least one cycle for each instruction bundle of libtpu's final schedule (qnn 2,750, "
      "ann 300, rpqnn 405, heavy 440), and at most 1.5 to 2 times that; 128 runs are computed at once, as a tile, and "
      "tiles one after another; wider nets take longer in proportion to their parameters",
    ),
  ),
}
