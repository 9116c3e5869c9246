// Runs a query of the race on Flink SQL: java -cp 'JARS/*' FlinkPeer.java FOLDER QUERY OUTPUT ROUNDS CORES COLUMNS.
// The JVM is warm from the second round on; CPU time is that of the whole JVM during the round.
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

public class FlinkPeer {
  static double cpu() {
    var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    return system.getProcessCpuTime() / 1e9;
  }

  static long peakMib() throws Exception {
    try (var lines = Files.lines(Path.of("/proc/self/status"))) {
      return lines.filter(line -> line.startsWith("VmHWM")).mapToLong(line -> Long.parseLong(line.replaceAll("\\D", ""))).sum() / 1024;
    }
  }

  public static void main(String[] args) throws Exception {
    String folder = args[0], query = Files.readString(Path.of(args[1])), output = args[2], cores = args[4];
    String columns = args[5].replace("TIMESTAMP", "TIMESTAMP_LTZ(3)");
    for (int number = 0; number < Integer.parseInt(args[3]); number++) {
      Configuration settings = new Configuration();
      settings.setString("parallelism.default", cores);
      settings.setString("taskmanager.numberOfTaskSlots", cores);
      settings.setString("taskmanager.memory.managed.size", "512m");
      settings.setString("taskmanager.memory.network.min", "128m");
      settings.setString("taskmanager.memory.network.max", "128m");
      settings.setString("table.local-time-zone", "UTC");
      TableEnvironment tables =
          TableEnvironment.create(EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(settings).build());
      // The parts of a file are read in no order: only a watermark behind all of them keeps every record. The end of the
      // input closes every window, so the closing record is not read.
      for (String name : new String[] {"events", "orders"}) {
        tables.executeSql("CREATE TABLE " + name + " (" + columns + ", WATERMARK FOR event_time AS event_time - INTERVAL '13' HOUR)"
            + " WITH ('connector' = 'filesystem', 'path' = '" + folder + "/" + name + "/1.ndjson', 'format' = 'json',"
            + " 'json.timestamp-format.standard' = 'ISO-8601')");
      }
      String rows = output + "/rows-" + number;
      tables.executeSql("CREATE TABLE rows_out (`start` TIMESTAMP(3), item STRING, events BIGINT, price DOUBLE) WITH ("
          + "'connector' = 'filesystem', 'path' = '" + rows + "', 'format' = 'json')");
      long began = System.nanoTime();
      double before = cpu();
      tables.executeSql("INSERT INTO rows_out " + query).await();
      System.out.printf("{\"cpu\": %.3f, \"wall\": %.3f, \"peak_mib\": %d, \"rows\": \"%s\"}%n", cpu() - before,
          (System.nanoTime() - began) / 1e9, peakMib(), rows);
    }
  }
}
