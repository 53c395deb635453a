"""Prints the webhooks that come: `python -m examples.reports.receiver [PORT]`; 9000 unless said."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Receiver(BaseHTTPRequestHandler):
    """Answers every POST with 204. A real one checks `webhook-signature` first, and knows `webhook-id` again."""

    def do_POST(self) -> None:
        """Print the message and what it was signed with."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        print(self.headers.get("webhook-id"), body.decode(), self.headers.get("webhook-signature"), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002  # its word
        """Say nothing else."""


def main() -> None:
    """Listen on this machine until stopped."""
    HTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9000), Receiver).serve_forever()


if __name__ == "__main__":
    main()
