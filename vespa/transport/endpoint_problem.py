"""What is wrong with an endpoint string, in one sentence that names the setting."""

from __future__ import annotations

from typing import Final

from OpenSSL import SSL, crypto

from vespa.transport import listen
from vespa.transport.certificates import CertificateError
from vespa.transport.endpoint_strings import port_of

PORT_MAX: Final = 65535


def endpoint_problem(reactor: object, endpoint: str, setting: str, example: str, files: str = "") -> str:
    """
    An error that only loading the endpoint and its certificate shows; or "".

    `setting` is the name of the setting that holds it, and `example` a right value. `files` are the settings that name
    the certificate's files, if it is not the endpoint itself.
    """
    try:
        listen.parse(reactor, endpoint)
    except CertificateError as error:
        return f"cannot listen on {'TLS' if files else endpoint}: {error}; {files or f'{setting} names'} the files"
    except OSError as error:
        return f"cannot listen on {setting}={endpoint!r}: {error.filename}: {error.strerror}"
    except (ValueError, TypeError, LookupError, SSL.Error, crypto.Error) as error:
        why = str(error) or type(error).__name__
        if isinstance(error, TypeError):
            why = "an argument is missing or unknown"
        elif why.startswith("invalid literal for int"):
            why = f"{why.rpartition(': ')[2]} must be a whole number"
        return f"cannot listen on {setting}={endpoint!r}: {why}; write it like {example}"
    if (port := port_of(endpoint)) is not None and port > PORT_MAX:
        return (
            f"cannot listen on {setting}={endpoint!r}: a port's number is {PORT_MAX} at most; write it like {example}"
        )
    return ""
