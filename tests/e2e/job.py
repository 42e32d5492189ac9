"""For the scripts of this folder: a job comes as JSON on standard input, its results go out as a JSON object a line.

{urls, requests: [{..., announce}]}: each request is sent to each of the URLs, in order.
"""

import argparse
import json
import sys


def read():
    """The job. Ends the script with a usage for --help, and with exit code 2 for what is no job."""
    about = sys.modules["__main__"].__doc__
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    try:
        return json.load(sys.stdin)
    except ValueError as error:
        parser.error(f"standard input has no job as JSON: {error}")


def run(send):
    """Do the job by `send(url, request)`; what that raises is a result as well."""
    job = read()
    for url in job["urls"]:
        for wanted in job["requests"]:
            try:
                result = send(url, wanted)
            except Exception as error:
                result = raised(error)
            print(json.dumps(result), flush=True)


def raised(error):
    """An exception as a result."""
    said: dict[str, object] = {"raised": type(error).__name__, "message": str(error)[:500]}
    if getattr(error, "status_code", None) is not None:
        said.update(status=error.status_code, error=getattr(error, "body", None))
    return said


def collect(pieces, wanted):
    """The pieces of a stream as a result. With `announce` a line `piece` is printed when the first has come."""
    texts: list[str] = []
    try:
        for text in pieces:
            if not texts and wanted.get("announce"):
                print("piece", flush=True)
            texts.append(text)
    except Exception as error:
        return {**raised(error), "pieces": len(texts)}
    return {"text": "".join(texts), "pieces": len(texts)}
