"""Undoing the content coding of a response to which comments are added, in memory."""

from __future__ import annotations

import gzip
import json
from zlib import compress, compressobj

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import EVENTS, content
from tests.client.rig import assignment, response, waiting_for_worker


class DecodingTests(SynchronousTestCase):
    def test_codings_are_undone(self) -> None:
        """What was coded in spite of all passes decoded, whatever its cuts: no field can declare it any more."""
        said = b"data: " + b"a b c " * 2000 + b"\n\n"
        raw = compressobj(wbits=-15)
        for kind, coding, coded in (
            (b"text/event-stream", b"gzip", gzip.compress(said)),
            (b"application/x-ndjson", b"X-GZIP", gzip.compress(said)),
            (b"application/json", b"deflate", compress(said)),
            (b"application/json", b"deflate", raw.compress(said) + raw.flush()),
            (b"application/json", b"identity", said),
        ):
            for cut in (1, 7, len(coded)):
                rig, caller = waiting_for_worker()
                comments = content(caller.read() + b"0\r\n\r\n")
                rig.tell(assignment(idx=9))
                answer = response(200, coded, b"Content-Type: " + kind, b"Content-Encoding: " + coding)
                for at in range(0, len(answer), cut):
                    rig.worker().send(answer[at : at + cut])
                got = content(b"\r\n\r\n" + caller.read())
                self.assertEqual(got, said, (coding, cut))
                self.assertIn(b": waiting", comments)
                self.assertTrue(caller.open and rig.idle)

    def test_codings_that_are_not_known(self) -> None:
        """They become an error event, and the worker's connection is given up."""
        for coding in (b"br", b"zstd", b"gzip, gzip", b"gzip\r\nContent-Encoding: br"):
            rig, caller = waiting_for_worker()
            rig.tell(assignment(idx=9))
            rig.worker().send(response(200, b"x" * 1000, b"Content-Encoding: " + coding))
            event = content(caller.read()).rpartition(b"event: error\ndata: ")[2]
            error = json.loads(event)["error"]
            self.assertEqual((error["code"], error["status"]), ("unknown_coding", 502))
            self.assertTrue(rig.idle)

    def test_content_that_cannot_be_decoded(self) -> None:
        """It breaks off, as it does where a few bytes become too many; an error of which that is so is told without."""
        bomb = gzip.compress(bytes(8 << 20))
        for status, coded in ((200, b"no gzip"), (200, gzip.compress(b"abc")[:-4]), (200, bomb), (200, bomb + b"more")):
            rig, caller = waiting_for_worker()
            rig.tell(assignment(idx=9))
            with capturedLogs():
                rig.worker().send(response(status, coded, b"Content-Encoding: gzip"))
            self.assertFalse(caller.open, coded[:20])
            self.assertFalse(caller.read().endswith(b"0\r\n\r\n"))
            self.assertTrue(rig.idle)
        # A worker that goes on all the same is left, and told of once.
        rig, caller = waiting_for_worker()
        rig.tell(assignment(idx=9))
        worker = rig.worker()
        with capturedLogs() as events:
            worker.send(EVENTS.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))
            worker.send(b"7\r\nno gzip\r\n")
            worker.send(b"7\r\nno gzip\r\n")
            rig.advance(0.1)
        self.assertEqual(len([event for event in events if "is truncated" in event.get("log_format", "")]), 1)
        self.assertFalse(worker.open or caller.open)
        self.assertTrue(rig.idle)
        rig, caller = waiting_for_worker()
        rig.tell(assignment(idx=9))
        rig.worker().send(response(400, bomb, b"Content-Encoding: gzip"))
        event = content(caller.read()).rpartition(b"event: error\ndata: ")[2]
        self.assertEqual(json.loads(event)["error"]["message"], "the worker answered 400")
