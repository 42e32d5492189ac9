from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.accounting.backend_slots import AFFINITY_FLOOR, BackendSlots, best, compare_speeds, least


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
    def test_soonest_done(self) -> None:
        """By the time that the work of each takes; where one was not measured, by the work alone."""
        for loads, throughputs, chosen in (
            ((100, 100), (100.0, 200.0), 1),
            ((100, 199), (100.0, 200.0), 1),
            ((100, 201), (100.0, 200.0), 0),
            ((100, 300, 50), (100.0, 400.0, 40.0), 1),
            ((100, 300, 39), (100.0, 400.0, 40.0), 1),
            ((100, 300, 29), (100.0, 400.0, 40.0), 2),
            ((0, 1), (1.0, 1e6), 0),
            ((100, 99), (100.0, None), 1),
            ((100, 99), (None, 1.0), 1),
            ((100, 99), (0.0, 1.0), 1),
            ((100, 99), (None, None), 1),
            ((100,), (100.0,), 0),
        ):
            with self.subTest(loads=loads, throughputs=throughputs):
                places = [a_place(0, 1, load, 0) for load in loads]
                for place, throughput in zip(places, throughputs, strict=True):
                    place.throughput = throughput
                compare_speeds(places)
                self.assertIs(least(places), places[chosen])
        compare_speeds([])

    @given(some_places, st.floats(1e-6, 1e9), st.data())
    def test_equally_fast(self, places: list[BackendSlots], throughput: float, data: st.DataObject) -> None:
        """Among equally fast backends the choice is exactly that of the work, the requests and the turn."""
        turns = data.draw(st.permutations(range(len(places))))
        for place, turn in zip(places, turns, strict=True):
            place.turn, place.throughput = turn, throughput
        by_work = min(places, key=lambda place: (place.load, place.working, place.turn), default=None)
        compare_speeds(places)
        self.assertIs(least(places), by_work)

    def test_idle(self) -> None:
        """Without work the next in turn is chosen, however slow: a figure that is wrong lets no backend starve."""
        places = [BackendSlots(0) for _ in range(3)]
        for place, throughput in zip(places, (100.0, 103.0, 5000.0), strict=True):
            place.throughput = throughput
        compare_speeds(places)
        for number in range(9):
            chosen = least(places)
            assert chosen is not None
            self.assertIs(chosen, places[number % 3])
            chosen.turn = number + 1

    def test_tunnels_are_requests(self) -> None:
        """With the same work, upgraded connections count as requests. Without places there is none."""
        one, other = BackendSlots(0), BackendSlots(0)
        one.tunnels = 1
        self.assertIs(least([one, other]), other)
        self.assertIsNone(least([]))
