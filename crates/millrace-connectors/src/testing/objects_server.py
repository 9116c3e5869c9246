"""An S3 server for tests: moto's, which keeps objects in memory. What changes them is written to a file before it is done, one
after another, and done again from there at the next start: so killing it loses nothing that was answered. Usage: PORT FILE."""

import io
import pickle
import struct
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple


class Kept:
    """The application, with a file of what has changed its objects: length, then request and body."""

    def __init__(self, application, path):
        self.application, self.lock, self.file = application, threading.Lock(), open(path, "a+b")
        self.file.seek(0)
        whole = 0
        while len(head := self.file.read(8)) == 8:
            (length,) = struct.unpack(">Q", head)
            entry = self.file.read(length)
            if len(entry) < length:
                break
            self.do(*pickle.loads(entry), lambda status, headers, exc_info=None: None)
            whole = self.file.tell()
        # The end of a file may be half an entry, which was never answered.
        self.file.truncate(whole)

    def __call__(self, environ, start_response):
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self.application(environ, start_response)
        chunked = environ.get("wsgi.input_terminated")
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(-1 if chunked else length)
        if not chunked and len(body) < length:
            # Who sent it died meanwhile: S3 keeps no part of it.
            start_response("400 IncompleteBody", [("Content-Length", "0")])
            return []
        request = {name: value for name, value in environ.items() if isinstance(value, (str, dict))}
        request.pop("HTTP_TRANSFER_ENCODING", None)
        request["CONTENT_LENGTH"] = str(len(body))
        entry = pickle.dumps((request, body))
        with self.lock:
            self.file.write(struct.pack(">Q", len(entry)) + entry)
            self.file.flush()
            return self.do(request, body, start_response)

    def do(self, request, body, start_response):
        environ = request | {
            "wsgi.version": (1, 0),
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        answer = self.application(environ, start_response)
        try:
            return list(answer)
        finally:
            getattr(answer, "close", lambda: None)()


application = Kept(DomainDispatcherApplication(create_backend_app), sys.argv[2])
run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=MotoRequestHandler)
