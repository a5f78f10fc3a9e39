"""Accelerators to compile for without having one: what XLA must know of them, and what estimates assume."""

import dataclasses
import os

import jax
from jax.experimental import topologies

# NVIDIA's published figures of the H100 SXM5 80 GB, in the words of XLA's GpuTargetConfigProto.
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


@dataclasses.dataclass(frozen=True)
class Target:
  """An accelerator.

  Attributes:
    name: on the command line.
    platform: as `per_sample.make_trainer` takes it.
    extra: of this project, with what compiling for it needs.
    launch_us: microseconds that a kernel's launch, or an operation, takes at least and at most.
    sample_us: microseconds that the kernel of a head takes for one sample of one program, likewise.
    at_once: how many of the kernel's programs run side by side.
    flops: a second, of products in float32.
    assumes: where the last four are from.
  """

  name: str
  platform: str
  extra: str
  launch_us: tuple[float, float]
  sample_us: tuple[float, float]
  at_once: int
  flops: float
  assumes: str

  def devices(self, chips: int) -> list[jax.Device]:
    """So many of its chips, to compile for.

    Raises:
      ImportError: what the extra installs is missing.
      ValueError: there is no such number of chips.
    """
    if self.platform == "tpu":
      os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # no machine of Google's is asked
      shape = {1: "1x1", 4: "2x2", 8: "2x4"}.get(chips)
      if shape is None:
        raise ValueError(f"{self.name} has 1, 4 or 8 chips here, got {chips}")
      options = {"chips_per_host_bounds": (1, 1, 1)} if chips == 1 else {}
      found = topologies.get_topology_desc(f"v5e:{shape}", platform="tpu", **options).devices
    else:
      found = topologies.get_topology_desc(
        platform="cuda", topology=f"1x1x{chips}", target_config=_H100
      ).devices
    return list(found)[:chips]


TARGETS = {
  "h100": Target(
    "h100", "gpu", "compile-cuda", (2.0, 5.0), (1.6, 2.6), 132, 67e12 / 3,
    "2 to 5 us a launch; 1.6 to 2.6 us a sample in the QNN kernel, five sums across eight warps one after "
    "another and 64 numbers of Q a thread, and no more for the others; a third of 67 TFLOP/s in products",
  ),
  "v5e": Target(
    "v5e", "tpu", "compile-tpu", (1.0, 3.0), (0.3, 0.6), 1, 197e12 / 6 / 3,
    "1 to 3 us an operation; 0.3 to 0.6 us a sample and program in the kernels, which a core takes one after "
    "another; products in six passes of bfloat16 at a third of 197 TFLOP/s",
  ),
}  # fmt: skip
