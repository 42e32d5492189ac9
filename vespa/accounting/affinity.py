"""Affinity: the same text goes to the same backend, and a backend that is lost or added moves only its own share."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, Protocol, TypeVar

_MASK: Final = (1 << 64) - 1


class Seeded(Protocol):
    """What has a number of its own, the same in each process."""

    seed: int


S = TypeVar("S", bound=Seeded)


def number_of(text: bytes) -> int:
    """A number of 64 bits for a text. The same in each process, as Python's own hash is not."""
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def in_order_of_affinity(number: int, backends: Iterable[S]) -> list[S]:
    """The backends, best first, by rendezvous hashing (Thaler and Ravishankar, 1998): each pair has its own score."""
    return sorted(backends, key=lambda backend: _score(number ^ backend.seed), reverse=True)


def _score(mixed: int) -> int:
    # The finalizer of SplitMix64: each bit of the input changes each bit of the result with a probability of one half.
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)
