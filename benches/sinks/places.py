"""Where sinks read and write: a Kafka broker and PostgreSQL 15 of `millrace cluster`, an OpenSearch node; and what they cost."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SEARCH_SOURCES = ROOT / "crates" / "millrace-connectors" / "src" / "testing"
TICKS = os.sysconf("SC_CLK_TCK")
START_MAX_S = 180
SEARCH_LOGGING = """status = error
appender.err.type = Console
appender.err.name = err
appender.err.target = SYSTEM_ERR
appender.err.layout.type = PatternLayout
appender.err.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.err.ref = err
"""


def cpu(pid, with_ended=False):
    """User and system seconds of a process so far, and of its children that have ended."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:15 if with_ended else 13]) / TICKS


def peak_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return sum(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as found:
        return [int(child) for child in found.read().split()]


class Cluster:
    """A broker and PostgreSQL, as long as the `with` block."""

    def __init__(self, program, scratch):
        # PostgreSQL runs as a user of its own if we are root, who must get to its files.
        os.chmod(scratch, 0o711)
        self.folder = os.path.join(scratch, "cluster")
        self.command = [os.path.abspath(program), "--data-dir", self.folder, "cluster"]

    def __enter__(self):
        up = [*self.command, "up", "--brokers", "1", "--spark", "none", "--free-ports"]
        done = subprocess.run(up, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            self.__exit__()
            raise SystemExit(f"no cluster:\n{done.stdout}")
        with open(os.path.join(self.folder, "cluster", "cluster.json"), encoding="utf-8") as found:
            nodes = {node["name"]: node for node in json.load(found)["nodes"]}
        self.servers = nodes["kafka-1"]["urls"]["kafka"]
        self.postgres = nodes["postgres"]["urls"]["postgres"]
        self.postmaster = nodes["postgres"]["process"]["pid"]
        return self

    def __exit__(self, *_):
        # Asked to end, we end after them.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.run([*self.command, "down"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)

    def database_cpu(self):
        """Of all processes of PostgreSQL: those that ended are in the postmaster's account."""
        return cpu(self.postmaster, with_ended=True) + sum(map(cpu_or_none, children(self.postmaster)))


def cpu_or_none(pid):
    try:
        return cpu(pid)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


class Search:
    """One OpenSearch node, as the tests of the search sink start it, until `stop`."""

    def __init__(self, folder):
        jars = search_jars()
        home = pathlib.Path(folder) / "home"
        home.mkdir(parents=True)
        java = ["java", "-Xms1g", "-Xmx1g", f"-Dlog4j2.configurationFile={jars / 'log4j2.properties'}", "-Dlog4j2.disable.jmx=true",
                "-Dlog4j.shutdownHookEnabled=false", "-Dio.netty.noUnsafe=true", "-Dio.netty.noKeySetOptimization=true",
                "-Dopensearch.set.netty.runtime.available.processors=false", "-cp", f"{jars / 'classes'}:{jars / 'libs' / '*'}",
                "SearchNode", str(home), "0"]
        log = pathlib.Path(folder) / "log"
        with open(log, "wb") as out:
            self.server = subprocess.Popen(java, cwd=folder, stdout=subprocess.DEVNULL, stderr=out)
        ready, began = home / "http.port", time.monotonic()
        while not ready.exists():
            if self.server.poll() is not None or time.monotonic() - began > START_MAX_S:
                self.server.kill()
                raise SystemExit(f"OpenSearch does not start:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.1)
        self.url = f"http://127.0.0.1:{ready.read_text().strip()}"

    def cpu(self):
        return cpu(self.server.pid)

    def stop(self):
        self.server.terminate()
        self.server.wait()


def cache():
    """Where the tests and `millrace cluster` keep what they fetched."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return pathlib.Path(base) if os.path.isabs(base) else pathlib.Path.home() / ".cache"


def search_jars():
    """The folder of jars and the compiled node, filled once, by this or by a test."""
    folder = cache() / "millrace-tests" / "search-2.19.1"
    if (folder / "complete").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = pathlib.Path(tempfile.mkdtemp(dir=folder.parent))
    shutil.copy(SEARCH_SOURCES / "search-pom.xml", made / "pom.xml")
    shutil.copy(SEARCH_SOURCES / "SearchNode.java", made)
    (made / "log4j2.properties").write_text(SEARCH_LOGGING)
    jars = ["mvn", "-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=libs"]
    subprocess.run(jars, cwd=made, check=True)
    subprocess.run(["javac", "-nowarn", "-proc:none", "-cp", "libs/*", "-d", "classes", "SearchNode.java"], cwd=made, check=True)
    (made / "complete").touch()
    shutil.rmtree(folder, ignore_errors=True)
    made.rename(folder)
    return folder


def search_missing():
    """Why OpenSearch cannot be started, or none."""
    needed = ["java"] if (cache() / "millrace-tests" / "search-2.19.1" / "complete").exists() else ["java", "javac", "mvn"]
    missing = [program for program in needed if shutil.which(program) is None]
    return f"{' and '.join(missing)} not installed (apt-get install openjdk-17-jdk-headless maven)" if missing else None


def spark():
    """Spark's folder and its extra jars, as `millrace cluster up` fetches them; or why there is none."""
    folder = cache() / "millrace" / "cluster" / "spark"
    home = sorted(folder.glob("venv/lib/python3*/site-packages/pyspark"))
    jars = sorted(str(jar) for jar in (folder / "jars").glob("*.jar"))
    if shutil.which("java") is None or not home or not jars:
        return None, "not fetched yet (`millrace cluster up` once, then `millrace cluster down`)"
    return (home[0], jars), None
