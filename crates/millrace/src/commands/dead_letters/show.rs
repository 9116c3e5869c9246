//! `millrace dead-letters show`: one letter, whole.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use millrace_connectors::dead_letters::{Letter, Letters, decoded};

use crate::commands::Invalid;
use crate::commands::role::ClusterOptions;
use crate::roles::notify::tables::text;
use crate::settings::Settings;

/// Bytes of a line of a hexadecimal dump.
const HEX_LINE: usize = 16;

/// Options of `show`.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The letter, as `list` shows it
    id: String,
    /// Form of its value
    #[arg(long, value_enum, default_value_t = Form::Auto)]
    form: Form,
    /// The value as received, although there is a repaired one
    #[arg(long)]
    received: bool,
    #[command(flatten)]
    cluster: ClusterOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Text when it is UTF-8, else hexadecimal
    Auto,
    /// Text; bytes that are none are replaced
    Text,
    /// Hexadecimal, 16 bytes a line
    Hex,
    /// The bytes of the value and nothing else: into a file, to be edited
    Raw,
}

/// Runs it.
pub(super) async fn run(mut settings: Settings, options: Options) -> anyhow::Result<ExitCode> {
    let store = super::open_store(&mut settings, &options.cluster).await?;
    let letters = Letters::new(store.clone());
    let found = letters.read(std::slice::from_ref(&options.id)).await?;
    let Some(letter) = found.first() else {
        let text = format!("there is no dead letter `{}`; `millrace dead-letters list` shows their ids", options.id);
        return Err(Invalid(text).into());
    };
    let value = if options.received { letter.received()? } else { letter.current()? };
    if options.form == Form::Raw {
        std::io::stdout().write_all(&value.unwrap_or_default())?;
    } else {
        println!("{}", head(letter)?);
        sent_again(&letters, &options.id).await?;
        let which = match (&letter.repair, options.received) {
            (Some(_), false) => "repaired value",
            _ => "value as received",
        };
        match value {
            None => println!("{which}: none (a tombstone)"),
            Some(value) => println!("{which}, {} bytes:\n{}", value.len(), in_form(&value, options.form)),
        }
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

fn head(letter: &Letter) -> anyhow::Result<String> {
    let of = &letter.letter;
    let mut lines = vec![
        ("id", of.dead_letter_id.clone()),
        ("place", format!("topic {}, partition {}, offset {}", of.topic, of.partition, of.offset)),
        ("why", format!("{} ({}): {}", of.kind, of.code, of.reason)),
    ];
    let mut add = |name: &'static str, text: Option<String>| lines.extend(text.map(|text| (name, text)));
    add("field", of.field.clone());
    add("table", of.table.clone());
    add("record time", of.record_time.map(|time| time.to_string()));
    add("event time", of.event_time.map(|time| time.to_string()));
    add("watermark", of.watermark.map(|time| time.to_string()));
    add("set aside", Some(format!("{} by {}", of.first_seen, of.job)));
    add("key", decoded(of.key_base64.as_deref(), &of.dead_letter_id)?.map(|key| in_form(&key, Form::Auto)));
    for header in of.headers.iter().flatten() {
        let value = decoded(header.value_base64.as_deref(), &of.dead_letter_id)?.unwrap_or_default();
        add("header", Some(format!("{} = {}", header.name, in_form(&value, Form::Auto))));
    }
    add("repaired", letter.repair.as_ref().map(|repair| format!("{} by {}: {}", repair.at, repair.by, repair.how)));
    Ok(lines.into_iter().map(|(name, text)| format!("{name:<12} {text}")).collect::<Vec<_>>().join("\n"))
}

async fn sent_again(letters: &Letters, id: &str) -> anyhow::Result<()> {
    for row in letters.redrives(id).await? {
        println!(
            "sent again   {} by {} to {}",
            text(&row, "redriven_at"),
            text(&row, "redriven_by"),
            text(&row, "topic")
        );
    }
    Ok(())
}

fn in_form(value: &[u8], form: Form) -> String {
    match (form, std::str::from_utf8(value)) {
        (Form::Auto | Form::Text, Ok(text)) => text.to_owned(),
        (Form::Text, Err(_)) => String::from_utf8_lossy(value).into_owned(),
        _ => hex(value),
    }
}

/// Offset, bytes, and what of them is printable.
fn hex(value: &[u8]) -> String {
    let line = |(at, bytes): (usize, &[u8])| {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown: String = bytes
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
            .collect();
        format!("{:08x}  {:<47}  {shown}", at * HEX_LINE, digits.join(" "))
    };
    value.chunks(HEX_LINE).enumerate().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(in_form(b"{}", Form::Auto), "{}");
        assert_eq!(in_form(&[0xff, b'a'], Form::Text), "\u{fffd}a");
        let dump = in_form(&[0xff, b'a', b' ', 0], Form::Auto);
        assert_eq!(dump, format!("00000000  {:<47}  .a .", "ff 61 20 00"));
        assert_eq!(hex(&[7; 17]).lines().count(), 2);
    }
}
