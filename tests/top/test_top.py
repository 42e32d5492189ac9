"""One run: it shows, and asks again when the connection is lost. The clock is a fake, and so is the source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.top.documents import worker
from vespa.top.source import SourceError
from vespa.top.top import AGAIN_SECONDS, JSONLines, Top


class _Source:
    """Answers when the test likes."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any] | SourceError] = []
        self.on_event: Callable[[Mapping[str, Any]], object] = lambda event: None
        self.stream: Deferred[None] = Deferred()

    async def document(self) -> dict[str, Any]:
        found = self.documents.pop(0)
        if isinstance(found, SourceError):
            raise found
        return found

    async def follow(self, on_event: Callable[[Mapping[str, Any]], object]) -> None:
        self.on_event = on_event
        self.stream = Deferred()
        await self.stream


class _Shows:
    """Notes what it is to show."""

    def __init__(self) -> None:
        self.shown: list[tuple[Mapping[str, Any], str]] = []
        self.open = 0

    def start(self) -> None:
        self.open += 1

    def show(self, document: Mapping[str, Any], lost: str = "") -> None:
        self.shown.append((document, lost))

    def stop(self) -> None:
        self.open -= 1


class TopTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.source = _Source()
        self.shows = _Shows()
        self.complaints: list[str] = []
        self.codes: list[int] = []

    def top(self, **options: Any) -> Top:
        async def find() -> tuple[_Source, dict[str, Any]]:
            return self.source, await self.source.document()

        top = Top(self.clock, find, self.shows, self.complaints.append, ended=self.codes.append, **options)
        top.startService()
        return top

    def gone_after(self, shown: int) -> Exception | None:
        return BrokenPipeError() if len(self.shows.shown) >= shown else None

    def test_once(self) -> None:
        """It shows one document and ends."""
        self.source.documents = [worker()]
        self.top(once=True)
        self.assertEqual((self.shows.shown, self.codes, self.shows.open), ([(worker(), "")], [0], 0))

    def test_reader_gone(self) -> None:
        """It ends when nobody reads it any more, at once or later, and that is no error."""
        self.source.documents = [worker(), worker()]
        self.top(broken=lambda: self.gone_after(1))
        self.assertEqual((self.codes, self.complaints, self.shows.open), ([0], [], 0))
        self.top(broken=lambda: self.gone_after(3))
        self.assertEqual(self.codes, [0])
        self.source.on_event({"load": 1.0})
        self.assertEqual((self.codes, self.complaints, self.shows.open), ([0, 0], [], 0))

    def test_gone_while_lost(self) -> None:
        """It also ends if that turns out when the connection is there again."""
        self.source.documents = [worker(), worker()]
        self.top(broken=lambda: self.gone_after(3))
        self.source.stream.callback(None)
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(self.codes, [0])

    def test_unwritable(self) -> None:
        """Output that cannot be written is an error."""
        self.source.documents = [worker()]
        self.top(once=True, broken=lambda: OSError(28, "No space left on device"))
        self.assertEqual(self.codes, [1])
        self.assertEqual(self.complaints, ["cannot write to standard output: No space left on device"])

    def test_nothing_there(self) -> None:
        """Without an admin port it says so, shows nothing, and ends with 1."""
        self.source.documents = [SourceError("nothing listens there")]
        self.top()
        self.assertEqual((self.complaints, self.codes, self.shows.shown), (["nothing listens there"], [1], []))

    def test_events(self) -> None:
        """Each event is merged into the document and shown."""
        self.source.documents = [worker()]
        top = self.top()
        self.source.on_event({"load": 5.0})
        self.source.on_event({"requests_queued": 4})
        document, lost = self.shows.shown[-1]
        self.assertEqual((document["load"], document["requests_queued"], lost), (5.0, 4, ""))
        self.assertEqual(self.shows.open, 1)
        self.successResultOf(top.stopService())
        self.assertEqual((self.codes, self.shows.open), ([0], 0))

    def test_lost(self) -> None:
        """After the end of the connection it says so, with the last figures, and tries again until it has new ones."""
        self.source.documents = [worker(), SourceError("refused"), SourceError("refused"), worker(load=1.0)]
        top = self.top()
        self.source.stream.callback(None)
        self.assertEqual(self.shows.shown[-1], (worker(), "the connection ended; trying again"))
        for _ in range(2):
            self.clock.advance(AGAIN_SECONDS)
            self.assertEqual(self.shows.shown[-1], (worker(), "refused; trying again"))
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(self.shows.shown[-1], (worker(load=1.0), ""))
        self.source.on_event({"load": 2.0})
        self.assertEqual(self.shows.shown[-1][0]["load"], 2.0)
        self.successResultOf(top.stopService())

    def test_stream_fails(self) -> None:
        """A stream that is silent or refused is a lost connection with its reason."""
        self.source.documents = [worker(), worker()]
        top = self.top()
        self.source.stream.errback(SourceError("sent nothing for 5 s"))
        self.assertEqual(self.shows.shown[-1][1], "sent nothing for 5 s; trying again")
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(self.shows.shown[-1][1], "")
        self.successResultOf(top.stopService())

    def test_stopped_while_it_waits(self) -> None:
        """It can be stopped between two tries, and leaves no timer."""
        self.source.documents = [worker()]
        top = self.top()
        self.source.stream.callback(None)
        self.successResultOf(top.stopService())
        self.assertEqual((self.codes, self.clock.getDelayedCalls()), ([0], []))


class JSONTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Each document is a line; an old one is not printed again."""
        lines: list[str] = []
        shows = JSONLines(lines.append)
        shows.show({"a": 1})
        shows.show({"a": 1}, "lost")
        self.assertEqual(lines, ['{"a": 1}\n'])

    def test_text(self) -> None:
        """With an indent it is a text of several lines."""
        lines: list[str] = []
        JSONLines(lines.append, indent=2).show({"a": 1})
        self.assertEqual(lines, ['{\n  "a": 1\n}\n'])
