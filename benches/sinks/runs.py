"""One run of a sink, Millrace's or a peer's: started, watched until its rows are there, and what it cost."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import places
import workload

HERE = os.path.dirname(os.path.abspath(__file__))
ROUND_MAX_S = 1_800
FORGET_MAX_S = 60
POLL_S = 0.05


def no_server():
    """What a server costs that there is not."""
    return 0.0


class Round:
    """What one run cost, its start included."""

    def __init__(self, rows, cpu, server, wall, peak):
        self.rows, self.cpu, self.server, self.wall, self.peak = rows, cpu, server, wall, peak


class Bench:
    """Program, cluster and scratch folder of all runs."""

    def __init__(self, program, cluster, scratch):
        from confluent_kafka.admin import AdminClient
        self.program, self.cluster, self.scratch = os.path.abspath(program), cluster, scratch
        self.count, self.node = 0, None
        # The broker goes before this does.
        self.admin = AdminClient({"bootstrap.servers": self.cluster.servers, "log_level": 0})
        self.pipelines = os.path.join(scratch, "pipelines")
        os.mkdir(self.pipelines)
        shutil.copy(places.ROOT / "pipelines" / "metrics.sql", self.pipelines)
        # Else the first role would, and its round be longer.
        topics = [self.program, "--data-dir", os.path.join(scratch, "topics"), "topics", "--bootstrap-servers", cluster.servers]
        subprocess.run([*topics, "--pipelines", self.pipelines], cwd=scratch, stdout=subprocess.DEVNULL, check=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.node:
            self.node.stop()

    def search_node(self):
        """The OpenSearch node, started when it is first asked for."""
        if self.node is None:
            self.node = places.Search(tempfile.mkdtemp(dir=self.scratch))
        return self.node

    def fill(self, topic, rows):
        from confluent_kafka import Producer
        # Idempotent, so that the topic has them in this order: the last row of a key is what must be there.
        told = {"bootstrap.servers": self.cluster.servers, "linger.ms": 20, "enable.idempotence": True, "log_level": 0}
        return workload.fill(Producer(told), topic, rows)

    def progress(self, group, topic, partitions):
        """A question: how many records of a topic the group is through with."""
        from confluent_kafka import Consumer, KafkaException, TopicPartition
        places_asked = [TopicPartition(topic, partition) for partition in range(partitions)]
        asker = Consumer({"bootstrap.servers": self.cluster.servers, "group.id": group, "log_level": 0})

        def ask():
            try:
                return sum(max(place.offset, 0) for place in asker.committed(places_asked, 10))
            except KafkaException:
                return 0
        return ask

    def forget(self, group):
        """The group's offsets go, so that it begins anew."""
        from confluent_kafka import KafkaError, KafkaException
        began = time.monotonic()
        while True:
            try:
                self.admin.delete_consumer_groups([group])[group].result()
                return
            except KafkaException as error:
                if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                    return
                # The broker has just started, or the last member has just left.
                if time.monotonic() - began > FORGET_MAX_S:
                    raise
                time.sleep(POLL_S)

    def millrace(self, arguments, settings, rows, done, server):
        """Runs a role until `done` says that as many rows are through, then asks it to end."""
        self.count += 1
        folder = os.path.join(self.scratch, f"millrace-{self.count}")
        os.mkdir(folder)
        with open(os.path.join(folder, "millrace.toml"), "w", encoding="utf-8") as out:
            out.write(settings)
        command = [self.program, "--data-dir", folder, "--config", os.path.join(folder, "millrace.toml"), *arguments,
                   "--bootstrap-servers", self.cluster.servers, "--pipelines", self.pipelines]
        before, began = server(), time.monotonic()
        with open(os.path.join(folder, "log"), "wb") as log:
            role = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            while done() < rows:
                if role.poll() is not None or time.monotonic() - began > ROUND_MAX_S:
                    with open(os.path.join(folder, "log"), encoding="utf-8", errors="replace") as log:
                        sys.exit(f"millrace {arguments[0]} failed:\n{log.read()[-4000:]}")
                time.sleep(POLL_S)
            wall = time.monotonic() - began
            used = Round(rows, places.cpu(role.pid), server() - before, wall, places.peak_mib(role.pid))
        finally:
            role.send_signal(signal.SIGINT)
            role.wait()
        return used

    def peer(self, command, rows, server, environment=None):
        """Runs a peer to its end. One that says `ready` has warmed up: what it did before does not count."""
        self.count += 1
        log_path = os.path.join(self.scratch, f"peer-{self.count}.log")
        with open(log_path, "wb") as log:
            peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                                    env={**os.environ, **(environment or {})})
        before, began, said = server(), time.monotonic(), None
        late = threading.Timer(ROUND_MAX_S, peer.kill)
        late.start()
        try:
            for line in peer.stdout:
                if line == "ready\n":
                    before, began = server(), time.monotonic()
                    peer.stdin.write("go\n")
                    peer.stdin.flush()
                elif line.startswith("{"):
                    said, wall, after = json.loads(line), time.monotonic() - began, server()
            ended = peer.wait()
        finally:
            late.cancel()
            peer.kill()
        if ended != 0 or said is None:
            with open(log_path, encoding="utf-8", errors="replace") as log:
                sys.exit(f"{command} failed:\n{log.read()[-4000:]}")
        return Round(rows, said["cpu"], after - before, wall, said["peak_mib"])

    def python_peer(self, name, rows, server, **told):
        told = {"servers": self.cluster.servers, "rows": rows, **told}
        return self.peer([sys.executable, os.path.join(HERE, "peers.py"), name, json.dumps(told)], rows, server)

    def spark_peer(self, name, rows, server, found, **told):
        home, jars = found
        told = {"servers": self.cluster.servers, "scratch": tempfile.mkdtemp(dir=self.scratch), "jars": jars, **told}
        modules = ":".join(map(str, sorted((home / "python" / "lib").glob("*.zip"))))
        environment = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "PYTHONPATH": modules,
                       "PYSPARK_PYTHON": sys.executable}
        command = [sys.executable, os.path.join(HERE, "spark_peer.py"), name, json.dumps(told)]
        return self.peer(command, rows, server, environment)
