"""Says by its exit status whether the service in this container takes pictures; for HEALTHCHECK and probes."""

import http.client
import os
import sys


def main() -> int:
    """Ask the service, past any proxy; return 0 when it is ready."""
    port = int(os.environ.get("PHOTOCHROM_PORT", "8000"))
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
        connection.request("GET", "/health/ready")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"port {port}: {error}\n")
        return 1
    if status != http.HTTPStatus.OK:
        sys.stderr.write(f"port {port}: /health/ready answers {status}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
