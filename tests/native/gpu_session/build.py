"""``python -m tests.native.gpu_session.build``: build or load the libraries, and say which."""

import os

from spion_bench.native import library

for device in ("cpu", os.environ["GPU_SESSION_DEVICE"]):
    info = library.build_info(device)
    print(f"{device} kernels: {info.status}, compiled in {info.seconds:.0f} s, {info.path}")
