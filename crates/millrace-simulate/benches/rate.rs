//! How fast the shop makes records, on one core: `cargo bench -p millrace-simulate --bench rate -- [rate] [minutes]`.

use std::time::{Duration, Instant};

use millrace_model::Timestamp;
use millrace_simulate::{Delivery, Shop, ShopSettings, Topic};

/// Time this thread has spent on a core: what counts on a machine that others use too. Elsewhere than on Linux, the
/// time since `began`.
fn cpu_time(began: Instant) -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.map_or(began.elapsed(), Duration::from_nanos)
}

fn main() {
    // Cargo adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|text| !text.starts_with("--"));
    let rate: f64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(20_000.0);
    let minutes: i64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(10);
    let start = Timestamp(1_795_000_000_000_000);
    let opened = Instant::now();
    let mut shop = Shop::new(ShopSettings::new(1, start, rate)).expect("default settings are in range");
    println!("opened in {:?}", opened.elapsed());

    let (mut out, mut bytes, mut busy) = (Vec::new(), 0, Duration::ZERO);
    let mut counts = [0_u64; 4];
    let mut deliveries = [0_u64; 5];
    for second in 1..=minutes * 60 {
        let before = cpu_time(opened);
        shop.advance(Timestamp(start.0 + second * 1_000_000), &mut out);
        busy += cpu_time(opened).saturating_sub(before);
        for record in out.drain(..) {
            bytes += record.value.len();
            counts[record.topic as usize] += 1;
            if record.topic != Topic::AnswerKey {
                deliveries[match record.delivery {
                    Delivery::Regular => 0,
                    Delivery::OutOfOrder => 1,
                    Delivery::Late => 2,
                    Delivery::Duplicate => 3,
                    Delivery::Malformed => 4,
                }] += 1;
            }
        }
        if second % 60 == 0 {
            let sources: u64 = counts[..3].iter().sum();
            println!(
                "minute {:>3}: {:>9.1} source records/s of event time so far, {:?}",
                second / 60,
                sources as f64 / second as f64,
                shop.load()
            );
        }
    }
    let records: u64 = counts.iter().sum();
    for topic in Topic::ALL {
        println!("{:>18} {:>12}", topic.name(), counts[topic as usize]);
    }
    println!("regular, out of order, late, duplicate, malformed: {deliveries:?}");
    println!(
        "{records} records, {} bytes each, {:.0} records and {:.0} MB a second of one core",
        bytes as u64 / records.max(1),
        records as f64 / busy.as_secs_f64(),
        bytes as f64 / 1e6 / busy.as_secs_f64()
    );
}
