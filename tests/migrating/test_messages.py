"""The messages between the command and the process of a file: what is written is read as it was."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.migrating.found import answer, benchmark, found, handler
from vespa.migrating.checked_json import FormError, read
from vespa.migrating.messages import Answer, End, Order, Patterns, write


class MessageTests(SynchronousTestCase):
    def test_order(self) -> None:
        """An order, on one line."""
        order = Order("/w/worker\n.py", "/tmp/answer", 2.5, True, ["--port", "é"])
        text = write(order)
        self.assertEqual((text.isascii(), "\n" in text), (True, False))
        self.assertEqual(read(Order, text.encode()), order)

    def test_answer(self) -> None:
        """Answers with much in them, and with nothing."""
        described = found(
            handler("/a", benchmark=benchmark(('{"a": 1}', 5.0)), max_queue_time=None, parser_does="input"),
            handler("/b", max_queue_time="ten"),
            patterns=Patterns(["ready"]),
            max_sessions=-1,
        )
        end = End("raised", "KeyError", "'X'", file="/w/worker.py", line=3, source="x")
        for each in (answer(described, end=end, options={"host": "'h'"}, unknown=["A.b"]), Answer(End("finished"))):
            self.assertEqual(read(Answer, write(each).encode()), each)

    def test_wrong_values(self) -> None:
        """What is wrong is named by its place."""
        document: Any = json.loads(write(answer(found(handler(benchmark=benchmark(("{}", 1.0)))))))
        document["found"]["handlers"][0]["benchmark"]["runs"] = 0
        error = self.assertRaises(FormError, read, Answer, json.dumps(document).encode())
        self.assertEqual(str(error), "found.handlers[0].benchmark.runs must be 1 or more, not 0")
        document["end"]["how"] = "well"
        error = self.assertRaises(FormError, read, Answer, json.dumps(document).encode())
        self.assertIn(
            'end.how must be one of served, finished, raised, exited, late, unreadable, not "well"', str(error)
        )

    def test_no_number(self) -> None:
        """A number that JSON does not have is not written."""
        wrong = answer(found(handler(benchmark=benchmark(("{}", float("nan"))))))
        self.assertRaises(ValueError, write, wrong)
