"""Records Spark's answers: for each expression of the text files here, its type and its value as text, or its error.

Spaces at the end of a value are shown as `␠`. A line `expression` (or `aggregate @ rows of VALUES`) gets a line below it: `= type: value` or `! ERROR_CLASS`. A line that
begins with `~` is our own answer where it differs on purpose, with the reason; it is kept. Spark runs in local mode, ANSI
mode on (its default) and the session's time zone UTC.

    PYTHONPATH=<pyspark 4.2.0>:<py4j> python3 record.py arrays.txt …
"""

import re
import sys

from pyspark.sql import SparkSession


def answer(spark, line):
    expression, _, rows = line.partition(" @ ")
    columns = "t(x, y)" if re.search(r"\by\b", expression) else "t(x)"
    source = f" FROM VALUES {rows} AS {columns}" if rows else ""
    query = f"SELECT typeof(r), CAST(r AS STRING) FROM (SELECT {expression} AS r{source})"
    try:
        of, value = spark.sql(query).collect()[0]
        shown = "NULL" if value is None else value
        kept = shown.rstrip(" ")
        return f"= {of}: {kept}{'␠' * (len(shown) - len(kept))}".rstrip()
    except Exception as error:  # Py4J and analysis errors alike
        found = re.search(r"\[([A-Z0-9_.]+)\]", str(error))
        return f"! {found.group(1) if found else type(error).__name__}"


def main():
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.driver.memory": "1g",
    }
    builder = SparkSession.builder.master("local[1]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        with open(path, "w", encoding="utf-8") as file:
            for line in lines:
                if line[:2] in ("= ", "! "):
                    continue
                file.write(line + "\n")
                if line and line[0] not in "#~":
                    file.write(answer(spark, line) + "\n")
    spark.stop()


main()
