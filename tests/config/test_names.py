"""An unknown name gets a hint with the nearest known name."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.names import did_you_mean, unknown_variables, variables


class NameTests(SynchronousTestCase):
    def test_variables(self) -> None:
        """The variables of every command and script are known, by their older names too."""
        known = variables()
        for name in ("VESPA_BACKEND_URL", "WORKER_PORT", "VAST_API_KEY", "VESPA_CLIENT_PORT", "VESPA_VENV"):
            self.assertIn(name, known)

    def test_unknown(self) -> None:
        """An unknown variable near a known one gets a hint; with the command's own prefix, each unknown one does."""
        environ = dict.fromkeys(["VESPA_MAX_QUEU", "VESPA_XYZZY", "VESPA_CLIENT_XYZZY", "VAST_X", "VESPA_TIMEOUT"], "1")
        near = "VESPA_MAX_QUEU is not a setting; did you mean VESPA_MAX_QUEUE?"
        far = "VESPA_CLIENT_XYZZY is not a setting"
        self.assertEqual(unknown_variables(environ, "VESPA_CLIENT_"), [far, near])
        self.assertEqual(unknown_variables(environ, "VESPA_"), [far, near, "VESPA_XYZZY is not a setting"])
        self.assertEqual(unknown_variables({}, "VESPA_"), [])

    def test_vasts(self) -> None:
        """A variable near one of Vast's that we read gets a hint; variables that Vast sets get none."""
        self.assertEqual(
            unknown_variables({"VAST_API_KYE": "k"}, "VESPA_"),
            ["VAST_API_KYE is not a setting; did you mean VAST_API_KEY?"],
        )
        others = ("VAST_CONTAINERLABEL", "VAST_TCP_PORT_22", "VAST_UDP_PORT_70000", "VAST_DEVICE_IDXS")
        self.assertEqual(unknown_variables(dict.fromkeys(others, "1"), "VESPA_"), [])

    def test_meant(self) -> None:
        """The hint suggests the nearest name, and none that is far."""
        self.assertEqual(did_you_mean("--prot", ["--port", "--host"]), "; did you mean --port?")
        self.assertEqual(did_you_mean("--allow_host", ["--allow-host", "--host"]), "; did you mean --allow-host?")
        self.assertEqual(did_you_mean("--fly", ["--port", "--host"]), "")
