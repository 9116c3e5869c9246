"""Runs a query from Kafka to Kafka on Spark Structured Streaming: spark_kafka_peer.py SERVERS QUERY JARS OUTPUT ROUNDS CORES.

It reads `user_events`, writes topics `spark-1`, `spark-2` … and prints a line of JSON a round. Told to by
`cargo bench -p millrace --bench throughput`, which has filled the topic. The JVM is warm from the second round on; CPU time is
that of the whole JVM during the round. JARS holds Spark's Kafka connector, as `millrace cluster up` fetches it."""
import glob
import json
import os
import sys
import time

from pyspark.sql import SparkSession

from spark_peer import children, cpu

COLUMNS = "event_id STRING, event_time TIMESTAMP, category STRING, price_minor BIGINT"


def main():
    servers, query, jars, output, rounds, cores = sys.argv[1:7]
    os.makedirs(output, exist_ok=True)
    spark = (SparkSession.builder.master(f"local[{cores}]")
             .config("spark.jars", ",".join(glob.glob(os.path.join(jars, "*.jar"))))
             .config("spark.ui.enabled", "false").config("spark.driver.memory", "4g")
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
    for number in range(1, int(rounds) + 1):
        records = (spark.readStream.format("kafka").option("kafka.bootstrap.servers", servers)
                   .option("subscribe", "user_events").option("startingOffsets", "earliest").load())
        (records.selectExpr(f"from_json(CAST(value AS STRING), '{COLUMNS}') AS event").select("event.*")
         .withWatermark("event_time", "10 seconds").dropDuplicatesWithinWatermark(["event_id"])
         .createOrReplaceTempView("events"))
        began, before = time.monotonic(), sum(map(cpu, jvms))
        running = (spark.sql(sql).selectExpr("to_json(struct(*)) AS value").writeStream.outputMode("append").format("kafka")
                   .option("kafka.bootstrap.servers", servers).option("topic", f"spark-{number}")
                   .option("checkpointLocation", os.path.join(output, f"checkpoint-{number}"))
                   .trigger(availableNow=True).start())
        running.awaitTermination()
        used, wall = sum(map(cpu, jvms)) - before, time.monotonic() - began
        print(json.dumps({"cpu": used, "wall": wall}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
