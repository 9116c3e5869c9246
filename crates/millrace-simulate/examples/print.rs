//! Prints the records of a shop, one a line: topic, arrival, delivery, key, value.
//! `cargo run --release -p millrace-simulate --example print [rate] [minutes] [seed] [ramp minutes]`

use std::io::Write;

use millrace_model::Timestamp;
use millrace_simulate::{Ramp, Shop, ShopSettings};

fn main() -> std::io::Result<()> {
    let argument = |nth: usize| std::env::args().nth(nth).and_then(|text| text.parse::<f64>().ok());
    let start = Timestamp(1_795_000_000_000_000);
    let minutes = argument(2).unwrap_or(5.0);
    let mut settings = ShopSettings::new(argument(3).unwrap_or(1.0) as u64, start, argument(1).unwrap_or(300.0));
    settings.ramp = argument(4).map(|minutes| Ramp { duration: (minutes * 60e6) as i64, ..Ramp::default() });
    let mut shop = Shop::new(settings).map_err(std::io::Error::other)?;
    let mut out = Vec::new();
    shop.advance(Timestamp(start.0 + (minutes * 60e6) as i64), &mut out);
    shop.finish(&mut out);
    let mut to = std::io::BufWriter::new(std::io::stdout().lock());
    for record in &out {
        write!(to, "{}\t{}\t{:?}\t", record.topic.name(), record.arrival, record.delivery)?;
        to.write_all(&record.key)?;
        to.write_all(b"\t")?;
        to.write_all(&record.value)?;
        to.write_all(b"\n")?;
    }
    to.flush()
}
