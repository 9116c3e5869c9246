//! What the broker moves and costs: `cargo bench -p millrace-broker`. One line a measurement.
//!
//! The broker runs in a process of its own (this program, started again), so its CPU time and memory are its own. Times
//! of the client are in the wall clock; compare runs on the same machine only.

use millrace_broker::{Broker, BrokerSettings};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of each record's value, as in the figures of the prototype.
const VALUE_BYTES: usize = 335;
const PARTITIONS: i32 = 4;
const LONG: Duration = Duration::from_secs(120);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => serve(&arguments[1], &arguments[2]),
        _ => measure(),
    }
}

#[tokio::main]
async fn serve(data_dir: &str, listen: &str) -> Result<(), Box<dyn std::error::Error>> {
    let settings = BrokerSettings { data_dir: data_dir.into(), listen: listen.parse()?, ..BrokerSettings::default() };
    let begun = Instant::now();
    let broker = Broker::start(settings).await?;
    println!("{} {:.1}", broker.address(), begun.elapsed().as_secs_f64() * 1_000.0);
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(broker.shutdown().await?)
}

/// The broker's process.
struct Server {
    child: Child,
    address: String,
    start_ms: f64,
}

impl Server {
    fn start(dir: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve".as_ref(), dir.as_os_str(), "127.0.0.1:0".as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut said)?;
        let (address, ms) = said.trim().split_once(' ').ok_or("the broker did not start")?;
        Ok(Self { address: address.into(), start_ms: ms.parse()?, child })
    }

    /// CPU seconds used so far, user and system.
    fn cpu_seconds(&self) -> f64 {
        const TICKS_PER_SECOND: f64 = 100.0;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
            / TICKS_PER_SECOND
    }

    /// Resident memory, MB.
    fn resident_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1_024.0
    }

    /// Ends it in order, or at once.
    fn stop(mut self, kill: bool) -> std::io::Result<()> {
        if kill {
            self.child.kill()?;
        }
        drop(self.child.stdin.take());
        self.child.wait().map(drop)
    }
}

fn config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    config
}

fn create(address: &str, topic: &str) -> Result<(), Box<dyn std::error::Error>> {
    let admin: AdminClient<DefaultClientContext> = config(address).create()?;
    let topic = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(admin.create_topics([&topic], &AdminOptions::new()))?;
    Ok(())
}

/// A value that compresses about as well as JSON events do.
fn value(n: usize) -> String {
    let mut value = format!(
        "{{\"event_id\":\"{n:032x}\",\"kind\":\"product_viewed\",\"price_minor\":{},\"user\":\"u{}\"",
        n % 99_991,
        n * 7_919 % 1_000_003
    );
    while value.len() < VALUE_BYTES - 1 {
        value.push_str(",\"filler\":\"abcdefghij\"");
    }
    value.truncate(VALUE_BYTES - 1);
    value.push('}');
    value
}

fn produce(address: &str, topic: &str, count: usize, codec: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let mut config = config(address);
    config.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "5").set("compression.codec", codec);
    config
        .set("queue.buffering.max.messages", "500000")
        .set("batch.num.messages", "10000")
        .set("batch.size", "1000000");
    let producer: BaseProducer = config.create()?;
    let values: Vec<String> = (0..1_000).map(value).collect();
    let begun = Instant::now();
    for n in 0..count {
        let mut record =
            BaseRecord::<(), _>::to(topic).partition(n as i32 % PARTITIONS).payload(&values[n % values.len()]);
        while let Err((error, back)) = producer.send(record) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(5));
            record = back;
        }
        if n % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(LONG)?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Two members of a group read everything; seconds from the first record to the last.
fn consume(address: &str, topic: &str, count: usize) -> Result<f64, Box<dyn std::error::Error>> {
    let (sender, counts) = std::sync::mpsc::channel::<usize>();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let members: Vec<_> = (0..2)
        .map(|_| {
            let mut config = config(address);
            config.set("group.id", format!("readers-{topic}")).set("auto.offset.reset", "earliest");
            config.set("fetch.message.max.bytes", "4000000").set("queued.min.messages", "500000");
            let (sender, done, topic) = (sender.clone(), done.clone(), topic.to_owned());
            std::thread::spawn(move || -> Result<(), KafkaError> {
                let consumer: BaseConsumer = config.create()?;
                consumer.subscribe(&[&topic])?;
                let mut seen = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    match consumer.poll(Duration::from_millis(20)) {
                        Some(message) => {
                            seen += usize::from(message?.payload().is_some());
                            if seen == 1_000 {
                                let _ = sender.send(std::mem::take(&mut seen));
                            }
                        }
                        None => drop(sender.send(std::mem::take(&mut seen))),
                    }
                }
                Ok(())
            })
        })
        .collect();
    let (mut total, mut begun) = (0, None::<Instant>);
    while total < count {
        total += counts.recv_timeout(LONG)?;
        if total > 0 {
            begun.get_or_insert_with(Instant::now);
        }
    }
    let seconds = begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    for member in members {
        member.join().map_err(|_| "a member panicked")??;
    }
    Ok(seconds)
}

/// Milliseconds from produce to consume at 300 records a second: median and 99th percentile.
fn latency(address: &str, topic: &str) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    const COUNT: usize = 3_000;
    const PAUSE: Duration = Duration::from_micros(1_000_000 / 300);
    let mut reading = config(address);
    reading.set("group.id", "latency").set("auto.offset.reset", "latest").set("fetch.wait.max.ms", "500");
    let consumer: BaseConsumer = reading.create()?;
    let mut assignment = rdkafka::TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(topic, partition, rdkafka::Offset::End)?;
    }
    consumer.assign(&assignment)?;
    consumer.poll(Duration::from_secs(1));
    let begun = Instant::now();
    let reader = std::thread::spawn(move || {
        let mut taken = Vec::with_capacity(COUNT);
        while taken.len() < COUNT {
            let Some(Ok(message)) = consumer.poll(LONG) else { break };
            let sent: u64 = message.payload().and_then(|p| std::str::from_utf8(p).ok()?.parse().ok()).unwrap_or(0);
            taken.push((begun.elapsed().as_micros() as u64).saturating_sub(sent));
        }
        taken
    });
    let producer: BaseProducer = config(address).set("linger.ms", "0").set("acks", "all").create()?;
    let (_sender, timer) = std::sync::mpsc::channel::<()>();
    for n in 0..COUNT {
        let now = begun.elapsed().as_micros().to_string();
        producer
            .send(BaseRecord::<(), _>::to(topic).partition(n as i32 % PARTITIONS).payload(&now))
            .map_err(|(e, _)| e)?;
        producer.poll(Duration::ZERO);
        let _ = timer.recv_timeout(PAUSE);
    }
    producer.flush(LONG)?;
    let mut taken = reader.join().map_err(|_| "the reader panicked")?;
    taken.sort_unstable();
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize] as f64 / 1_000.0;
    Ok((at(0.5), at(0.99)))
}

fn measure() -> Result<(), Box<dyn std::error::Error>> {
    const COUNT: usize = 2_000_000;
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path())?;
    println!("start on an empty directory: {:.1} ms, {:.1} MB resident", server.start_ms, server.resident_mb());
    for codec in ["none", "lz4"] {
        let topic = format!("bench-{codec}");
        create(&server.address, &topic)?;
        let cpu = server.cpu_seconds();
        let seconds = produce(&server.address, &topic, COUNT, codec)?;
        println!(
            "produce {COUNT} x {VALUE_BYTES} B, acks=all, {codec}: {:.0} records/s, broker {:.2} CPU-s, {:.1} MB resident",
            COUNT as f64 / seconds,
            server.cpu_seconds() - cpu,
            server.resident_mb()
        );
        let cpu = server.cpu_seconds();
        let seconds = consume(&server.address, &topic, COUNT)?;
        println!(
            "consume {COUNT} x {VALUE_BYTES} B, group of 2, {codec}: {:.0} records/s, broker {:.2} CPU-s, {:.1} MB resident",
            COUNT as f64 / seconds,
            server.cpu_seconds() - cpu,
            server.resident_mb()
        );
    }
    create(&server.address, "latency")?;
    let cpu = server.cpu_seconds();
    let (median_ms, p99_ms) = latency(&server.address, "latency")?;
    println!(
        "latency at 300 records/s: p50 {median_ms:.1} ms, p99 {p99_ms:.1} ms, broker {:.2} CPU-s",
        server.cpu_seconds() - cpu
    );
    let cpu = server.cpu_seconds();
    let (_sender, timer) = std::sync::mpsc::channel::<()>();
    let _ = timer.recv_timeout(Duration::from_secs(10));
    println!("idle for 10 s: {:.2} CPU-s, {:.1} MB resident", server.cpu_seconds() - cpu, server.resident_mb());
    server.stop(false)?;
    let megabytes = size_mb(dir.path())?;
    for (how, kill) in [("an orderly stop", true), ("kill -9", false)] {
        let server = Server::start(dir.path())?;
        println!(
            "start after {how} with {megabytes} MB: {:.1} ms, {:.1} MB resident",
            server.start_ms,
            server.resident_mb()
        );
        if kill {
            produce(&server.address, "bench-none", 200_000, "none")?;
        }
        server.stop(kill)?;
    }
    Ok(())
}

fn size_mb(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size_mb(&entry.path())? << 20 } else { entry.metadata()?.len() };
    }
    Ok(bytes >> 20)
}
