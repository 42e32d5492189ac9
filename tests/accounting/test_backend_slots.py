from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.accounting.backend_slots import AFFINITY_FLOOR, BackendSlots, best, least


def a_place(slots: int, working: int, load: int, seed: int) -> BackendSlots:
    place = BackendSlots(slots, seed)
    place.working, place.load = working, load
    return place


some_places = st.lists(
    st.builds(a_place, st.integers(0, 3), st.integers(0, 3), st.integers(0, 5), st.integers(0, (1 << 64) - 1)),
    max_size=5,
)


class BestTests(SynchronousTestCase):
    @given(some_places, st.one_of(st.none(), st.integers(0, (1 << 64) - 1)), st.data())
    def test_free_and_untried(self, places: list[BackendSlots], number: int | None, data: st.DataObject) -> None:
        """The result has a free slot and was not tried; there is none only if no such place exists."""
        tried = data.draw(st.lists(st.sampled_from(places), max_size=3)) if places else []
        possible = [place for place in places if not place.full and place not in tried]
        found = best(places, tried, number)
        self.assertEqual(found is None, not possible)
        if found is not None:
            self.assertIn(found, possible)
            if number is None:
                self.assertEqual(found.load, min(place.load for place in possible))

    def test_affinity_with_few(self) -> None:
        """With few requests affinity holds even if one backend has all of them; then a busier one is passed over."""
        places = [BackendSlots(0, seed) for seed in (1, 2)]
        favourite = best(places, (), 7)
        assert favourite is not None
        favourite.working = AFFINITY_FLOOR - 1
        self.assertIs(best(places, (), 7), favourite)
        favourite.working = AFFINITY_FLOOR
        self.assertIsNot(best(places, (), 7), favourite)


class LeastTests(SynchronousTestCase):
    def test_tunnels_are_requests(self) -> None:
        """With the same work, upgraded connections count as requests. Without places there is none."""
        one, other = BackendSlots(0), BackendSlots(0)
        one.tunnels = 1
        self.assertIs(least([one, other]), other)
        self.assertIsNone(least([]))
