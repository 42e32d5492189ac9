"""Laws of the launch: what truly fails is reported once, what was asked to stop is not."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import MutableMapping

from twisted.trial.unittest import SynchronousTestCase

from tests.config.test_worker_reading import ON_VAST
from tests.worker.blocking_server import Response, serve
from vespa.worker import launch as launch_module
from vespa.worker.launch import (
    NEEDED,
    TOLD,
    Launch,
    cause,
    is_installed,
    launch,
    main,
    missing_packages,
    production_defaults,
)


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


class LaunchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.output = io.BytesIO()
        self.runner = Launch(self.output)
        self.reports: list[str] = []

    def launch(self, *commands: tuple[str, ...]) -> int:
        def report(environ: MutableMapping[str, str], message: str) -> bool:
            self.reports.append(message)
            return True

        return launch({}, self.runner, report, [(f"step {n}", command) for n, command in enumerate(commands)])

    def test_good(self) -> None:
        """Steps that end well are run in order, and nothing is reported."""
        self.assertEqual(self.launch(python("print('one')"), python("print('two')")), 0)
        self.assertEqual((self.output.getvalue(), self.reports), (b"one\ntwo\n", []))

    def test_failure(self) -> None:
        """The first step that fails is the last; its name, its code and the last of what it said are reported once."""
        code = self.launch(python("for i in range(99): print('line', i)\nraise SystemExit('the cause')"), python("1/0"))
        self.assertEqual(code, 1)
        (message,) = self.reports
        self.assertTrue(message.startswith("step 0 ended with exit code 1: line "))
        self.assertTrue(message.endswith("line 98\nthe cause"))
        self.assertNotIn("line 10\n", message)

    def test_cause(self) -> None:
        """If the step itself says why it ends, only that is reported."""
        for said, told in (
            (
                "2026-01-01 info [a] b\n2026-01-01 critical [vespa.tap] cannot listen on x\n2026 info [a] end",
                "cannot listen on x",
            ),
            (
                '{"level": "info", "message": "a"}\n{"level": "critical", "message": "cannot listen on \\u00e4"}\n'
                '{"level": "info", "message": "end"}',
                "cannot listen on \u00e4",
            ),
            (
                "error: 2 mistakes in the settings:\n  A is bad\n  B is bad",
                "2 mistakes in the settings:\n  A is bad\n  B is bad",
            ),
        ):
            self.reports.clear()
            self.assertEqual(self.launch(python(f"print({said!r})\nraise SystemExit(1)")), 1)
            self.assertEqual(self.reports, [told])

    def test_told(self) -> None:
        """An error that the worker has already reported is not reported again."""
        said = f"critical [vespa.tap] cannot listen on x\ninfo [a] {TOLD}"
        self.assertEqual(self.launch(python(f"print({said!r})\nraise SystemExit(1)")), 1)
        self.assertEqual(self.reports, [])

    def test_killed(self) -> None:
        """A step that something killed is a failure, and is said to have been killed."""
        code = self.launch(python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
        self.assertEqual(code, 137)
        self.assertIn("killed by SIGKILL", self.reports[0])

    def test_stopped(self) -> None:
        """An end by a signal that we passed on is no failure; its exit code is ours."""

        class Output(io.BytesIO):
            def flush(self) -> None:
                stopping.signalled(signal.SIGTERM, None)

        stopping = self.runner = Launch(Output())
        waits = "import sys, time; print('up', flush=True); time.sleep(60)"
        self.assertEqual(self.launch(python(waits), python("1/0")), 143)
        self.assertEqual(self.reports, [])

    def test_passed_on(self) -> None:
        """SIGUSR2 reaches the step that runs, ends none that does not handle it, and stops nothing."""

        class Output(io.BytesIO):
            def flush(self) -> None:
                if self.getvalue().endswith(b"up\n"):
                    runner.pass_on(signal.SIGUSR2, None)

        output = Output()
        runner = self.runner = Launch(output)
        handles = (
            "import os, signal; signal.signal(signal.SIGUSR2, lambda *_: (print('got it', flush=True), os._exit(0)))\n"
            "print('up', flush=True)\n"
            "while True: signal.pause()"
        )
        ignores = "import signal; print(signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN)"
        self.assertEqual(self.launch(python(handles), python(ignores)), 0)
        self.assertEqual((output.getvalue(), runner.stopped), (b"up\ngot it\nTrue\n", False))

    def test_stopped_before(self) -> None:
        """After a signal nothing more is started."""
        self.runner.signalled(signal.SIGTERM, None)
        self.assertEqual(self.launch(python("print('never')")), 0)
        self.assertEqual(self.output.getvalue(), b"")

    def test_nobody_reads(self) -> None:
        """A log that nobody reads does not stop the worker."""

        class Output(io.BytesIO):
            def write(self, data: object) -> int:
                raise BrokenPipeError

        self.runner = Launch(Output())
        self.assertEqual(self.launch(python("print('x' * 1000000)")), 0)


class DefaultsTests(SynchronousTestCase):
    def test_tls_on_vast(self) -> None:
        """On Vast TLS is on unless a variable says otherwise; elsewhere nothing is changed."""
        for before, after in (
            ({"CONTAINER_ID": "1"}, {"CONTAINER_ID": "1", "VESPA_USE_SSL": "true"}),
            ({"CONTAINER_ID": "1", "USE_SSL": "false"},) * 2,
            ({"CONTAINER_ID": "1", "VESPA_USE_SSL": "false"},) * 2,
            ({}, {}),
        ):
            environ = dict(before)
            production_defaults(environ)
            self.assertEqual(environ, after)


class CauseTests(SynchronousTestCase):
    def test_cut_line(self) -> None:
        """A line of JSON that was too long to be kept whole is the reason as it stands."""
        cut = '{"level": "critical", "message": "cannot lis'
        self.assertEqual(cause(["info", cut]), cut)

    def test_none(self) -> None:
        """A log without a reason has none."""
        self.assertEqual(cause(["2026 info [a] b", "  indented", '{"level": "info", "message": "a"}']), "")


class PackagesTests(SynchronousTestCase):
    def test_all_there(self) -> None:
        """Where all packages can be imported, nothing is said."""
        self.assertEqual(missing_packages(), "")

    def test_missing(self) -> None:
        """The sentence names this Python, each package that is missing, and the command that installs them."""
        said = missing_packages(lambda name: name not in ("treq", "attrs"))
        self.assertIn(f"{sys.executable} lacks the packages treq, attrs: run {sys.executable} -m pip install -r ", said)
        path = said.partition("pip install -r ")[2].partition(",")[0]
        self.assertEqual(os.path.basename(path), "requirements.txt")
        self.assertTrue(os.path.exists(path))
        self.assertIn("lacks the package attrs:", missing_packages(lambda name: name != "attrs"))

    def test_needed(self) -> None:
        """What is looked for can be found; a folder without a package is none."""
        self.assertEqual([name for name in NEEDED if not is_installed(name)], [])
        self.assertFalse(is_installed("no_such_package"))

    def test_main(self) -> None:
        """A worker with a broken installation, or with arguments, does not start: it says why, and reports it."""
        told: list[bytes] = []

        def respond(target: str, content: bytes) -> Response:
            told.append(content)
            return 200, b"", {}

        errors = io.StringIO()
        self.patch(launch_module, "missing_packages", lambda: "this Python lacks the package treq")
        self.patch(os, "environ", {**ON_VAST, "REPORT_ADDR": serve(self, respond)})
        self.patch(sys, "stderr", errors)
        self.assertEqual(main([]), 1)
        self.assertEqual(errors.getvalue(), "error: this Python lacks the package treq\n")
        self.assertEqual(len(told), 1)
        self.assertIn(b"this Python lacks the package treq", told[0])
        self.assertEqual(main(["--key", "abc"]), 2)
        said = "2 arguments given, but all settings are environment variables"
        self.assertIn(f"usage: python -m worker [-h]\nerror: {said}\n", errors.getvalue())
        self.assertIn(said.encode(), told[1])
        self.assertNotIn(b"abc", told[1])
