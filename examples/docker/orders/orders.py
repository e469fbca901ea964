"""A tiny service: every request is an order, which Redis counts. It knows nothing of a mesh."""

import json
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ["VERSION"]
REDIS = ("redis", 6379)


def next_number():
    """Redis's answer to INCR is `:`, a number and the end of the line."""
    with socket.create_connection(REDIS, timeout=5) as redis:
        redis.sendall(b"INCR orders\r\n")
        with redis.makefile("rb") as answer:
            return int(answer.readline()[1:])


class Orders(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            status, answer = 200, {"order": next_number(), "version": VERSION}
        except OSError as error:
            status, answer = 503, {"error": f"Redis: {error}", "version": VERSION}
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("", 8080), Orders)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
