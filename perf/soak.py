"""Mixed traffic with hang-ups for as long as is wanted, and an eye on what the worker holds."""

from __future__ import annotations

import statistics
import time

from perf.load import Spec, Task
from perf.processes import ProcessGroup, cpu_seconds, descriptors, resident
from perf.proxies import Proxy, ProxySetup
from perf.works import Failed, LoadProcesses

CONNECTIONS = 48
MAY_GROW_MIB = 4.0
SETTLING_SECONDS = 8.0
SETTINGS = {"VESPA_BACKEND_KEEPALIVE": "2"}
"""The worker's: idle connections to the backend are closed within the settling, so what is left after it is a leak."""


def traffic(proxy: Proxy) -> list[Task]:
    """What clients do, each as often as the others."""
    question, stream = proxy.request("/v1/completions"), proxy.request("/stream/20/0.02")
    signature = proxy.assignment["signature"] if proxy.assignment else ""
    big, up = f"/big/{64 << 20}", f"/sink/{64 << 20}"
    small, little_up = f"/big/{2 << 20}", f"/sink/{2 << 20}"
    return [
        Task("/v1/completions", question),
        Task("/v1/completions", question[:150], leave=0.2),
        Task("/v1/completions", question.replace(signature, signature.swapcase()), status=401),
        Task("/stream/20/0.02", stream),
        Task("/stream/20/0.02", stream, leave=0.1),
        Task("/stream/20/0.02", stream, leave=0.001),
        Task(small, proxy.request(small)),
        Task(small, proxy.request(small), pause=0.3),
        Task(big, proxy.request(big), leave=0.05),
        Task(little_up, proxy.request(little_up)),
        Task(up, proxy.request(up), leave=0.02),
    ]


def soak(processes: ProcessGroup, setup: ProxySetup, seconds: int) -> bool:
    """Print a line each second, and a verdict; returns whether all is well. Raises NotReady, Failed."""
    proxy = setup.start("vespa")
    pids = proxy.pids
    held = descriptors(pids)
    load = LoadProcesses(processes, Spec(proxy.port, proxy.tls, CONNECTIONS, traffic(proxy), float(seconds)))
    used, memory = cpu_seconds(pids), []
    load.go()
    for second in range(1, seconds + 1):
        time.sleep(1)
        if proxy.process.poll() is not None:
            raise Failed(f"the worker ended:\n{processes.log('vespa')}")
        before, used = used, cpu_seconds(pids)
        memory.append(resident(pids))
        print(
            f"{second:5} s {memory[-1]:8.1f} MiB {descriptors(pids):6} descriptors {used - before:6.0%} CPU", flush=True
        )
    result = load.result()
    deadline = time.monotonic() + SETTLING_SECONDS
    while descriptors(pids) > held and time.monotonic() < deadline:
        time.sleep(0.2)
    quarter = max(1, seconds // 4)
    grown = statistics.median(memory[-quarter:]) - statistics.median(memory[quarter : 2 * quarter] or memory)
    verdict = {
        f"{result.done} answers, {result.hang_ups} hang-ups": result.done > 0,
        f"{len(result.errors)} errors {result.errors[:1]}": not result.errors,
        f"memory grew by {grown:.1f} MiB between the second quarter and the last": grown <= MAY_GROW_MIB,
        f"{descriptors(pids)} descriptors after, {held} before": descriptors(pids) <= held,
    }
    for line, good in verdict.items():
        print(f"{'good' if good else 'BAD '}  {line}")
    return all(verdict.values())
