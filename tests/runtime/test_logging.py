"""Laws of the log: a line an event, no secret in it, and no harm to the program."""

from __future__ import annotations

import io
import json
import os
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.logging import Format, LineObserver, chosen_format, level_named
from vespa.runtime.redaction import HIDDEN

# 2026-11-23T17:18:54.760Z
AT = 1795454334.760


def logged(format: str, level: object = LogLevel.info, secrets: tuple[str, ...] = (), **values: object) -> str:
    stream = io.StringIO()
    LineObserver(stream, secrets=secrets)(
        {"log_time": AT, "log_namespace": "vespa.x", "log_level": level, "log_format": format, **values}
    )
    return stream.getvalue()


class LineTests(SynchronousTestCase):
    def test_line(self) -> None:
        """An event is its time in UTC to the millisecond, its level, where it is from, and what it says."""
        self.assertEqual(
            logged("{method} is {status}", method="GET", status=200),
            "2026-11-23T17:18:54.760Z info [vespa.x] GET is 200\n",
        )

    def test_one_line(self) -> None:
        """Nothing in a message can begin a line, or drive a terminal."""
        self.assertEqual(
            logged("{path}", path="/a\nb\r\x1b[2J\x85"),
            "2026-11-23T17:18:54.760Z info [vespa.x] /a\\nb\\r\\x1b[2J\\x85\n",
        )

    def test_traceback(self) -> None:
        """A failure is logged with its traceback, indented below its line."""
        try:
            raise KeyError("the key")
        except KeyError:
            failure = Failure()
        first, *rest = logged("it broke", LogLevel.critical, log_failure=failure).splitlines()
        self.assertEqual(first, "2026-11-23T17:18:54.760Z critical [vespa.x] it broke")
        self.assertTrue(all(line.startswith("    ") for line in rest))
        self.assertIn("KeyError: 'the key'", rest[-1])

    def test_level(self) -> None:
        """Events below the level are not written."""
        stream = io.StringIO()
        log = Logger(observer=LineObserver(stream, LogLevel.warn), namespace="n")
        log.info("little")
        self.assertEqual(stream.getvalue(), "")
        log.warn("much")
        self.assertIn("warn [n] much", stream.getvalue())

    def test_bad_format(self) -> None:
        """An event that cannot be drawn is still a line, and no error."""
        self.assertIn("vespa.x", logged("{missing}"))
        self.assertIn("-", logged("{missing!r:>{wide}}"))

    def test_level_names(self) -> None:
        """A level is known by name in any case; what is none is info."""
        self.assertEqual(level_named("Warning"), LogLevel.warn)
        self.assertEqual(level_named("DEBUG"), LogLevel.debug)
        self.assertEqual(level_named("loud"), LogLevel.info)


def logged_json(format: str, secrets: tuple[str, ...] = (), **values: object) -> dict[str, Any]:
    """The one line of JSON that an event becomes."""
    stream = io.StringIO()
    event = {"log_time": AT, "log_namespace": "vespa.x", "log_level": LogLevel.warn, "log_format": format, **values}
    LineObserver(stream, secrets=secrets, format="json")(event)
    (line,) = stream.getvalue().splitlines(keepends=True)
    assert line.endswith("\n") and line.isascii(), line
    read: dict[str, Any] = json.loads(line)
    return read


class JSONTests(SynchronousTestCase):
    def test_line(self) -> None:
        """An event is one object: its time, level, namespace and message, in this order."""
        self.assertEqual(
            list(logged_json("{method} is {status}", method="GET", status=200).items()),
            [
                ("time", "2026-11-23T17:18:54.760Z"),
                ("level", "warn"),
                ("namespace", "vespa.x"),
                ("message", "GET is 200"),
            ],
        )

    def test_one_line(self) -> None:
        """Whatever a message holds, it is one line in ASCII, and the reader gets what was meant."""
        said = '/a\nb\r\x1b[2J\x85\u2028\ud83d "q" \\ \u00e9'
        self.assertEqual(logged_json("{said}", said=said)["message"], said)

    def test_traceback(self) -> None:
        """A failure adds its traceback, in the same line."""
        try:
            raise KeyError("the key")
        except KeyError:
            line = logged_json("it broke", log_failure=Failure())
        self.assertEqual((line["message"], list(line)[-1]), ("it broke", "traceback"))
        self.assertTrue(line["traceback"].startswith("Traceback") and "KeyError: 'the key'" in line["traceback"])

    def test_secrets(self) -> None:
        """A secret is hidden before it is encoded, in the message and in the traceback."""
        secret = 'open "\u00e9" sesame'
        try:
            raise ValueError(secret)
        except ValueError:
            line = logged_json("x {secret} /?api_key=K", (secret,), secret=secret, log_failure=Failure())
        self.assertEqual(line["message"], f"x {HIDDEN} /?api_key={HIDDEN}")
        self.assertIn(f"ValueError: {HIDDEN}", line["traceback"])

    def test_legacy(self) -> None:
        """An event of Twisted's older interface is a line like any other."""
        self.assertEqual(logged_json("old", log_namespace="log_legacy")["namespace"], "twisted")


class FormatTests(SynchronousTestCase):
    def test_auto(self) -> None:
        """`auto` is text where people read: on a terminal, or where the caller says so. Elsewhere it is JSON."""
        terminal, pipe = io.StringIO(), io.StringIO()
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        closed = io.StringIO()
        closed.close()
        cases: list[tuple[Any, bool, Format]] = [
            (terminal, False, "text"),
            (pipe, False, "json"),
            (pipe, True, "text"),
            (None, False, "json"),
            (None, True, "text"),
            (closed, False, "json"),
        ]
        for stream, for_people, format in cases:
            self.assertEqual(chosen_format("auto", stream, for_people=for_people), format)

    def test_named(self) -> None:
        """A format that is named is used everywhere."""
        for format in ("text", "json"):
            for people in (True, False):
                self.assertEqual(chosen_format(format, io.StringIO(), for_people=people), format)


class QuietTests(SynchronousTestCase):
    def test_quiet(self) -> None:
        """Of a quiet namespace and those below it only warnings are written, and everything at level debug."""
        stream = io.StringIO()
        observer = LineObserver(stream, quiet=("twisted",))
        for namespace in ("twisted", "twisted.web", "twistedly"):
            log = Logger(namespace=namespace, observer=observer)
            log.info("little")
            log.warn("much")
        written = [line.partition(" ")[2] for line in stream.getvalue().splitlines()]
        self.assertEqual(
            written,
            ["warn [twisted] much", "warn [twisted.web] much", "info [twistedly] little", "warn [twistedly] much"],
        )
        observer.level = LogLevel.debug
        Logger(namespace="twisted", observer=observer).info("now")
        self.assertIn("info [twisted] now", stream.getvalue())


class SecretTests(SynchronousTestCase):
    def test_keyed_values(self) -> None:
        """A value that goes by the name of a signature, a key or a token is hidden, in a query and in JSON."""
        for text in (
            "/v1?a=1&serverless_signature=SECRET/+=&b=2",
            "/v1?api_key=SECRET",
            "{'signature': 'SECRET', 'url': 1}",
            '{"mtoken": "SECRET"}',
            '{"auth_data": {"signature":"SECRET"}}',
        ):
            line = logged("{text}", text=text)
            self.assertNotIn("SECRET", line)
            self.assertIn(HIDDEN, line)

    def test_sentences_are_left(self) -> None:
        """Secrets are known by value: our own sentences stay as they are, whatever words are in them."""
        for text in (
            "refused: signature: does not match",
            "bad_signature: signature does not match",
            "api_key: is missing",
            "most servers want `Bearer KEY`",
            "the bearer token is missing",
            "MASTER_TOKEN=(hidden): must be text",
        ):
            self.assertIn(f"] {text}\n", logged("{text}", text=text, secrets=("sesame-open",)))

    def test_rest_is_left(self) -> None:
        """What stands beside a hidden value stays."""
        self.assertIn(f"?a=1&api_key={HIDDEN}&b=2", logged("?a=1&api_key=SECRET&b=2"))

    def test_known_secrets(self) -> None:
        """A known secret is hidden wherever it turns up, in a traceback too."""
        try:
            raise ValueError("told sesame-open to all")
        except ValueError:
            text = logged("x sesame-open", secrets=("sesame-open", ""), log_failure=Failure())
        self.assertNotIn("sesame-open", text)
        self.assertIn(f"x {HIDDEN}", text)


class Broken(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise self.error


class StreamTests(SynchronousTestCase):
    def test_stream_is_gone(self) -> None:
        """A log without a reader stops writing, without an error."""
        for error in (BrokenPipeError(), ValueError("closed"), OSError(5, "gone")):
            stream = Broken(error)
            log = Logger(observer=LineObserver(stream), namespace="n")
            log.info("one")
            log.info("two")
            self.assertEqual(stream.writes, 1)

    def test_narrow_stream(self) -> None:
        """A stream that cannot show a character shows its number, and what comes after."""
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, "latin-1")
        log = Logger("a", observer=LineObserver(stream))
        log.info("b → c")
        log.info("d")
        self.assertIn(b"b \\u2192 c\n", raw.getvalue())
        self.assertIn(b" d\n", raw.getvalue())

    def test_reader_is_behind(self) -> None:
        """A reader that is behind loses lines, and gets the later ones."""
        stream = Broken(BlockingIOError())
        log = Logger(observer=LineObserver(stream), namespace="n")
        log.info("one")
        log.info("two")
        self.assertEqual(stream.writes, 2)

    def test_no_stream(self) -> None:
        """A process without standard output logs nowhere."""
        Logger(observer=LineObserver(None), namespace="n").info("one")

    def test_closed_pipe(self) -> None:
        """After a pipe broke nothing is left in it that would fail once more at exit."""
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as stream:
            log = Logger(observer=LineObserver(stream), namespace="n")
            log.info("one")
            log.info("two")
