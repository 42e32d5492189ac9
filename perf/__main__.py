"""`python -m perf` measures, `python -m perf soak` watches. See perf/README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from attrs import asdict

from perf.processes import ProcessGroup
from perf.proxies import NotReady, ProxySetup, nginx
from perf.soak import SETTINGS, soak
from perf.works import Failed, Sample, Work, measure, ratio, works

PEERS = ("direct", "nginx", "vespa", "chain")

Samples = dict[str, dict[str, list["Sample | None"]]]


def options(argv: Sequence[str]) -> argparse.Namespace:
    """The command line; exits with what is wrong with it."""
    parser = argparse.ArgumentParser(prog="python -m perf", description="What Vespa costs on this machine.")
    parser.add_argument("what", nargs="?", default="measure", choices=("measure", "soak"))
    parser.add_argument("--work", default=",".join(works()), help="of %(default)s")
    parser.add_argument("--peers", default="nginx,vespa", help=f"of {','.join(PEERS)} (%(default)s)")
    parser.add_argument("--tls", action="store_true", help="clients speak TLS to the proxies")
    parser.add_argument("--rounds", type=int, default=5, help="how often each measurement is made (%(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 is a tenth of the work")
    parser.add_argument("--seconds", type=int, default=60, help="of soaking (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="have Python profile the worker; spoils the figures"
    )
    chosen = parser.parse_args(argv)
    chosen.work, chosen.peers = chosen.work.split(","), chosen.peers.split(",")
    unknown = {*chosen.work, *chosen.peers} - {*works(), *PEERS}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return chosen


def run(processes: ProcessGroup, setup: ProxySetup, chosen: argparse.Namespace) -> Samples:
    """Make all measurements: in each round each work at each proxy in turn. Raises NotReady."""
    proxies = [setup.start(name) for name in chosen.peers]
    print(*(f"{proxy.name} is process {proxy.process.pid}" for proxy in proxies), sep=", ", file=sys.stderr)
    samples: Samples = {name: {peer: [] for peer in chosen.peers} for name in chosen.work}
    for number in range(chosen.rounds):
        for name in chosen.work:
            for proxy in proxies:
                print(f"round {number + 1}: {name}, {proxy.name}", file=sys.stderr, flush=True)
                try:
                    sample = measure(processes, proxy, works(chosen.scale)[name])
                except Failed as error:
                    print(error, file=sys.stderr)
                    sample = None
                samples[name][proxy.name].append(sample)
    return samples


def show(name: str, work: Work, samples: Mapping[str, Sequence[Sample | None]]) -> list[str]:
    """The lines about one kind of work: medians, the range, and the comparison with nginx."""
    lines = ["", f"{name}: {work.title}; {work.unit}"]
    for peer, each in samples.items():
        good = [sample for sample in each if sample]
        failed = f"  {len(each) - len(good)} failed" if len(good) < len(each) else ""
        if not good:
            lines.append(f"  {peer:6}{failed}")
            continue
        values = [getattr(sample, work.measure) for sample in good]
        p50, p99, peak = (median(getattr(sample, field) for sample in good) for field in ("p50", "p99", "peak"))
        compared = ratio(each, samples["nginx"], work.measure) if peer != "nginx" and "nginx" in samples else None
        lines.append(
            f"  {peer:6}{median(values):8.2f}  ({min(values):.2f} to {max(values):.2f})"
            + (f"  {compared:.2f} x nginx" if compared else "")
            + f"  first bytes p50 {p50:.1f} p99 {p99:.1f} ms, peak {peak:.0f} MiB"
            + (f", {good[0].kib_a_stream:.1f} KiB a stream" if name == "streams" else "")
            + failed
        )
    return lines


def as_json(samples: Samples, chosen: argparse.Namespace) -> str:
    """All that was measured, and where."""
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    values = {
        name: {peer: [sample and asdict(sample) for sample in each] for peer, each in peers.items()}
        for name, peers in samples.items()
    }
    return json.dumps({"machine": machine, "tls": chosen.tls, "scale": chosen.scale, "samples": values}, indent=1)


def main(argv: Sequence[str]) -> int:
    """Do what the command line says; the exit code is 1 where something failed or was found."""
    chosen = options(argv)
    if chosen.what == "measure" and "nginx" in chosen.peers and not nginx():
        print("nginx is not installed: it is left out", file=sys.stderr)
        chosen.peers.remove("nginx")
    if chosen.what == "measure" and "json" in chosen.work and not shutil.which("wrk"):
        print("wrk is not installed: small requests come from clients in Python, which are slower", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="perf-") as folder:
        processes = ProcessGroup(Path(folder))
        try:
            settings = SETTINGS if chosen.what == "soak" else None
            setup = ProxySetup(processes, chosen.tls, chosen.profile, settings)
            if chosen.what == "soak":
                return 0 if soak(processes, setup, chosen.seconds) else 1
            samples = run(processes, setup, chosen)
        except (NotReady, Failed) as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            processes.end_all()
    for name, peers in samples.items():
        print("\n".join(show(name, works(chosen.scale)[name], peers)))
    if chosen.json:
        chosen.json.write_text(as_json(samples, chosen))
    return 1 if any(None in each for peers in samples.values() for each in peers.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
