"""Finds the concurrency at which a backend's throughput stops growing, and the throughput there, within two minutes.

It sends requests in a closed loop: so many at once, each followed by the next. Tokens count as they arrive, so a
level can end at any time.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence

from vespa.benchmarking import contract
from vespa.benchmarking.contract import Figure, report_level, report_progress

FIRST_LEVEL = 4
GAIN = 1.10  # if a level's throughput is less than so many times the best one's, it is the last
BETTER = 1.03
"""If the last level is so many times better than the one before it, it gives the result; otherwise the one before."""
BUDGET = 115.0  # seconds from the first request to the result, if the first token comes within 25 s
AFTER_FIRST_TOKEN = 90.0
"""Seconds from the first token to the result, if the token came later because the model was still being loaded."""
LOADING = 300.0  # the time limit for the first token, in seconds
WARMUP = 3.0
SHORTEST = 2.0  # the minimum time of a level in seconds, so that a pause of the backend does not decide
LONGEST = 20.0
FEW = 3  # if a stream has fewer tokens than this, a level lasts longer than planned
BIN = 0.25  # tokens are counted in bins of this width in seconds, to find their rate while no prompt is processed
BUSY = 0.7  # the share of a processor above which this process may limit the measurement

cpu_seconds = time.process_time


class Request:
    """The progress of one request. Times are the event loop's, in seconds."""

    def __init__(self, most: int) -> None:
        """`most`: the number of tokens that it may generate."""
        self.most = most
        self.began = self.first = self.last = asyncio.get_running_loop().time()
        self.tokens = 0.0
        self.first_tokens = 0.0
        self.pieces = 0.0
        self.finished = False
        self.bins: dict[int, float] = {}

    def arrived(self, count: float) -> None:
        """Count tokens that have just arrived, or the pieces of a stream if the number of tokens is unknown."""
        self.last = asyncio.get_running_loop().time()
        if not self.tokens:
            self.first, self.first_tokens = self.last, count
        self.tokens += count
        self.pieces += count
        bin = int(self.last / BIN)
        self.bins[bin] = self.bins.get(bin, 0.0) + count

    def finish(self, tokens: float = 0.0) -> None:
        """The whole response is there; `tokens` is the number that it reports, 0 if it reports none."""
        self.last = asyncio.get_running_loop().time()
        if not self.tokens:
            self.first = self.last
        self.tokens = tokens or self.tokens
        self.finished = True


class Source:
    """Makes and sends requests."""

    unit = "tokens"
    scale = 1.0  # the number of tokens in a piece of a stream, until a request has ended and reported it
    streams = True
    """Whether to request streams. The climb turns it off if it cannot keep up with the pieces."""

    def make(self) -> Request:
        """A request that is about to be sent."""
        raise NotImplementedError

    async def send(self, request: Request) -> None:
        """Send it, and record what arrives and its end. Raises the error of the request."""
        raise NotImplementedError


class Level:
    """The requests of one level of concurrency, and their throughput."""

    def __init__(self, concurrency: int, streams: bool) -> None:
        self.concurrency = concurrency
        self.streams = streams
        self.began = self.ended = asyncio.get_running_loop().time()
        self.requests: list[Request] = []
        self.errors: list[Exception] = []
        self.bins: dict[int, float] = {}
        self.rate = 0.0
        self.cpu = 0.0

    @property
    def finished(self) -> list[Request]:
        return [request for request in self.requests if request.finished]

    @property
    def refused(self) -> bool:
        """Whether more requests failed than got a response."""
        return len(self.errors) > len([request for request in self.requests if request.tokens])

    @property
    def spread(self) -> float | None:
        """The standard deviation of the tokens in each half second, as a share of their mean; None if unknown."""
        started = [request.first for request in self.requests if request.tokens]
        if not started:
            return None
        first, last = int(min(started) / BIN) + 1, int(self.ended / BIN)
        halves = [self.bins.get(bin, 0.0) + self.bins.get(bin + 1, 0.0) for bin in range(first, last - 1, 2)]
        if len(halves) < 3 or not sum(halves):
            return None
        return statistics.pstdev(halves) / statistics.fmean(halves)

    def enough(self) -> bool:
        """Whether the running streams have enough tokens for a measurement."""
        running = [request for request in self.requests if request.tokens]
        return bool(self.finished) or sum(request.tokens for request in running) >= FEW * max(1, len(running))

    def work(self, scale: float) -> float:
        """The number of tokens that arrived; `scale` is the number of tokens in a piece."""
        return sum(request.tokens if request.finished else request.pieces * scale for request in self.requests)

    def estimate(self, scale: float, usual: float) -> float:
        """Tokens per second at this concurrency, for whole requests one after the other.

        `usual` is the number of tokens of a request, 0 before any has ended.
        """
        done = self.finished
        if done and self.streams:
            return self._balanced(scale, usual)
        if done:
            return self._whole(done)
        # None has ended: their first token and the rate after it give the time that they would take.
        paced = [request for request in self.requests if request.tokens > request.first_tokens]
        if not paced:
            return self.work(scale) / max(self.ended - self.began, 1e-6)
        gaps = {
            id(request): (request.last - request.first) / ((request.tokens - request.first_tokens) * scale)
            for request in paced
        }
        mean = sum(gaps.values()) / len(gaps)
        rate = 0.0
        for request in self.requests:
            if request.tokens:
                total = max(usual or request.most, request.tokens * scale)
                gap = gaps.get(id(request), mean)
                seconds = request.first - request.began + (total - request.first_tokens * scale) * gap
                rate += total / max(seconds, 1e-6)
        return rate

    def _balanced(self, scale: float, usual: float) -> float:
        """Tokens over time, with as many prompts processed as requests' worth of tokens generated.

        A level begins with all its prompts, and ends with requests of which only the prompt is processed. With few
        requests in each place, it processes more prompts than in the long run. With `n` prompts processed and `k`
        tokens in `t` seconds, t = n a + k / d, where `d` is the rate of tokens while no prompt is processed, and a
        request of `u` tokens takes a + u / d of the backend's time.
        """
        seconds = max(max(request.last for request in self.requests) - self.began, 1e-6)
        tokens = self.work(scale)
        read = sum(1 for request in self.requests if request.tokens)
        rate = tokens / seconds
        pieces = sum(self.bins.values())
        if not (pieces and usual and read):
            return rate
        fastest = max(rate, self._fastest() * tokens / pieces)
        reading = (seconds - tokens / fastest) / read
        return usual / (reading + usual / fastest)

    def _fastest(self) -> float:
        """Pieces a second in the better bins. The best bin may include pieces that were delayed before."""
        first, last = int(self.began / BIN) + 1, int(max(request.last for request in self.requests) / BIN)
        width = max(1, (last - first) // 20)
        rates = sorted(
            sum(self.bins.get(bin, 0.0) for bin in range(at, at + width)) / (width * BIN)
            for at in range(first, last - width + 1, width)
        )
        return rates[int(0.8 * (len(rates) - 1))] if rates else 0.0

    def _whole(self, done: list[Request]) -> float:
        """For whole responses: running requests count by the share of the usual time that they have had."""
        tokens = sum(request.tokens for request in done)
        seconds = sum(request.last - request.began for request in done) / len(done)
        under_way = [request for request in self.requests if not request.finished]
        share = sum(min(1.0, (self.ended - request.began) / max(seconds, 1e-6)) for request in under_way)
        return (tokens + share * tokens / len(done)) / max(self.ended - self.began, 1e-6)


def levels(most: int) -> Iterator[int]:
    """4, 8, 16 and so on, and finally `most`."""
    level = FIRST_LEVEL
    while level < most:
        yield level
        level *= 2
    yield most


class Climb:
    """One measurement: a warm-up, then level after level until throughput stops growing or the time is up."""

    def __init__(self, source: Source, most: int, runs: int) -> None:
        """`most`: requests at once; `runs`: the number of requests in each place after which a level ends."""
        self._source = source
        self._most = most
        self._runs = runs
        self._began = 0.0
        self._deadline = 0.0
        self._reported_at = 0.0
        self._done = 0.0  # the share of the levels
        self._scale = source.scale
        self._usual = 0.0

    async def run(self) -> Figure:
        """The highest throughput, and its level. Raises the error of the requests if all fail."""
        alone = await self._warm_up()
        best: Level | None = None
        why = "the highest level"
        left = list(levels(self._most))
        count = len(left)
        while left:
            level = await self._measure(left[0], self._share(len(left)))
            if level.rate <= 0 or (best is not None and level.refused):
                if best is None and level.errors:
                    raise level.errors[0]
                why = f"{left[0]} at once failed" if level.errors else "time is up"
                break
            if best is not None and level.rate < best.rate * GAIN:
                level = await self._again(level)
            gained = best is None or level.rate >= best.rate * GAIN
            best = level if best is None or level.rate > best.rate * BETTER else best
            if not gained:
                why = f"{level.concurrency} at once gained less than {GAIN - 1:.0%}"
                break
            del left[0]
            self._done = 1.0 - len(left) / count
            if left and self._left() < SHORTEST:
                why = "time is up"
                break
        if best is None:
            best = alone
        if best.rate <= 0:
            raise RuntimeError(f"the backend returned no {self._source.unit} in {BUDGET:g} s")
        print(f"chosen: {best.rate:.1f} {self._source.unit}/s with {best.concurrency} requests at once ({why})")
        return Figure(best.rate, best.concurrency)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _left(self) -> float:
        return self._deadline - self._now()

    def _report(self) -> None:
        """Report the share that is over, of the levels or of the time, about once a second."""
        now = self._now()
        if now - self._reported_at >= 1.0:
            self._reported_at = now
            report_progress(max(self._done, (now - self._began) / max(self._deadline - self._began, 1e-6)))

    def _share(self, count: int) -> float:
        """The seconds for one of `count` levels, with a reserve to repeat one."""
        return min(LONGEST, max(SHORTEST, self._left() / (count + 1)))

    async def _warm_up(self) -> Level:
        """Wait for the model to load and send one request, for a few seconds at most after its first token."""
        level = Level(1, self._source.streams)
        request = self._source.make()
        level.requests.append(request)
        task = asyncio.ensure_future(self._source.send(request))
        start = self._now()
        try:
            while not (task.done() or request.tokens):
                if self._now() - start >= LOADING:
                    raise RuntimeError(f"no response to the first request within {LOADING:g} s")
                await asyncio.wait({task}, timeout=0.05)
            self._began = start
            self._deadline = max(start + BUDGET, self._now() + AFTER_FIRST_TOKEN)
            # With a slow backend one token is not enough for a measurement.
            until = self._now() + WARMUP
            while not task.done() and (self._now() < until or (not level.enough() and self._left() > BUDGET * 0.7)):
                await asyncio.wait({task}, timeout=0.05)
            if task.done():
                task.result()
        finally:
            await _end([task])
        level.ended = self._now()
        self._learn(level)
        level.rate = level.estimate(self._scale, self._usual)
        return level

    async def _again(self, level: Level) -> Level:
        """Repeat a level without gain, if there is time: one pause must not end the climb."""
        took = level.ended - level.began
        if self._left() < took + 1.0:
            return level
        again = await self._measure(level.concurrency, min(took, LONGEST))
        if again.rate > 0 and not again.refused:
            again.rate = again.rate if again.rate > level.rate * GAIN else (again.rate + level.rate) / 2
            return again
        return level

    async def _measure(self, concurrency: int, seconds: float) -> Level:
        """Keep so many requests running for `seconds`, or longer if few tokens come; then cancel them."""
        level = Level(concurrency, self._source.streams)
        cpu = cpu_seconds()
        places = [asyncio.ensure_future(self._place(level)) for _ in range(concurrency)]
        try:
            while not self._over(level, seconds):
                self._report()
                await asyncio.wait(places, timeout=min(0.05, max(0.001, self._left())))
                if all(place.done() for place in places):
                    break
            level.ended = self._now()
            level.cpu = (cpu_seconds() - cpu) / max(level.ended - level.began, 1e-6)
            self._learn(level)
            level.rate = level.estimate(self._scale, self._usual)
            self._tell(level)
        finally:
            await _end(places)
        await asyncio.sleep(min(0.2, max(0.0, self._left())))  # so that the backend notices
        if level.streams and level.cpu > BUSY and level.finished and self._left() > 2 * SHORTEST:
            print("the streams come faster than this process can read them: requesting whole responses instead")
            self._source.streams = False
            whole = await self._measure(concurrency, min(seconds, self._left() / 2))
            if whole.rate > 0 and not whole.refused:
                return whole
            self._source.streams = True
        return level

    def _over(self, level: Level, seconds: float) -> bool:
        spent = self._now() - level.began
        if self._left() <= 0:
            return True
        done = len(level.finished)
        if level.errors and not done and len(level.errors) >= 2 * level.concurrency:
            return True
        if done >= self._runs * level.concurrency and spent >= SHORTEST:
            return True
        return spent >= seconds and level.enough()

    async def _place(self, level: Level) -> None:
        """Send one request after the other, until cancelled."""
        while True:
            request = self._source.make()
            request.bins = level.bins
            level.requests.append(request)
            try:
                await self._source.send(request)
                await asyncio.sleep(0)  # an immediate response must not delay the others
            except Exception as error:
                if not level.errors:
                    print(f"a request failed: {type(error).__name__}: {error}")
                level.errors.append(error)
                await asyncio.sleep(0.5)
            else:
                if not request.tokens:
                    level.errors.append(RuntimeError(f"the backend returned no {self._source.unit}"))
                    await asyncio.sleep(0.5)

    def _learn(self, level: Level) -> None:
        """Learn the number of tokens in a piece, and in a whole request, from those that ended."""
        done = [request for request in level.finished if request.tokens]
        if done:
            self._usual = sum(request.tokens for request in done) / len(done)
        told = [request for request in done if request.pieces >= 16]
        if told:
            self._scale = sum(request.tokens for request in told) / sum(request.pieces for request in told)

    def _tell(self, level: Level) -> None:
        seconds = level.ended - level.began
        count = f"{len(level.finished)} of {len(level.requests)} requests ended"
        failed = f", {len(level.errors)} failed" if level.errors else ""
        work = f"{level.work(self._scale):.0f} {self._source.unit} in {seconds:.1f} s"
        report_level(
            contract.Level(
                level.concurrency,
                level.rate,
                level.spread,
                self._source.unit,
                len(level.finished),
                len(level.errors),
                seconds,
            )
        )
        print(f"{level.concurrency} at once: {level.rate:.1f} {self._source.unit}/s ({count}{failed}; {work})")


async def _end(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Cancel what still runs, and wait for its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
