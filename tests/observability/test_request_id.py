"""Laws of request ids: a safe one is taken, any other is replaced, and none is given twice."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.observability.logged_requests import Ended, head_of, heads_alive
from vespa.observability.request_id import KNOWN_MAX, LENGTH_MAX, RequestIds, taken
from vespa.protocol.request_head import RequestHead


def with_id(*values: bytes) -> RequestHead:
    return head_of(b"/", *(b"X-Request-Id: " + value for value in values))


class TakenTests(SynchronousTestCase):
    def test_safe(self) -> None:
        """An id of visible ASCII is taken as it is, whatever the case of the field's name."""
        for value in (b"a", b"req_12/34+x=", b"!#$%&()*+,-./:;<=>?@[]^_`{|}~", b"x" * LENGTH_MAX):
            self.assertEqual(taken(with_id(value)), value.decode())
        self.assertEqual(taken(head_of(b"/", b"x-ReQuest-ID:abc")), "abc")

    def test_unsafe(self) -> None:
        """Nothing is taken that is empty, too long, repeated, or that a log would have to escape."""
        for value in (b"", b"x" * (LENGTH_MAX + 1), b'a"b', b"a'b", b"a\\b", b"a b", b"a\tb", b"\xc3\xa9"):
            self.assertEqual(taken(with_id(value)), "", value)
        self.assertEqual(taken(with_id(b"a", b"b")), "")
        self.assertEqual(taken(head_of(b"/")), "")


class IdsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ids = RequestIds(lambda: 0.5)

    def test_made(self) -> None:
        """A made id is safe, begins as the others of its process, and is given once."""
        made = [self.ids.make() for _ in range(3)]
        self.assertEqual(made, [f"800000000000-{number:08x}" for number in (1, 2, 3)])
        for each in made:
            self.assertEqual(taken(with_id(each.encode())), each)

    def test_of(self) -> None:
        """A request keeps its id: its caller's, or else one that is made."""
        request = Ended()
        self.assertEqual([self.ids.of(request), self.ids.of(request)], ["800000000000-00000001"] * 2)
        request = Ended(head=with_id(b"mine"))
        self.assertEqual((self.ids.of(request), request.request_id), ("mine", "mine"))
        self.assertEqual(self.ids.of(Ended(head=None)), "800000000000-00000002")

    def test_repeated_heads(self) -> None:
        """A head that is known gives its id again, however many other heads came in between."""
        first, plain = with_id(b"mine"), head_of(b"/")
        self.assertTrue(first.plain)
        for _ in range(2):
            self.assertEqual(self.ids.of(Ended(head=first)), "mine")
            self.assertTrue(self.ids.of(Ended(head=plain)).startswith(self.ids.prefix))
            for number in range(KNOWN_MAX + 1):
                self.assertEqual(self.ids.of(Ended(head=with_id(b"%d" % number))), str(number))

    def test_heads_remembered(self) -> None:
        """Of many heads only so many stay in memory."""
        for number in range(3 * KNOWN_MAX // 2):
            self.ids.of(Ended(head=head_of(b"/remembered-id/%d" % number)))
        alive = heads_alive(b"/remembered-id/")
        self.assertTrue(0 < alive <= KNOWN_MAX, alive)


class AddedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ids = RequestIds(lambda: 0.5)
        self.request_head = self.ids.added_to(
            lambda exchange: b"POST / HTTP/1.1\r\nHost: b\r\n%bVia: 1.1 vespa\r\n" % exchange.head.fields_block
        )

    def test_made(self) -> None:
        """A request without an id gets one, which the log then has, too; a second attempt has the same."""
        request = Ended(head=head_of(b"/", b"Accept: */*"))
        for _ in range(2):
            self.assertEqual(
                self.request_head(request),
                b"POST / HTTP/1.1\r\nHost: b\r\nAccept: */*\r\nVia: 1.1 vespa\r\n"
                b"X-Request-Id: 800000000000-00000001\r\n",
            )
        self.assertEqual(request.request_id, "800000000000-00000001")

    def test_taken(self) -> None:
        """A caller's id passes as it is."""
        head = self.request_head(Ended(head=with_id(b"mine")))
        self.assertEqual(head.count(b"mine"), 1)
        self.assertEqual(head.lower().count(b"x-request-id:"), 1)

    def test_replaced(self) -> None:
        """An id that cannot be taken is replaced, so that the upstream and the log have the same one."""
        for head in (with_id(b'a"b'), with_id(b"a", b"b"), head_of(b"/", b"x-request-id: a b")):
            request = Ended(head=head)
            lines = self.request_head(request).split(b"\r\n")
            found = [line for line in lines if line.lower().startswith(b"x-request-id")]
            self.assertEqual(found, [b"X-Request-Id: " + request.request_id.encode()])
            self.assertEqual(len(lines), 5)
