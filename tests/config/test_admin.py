"""The rule for the admin port, at the worker and at the client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.client_reading import read as read_client
from vespa.config.commands import CLIENT
from vespa.config.reader import SettingsError
from vespa.config.worker_reading import read as read_worker

WORKER = {"VESPA_BACKEND_URL": "http://localhost:8000", "VESPA_UNSECURED": "true"}
CLIENT_ENOUGH = {"VAST_ENDPOINT": "chat", "VAST_API_KEY": "a-key"}
LOCAL = ("tcp:9464:interface=127.0.0.1", "tcp:1:127.0.0.1", r"tcp6:1:interface=\:\:1", "unix:/run/x.sock", "off", "OFF")
OPEN = ("tcp:9464", "tcp:9464:interface=0.0.0.0", "ssl:9464:privateKey=/a", "systemd:domain=INET:index=0")


def worker_problem(**environ: str) -> str:
    """What is wrong with a worker's settings; "" if nothing is."""
    error = read_worker({**WORKER, **environ}, read_text=lambda path: "t0ken").error
    return "" if error is None else "; ".join(error.problems)


def client_problem(*arguments: str, **environ: str) -> str:
    """What is wrong with a client's options; "" if nothing is."""
    try:
        read_client(CLIENT.parse(arguments), {**CLIENT_ENOUGH, **environ})
    except SettingsError as error:
        return "; ".join(error.problems)
    return ""


class AdminTests(SynchronousTestCase):
    def test_local(self) -> None:
        """A port that only this machine can reach needs no token, nor does none."""
        for endpoint in LOCAL:
            self.assertEqual(worker_problem(VESPA_ADMIN_LISTEN=endpoint), "", endpoint)
            self.assertEqual(client_problem(f"--admin-listen={endpoint}"), "", endpoint)

    def test_open(self) -> None:
        """Any other needs one: the message says what and how."""
        for endpoint in OPEN:
            problem = worker_problem(VESPA_ADMIN_LISTEN=endpoint)
            self.assertIn(f"VESPA_ADMIN_LISTEN={endpoint!r}: other machines could read it", problem)
            self.assertIn("set VESPA_ADMIN_TOKEN as well", problem)
            problem = client_problem(f"--admin-listen={endpoint}")
            self.assertIn(f"--admin-listen={endpoint!r}: other machines could read it", problem)
            self.assertIn("set VESPA_CLIENT_ADMIN_TOKEN as well", problem)

    def test_with_a_token(self) -> None:
        """With a token it may be open: in a variable, an option, or a file."""
        for endpoint in OPEN:
            self.assertEqual(worker_problem(VESPA_ADMIN_LISTEN=endpoint, VESPA_ADMIN_TOKEN="t0ken"), "")
            self.assertEqual(worker_problem(VESPA_ADMIN_LISTEN=endpoint, VESPA_ADMIN_TOKEN_FILE="/run/token"), "")
            self.assertEqual(client_problem(f"--admin-listen={endpoint}", "--admin-token=t0ken"), "")

    def test_one_mistake(self) -> None:
        """A token that is wrong is one mistake, not two."""
        problem = worker_problem(VESPA_ADMIN_LISTEN="tcp:9464", VESPA_ADMIN_TOKEN="two words")
        self.assertIn("VESPA_ADMIN_TOKEN=(hidden)", problem)
        self.assertNotIn("VESPA_ADMIN_LISTEN", problem)

    def test_no_endpoint(self) -> None:
        """A bare port or address is no endpoint string: the message shows one."""
        for raw in ("9464", "127.0.0.1", "on"):
            self.assertIn("such as tcp:9464:interface=127.0.0.1", worker_problem(VESPA_ADMIN_LISTEN=raw))
