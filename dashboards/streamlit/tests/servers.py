"""Servers of one's own for tests: PostgreSQL 15, Millrace, Streamlit. On loopback, on free ports, ended by process id."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psycopg

PROJECT = Path(__file__).parents[1]
# Where Debian's package postgresql-15 puts the server.
BINARIES = Path("/usr/lib/postgresql/15/bin")
START_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 30.0


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(what: str, process: subprocess.Popen[bytes], log: Path, ready: Any) -> None:
    """Waits until it is ready; what it said otherwise is the error."""
    until = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < until and process.poll() is None:
        if ready():
            return
        time.sleep(0.1)
    raise RuntimeError(f"{what} did not start within {START_SECONDS_MAX:.0f} s:\n{log.read_text(errors='replace')}")


def stop(process: subprocess.Popen[bytes], sign: int = signal.SIGTERM) -> None:
    """Asks it to end, then makes it."""
    if process.poll() is None:
        process.send_signal(sign)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Postgres:
    """A cluster in a temporary folder. As root it runs as user `postgres`, since the server refuses root."""

    def __init__(self) -> None:
        if not (BINARIES / "postgres").exists():
            raise RuntimeError(f"{BINARIES}/postgres is missing; apt-get install postgresql-15")
        self.folder = Path(tempfile.mkdtemp(prefix="millrace-st-pg-"))
        self.user: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self.user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self.data, self.log = self.folder / "data", self.folder / "log"
        made = [
            BINARIES / "initdb",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
            "--username=postgres",
        ]
        subprocess.run([*made, "-D", self.data], check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self.user)
        self.port = free_port()
        self.resume()

    def resume(self) -> None:
        """Starts the server on its data."""
        settings = ["listen_addresses=127.0.0.1", f"port={self.port}", "fsync=off", "max_connections=60"]
        command: list[Any] = [BINARIES / "postgres", "-D", self.data, "-k", self.folder]
        for setting in settings:
            command += ["-c", setting]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, cwd=self.folder, **self.user)
        wait("PostgreSQL", self.process, self.log, self._answers)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=3).close()
        except psycopg.Error:
            return False
        return True

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Makes an empty database and gives its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def halt(self) -> None:
        """Stops the server at once, as a crash would; its data stays for `resume`."""
        stop(self.process, signal.SIGQUIT)

    def close(self) -> None:
        """Stops the server and removes its folder."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)


class Millrace:
    """The product with its simulated shop, in a folder of its own."""

    def __init__(self, binary: str, folder: Path, store: str | None) -> None:
        self.data_dir, self.log = folder / "data", folder / "millrace.log"
        command = [
            binary,
            "up",
            "--data-dir",
            str(self.data_dir),
            "--listen",
            "127.0.0.1:0",
            "--kafka-listen",
            "127.0.0.1:0",
        ]
        command += ["--rate", "60", "--history", "45m", *(["--store", store] if store else [])]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=clean)
        wait("Millrace", self.process, self.log, (self.data_dir / "running.json").exists)

    def close(self) -> None:
        """Ends it as Ctrl-C does."""
        stop(self.process, signal.SIGINT)


class Streamlit:
    """The page on a free port."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.port, self.log = free_port(), folder / "streamlit.log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port)]
        command += ["--server.fileWatcherType", "none"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=PROJECT, env=clean | environment)
        wait("Streamlit", self.process, self.log, self._answers)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url()}_stcore/health", timeout=3) as answer:
                return answer.status == 200
        except OSError:
            return False

    def url(self, page: str = "") -> str:
        """The address of a page."""
        return f"http://127.0.0.1:{self.port}/{page}"

    def close(self) -> None:
        """Ends it."""
        stop(self.process)
