"""The harness's figures, its command line, and a whole run of it, small."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from perf.__main__ import options, show
from perf.content import QUESTION
from perf.processes import cpu_seconds, descriptors, resident, tree
from perf.proxies import Proxy
from perf.works import Sample, percentile, ratio, works
from tests.processes import ProcessCase
from vespa.simulator.launch import ROOT
from vespa.simulator.signing import Signer
from vespa.vast.query_envelope import unwrap_query
from vespa.vast.signature import Verifier
from vespa.vast.whole_envelope import unwrap_body


def sample(cpu: float) -> Sample:
    return Sample(cpu, 1.0, 2.0, 3.0, 4.0)


class FigureTests(SynchronousTestCase):
    def test_percentile(self) -> None:
        """A percentile is one of the values, in whatever order they come."""
        values = [float(n) for n in range(100, 0, -1)]
        self.assertEqual([percentile(values, part) for part in (1, 50, 99, 100)], [1.0, 50.0, 99.0, 100.0])
        self.assertEqual(percentile([7.0], 50), 7.0)

    def test_ratio(self) -> None:
        """A ratio is the median of those within a round; a round that failed at one of the two does not count."""
        ours = [sample(2.0), sample(30.0), None, sample(9.0)]
        theirs = [sample(1.0), sample(10.0), sample(1.0), None]
        self.assertEqual(ratio(ours, theirs, "cpu"), 2.5)
        self.assertIsNone(ratio([None], [sample(1.0)], "cpu"))

    def test_lines(self) -> None:
        """Each peer has a line, one that always failed too."""
        title, nginx, vespa = show(
            "json", works()["json"], {"nginx": [sample(1.0), None], "vespa": [sample(2.0), sample(4.0)]}
        )[1:]
        self.assertIn("us a request", title)
        self.assertIn("1 failed", nginx)
        self.assertIn("3.00  (2.00 to 4.00)  2.00 x nginx", vespa)
        self.assertIn("2 failed", show("json", works()["json"], {"vespa": [None, None]})[2])

    def test_command_line(self) -> None:
        """What is not known is refused before anything starts."""
        self.assertEqual(options(["--work", "up,sse"]).work, ["up", "sse"])
        self.patch(sys, "stderr", open(os.devnull, "w"))
        self.addCleanup(sys.stderr.close)
        for argv in (["--work", "tea"], ["--peers", "apache"], ["sleep"]):
            self.assertRaises(SystemExit, options, argv)

    def test_this_process(self) -> None:
        """The kernel's account of a process can be read: its own, here."""
        pids = tree(os.getpid())
        self.assertIn(os.getpid(), pids)
        mine = [os.getpid()]
        before = cpu_seconds(mine)
        self.assertGreater(before, 0.0)
        self.assertGreaterEqual(cpu_seconds(mine), before)
        self.assertGreaterEqual(resident(mine, peak=True), resident(mine) * 0.5)
        self.assertGreater(descriptors(mine), 2)


class RequestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.signer = Signer()
        assignment = self.signer.assignment("http://127.0.0.1:1")
        self.signed = Proxy("vespa", 1, False, cast(Any, None), assignment)
        self.verifier = Verifier(self.signer.pem, "any")

    def test_json(self) -> None:
        """JSON goes to the worker in an envelope that it can open, and to another proxy as it is."""
        head, _, body = self.signed.request("/v1/completions").partition("\r\n\r\n")
        envelope = unwrap_body(body.encode(), 1e9)
        self.assertEqual(envelope.payload, QUESTION)
        self.assertTrue(self.verifier.verify(envelope.auth))
        self.assertIn(f"Content-Length: {len(body)}", head)
        plain = Proxy("nginx", 1, False, cast(Any, None))
        self.assertEqual(plain.request("/v1/completions").partition("\r\n\r\n")[2].encode(), QUESTION)

    def test_query(self) -> None:
        """All else is signed in its query; an upload's head tells its length."""
        head = self.signed.request("/sink/4096")
        target = head.split(" ")[1]
        auth, rest = unwrap_query(target.partition("?")[2].encode(), 1e9)
        assert auth is not None
        self.assertTrue(self.verifier.verify(auth))
        self.assertEqual(rest, b"")
        self.assertIn("\r\nContent-Length: 4096\r\n", head)


class RunTests(ProcessCase):
    async def test_run(self) -> None:
        """A small run starts a worker, measures, writes what it measured, and ends of itself."""
        file = os.path.join(self.temporary_folder(), "samples.json")
        argv = ["--peers", "vespa", "--work", "sse,up", "--rounds", "1", "--scale", "0.01", "--json", file]
        child = self.start([sys.executable, "-m", "perf", *argv], folder=ROOT)
        self.assertEqual(await self.until_exit(child), 0, child.text)
        with open(file) as written:
            found = json.load(written)["samples"]
        for name in ("sse", "up"):
            (measured,) = found[name]["vespa"]
            self.assertGreater(measured["cpu"], 0.0)
            self.assertGreater(measured["peak"], 1.0)
        self.assertIn("sse: 256 streams", child.text)
