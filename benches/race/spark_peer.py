"""Runs a query of the race on Spark Structured Streaming: spark_peer.py FOLDER QUERY OUTPUT ROUNDS CORES.

The JVM is warm from the second round on; CPU time is that of the whole JVM during the round."""
import json
import os
import shutil
import sys
import time

from pyspark.sql import SparkSession

from workload import COLUMNS


def cpu(pid):
    """User and system seconds of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as found:
        return [int(child) for child in found.read().split()]


def main():
    folder, query, output, rounds, cores = sys.argv[1:6]
    os.makedirs(output, exist_ok=True)
    spark = (SparkSession.builder.master(f"local[{cores}]")
             .config("spark.ui.enabled", "false").config("spark.driver.memory", "6g")
             .config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
             .config("spark.sql.shuffle.partitions", cores).config("spark.local.dir", os.path.join(output, "tmp"))
             .config("spark.sql.session.timeZone", "UTC")
             .config("spark.sql.streaming.stateStore.providerClass",
                     "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider")
             .getOrCreate())
    spark.sparkContext.setLogLevel("ERROR")
    root = spark.sparkContext._gateway.proc.pid
    jvms = [root] + children(root)
    with open(query, encoding="utf-8") as text:
        sql = text.read()
    for number in range(int(rounds)):
        result, checkpoint = os.path.join(output, f"rows-{number}"), os.path.join(output, f"checkpoint-{number}")
        for old in (result, checkpoint):
            shutil.rmtree(old, ignore_errors=True)
        for name in ("events", "orders"):
            # A file a trigger: the data in one batch, then the record that closes every window.
            stream = (spark.readStream.schema(COLUMNS).option("maxFilesPerTrigger", 1)
                      .json(os.path.join(folder, name)).withWatermark("event_time", "10 seconds"))
            stream.createOrReplaceTempView(name)
        began, before = time.monotonic(), sum(map(cpu, jvms))
        running = (spark.sql(sql).writeStream.outputMode("append").format("json").option("path", result)
                   .option("checkpointLocation", checkpoint).trigger(availableNow=True).start())
        running.awaitTermination()
        used, wall = sum(map(cpu, jvms)) - before, time.monotonic() - began
        peak = 0
        for pid in jvms:
            with open(f"/proc/{pid}/status", encoding="ascii") as status:
                peak += sum(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        print(json.dumps({"cpu": used, "wall": wall, "peak_mib": peak // 1024, "rows": result}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
