"""The lines of text of a document."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.top.documents import NOW, backend, client, worker
from tests.top.test_document import ANY
from vespa.top.document import Document
from vespa.top.figures import figures, headline, problems, spark


def lines(members: dict[str, Any]) -> dict[str, str]:
    return {figure.label: figure.text for figure in figures(Document(members))}


class FigureTests(SynchronousTestCase):
    def test_worker(self) -> None:
        """A worker's lines say what its members hold, in units of people."""
        self.assertEqual(headline(Document(worker())), "worker 1.1.0: ready for 5 min")
        self.assertEqual(
            lines(worker()),
            {
                "throughput": "812 units/s  of 1,000 units/s measured (81%)  ▁▅ █",
                "load": "3,200 units of work, estimated wait 3.2 s of at most 10 s",
                "now": "12 in flight, 3 queued of at most 1,000, 14 connections",
                "since the start": "1,234 served, 2 failed  in 2 h 13 min",
                "backend": "http://127.0.0.1:8000, 1 connection, 0 idle, probed 3 s ago in 2 ms",
                "benchmark": "1,000 units/s with 8 at once, llama, measured 2 h ago",
                "autoscaler": "last report just now, 120 delivered",
                "log level": "info",
            },
        )

    def test_client(self) -> None:
        """A client's lines say where it listens and what waits."""
        found = lines(client())
        self.assertEqual(headline(Document(client())), "client 1.1.0: searching for 4 s")
        self.assertEqual(found["endpoint"], "chat, http://127.0.0.1:8010")
        self.assertEqual(found["now"], "3 waiting for a worker, the first for 4.2 s")

    def test_troubles(self) -> None:
        """What is wrong is told: the state's reason, then the problems."""
        members = worker(
            state="errored",
            state_reason="the backend does not answer",
            problems=[{"severity": "warning", "text": "the certificate expires in 3 days"}, {"text": 3}, "x"],
            key_needed=True,
            key_trouble="connection refused",
            certificate_expires_at=NOW - 120.0,
            reports_undelivered_since_at=NOW - 30.0,
            report_troubles=["https://run.vast.ai: no response in 10 s"],
        )
        self.assertEqual(
            problems(Document(members)),
            [("error", "the backend does not answer"), ("warning", "the certificate expires in 3 days")],
        )
        found = lines(members)
        self.assertEqual(found["signing key"], "not fetched, connection refused")
        self.assertEqual(found["certificate"], "expired 2 min ago")
        self.assertIn("one undelivered for 30 s, https://run.vast.ai: no response in 10 s", found["autoscaler"])

    def test_several_backends(self) -> None:
        """The URLs of several backends, which may fill lines, are left to their table."""
        members = worker(backend_url="http://127.0.0.1:8000, http://127.0.0.1:8001", backends=[backend(0), backend(1)])
        self.assertEqual(lines(members)["backend"], "1 connection, 0 idle, probed 3 s ago in 2 ms")

    def test_left_out(self) -> None:
        """A ready worker's reason is about a backend that is left out, which is among its problems and no error."""
        said = [{"severity": "warning", "text": "The backend b is errored and gets no requests."}]
        members = worker(state="ready", state_reason="b: refused", problems=said)
        self.assertEqual(problems(Document(members)), [("warning", "The backend b is errored and gets no requests.")])

    def test_last_second(self) -> None:
        """The counts of the last second are whole, although a second of the history is not exactly one second long."""
        found = lines(worker(history={"requests_served": [7.0, 1.98632], "requests_refused": [0.997]}))
        self.assertEqual(found["last second"], "2 served, 1 refused")

    def test_refused_callers(self) -> None:
        """Callers that were refused by their signature have one line, and none while there are none."""
        totals = {"refused_bad_signature_total": 0, "refused_wrong_url_total": 0, "refused_without_key_total": 0}
        self.assertEqual(lines(worker(**totals, replays_total=0)), lines(worker()))
        found = lines(worker(refused_bad_signature_total=3, refused_wrong_url_total=1, replays_total=1))
        said = "3 with a bad signature, 1 signed for another URL, 1 repeated assignment"
        self.assertEqual(found, {**lines(worker()), "refused callers": said})
        self.assertEqual(lines({"refused_without_key_total": 2}), {"refused callers": "2 while there was no key"})

    def test_benchmarking(self) -> None:
        """Before there is a figure, the newest line of the benchmark stands there."""
        members = worker(benchmark_throughput=None, benchmark_lines=["warming up", "level 2 of 6"])
        self.assertEqual(lines(members)["benchmark"], "level 2 of 6")

    def test_unknown_members(self) -> None:
        """A member that no line knows has a line of its own, in the unit that its name tells."""
        new = {"gpu_memory_free": 12.5, "warmup_seconds": 4.2, "restart_at": NOW - 60.0, "mode": "fast", "paused": True}
        found = lines({"kind": "relay", "now_at": NOW, **new})
        self.assertEqual(
            found,
            {
                "gpu memory free": "12.5",
                "warmup seconds": "4.2 s",
                "restart at": "1 min ago",
                "mode": "fast",
                "paused": "true",
            },
        )

    def test_empty(self) -> None:
        """A document without members has a headline and no lines."""
        self.assertEqual((headline(Document({})), lines({})), ("Vespa: no state", {}))

    @given(st.dictionaries(st.sampled_from([*worker(), *client(), "certificate_expires_at", "x_seconds"]), ANY))
    def test_anything(self, members: dict[str, Any]) -> None:
        """Members of any type break nothing."""
        document = Document({**worker(), **members})
        self.assertTrue(headline(document))
        problems(document)
        figures(document)


class SparkTests(SynchronousTestCase):
    def test_bars(self) -> None:
        """The highest value is the highest bar; a gap is a space; nothing but zeros is nothing."""
        self.assertEqual(spark([0.0, 5.0, None, 10.0]), "▁▅ █")
        self.assertEqual(spark([0.0, None]), "")
        self.assertEqual(spark([]), "")
        self.assertEqual(len(spark([1.0] * 100)), 60)
