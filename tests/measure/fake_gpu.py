"""A GPU in simulated time, in the place of ``torch.cuda``: the host enqueues, the device works."""

from types import SimpleNamespace

L2_BYTES = 1024


class FakeGpu:
    """Works its queue in order; enqueuing takes the host ``host_s``, the work itself ``device_s``.

    ``log`` lists what was enqueued by name.
    """

    def __init__(self, cycles_per_s=1e9):
        self.host = 0.0
        self.free_at = 0.0  # when the device will have worked off its queue
        self.log = []
        self.Event = lambda enable_timing: FakeEvent(self)
        self._cycles_per_s = cycles_per_s

    def enqueue(self, name, device_s, host_s=5e-6):
        self.log.append(name)
        self.host += host_s
        self.free_at = max(self.host, self.free_at) + device_s

    def clock(self):
        return self.host

    def synchronize(self):
        self.host = max(self.host, self.free_at)

    def get_device_properties(self, device):
        return SimpleNamespace(L2_cache_size=L2_BYTES)

    def _sleep(self, cycles):
        self.enqueue("spin", cycles / self._cycles_per_s)


class FakeEvent:
    def __init__(self, gpu):
        self._gpu = gpu

    def record(self):
        self._gpu.log.append("event")
        self.at = max(self._gpu.host, self._gpu.free_at)

    def query(self):
        return self._gpu.host >= self.at

    def synchronize(self):
        self._gpu.host = max(self._gpu.host, self.at)

    def elapsed_time(self, end):
        return (end.at - self.at) * 1e3
