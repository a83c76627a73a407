"""Runs a module as `python -m` would, sampling its main thread by CPU time: `python -m tests.bench.sampler OUT MODULE ...`.

From SIGUSR1 on, every millisecond of CPU time the running function is noted; when the program ends, OUT gets one line
per function with its own samples and those of everything below it. Unlike a tracing profiler this hardly slows it.
"""

import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

INTERVAL_S: Final = 0.001


class Sampler:
    def __init__(self) -> None:
        self.own: Counter[str] = Counter()
        self.total: Counter[str] = Counter()
        self.samples = 0

    def begin(self, _signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGPROF, self.sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def sample(self, _signal: int, frame: FrameType | None) -> None:
        self.samples += 1
        inner = True
        seen: set[str] = set()
        while frame is not None:
            code = frame.f_code
            name = f"{_short(code.co_filename)}:{code.co_qualname}"
            if inner:
                self.own[name] += 1
                inner = False
            if name not in seen:
                seen.add(name)
                self.total[name] += 1
            frame = frame.f_back

    def write(self, path: Path) -> None:
        lines = [f"{self.samples}"]
        lines += [f"{self.own[name]}\t{times}\t{name}" for name, times in self.total.most_common()]
        path.write_text("\n".join(lines) + "\n")


def _short(path: str) -> str:
    parts = Path(path).parts
    for root in ("site-packages", "services", "shared", "lib"):
        if root in parts:
            start = parts.index(root) + (root in ("site-packages", "lib"))
            return "/".join(parts[start:])
    return path


def main() -> None:
    out, module = Path(sys.argv[1]), sys.argv[2]
    sys.argv = [module, *sys.argv[3:]]
    sampler = Sampler()
    signal.signal(signal.SIGUSR1, sampler.begin)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        sampler.write(out)


if __name__ == "__main__":
    main()
