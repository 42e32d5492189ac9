"""Requests about a job go to its worker, in memory."""

from __future__ import annotations

import gzip
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import BODY, get, post
from tests.client.rig import OTHER, WORKER, ClientRig, assignment, query_of, response
from vespa.client.jobs import JOB_SECONDS, JOBS_MAX, job_reader
from vespa.protocol.response_head import parse_response_head
from vespa.proxy.body_reader import READ_MAX
from vespa.vast.assignment import Assignment

ID = b"4a7b3f0e-1c9d-4c1f-8f3e-0123456789ab"
BEGUN = b'{"prompt_id": "%b", "number": 3, "node_errors": {}}' % ID
QUERY = query_of(assignment(WORKER, 7))


class JobCase(SynchronousTestCase):
    def make(self, jobs: str = "comfyui", **policy: Any) -> ClientRig:
        self.rig = ClientRig(jobs=jobs, **policy)
        self.caller = self.rig.caller()
        return self.rig

    def begin(self, answer: bytes | None = None, *, target: bytes = b"/prompt", body: bytes = BODY) -> None:
        self.caller.send(post(body, target=target))
        self.rig.tell(assignment(WORKER, 7))
        self.rig.worker().read()
        self.rig.worker().send(answer or response(200, BEGUN))
        self.assertTrue(self.caller.read().startswith(b"HTTP/1.1 2"))

    def asked(self, request: bytes) -> bytes:
        """What the job's worker is asked. It answers."""
        self.caller.send(request)
        sent: bytes = self.rig.worker().read()
        self.rig.worker().send(response(200, b"{}"))
        self.assertTrue(self.caller.read().endswith(b"{}"))
        return sent.partition(b"\r\n")[0]


class PollTests(JobCase):
    def test_polls(self) -> None:
        """What names the job's id in its path or query goes to its worker, with the job's assignment."""
        rig = self.make()
        self.begin()
        for target in (b"/history/" + ID, b"/api/history/%b?x=1" % ID, b"/view?prompt_id=%b" % ID, b"/%b/a/b" % ID):
            join = b"&" if b"?" in target else b"?"
            self.assertEqual(self.asked(get(target)), b"GET %b%b%b HTTP/1.1" % (target, join, QUERY))
        self.assertEqual(rig.asked_for(), [])
        self.assertEqual(len(rig.wires(OTHER)), 0)
        self.assertEqual((rig.app.jobs.begun, rig.app.jobs.jobs[ID].requests), (1, 4))
        self.assertTrue(rig.idle)

    def test_by_field(self) -> None:
        """X-Vespa-Job ties a request that does not name the id, and does not reach the worker."""
        self.make()
        self.begin()
        line = self.asked(get(b"/view?filename=a.png", b"X-Vespa-Job: " + ID))
        self.assertEqual(line, b"GET /view?filename=a.png&%b HTTP/1.1" % QUERY)

    def test_unknown_by_field(self) -> None:
        """One that is not known is refused, and not sent to any worker."""
        for jobs, words in (("comfyui", b"begun elsewhere"), ("", b"--jobs is off")):
            rig = self.make(jobs)
            self.caller.send(get(b"/view", b"X-Vespa-Job: " + ID))
            said = self.caller.read()
            self.assertIn(b"unknown_job", said)
            self.assertIn(words, said)
            self.assertTrue(said.startswith(b"HTTP/1.1 410"))
            self.assertTrue(rig.idle)

    def test_others(self) -> None:
        """Everything else asks the autoscaler."""
        rig = self.make()
        self.begin()
        for target in (b"/history", b"/history/" + ID[:-1], b"/history/x" + ID, b"/?%b" % ID, b"/a?b=" + ID + b"x"):
            rig.caller().send(get(target))
            self.assertEqual(len(rig.asked_for()), 1, target)
            rig.tell(assignment(OTHER, 9))
            rig.worker(OTHER).send(response(200))

    def test_chosen_ids(self) -> None:
        """An id that a caller chose ties no request of another one to the job's worker, but by X-Vespa-Job it does."""
        for chosen, request in (
            (b"object_info", get(b"/object_info")),
            (b"completions", post(target=b"/v1/chat/completions")),
            (b"workflow", get(b"/view?type=workflow")),
            (b"a1b2c3d4", post(target=b"/prompt?client=a1b2c3d4")),
        ):
            rig = self.make()
            self.begin(response(200, BEGUN.replace(ID, chosen)))
            rig.caller().send(request)
            self.assertEqual((len(rig.asked_for()), rig.worker().read()), (1, b""), chosen)
            self.assertIn(b"GET /view?", self.asked(get(b"/view", b"X-Vespa-Job: " + chosen)))

    def test_two_jobs(self) -> None:
        """Each job has its own worker."""
        rig = self.make()
        self.begin()
        other = b"0" * 36
        caller = rig.caller()
        caller.send(post(BODY, target=b"/api/prompt"))
        rig.tell(assignment(OTHER, 8))
        rig.worker(OTHER).send(response(200, BEGUN.replace(ID, other)))
        caller.read()
        self.assertIn(ID, self.asked(get(b"/history/" + ID)))
        caller.send(get(b"/history/" + other))
        self.assertIn(b"serverless_request_idx=8&", rig.worker(OTHER).read())

    def test_wrapper(self) -> None:
        """Vast's wrapper names its jobs otherwise."""
        self.make("comfyui-wrapper")
        self.begin(response(202, b'{"id": "%b", "status": "queued"}' % ID), target=b"/generate")
        self.assertIn(b"GET /result/", self.asked(get(b"/result/" + ID)))

    def test_off(self) -> None:
        """Off, no response is read and each request asks the autoscaler."""
        rig = self.make("")
        self.assertIsNone(rig.proxy.response_reader)
        self.begin()
        self.caller.send(get(b"/history/" + ID))
        self.assertEqual(len(rig.asked_for()), 1)

    def test_in_a_session(self) -> None:
        """A request of a session stays with the session."""
        rig = self.make()
        self.begin()
        self.caller.send(get(b"/history/" + ID, b"X-Vespa-Session: a"))
        self.assertEqual(len(rig.asked_for()), 1)


class FailureTests(JobCase):
    def test_worker_is_gone(self) -> None:
        """If the worker cannot be reached, no other one is asked, which does not know the job."""
        rig = self.make()
        self.begin()
        rig.worker().lose(ConnectionLost())
        rig.refusing.add(WORKER)
        self.caller.send(get(b"/history/" + ID))
        rig.wires(WORKER)
        rig.advance(0.5)
        said = self.caller.read()
        self.assertTrue(said.startswith(b"HTTP/1.1 502"))
        self.assertIn(b"job_unreachable", said)
        self.assertEqual(rig.asked_for(), [])
        rig.refusing.clear()
        self.asked(get(b"/history/" + ID))

    def test_worker_is_busy(self) -> None:
        """A worker that has too many polls is asked again."""
        rig = self.make()
        self.begin()
        self.caller.send(get(b"/history/" + ID))
        rig.worker().read()
        rig.worker().send(response(429, b"", b"X-Vespa-Error: too_many_polls"))
        self.assertEqual(self.caller.read(), b"")
        rig.advance(2.0)
        self.assertIn(ID, rig.worker().read())
        rig.worker().send(response(200, b"ok"))
        self.assertTrue(self.caller.read().endswith(b"ok"))
        self.assertTrue(rig.idle)

    def test_caller_leaves(self) -> None:
        """A caller that leaves during the pause leaves nothing behind."""
        rig = self.make()
        self.begin()
        self.caller.send(get(b"/history/" + ID))
        rig.worker().read()
        rig.worker().send(response(429))
        self.caller.hang_up()
        rig.advance(3.0)
        self.assertEqual(rig.worker().read(), b"")
        self.assertTrue(rig.idle)


class BoundTests(JobCase):
    def given(self) -> Assignment:
        return Assignment("http://203.0.113.7:31000", 7, b"{}", {})

    def test_age(self) -> None:
        """A job that nobody asks for is forgotten after an hour."""
        rig = self.make()
        rig.app.jobs.begin(ID, self.given())
        rig.reactor.advance(JOB_SECONDS - 1)
        rig.caller().send(get(b"/history/" + ID))
        self.assertEqual(rig.asked_for(), [])
        rig.reactor.advance(JOB_SECONDS)
        rig.caller().send(get(b"/history/" + ID))
        self.assertEqual(len(rig.asked_for()), 1)
        self.assertEqual(dict(rig.app.jobs.jobs), {})

    def test_number(self) -> None:
        """There are so many at most; the one unused for longest is forgotten first."""
        jobs = self.make().app.jobs
        for number in range(JOBS_MAX + 5):
            jobs.begin(b"job-%08d" % number, self.given())
        self.assertEqual(len(jobs.jobs), JOBS_MAX)
        self.assertEqual(next(iter(jobs.jobs)), b"job-00000005")

    def test_long_targets(self) -> None:
        """Of a long path the last parts are looked at, of a long query the first."""
        self.make()
        self.begin()
        self.asked(get(b"/a" * 100 + b"/" + ID))
        self.asked(get(b"/?a=" + ID + b"&b=1" * 1000))


class ReaderTests(SynchronousTestCase):
    def read(self, *parts: bytes, head: bytes = b"", chunked: bool = False, member: str = "prompt_id") -> list[bytes]:
        framing = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: 1\r\n"
        parsed, _ = parse_response_head(b"HTTP/1.1 200 OK\r\n" + head + framing + b"\r\n")
        found: list[bytes] = []
        reader = job_reader(parsed, member, found.append, chunked=chunked)
        for part in parts:
            reader.read(part)
        self.assertFalse(reader.end())
        return found

    def test_whole_and_in_parts(self) -> None:
        """However the response comes, its id is found."""
        self.assertEqual(self.read(BEGUN), [ID])
        self.assertEqual(self.read(*(BEGUN[at : at + 1] for at in range(len(BEGUN)))), [ID])
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BEGUN), BEGUN)
        self.assertEqual(self.read(framed[:7], framed[7:], chunked=True), [ID])

    def test_coded(self) -> None:
        """A content coding is decoded, and an unknown one has no job."""
        self.assertEqual(self.read(gzip.compress(BEGUN), head=b"Content-Encoding: gzip\r\n"), [ID])
        self.assertEqual(self.read(BEGUN, head=b"content-encoding: br\r\n"), [])

    def test_none(self) -> None:
        """What has no usable id begins no job."""
        for body in (
            b"",
            b"[]",
            b"{}",
            b"{",
            b"[" * 60000,
            b'{"prompt_id": 5}',
            b'{"prompt_id": "short"}',
            b'{"prompt_id": "%b"}' % (b"x" * 129),
            b'{"prompt_id": "a/b/c/d/e"}',
            b'{"prompt_id": "\\ud800aaaaaaa"}',
            BEGUN + b" " * READ_MAX,
        ):
            self.assertEqual(self.read(body), [], body[:40])
        self.assertEqual(self.read(b"zz\r\n", chunked=True), [])

    @given(st.binary(max_size=60), st.booleans())
    def test_any_bytes(self, body: bytes, chunked: bool) -> None:
        """Nothing that a worker sends raises."""
        self.assertEqual(self.read(body, chunked=chunked), [])

    def test_number_of_reads(self) -> None:
        """A long response is not kept."""
        text = json.dumps({"prompt_id": ID.decode(), "x": "y" * READ_MAX}).encode()
        self.assertEqual(self.read(text[:1000], text[1000:]), [])
