"""A setting names an engine that Vespa knows, or a function of the user's."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.engines.choice import imported, job_kind, stopper
from vespa.engines.comfyui import ComfyUI
from vespa.engines.comfyui_wrapper import ComfyUIWrapper
from vespa.engines.sglang import SGLang
from vespa.engines.user_functions import UserAbort, UserJobs


class Choice(SynchronousTestCase):
    def test_known(self) -> None:
        """Each name is its engine."""
        for name, kind in (("comfyui", ComfyUI), ("comfyui-wrapper", ComfyUIWrapper), ("sglang", SGLang)):
            self.assertIsInstance(stopper(name), kind)
        self.assertIsInstance(job_kind("comfyui"), ComfyUI)
        self.assertIsInstance(job_kind("comfyui-wrapper"), ComfyUIWrapper)

    def test_functions(self) -> None:
        """A place is imported, in a module or in a file."""
        self.assertIsInstance(stopper("os.path:join"), UserAbort)
        self.assertIsInstance(job_kind("os.path:join"), UserJobs)
        path = self.mktemp() + ".py"
        with open(path, "w") as file:
            file.write("def abort(request, ask): pass\nname = 7\n")
        self.assertTrue(callable(imported(f"{path}:abort")))
        for place, why in (
            (f"{path}:nothing", "has no nothing"),
            (f"{path}:name", "is not a function"),
            ("/nowhere.py:f", "there is no file /nowhere.py"),
            ("no.such.module:f", "No module named 'no'"),
            (
                "no_such:f",
                "there is no module no_such among the installed ones: name its file instead, such as ./no_such.py:f",
            ),
        ):
            self.assertIn(why, str(self.assertRaises(ValueError, imported, place)))

    def test_failing_file(self) -> None:
        """What a file does wrong itself is said as it is: it is neither a missing function nor an end of the worker."""
        for code, why in (
            ("import os\nos.nothing\n", "AttributeError: module 'os' has no attribute 'nothing'"),
            ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
        ):
            path = self.mktemp() + ".py"
            with open(path, "w") as file:
                file.write(code)
            error = self.assertRaises(ValueError, imported, f"{path}:abort")
            self.assertEqual(str(error), f"{path} cannot be imported: {why}")
