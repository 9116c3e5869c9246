"""A real SMTP server for tests of alerts: wants STARTTLS and a password, and keeps each message as JSON in a folder. Usage:
FOLDER [PORT [SECONDS]]; started again on its folder, it has the same certificate and goes on counting."""

import email
import email.policy
import json
import pathlib
import ssl
import sys
import time

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

folder = pathlib.Path(sys.argv[1])
# Port 0 is any free one. It ends by itself after these seconds, if nobody ends it.
port, seconds = (int(sys.argv[at]) if len(sys.argv) > at else default for at, default in ((2, 0), (3, 120)))


class Keep:
    """Keeps what it is given; the first message is refused for now, so that it comes again."""

    def __init__(self):
        self.count = max((int(path.stem.split("-")[1]) for path in folder.glob("message-*.json")), default=0)

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        if self.count == 1:
            return "451 come again later"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
        kept = {
            "at": time.time(),
            "tls": session.ssl is not None,
            "to": envelope.rcpt_tos,
            "subject": message["subject"],
            "id": message["message-id"],
            "parts": parts,
            "defects": [str(defect) for part in message.walk() for defect in part.defects],
        }
        unfinished = folder / "unfinished"
        unfinished.write_text(json.dumps(kept))
        unfinished.rename(folder / f"message-{self.count}.json")
        return "250 kept"


def log_in(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and data.login == b"millrace" and data.password == b"correct horse"
    # Not handled: the server itself says 535.
    return AuthResult(success=right, handled=right)


if (folder / "ca.key").exists():
    authority = trustme.CA.from_pem((folder / "ca.pem").read_bytes(), (folder / "ca.key").read_bytes())
else:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.private_key_pem.write_to_path(folder / "ca.key")
certificate = authority.issue_cert("127.0.0.1")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
certificate.configure_cert(context)
controller = Controller(
    Keep(),
    hostname="127.0.0.1",
    port=0,
    tls_context=context,
    require_starttls=True,
    auth_required=True,
    authenticator=log_in,
    ready_timeout=30,
)
# Any free port is one the controller's own check of itself does not know: the server is made directly.
controller.loop.set_exception_handler(lambda loop, context: None)
server = controller.loop.run_until_complete(
    controller.loop.create_server(controller._factory_invoker, host="127.0.0.1", port=port)
)
(folder / "port.unfinished").write_text(str(server.sockets[0].getsockname()[1]))
(folder / "port.unfinished").rename(folder / "port")


async def until_told():
    import asyncio

    end = time.monotonic() + seconds
    while not (folder / "stop").exists() and time.monotonic() < end:
        await asyncio.sleep(0.1)


controller.loop.run_until_complete(until_told())
