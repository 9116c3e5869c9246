//! `[notify]` of the settings file: channels, and the routes by which rows of tables go to them.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_connectors::notify::{ChannelSettings, Severity};
use millrace_model::Contract;
use millrace_model::names::did_you_mean;
use serde::Deserialize;
use serde_json::Value;

use crate::settings::{duration, web_address};

/// Longest name of a channel or route, characters.
const NAME_CHARS_MAX: usize = 40;
/// Column that says how bad a row is, where a table has it.
pub(super) const SEVERITY_COLUMN: &str = "severity";

/// Everything about alerts. Without a route nothing runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Notify {
    /// Address of the page as the readers of messages reach it.
    #[serde(deserialize_with = "web_address")]
    pub(crate) dashboard_url: Option<String>,
    /// A row whose event is older than this when it is first seen is recorded, not told: no flood of old news at the start.
    #[serde(deserialize_with = "duration")]
    pub(crate) age_max: Duration,
    /// Channels by name.
    pub(crate) channels: BTreeMap<String, ChannelSettings>,
    /// Routes by name.
    pub(crate) routes: BTreeMap<String, Route>,
}

impl Default for Notify {
    fn default() -> Self {
        let age_max = Duration::from_secs(3_600);
        Notify { dashboard_url: None, age_max, channels: BTreeMap::new(), routes: BTreeMap::new() }
    }
}

/// Which rows of a table go where, and when.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// The table whose rows are alerts.
    pub(crate) table: String,
    /// Names of the channels.
    pub(crate) channels: Vec<String>,
    /// Rows must have these values: one, or one of a list.
    #[serde(default, rename = "where")]
    pub(crate) conditions: BTreeMap<String, OneOf>,
    /// The least severity that is told.
    #[serde(default = "info")]
    pub(crate) severity_min: Severity,
    /// Severity of the rows of a table without a column `severity`.
    #[serde(default)]
    pub(crate) severity: Severity,
    /// The column that says whom a row is about; default: `entity`, else the last column of the key.
    #[serde(default)]
    pub(crate) entity: Option<String>,
    /// A line with `{columns}`.
    #[serde(default)]
    pub(crate) title: Option<String>,
    /// When only grave alerts are told, UTC: `22:00-07:00`. The others wait until it is over.
    #[serde(default)]
    pub(crate) quiet: Option<Quiet>,
    /// From this severity on an alert is told in quiet hours too.
    #[serde(default = "critical")]
    pub(crate) quiet_lets_through: Severity,
    /// How long an alert waits for others, to be told in one message.
    #[serde(default = "ten_seconds", deserialize_with = "duration")]
    pub(crate) gather: Duration,
    /// Least time between two messages of this route to a channel.
    #[serde(default = "one_minute", deserialize_with = "duration")]
    pub(crate) every: Duration,
    /// Tell too when a row no longer meets the conditions.
    #[serde(default)]
    pub(crate) resolve: bool,
}

fn info() -> Severity {
    Severity::Info
}

fn critical() -> Severity {
    Severity::Critical
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

/// A value, or several of which one must be.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOf {
    Many(Vec<Value>),
    One(Value),
}

impl OneOf {
    /// Whether the value is one of them.
    pub(super) fn holds(&self, value: &Value) -> bool {
        match self {
            OneOf::Many(values) => values.contains(value),
            OneOf::One(wanted) => wanted == value,
        }
    }
}

/// Hours of a day, UTC, in minutes since midnight; they may pass midnight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Quiet {
    from: u32,
    until: u32,
}

impl TryFrom<String> for Quiet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let minutes = |text: &str| {
            let (hours, minutes) = text.trim().split_once(':')?;
            let (hours, minutes) = (hours.parse::<u32>().ok()?, minutes.parse::<u32>().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let parts = text.split_once('-').and_then(|(from, until)| Some((minutes(from)?, minutes(until)?)));
        let (from, until) = parts.ok_or_else(|| format!("`{text}` are no hours; write 22:00-07:00 (UTC)"))?;
        Ok(Quiet { from, until })
    }
}

impl Quiet {
    /// Whether it is quiet at this minute of the day.
    pub(super) fn holds(self, minute: u32) -> bool {
        match self.from <= self.until {
            true => (self.from..self.until).contains(&minute),
            false => minute >= self.from || minute < self.until,
        }
    }
}

impl Notify {
    /// Checks routes against tables and channels.
    ///
    /// # Errors
    /// What is wrong, with the nearest name that exists.
    pub(crate) fn check(&self, tables: &[Contract]) -> Result<(), String> {
        for name in self.channels.keys().chain(self.routes.keys()) {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
            if !plain || name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
                return Err(format!("notify: `{name}` is no name: letters, digits, - and _, at most {NAME_CHARS_MAX}"));
            }
        }
        for (name, route) in &self.routes {
            let of = format!("notify.routes.{name}");
            let Some(table) = tables.iter().find(|table| table.name == route.table) else {
                let hint = did_you_mean(&route.table, tables.iter().map(|table| table.name.as_str()));
                return Err(format!("{of}: there is no result table `{}`{hint}", route.table));
            };
            if route.channels.is_empty() {
                return Err(format!("{of}: `channels` is empty"));
            }
            for channel in &route.channels {
                if !self.channels.contains_key(channel) {
                    let hint = did_you_mean(channel, self.channels.keys().map(String::as_str));
                    return Err(format!("{of}: there is no channel `{channel}`{hint}"));
                }
            }
            if table.key.is_empty() {
                return Err(format!("{of}: table `{}` has no key, so its rows cannot be told apart", table.name));
            }
            for column in route.conditions.keys().chain(&route.entity) {
                if !table.columns.iter().any(|known| known.name == *column) {
                    let hint = did_you_mean(column, table.columns.iter().map(|known| known.name.as_str()));
                    return Err(format!("{of}: table `{}` has no column `{column}`{hint}", table.name));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
        [channels.ops]
        kind = 'slack'
        url = 'env:SLACK_URL'
        [channels.mail]
        kind = 'email'
        server = '127.0.0.1:2525'
        tls = 'none'
        from = 'millrace@shop.example'
        to = ['ops@shop.example']
        [routes.fraud]
        table = 'fraud_signals'
        channels = ['ops', 'mail']
        where = { rule = ['velocity', 'card_testing'], currency = 'EUR' }
        severity_min = 'high'
        quiet = '22:00-07:00'
        gather = '2s'
    ";

    fn tables() -> Vec<Contract> {
        let text = include_str!("../../../../../contracts/results/fraud_signals.json");
        vec![Contract::parse(text).expect("a contract")]
    }

    #[test]
    fn routes_are_read_and_checked() {
        let notify: Notify = toml::from_str(TEXT).expect("settings");
        notify.check(&tables()).expect("good");
        let route = &notify.routes["fraud"];
        assert_eq!((route.severity_min, route.gather), (Severity::High, Duration::from_secs(2)));
        assert!(route.conditions["rule"].holds(&"velocity".into()) && !route.conditions["rule"].holds(&"x".into()));
        assert!(route.conditions["currency"].holds(&"EUR".into()));
        for (old, new, told) in [
            ("'fraud_signals'", "'fraud_signal'", "did you mean `fraud_signals`?"),
            ("['ops', 'mail']", "['opps']", "did you mean `ops`?"),
            ("['ops', 'mail']", "[]", "`channels` is empty"),
            ("currency = 'EUR'", "currencie = 'EUR'", "did you mean `currency`?"),
            ("[channels.ops]", "[channels.'o p s']", "is no name"),
        ] {
            let notify: Notify = toml::from_str(&TEXT.replace(old, new)).expect("settings");
            let why = notify.check(&tables()).expect_err(told);
            assert!(why.contains(told), "{why}");
        }
        for (old, new, told) in [
            ("'env:SLACK_URL'", "'https://hooks.example/secret'", "env:NAME"),
            ("22:00-07:00", "from ten", "are no hours"),
            ("kind = 'slack'", "kind = 'pager'", "unknown variant"),
            ("gather = '2s'", "gathr = '2s'", "unknown field"),
        ] {
            let why = toml::from_str::<Notify>(&TEXT.replace(old, new)).expect_err(told).to_string();
            assert!(why.contains(told), "{why}");
        }
    }

    #[test]
    fn quiet_hours() {
        let night = Quiet::try_from("22:00-07:00".to_owned()).expect("hours");
        let noon = Quiet::try_from("12:00-13:30".to_owned()).expect("hours");
        for (minute, at_night, at_noon) in [
            (0, true, false),
            (419, true, false),
            (420, false, false),
            (720, false, true),
            (810, false, false),
            (1_320, true, false),
        ] {
            assert_eq!((night.holds(minute), noon.holds(minute)), (at_night, at_noon), "{minute}");
        }
    }
}
