"""Tests of `vespa.observability.status`."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.observability.ended import FakeEnded, FakeSubject, row
from tests.observability.example import Example
from tests.system.certificates import Pair
from vespa.accounting.lifecycle import FAILED
from vespa.observability.ended_requests import RefusedRequest
from vespa.observability.history import SECONDS
from vespa.observability.recent_requests import KEPT, RecentRequests
from vespa.observability.recent_requests import row as row_of
from vespa.observability.request_record import OUTCOMES
from vespa.observability.status import COMMON, EVENT_ROWS, EVENT_SECONDS, TEXT_MAX, VERSION, StatusDocument
from vespa.protocol.refusal import Refusal
from vespa.runtime.state_changes import KEPT as CHANGES_KEPT
from vespa.simulator.launch import ROOT
from vespa.transport.certificates import DAY_SECONDS, Certificate

SECRET = "Bearer sk-0123456789"


def documented() -> set[str]:
    """The words in backticks in the guide to the document."""
    text = Path(ROOT, "docs", "status-page.md").read_text("utf-8").partition("## The document")[2]
    return set(re.findall(r"`([a-z0-9_]+)`", text))


class GuideTests(SynchronousTestCase):
    def test_members(self) -> None:
        """The guide names every member of the document, of its history and of its rows."""
        words = documented()
        for kind in ("worker", "client"):
            document = Example(kind).status.document()
            found = set(document) | set(document["history"])
            self.assertEqual(sorted(found - words - {f"requests_{word}" for word in OUTCOMES.values()}), [], kind)
        refused = row_of(RefusedRequest("", None, Refusal(431, "head_too_large", "too large"), 0.0))
        self.assertEqual(sorted(set(refused) - words), [])


class StatusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.subject = FakeSubject()
        self.requests = RecentRequests(row)
        self.status = StatusDocument(
            self.subject,
            self.requests,
            self.clock,
            version="1.2",
            settings=[{"name": "VESPA_X", "value": "1"}],
            secrets=[SECRET, "sk-0123456789", ""],
            log_level=lambda: "debug",
        )

    def tick(self, seconds: float = 1.0) -> None:
        self.clock.advance(seconds)
        self.status.tick()

    def test_before_the_first_second(self) -> None:
        """The document is whole from the start: its lists are empty, and figures that are not there are null."""
        document = self.status.document()
        self.assertEqual(document["version"], VERSION)
        self.assertEqual((document["kind"], document["vespa_version"]), ("worker", "1.2"))
        self.assertEqual((document["now_at"], document["started_at"], document["log_level"]), (1000.0, 1000.0, "debug"))
        self.assertEqual((document["state"], document["state_since_at"], document["state_reason"]), ("", None, ""))
        self.assertEqual((document["requests"], document["failures"], document["state_changes"]), ([], [], []))
        self.assertIsNone(document["throughput_now"])
        self.assertEqual(document["history"]["load"], [])
        self.assertEqual(document["settings"], [{"name": "VESPA_X", "value": "1"}])

    def test_state(self) -> None:
        """The state is the newest change; all changes are listed, and an event has the last of them."""
        for number in range(5):
            self.subject.states.enter(1000.0 + number, f"state{number}", f"reason{number}")
        document, event = self.status.document(), self.status.event()
        for each in (document, event):
            self.assertEqual(
                (each["state"], each["state_since_at"], each["state_reason"]), ("state4", 1004.0, "reason4")
            )
        self.assertEqual(document["state_changes"][0], {"at": 1000.0, "state": "state0", "reason": "reason0"})
        self.assertEqual(len(document["state_changes"]), 5)
        self.assertEqual([change["at"] for change in event["state_changes"]], [1002.0, 1003.0, 1004.0])

    def test_history(self) -> None:
        """Each second is a row: what ended in it, and the subject's own figures at its end."""
        self.requests.take([FakeEnded(work=3_000_000), FakeEnded(FAILED, first_byte_at=0.0)])
        self.subject.load = 7.0
        self.tick()
        self.subject.load = 5.0
        self.tick()
        history = self.status.document()["history"]
        self.assertEqual(set(history), {"from_at", "step_seconds", *COMMON, "load"})
        self.assertEqual((history["from_at"], history["step_seconds"]), (1001.0, 1))
        self.assertEqual(history["load"], [7.0, 5.0])
        self.assertEqual(history["throughput"], [3.0, 0.0])
        self.assertEqual((history["requests_served"], history["requests_failed"]), ([1.0, 0.0], [1.0, 0.0]))
        self.assertEqual(history["first_byte_p50_seconds"], [0.25, None])
        self.assertEqual(self.status.document()["throughput_now"], 1.5)
        self.assertEqual(self.status.document()["requests_failed_total"], 1)

    def test_late_tick(self) -> None:
        """A reactor that was busy for seconds leaves a gap, a lag, and rates by the seconds that passed."""
        self.tick()
        self.requests.take([FakeEnded() for _ in range(8)])
        self.tick(4.0)
        history = self.status.document()["history"]
        self.assertEqual(history["throughput"], [0.0, None, None, None, 2.0])
        self.assertEqual(history["loop_lag_seconds"], [0.0, None, None, None, 3.0])

    def test_late_loop_is_a_problem(self) -> None:
        """A loop that was late by half a second and more is told for ten seconds."""
        self.subject.more = {"problems": [{"severity": "error", "text": "another"}]}
        self.tick(1.4)
        self.assertEqual(len(self.status.document()["problems"]), 1)
        self.tick(1.6)
        (_, problem) = self.status.event()["problems"]
        self.assertEqual(problem["severity"], "warning")
        self.assertIn("The event loop was 0.6 s late", problem["text"])
        for _ in range(10):
            self.tick()
        self.assertEqual(len(self.status.document()["problems"]), 1)

    def test_admin_certificate(self) -> None:
        """A certificate of the port itself that expires is a problem, with what it is for; errors come first."""
        folder = os.path.abspath(self.mktemp())
        os.mkdir(folder)
        pair = Pair(folder)
        self.subject.more = {"problems": [{"severity": "warning", "text": "another"}]}
        self.status.admin_certificate = certificate = Certificate(pair.cert_file, pair.key_file)
        certificate.ends = self.clock.seconds() + 8 * DAY_SECONDS
        self.assertEqual(len(self.status.document()["problems"]), 1)
        certificate.ends = self.clock.seconds() + 6 * DAY_SECONDS
        (_, problem) = self.status.event()["problems"]
        self.assertEqual(problem["severity"], "warning")
        self.assertIn(f"The certificate of the admin port {pair.cert_file} expires on ", problem["text"])
        certificate.ends = self.clock.seconds()
        (problem, _) = self.status.document()["problems"]
        self.assertEqual(problem["severity"], "error")
        self.assertIn("expired on ", problem["text"])

    def test_early_tick(self) -> None:
        """A timer that is early by a rounding error fills its own row."""
        for _ in range(5):
            self.tick(0.9999999)
        self.assertEqual(self.status.document()["history"]["load"], [0.0] * 5)

    def test_clock_set_back(self) -> None:
        """A clock that is set back raises nothing, and what follows is shown."""
        self.tick(50.0)
        self.clock.rightNow -= 20.0
        self.requests.take([FakeEnded()])
        self.status.tick()
        self.tick()
        self.assertEqual(self.status.document()["history"]["throughput"], [1.0, 0.0])

    def test_event(self) -> None:
        """An event has the last seconds of history, the newest requests, and no settings."""
        for second in range(10):
            self.requests.take([FakeEnded(ended_at=1000.0 + second), FakeEnded(FAILED, ended_at=1000.5 + second)])
            self.tick()
        event = self.status.event()
        self.assertNotIn("settings", event)
        self.assertEqual(len(event["history"]["load"]), EVENT_SECONDS)
        self.assertEqual(event["history"]["from_at"], 1008.0)
        self.assertEqual([each["number"] for each in event["requests"]], [17, 18, 19, 20])
        self.assertNotIn("failures", event)
        self.requests.take([FakeEnded(ended_at=2000.0) for _ in range(KEPT)])
        self.tick()
        self.assertEqual(len(self.status.event()["requests"]), EVENT_ROWS + 1, "with the failure of a moment ago")
        for _ in range(EVENT_SECONDS):
            self.tick()
        self.assertEqual(self.status.event()["requests"], [], "each is in the events of a few seconds")

    def test_safe_for_json(self) -> None:
        """No number is infinite, long texts are cut, and no secret is in any of them."""
        self.subject.more = {
            "infinite": math.inf,
            "nothing": math.nan,
            "third": 1 / 3,
            "long": "x" * 10_000,
            "text": f"it said {SECRET}",
            "nested": [{"key": f"x{SECRET}x"}],
        }
        self.subject.states.enter(0.0, "errored", f"the backend rejects sk-0123456789 and {SECRET[:20]}")
        self.requests.take([FakeEnded(path=f"/{SECRET}/")])
        self.tick()
        for document in (self.status.document(), self.status.event()):
            text = json.dumps(document, allow_nan=False)
            self.assertNotIn("0123456789", text)
            self.assertIsNone(document["infinite"])
            self.assertIsNone(document["nothing"])
            self.assertEqual(document["third"], 0.333333)
            self.assertEqual(len(document["long"]), TEXT_MAX)
            self.assertEqual(document["text"], "it said [hidden]")

    def test_bounds(self) -> None:
        """After a long time under load the document has its greatest size, which does not grow."""
        sizes = []
        for _ in range(2):
            for _ in range(SECONDS):
                self.requests.take([FakeEnded(path="/" + "x" * 600), FakeEnded(FAILED, path="/" + "y" * 600)] * 30)
                self.subject.states.enter(self.clock.seconds(), str(self.clock.seconds()), "z" * 1000)
                self.tick()
            document = self.status.document()
            self.assertEqual(
                {len(column) for column in document["history"].values() if isinstance(column, list)}, {SECONDS}
            )
            self.assertEqual((len(document["requests"]), len(document["failures"])), (KEPT, KEPT))
            self.assertEqual(len(document["state_changes"]), CHANGES_KEPT)
            sizes.append(len(json.dumps(document)))
        self.assertLess(max(sizes), 300_000)
        self.assertLess(abs(sizes[0] - sizes[1]), 1000)
