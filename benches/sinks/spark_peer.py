"""The sinks of Spark Structured Streaming: spark_peer.py NAME JSON, which is {"servers", "target", …}.

It does the same twice: the first time warms the JVM up. Then it prints `ready`, waits for a line, does it again and prints a line
of JSON: the CPU time of the JVM and of Python in that round, and the peak of both."""
import json
import os
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, date_format, from_json

import workload
from places import children, cpu, peak_mib

METRICS = ", ".join(["window_start TIMESTAMP", "window_end TIMESTAMP", "store_id STRING", "currency STRING",
                     *(f"{name} BIGINT" for name in workload.COUNTS)])
EVENTS = ", ".join(["event_time TIMESTAMP", *(f"{name} STRING" for name in workload.EVENT_TEXTS),
                    *(f"{name} BIGINT" for name in workload.EVENT_NUMBERS)])


def records(spark, told, topic):
    return (spark.readStream.format("kafka").option("kafka.bootstrap.servers", told["servers"]).option("subscribe", topic)
            .option("startingOffsets", "earliest").load())


def jdbc(spark, told, number):
    """Its JDBC writer only appends: every row is in the table, repeated keys too."""
    rows = (records(spark, told, "store_metrics").select(from_json(col("value").cast("string"), METRICS).alias("row"))
            .select("row.*"))
    url, table = told["target"], f"{told['table']}_{number}"

    def write(batch, _):
        (batch.write.format("jdbc").option("url", url).option("dbtable", table).option("user", "postgres")
         .option("driver", "org.postgresql.Driver").option("batchsize", 5_000).mode("append").save())

    return rows.writeStream.foreachBatch(write)


def parquet(spark, told, number):
    found = records(spark, told, "user_events")
    rows = found.select(from_json(col("value").cast("string"), EVENTS).alias("row"), col("partition").alias("_partition"),
                        col("offset").alias("_offset"), col("timestamp").alias("_timestamp"), col("key").alias("_key"),
                        col("value").alias("_raw")).select("row.*", "_partition", "_offset", "_timestamp", "_key", "_raw")
    rows = rows.withColumn("date", date_format("event_time", "yyyy-MM-dd")).withColumn("hour", date_format("event_time", "HH"))
    return (rows.writeStream.format("parquet").option("compression", "zstd").partitionBy("date", "hour")
            .option("path", f"{told['target']}-{number}"))


def main():
    name, told = sys.argv[1], json.loads(sys.argv[2])
    spark = (SparkSession.builder.master("local[2]").config("spark.jars", ",".join(told["jars"]))
             .config("spark.ui.enabled", "false").config("spark.driver.memory", "2g")
             .config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
             .config("spark.local.dir", told["scratch"]).config("spark.sql.session.timeZone", "UTC").getOrCreate())
    spark.sparkContext.setLogLevel("ERROR")
    jvm = spark.sparkContext._gateway.proc.pid
    every = [os.getpid(), jvm, *children(jvm)]
    for number in (1, 2):
        if number == 2:
            print("ready", flush=True)
            sys.stdin.readline()
        before = sum(map(cpu, every))
        sink = {"jdbc": jdbc, "parquet": parquet}[name](spark, told, number)
        running = (sink.option("checkpointLocation", f"{told['scratch']}/checkpoint-{number}").trigger(availableNow=True).start())
        running.awaitTermination()
        used = sum(map(cpu, every)) - before
    print(json.dumps({"cpu": used, "peak_mib": sum(map(peak_mib, every))}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
