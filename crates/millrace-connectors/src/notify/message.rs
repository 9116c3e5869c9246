//! What a message tells: alerts, gathered by whom they are about, with values and evidence. The same for every channel.

use millrace_model::Timestamp;
use serde::{Deserialize, Serialize};

/// Entities a message shows; of more it gives the number.
pub const ENTITIES_MAX: usize = 10;
/// Values it shows of an entity's last alert.
pub const EVIDENCE_MAX: usize = 10;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Look when there is time.
    Low,
    /// Look today.
    #[default]
    Medium,
    /// Look now.
    High,
    /// Wake somebody.
    Critical,
}

impl Severity {
    /// As in tables and settings.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// The severity of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical]
            .into_iter()
            .find(|severity| severity.name() == name)
    }

    /// Seen from afar.
    pub(super) fn colour(self) -> &'static str {
        match self {
            Severity::Info => "#5b7083",
            Severity::Low => "#2f7d4f",
            Severity::Medium => "#b58105",
            Severity::High => "#c8551b",
            Severity::Critical => "#b3261e",
        }
    }
}

/// The alerts about one entity.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct EntityAlerts {
    /// Whom or what it is about.
    pub entity: String,
    /// What happened, in a line.
    pub title: String,
    /// The gravest of them.
    pub severity: Severity,
    /// How many.
    pub alerts: u64,
    /// Why this message: `fired`, `escalated`, `resolved`.
    pub cause: String,
    /// Ids, for `millrace alerts ack`; the first few.
    pub alert_ids: Vec<String>,
    /// Names and values of the last alert's row.
    pub evidence: Vec<(String, String)>,
}

/// One message.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Message {
    /// Follows from what it tells: sent again, it is the same.
    pub id: String,
    /// Route it comes by.
    pub route: String,
    /// The gravest severity in it.
    pub severity: Severity,
    /// Alerts it tells of, shown or not.
    pub alerts: u64,
    /// Entities they are about.
    pub entities_total: u64,
    /// The gravest, at most [`ENTITIES_MAX`].
    pub entities: Vec<EntityAlerts>,
    /// The page that shows more.
    pub link: Option<String>,
    /// When it was put together.
    pub time: Timestamp,
}

impl Message {
    /// One line: an email's subject, Slack's notification.
    pub fn subject(&self) -> String {
        let severity = self.severity.name().to_uppercase();
        match (self.entities.first(), self.alerts) {
            (None, _) => format!("[{severity}] {}", self.route),
            (Some(entity), 1) => format!("[{severity}] {}{}", prefix(&entity.cause), entity.title),
            (Some(entity), count) if self.entities_total == 1 => {
                format!("[{severity}] {}{} ({} alerts)", prefix(&entity.cause), entity.title, grouped(count))
            }
            (Some(entity), count) => {
                let (count, entities) = (grouped(count), grouped(self.entities_total));
                format!("[{severity}] {}: {count} alerts about {entities} entities, first {}", self.route, entity.title)
            }
        }
    }

    /// What it says before the entities; empty for a single alert.
    pub fn introduction(&self) -> String {
        let hidden = self.entities_total.saturating_sub(self.entities.len() as u64);
        match (self.alerts, hidden) {
            (0 | 1, _) => String::new(),
            (count, 0) => format!("{} alerts about {} entities.", grouped(count), grouped(self.entities_total)),
            (count, hidden) => format!(
                "{} alerts about {} entities. The {} gravest are shown; {} entities are not.",
                grouped(count),
                grouped(self.entities_total),
                self.entities.len(),
                grouped(hidden)
            ),
        }
    }
}

impl EntityAlerts {
    /// The line above the values.
    pub(super) fn heading(&self) -> String {
        let many = if self.alerts > 1 { format!(" ({} alerts)", grouped(self.alerts)) } else { String::new() };
        format!("{}{}{many}", prefix(&self.cause), self.title)
    }
}

fn prefix(cause: &str) -> &'static str {
    match cause {
        "resolved" => "resolved: ",
        "escalated" => "worse: ",
        _ => "",
    }
}

/// 10000 as 10,000.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Text as HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A message to try things with.
#[cfg(test)]
pub(super) fn sample(alerts: u64, entities: u64) -> Message {
    let entity = |n: u64| EntityAlerts {
        entity: format!("card_{n}"),
        title: format!("velocity <card_{n}>"),
        severity: Severity::High,
        alerts: alerts / entities.max(1),
        cause: "fired".into(),
        alert_ids: vec![format!("fraud/{n}")],
        evidence: vec![("payments".into(), "12".into()), ("amount".into(), "a & b".into())],
    };
    Message {
        id: "0123abcd".into(),
        route: "fraud".into(),
        severity: Severity::High,
        alerts,
        entities_total: entities,
        entities: (0..entities.min(ENTITIES_MAX as u64)).map(entity).collect(),
        link: Some("http://127.0.0.1:8080/fraud".into()),
        time: Timestamp(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line() {
        for (alerts, entities, subject, introduction) in [
            (1, 1, "[HIGH] velocity <card_0>", ""),
            (5, 1, "[HIGH] velocity <card_0> (5 alerts)", "5 alerts about 1 entities."),
            (
                10_000,
                2_500,
                "[HIGH] fraud: 10,000 alerts about 2,500 entities, first velocity <card_0>",
                "10,000 alerts about 2,500 entities. The 10 gravest are shown; 2,490 entities are not.",
            ),
        ] {
            let message = sample(alerts, entities);
            assert_eq!((message.subject().as_str(), message.introduction().as_str()), (subject, introduction));
        }
        assert!(Severity::Critical > Severity::High && Severity::named("high") == Some(Severity::High));
        assert_eq!(Severity::named("grave"), None);
    }
}
