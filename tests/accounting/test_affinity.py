from __future__ import annotations

from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.accounting.affinity import in_order_of_affinity, number_of


@define
class Place:
    seed: int


def places(count: int) -> list[Place]:
    return [Place(number_of(b"http://127.0.0.1:%d" % (8000 + each))) for each in range(count)]


class NumberTests(SynchronousTestCase):
    def test_the_same_everywhere(self) -> None:
        """A text has the same number in each process and release: a restart does not empty the caches."""
        self.assertEqual(number_of(b"user-1"), 11145382709976293768)
        self.assertLess(number_of(b""), 1 << 64)


class OrderTests(SynchronousTestCase):
    @given(st.binary(max_size=20), st.integers(2, 8), st.data())
    def test_a_loss(self, text: bytes, count: int, data: st.DataObject) -> None:
        """Without one of the places the others keep their order, so only the share of the lost one moves."""
        all_of_them = places(count)
        lost = data.draw(st.sampled_from(all_of_them))
        order = in_order_of_affinity(number_of(text), all_of_them)
        left = [each for each in all_of_them if each is not lost]
        self.assertEqual(in_order_of_affinity(number_of(text), left), [each for each in order if each is not lost])

    def test_any_order_of_the_settings(self) -> None:
        """The order in which the places are given does not matter."""
        given_ones = places(4)
        for number in range(50):
            self.assertEqual(in_order_of_affinity(number, given_ones), in_order_of_affinity(number, given_ones[::-1]))

    def test_even(self) -> None:
        """Many texts are spread evenly, also those that differ in their last letter only."""
        four = places(4)
        shares = [0] * 4
        for each in range(4000):
            shares[four.index(in_order_of_affinity(number_of(b"user-%d" % each), four)[0])] += 1
        self.assertGreater(min(shares), 850)
