from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.accounting.backend_waiters import Request, a_gate
from tests.frames import frames
from vespa.accounting.backend_slots import DOWN, READY, SUSPECT
from vespa.protocol.refusal import Refusal


class ChoiceTests(SynchronousTestCase):
    def test_least_work(self) -> None:
        """A request goes to the backend with the least work in flight, not with the fewest requests."""
        gate = a_gate(2, slots=0)
        first, second = gate.backends
        large, small, smaller, fourth = (Request() for _ in range(4))
        gate.admit(large, 0)
        gate.charge(large, 100)
        for each in (small, smaller):
            gate.admit(each, 0)
            gate.charge(each, 10)
            self.assertIs(each.backend, second)
        gate.charge(large, 5)
        gate.admit(fourth, 0)
        self.assertIs(fourth.backend, first)
        self.assertEqual((first.load, second.load, first.working, second.working), (5, 20, 2, 2))

    def test_speeds(self) -> None:
        """A backend that is twice as fast gets twice the work, once all that are usable were measured."""
        gate = a_gate(2, slots=0)
        first, second = gate.backends

        def shares() -> list[int]:
            requests = [Request() for _ in range(30)]
            for each in requests:
                gate.admit(each, 0)
                gate.charge(each, 10)
            working = [first.working, second.working]
            for each in requests:
                gate.free(each)
            return working

        gate.set_throughput(second, 200.0)
        self.assertEqual(shares(), [15, 15], "the first is not measured yet")
        gate.set_throughput(first, 100.0)
        self.assertEqual(shares(), [10, 20])
        gate.set_throughput(first, None)
        self.assertEqual(shares(), [15, 15])
        gate.set_throughput(first, 200.0)
        self.assertEqual(shares(), [15, 15])

    def test_speed_of_one_that_is_left_out(self) -> None:
        """The speeds of those that are usable are compared: one that is not need not be measured."""
        gate = a_gate(3, slots=0)
        first, second, third = gate.backends
        gate.set_throughput(first, 100.0)
        gate.set_throughput(second, 200.0)
        self.assertEqual((first.slowness, second.slowness), (1.0, 1.0))
        gate.set_health(third, DOWN)
        self.assertEqual((first.slowness, second.slowness), (2.0, 1.0))
        gate.set_health(third, READY)
        self.assertEqual((first.slowness, second.slowness), (1.0, 1.0))

    def test_ties(self) -> None:
        """With the same work, the fewest requests decide; then each has its turn."""
        gate = a_gate(3, slots=0)
        requests = [Request() for _ in range(7)]
        for each in requests[:6]:
            gate.admit(each, 0)
        self.assertEqual([gate.backends.index(each.backend) for each in requests[:6]], [0, 1, 2, 0, 1, 2])
        gate.free(requests[4])
        gate.admit(requests[6], 0)
        self.assertIs(requests[6].backend, gate.backends[1])

    def test_charged_until_the_end(self) -> None:
        """Work counts once, until the request leaves its backend; that of a request without a slot is ignored."""
        gate = a_gate(1, slots=1)
        working, waiting = Request(), Request()
        gate.admit(working, 0)
        gate.admit(waiting, 0)
        gate.charge(working, 7)
        gate.charge(working, 7)
        gate.charge(waiting, 9)
        self.assertEqual(gate.backends[0].load, 7)
        gate.free(working)
        self.assertEqual((gate.backends[0].load, gate.backends[0].working), (0, 1))
        gate.free(working)
        gate.free(waiting)
        self.assertEqual((gate.backends[0].load, gate.backends[0].working, gate.working), (0, 0, 0))

    def test_charge_falls(self) -> None:
        """A charge falls to the work that is left, never rises by that, and never below nothing."""
        gate = a_gate(1, slots=0)
        place = gate.backends[0]
        one, other = Request(), Request()
        for each in (one, other):
            gate.admit(each, 0)
            gate.charge(each, 10)
        for left, load in ((7, 17), (9, 17), (7, 17), (0, 10), (-5, 10), (3, 10)):
            gate.lower_charge(one, left)
            self.assertEqual(place.load, load, left)
        gate.free(one)
        self.assertEqual(place.load, 10)

    def test_late_report(self) -> None:
        """What is told of the work of a request that waits, has moved, or has ended changes nothing."""
        gate = a_gate(2)
        first, second = gate.backends
        moved, ended, waiting = Request("moved"), Request("ended"), Request("waiting")
        gate.admit(moved, 0)
        gate.charge(moved, 10)
        gate.lower_charge(ended, 0)
        gate.admit(ended, 0)
        gate.charge(ended, 20)
        gate.admit(waiting, 0)
        gate.lower_charge(waiting, 0)
        gate.free(ended)
        self.assertIs(waiting.backend, second)
        gate.charge(waiting, 30)
        gate.lower_charge(ended, 0)
        self.assertEqual((first.load, second.load), (10, 30))
        self.assertFalse(gate.move(moved, [first], moved.resume))
        gate.lower_charge(moved, 0)
        self.assertEqual((first.load, second.load), (0, 30))
        gate.free(waiting)
        self.assertIs(moved.backend, second)
        gate.charge(moved, 10)
        gate.lower_charge(moved, 4)
        self.assertEqual((first.load, second.load), (0, 4))

    def test_twice_inside(self) -> None:
        """A key is inside once."""
        gate = a_gate(1)
        working, waiting = Request(), Request()
        gate.admit(working, 0)
        gate.admit(waiting, 0)
        self.assertRaises(ValueError, gate.admit, working, 0)
        self.assertRaises(ValueError, gate.admit, waiting, 0)

    def test_limits(self) -> None:
        """The estimated wait and the places in the queue are limited as before one backend; slots are for each."""
        gate = a_gate(2, slots=1, most=1)
        self.assertEqual(gate.max_concurrency, 2)
        for answer in (True, True, False):
            self.assertIs(gate.admit(Request(), 0), answer)
        self.assertEqual(self.assertRaises(Refusal, gate.admit, Request(), 0).code, "queue_full")
        self.assertEqual((gate.working, gate.waiting), (2, 1))
        limited = a_gate(2)
        limited.max_wait_seconds = 10.0
        limited.throughput = 2.0
        limited.admit(Request(), 20_000_000)
        self.assertEqual(self.assertRaises(Refusal, limited.admit, Request(), 20_000_001).code, "busy")


class SlotTests(SynchronousTestCase):
    def test_the_first_that_becomes_free(self) -> None:
        """Whichever backend has a free slot first, the first in the queue gets it."""
        gate = a_gate(2)
        one, two, third, fourth = (Request() for _ in range(4))
        self.assertEqual([gate.admit(each, 0) for each in (one, two, third, fourth)], [True, True, False, False])
        gate.free(two)
        self.assertEqual((third.told, third.backend, fourth.told), (1, gate.backends[1], 0))
        gate.free(one)
        self.assertEqual((fourth.told, fourth.backend), (1, gate.backends[0]))

    def test_pinned(self) -> None:
        """A pinned request waits for its own backend, and keeps nobody from another one."""
        gate = a_gate(2)
        first, second = gate.backends
        one, two = Request(), Request()
        pinned, other, later = Request(pin=first), Request(), Request()
        for each in (one, two, pinned, other, later):
            gate.admit(each, 0)
        gate.free(two)
        self.assertEqual((pinned.told, other.told, other.backend), (0, 1, second))
        gate.free(one)
        self.assertEqual((pinned.told, pinned.backend, later.told), (1, first, 0))
        self.assertEqual(gate.queued(), [later])
        gate.free(pinned)
        self.assertEqual((later.told, later.backend), (1, first))

    def test_pinned_in_order(self) -> None:
        """A pinned request does not overtake one that came before it."""
        gate = a_gate(1)
        place = gate.backends[0]
        one, shared, pinned = Request(), Request(), Request(pin=place)
        for each in (one, shared, pinned):
            gate.admit(each, 0)
        gate.free(one)
        self.assertEqual((shared.told, pinned.told), (1, 0))

    def test_leaves(self) -> None:
        """A request may leave any line, and one that gets its slot and leaves before it is told is not told."""
        gate = a_gate(2)
        first, second = gate.backends
        holder, one, two, three, pinned, last = (
            Request(),
            Request(),
            Request(act=lambda request: gate.free(three)),
            Request(),
            Request(pin=first),
            Request(),
        )
        for each in (holder, one, two, three, pinned, last):
            gate.admit(each, 0)
        gate.free(pinned)
        gate.set_health(second, DOWN)
        gate.free(one)
        self.assertEqual(gate.waiting, 3)
        first.slots = second.slots = 2
        gate.set_health(second, READY)
        self.assertEqual((two.told, three.told, pinned.told, last.told), (1, 0, 0, 1))
        self.assertEqual((gate.working, gate.waiting), (3, 0))

    def test_all_fail(self) -> None:
        """However many fail when they get their slot: each had its turn, in order, and none within another's."""
        gate = a_gate(2)
        order: list[Request] = []
        depth = [0]

        def fail(request: Request) -> None:
            depth[0] += 1
            self.assertEqual(depth[0], 1)
            order.append(request)
            gate.free(request)
            depth[0] -= 1

        first, second = Request(), Request()
        waiters = [Request(act=fail) for _ in range(3000)]
        for each in (first, second, *waiters):
            gate.admit(each, 0)
        gate.free(first)
        self.assertEqual(order, waiters)
        self.assertEqual((gate.working, gate.waiting), (1, 0))

    def test_a_newcomer(self) -> None:
        """Who comes while others are told of their slots does not overtake those who wait for the next."""
        gate = a_gate(2, slots=2)
        late = Request()
        gate.set_health(gate.backends[1], DOWN)
        holders = [Request(), Request()]
        waiters = [Request(act=lambda request: self.assertIs(gate.admit(late, 0), False)), Request(), Request()]
        for each in (*holders, *waiters):
            gate.admit(each, 0)
        gate.set_health(gate.backends[1], READY)
        self.assertEqual([each.told for each in waiters], [1, 1, 0])
        self.assertEqual(gate.queued(), [waiters[2], late])

    def test_dismissed(self) -> None:
        """All leave the queue at once, in the order in which they came."""
        gate = a_gate(2)
        inside = [Request(), Request()]
        waiters = [Request(), Request(pin=gate.backends[0]), Request()]
        for each in (*inside, *waiters):
            gate.admit(each, 0)
        self.assertEqual(gate.dismiss(), waiters)
        gate.free(inside[0])
        self.assertEqual((gate.waiting, gate.working, waiters[0].told), (0, 1, 0))


class HealthTests(SynchronousTestCase):
    def test_left_out(self) -> None:
        """A backend that is out gets nobody; one that is suspect only while none is well."""
        gate = a_gate(3, slots=0)
        first, second, third = gate.backends
        gate.set_health(first, DOWN)
        gate.set_health(second, SUSPECT)
        for _ in range(4):
            request = Request()
            gate.admit(request, 0)
            self.assertIs(request.backend, third)
        gate.set_health(third, DOWN)
        request = Request()
        self.assertTrue(gate.admit(request, 0))
        self.assertIs(request.backend, second)
        gate.set_health(second, DOWN)
        self.assertIsNone(gate.least())
        waiting = Request()
        self.assertFalse(gate.admit(waiting, 0))
        gate.set_health(first, READY)
        self.assertEqual((waiting.told, waiting.backend), (1, first))

    def test_comes_back(self) -> None:
        """The slots of a backend that is well again go to those who wait, in order."""
        gate = a_gate(2, slots=2)
        gate.set_health(gate.backends[1], DOWN)
        requests = [Request() for _ in range(5)]
        for each in requests:
            gate.admit(each, 0)
        gate.set_health(gate.backends[1], READY)
        self.assertEqual([each.told for each in requests], [0, 0, 1, 1, 0])
        self.assertEqual([place.working for place in gate.backends], [2, 2])

    def test_slots_of_a_dead_one(self) -> None:
        """A slot that becomes free at a backend that is out goes to nobody until it is back."""
        gate = a_gate(2)
        one, two, third = Request(), Request(), Request()
        for each in (one, two, third):
            gate.admit(each, 0)
        gate.set_health(gate.backends[0], DOWN)
        gate.free(one)
        self.assertEqual(third.told, 0)
        gate.set_health(gate.backends[0], READY)
        self.assertEqual(third.told, 1)

    def test_lost(self) -> None:
        """Requests that wait for a backend that is out have nothing to wait for: they are returned, to be refused."""
        gate = a_gate(2)
        first = gate.backends[0]
        pinned, other = Request(pin=first), Request()
        for each in (Request(), Request(), pinned, other):
            gate.admit(each, 0)
        self.assertEqual(gate.set_health(first, SUSPECT), [])
        self.assertEqual(gate.set_health(first, DOWN), [pinned])
        self.assertEqual(gate.queued(), [other])

    def test_pinned_to_a_suspect(self) -> None:
        """A pinned request gets a slot of its backend also while that is suspect."""
        gate = a_gate(2)
        first = gate.backends[0]
        one, pinned = Request(pin=first), Request(pin=first)
        gate.admit(one, 0)
        gate.admit(pinned, 0)
        gate.set_health(first, SUSPECT)
        gate.free(one)
        self.assertEqual((pinned.told, pinned.backend), (1, first))


class MoveTests(SynchronousTestCase):
    def test_to_a_free_slot(self) -> None:
        """A moved request has a slot at another backend, and its work counts there; its old slot goes on."""
        gate = a_gate(2)
        first, second = gate.backends
        one = Request()
        gate.admit(one, 0)
        gate.charge(one, 5)
        two = Request(pin=first)
        gate.admit(two, 0)
        self.assertTrue(gate.can_move([first]))
        self.assertTrue(gate.move(one, [first], one.resume))
        self.assertEqual((one.backend, one.told, one.resumed, two.told), (second, 0, 0, 1))
        self.assertEqual((first.load, second.load, first.working, second.working), (0, 5, 1, 1))

    def test_waits_before_all_others(self) -> None:
        """If all others are full, it waits before those who never had a slot, for a slot anywhere."""
        gate = a_gate(2)
        first, second = gate.backends
        one, two, moved = Request(), Request(), Request()
        gate.admit(moved, 0)
        gate.admit(one, 0)
        gate.admit(two, 0)
        self.assertFalse(gate.move(moved, [first], moved.resume))
        self.assertEqual((two.told, two.backend), (1, first))  # it got the slot that the other left
        later = Request()
        gate.admit(later, 0)
        self.assertEqual(gate.queued(), [moved, later])
        gate.free(one)
        self.assertEqual((moved.resumed, moved.told, moved.backend, later.told), (1, 0, second, 0))

    def test_several(self) -> None:
        """Those who are moved keep their order."""
        gate = a_gate(2, slots=2)
        first, second = gate.backends
        requests = [Request(str(each)) for each in range(4)]
        for each in requests:
            gate.admit(each, 0)
        a, c = (each for each in requests if each.backend is first)
        gate.set_health(first, SUSPECT)
        gate.move(a, [first], a.resume)
        gate.move(c, [first], c.resume)
        self.assertEqual(gate.queued(), [a, c])
        gate.free(requests[1])
        self.assertEqual((a.resumed, c.resumed), (1, 0))

    def test_leaves_while_it_waits(self) -> None:
        """A moved request that leaves is not told, and takes nothing with it."""
        gate = a_gate(2)
        moved, other = Request(), Request()
        gate.admit(moved, 0)
        gate.admit(other, 0)
        gate.move(moved, [gate.backends[0]], moved.resume)
        gate.free(moved)
        gate.free(other)
        self.assertEqual((moved.resumed, gate.working, gate.waiting), (0, 0, 0))

    def test_nowhere(self) -> None:
        """Without another usable backend there is nowhere to move to."""
        gate = a_gate(2)
        first, second = gate.backends
        self.assertFalse(gate.can_move([first, second]))
        gate.set_health(second, SUSPECT)
        self.assertFalse(gate.can_move([first]))
        gate.set_health(first, SUSPECT)
        self.assertTrue(gate.can_move([first]))


class UpgradeTests(SynchronousTestCase):
    def test_no_slot_but_its_work(self) -> None:
        """An upgraded connection gives its slot to the next, and its work stays at its backend to its end."""
        gate = a_gate(1)
        place = gate.backends[0]
        tunnel, waiting = Request(), Request()
        gate.admit(tunnel, 0)
        gate.charge(tunnel, 4)
        gate.admit(waiting, 0)
        gate.upgraded(tunnel)
        gate.upgraded(tunnel)
        self.assertEqual((waiting.told, place.working, place.tunnels, place.load), (1, 1, 1, 4))
        gate.lower_charge(tunnel, 3)
        gate.charge(tunnel, 9)
        self.assertEqual(place.load, 3)
        gate.free(tunnel)
        gate.free(tunnel)
        self.assertEqual((place.working, place.tunnels, place.load), (1, 0, 0))


class AffinityTests(SynchronousTestCase):
    def test_the_same_backend(self) -> None:
        """Requests with the same number go to the same backend, whatever its work."""
        gate = a_gate(4, slots=0, affinity=True)
        chosen = set()
        for _ in range(3):
            request = Request(number=42)
            gate.admit(request, 0)
            gate.charge(request, 1000)
            chosen.add(request.backend)
        self.assertEqual(len(chosen), 1)

    def test_passed_over(self) -> None:
        """A full, busy or dead backend is passed over: nobody waits or is refused for affinity."""
        gate = a_gate(2, slots=0, affinity=True)
        for _ in range(40):
            gate.admit(Request(number=42), 0)
        self.assertLessEqual(max(place.working for place in gate.backends), 26)  # 1.25 times the mean, and the last one
        limited = a_gate(2, slots=1, affinity=True)
        self.assertEqual([limited.admit(Request(number=42), 0) for _ in range(3)], [True, True, False])
        dead = a_gate(2, slots=0, affinity=True)
        first = Request(number=42)
        dead.admit(first, 0)
        assert first.backend is not None
        dead.set_health(first.backend, DOWN)
        second = Request(number=42)
        dead.admit(second, 0)
        self.assertIsNot(second.backend, first.backend)


class CostTests(SynchronousTestCase):
    def test_long_queue(self) -> None:
        """However many wait, each operation takes the same number of calls."""

        def calls(waiting: int) -> list[int]:
            gate = a_gate(4)
            inside = [Request() for _ in range(4)]
            others: list[Any] = [Request(pin=gate.backends[each % 4] if each % 2 else None) for each in range(waiting)]
            for each in (*inside, *others):
                gate.admit(each, 0)
            moved = inside[1]
            return [
                len(frames(gate.free, inside[0])),
                len(frames(gate.leave, others[waiting // 2])),
                len(frames(gate.move, moved, [moved.backend], moved.resume)),
                len(frames(gate.admit, Request(), 0)),
            ]

        self.assertEqual(calls(16), calls(4000))
