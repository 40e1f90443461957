"""``python -m benchmarks [fresh] [warm] [idle] [memory] [engine] [trace] [secrets]``: measure, all without arguments."""

from __future__ import annotations

import sys

from benchmarks import engine, pipeline, secrets, trace

MEASUREMENTS = {
    "fresh": pipeline.fresh,
    "warm": pipeline.warm,
    "idle": pipeline.idle,
    "memory": pipeline.memory,
    "engine": engine.measure,
    "trace": trace.measure,
    "secrets": secrets.measure,
}


def main() -> None:
    """Run the measurements that the command line names."""
    wanted = sys.argv[1:] or list(MEASUREMENTS)
    for name in wanted:
        if name not in MEASUREMENTS:
            raise SystemExit(f"unknown measurement {name!r}; known: {', '.join(MEASUREMENTS)}")
    for name in wanted:
        MEASUREMENTS[name]()


if __name__ == "__main__":
    main()
