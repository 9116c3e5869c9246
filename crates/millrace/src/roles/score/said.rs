//! What analysts say: verdicts, changes of lists and of rules, checked and taken to the topics the scorer reads.
//!
//! Whoever says it, on the page, over HTTP or on the command line, it goes this way, and is taken in with everything else: so a
//! restart and a backtest see it where live saw it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::{ClientSettings, KafkaError};
use millrace_dashboard::service::{Hears, Refused};
use millrace_intelligence::fraud::live::{JudgeSettings, LISTED, LISTS as NAMES, RULE_STATES, RuleChange};
use millrace_model::Timestamp;
use millrace_model::names::did_you_mean;
use millrace_model::time::parse_duration;
use serde_json::{Value, json};

use super::records::{LISTS, RULES, VERDICTS};

/// Longest wait for the cluster to take what was said.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest comment or reason, bytes.
pub(super) const COMMENT_BYTES_MAX: usize = 4_096;
/// Longest name of a person or an entity, bytes.
pub(super) const NAME_BYTES_MAX: usize = 256;
/// Most rules an entity is allowed to break.
const RULES_MAX: usize = 64;

/// Takes what is said to the topics.
pub(crate) struct Analysts {
    producer: Producer,
    settings: JudgeSettings,
}

impl Analysts {
    /// For a cluster, and the rules that are known.
    ///
    /// # Errors
    /// The settings of Kafka.
    pub(crate) fn new(kafka: &ClientSettings, settings: &JudgeSettings) -> Result<Self, KafkaError> {
        Ok(Analysts { producer: Producer::new(kafka, None)?, settings: settings.clone() })
    }

    /// The handle of the front door.
    pub(crate) fn hears(self) -> Arc<dyn Hears> {
        Arc::new(self)
    }

    /// Produces a row and waits until the cluster has it. It blocks.
    ///
    /// # Errors
    /// Kafka.
    pub(crate) fn send(&self, topic: &str, key: &str, row: &Value) -> Result<(), KafkaError> {
        let value = row.to_string();
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        self.producer.send(Outgoing { topic, partition: None, key, value, time: None }, WAIT_MAX)?;
        self.producer.flush(WAIT_MAX)
    }

    /// Takes a verdict to its topic; gives the row.
    ///
    /// # Errors
    /// What is wrong with it, or with Kafka.
    pub(crate) fn say_verdict(&self, told: &Value) -> Result<Value, Refused> {
        let row = verdict_row(told, now()).map_err(Refused::Invalid)?;
        self.sent(VERDICTS, row["payment_id"].as_str().unwrap_or_default(), &row)?;
        Ok(row)
    }

    /// Takes the change of a list to its topic; gives the row.
    ///
    /// # Errors
    /// What is wrong with it, or with Kafka.
    pub(crate) fn say_list(&self, told: &Value) -> Result<Value, Refused> {
        let row =
            list_row(told, &self.settings.merged().into_keys().collect::<Vec<_>>(), now()).map_err(Refused::Invalid)?;
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        self.sent(LISTS, &format!("{}:{}", text("kind"), text("entity")), &row)?;
        Ok(row)
    }

    /// Takes the change of a rule to its topic; gives the row. `before`: the last row of this rule, if there is one.
    ///
    /// # Errors
    /// What is wrong with it, or with Kafka.
    pub(crate) fn say_rule(&self, told: &Value, before: Option<&Value>) -> Result<Value, Refused> {
        let row = rule_row(told, before, &self.settings, now()).map_err(Refused::Invalid)?;
        self.sent(RULES, row["name"].as_str().unwrap_or_default(), &row)?;
        Ok(row)
    }

    fn sent(&self, topic: &str, key: &str, row: &Value) -> Result<(), Refused> {
        self.send(topic, key, row).map_err(|error| Refused::Unavailable(error.to_string()))
    }
}

impl Hears for Analysts {
    fn verdict(&self, told: &Value) -> Result<Value, Refused> {
        self.say_verdict(told)
    }

    fn list(&self, told: &Value) -> Result<Value, Refused> {
        self.say_list(told)
    }

    fn rule(&self, told: &Value, before: Option<&Value>) -> Result<Value, Refused> {
        self.say_rule(told, before)
    }
}

fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}

/// What somebody said, read field by field.
pub(super) struct Told<'a>(&'a Value);

impl<'a> Told<'a> {
    pub(super) fn of(told: &'a Value, what: &str, fields: &[&str]) -> Result<Self, String> {
        let object = told.as_object().ok_or_else(|| format!("{what} is an object"))?;
        match object.keys().find(|name| !fields.contains(&name.as_str())) {
            Some(unknown) => {
                let hint = did_you_mean(unknown, fields.iter().copied());
                Err(format!("`{unknown}` is no field of {what}{hint}; there are {}", fields.join(", ")))
            }
            None => Ok(Told(told)),
        }
    }

    /// A text that is there and not empty.
    pub(super) fn text(&self, name: &str, bytes_max: usize) -> Result<Option<&'a str>, String> {
        match &self.0[name] {
            Value::Null => Ok(None),
            Value::String(text) if text.len() <= bytes_max => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            _ => Err(format!("`{name}` is a text of at most {bytes_max} bytes")),
        }
    }

    pub(super) fn needed(&self, name: &str, what: &str) -> Result<&'a str, String> {
        self.text(name, NAME_BYTES_MAX)?.ok_or_else(|| format!("`{name}` is missing: {what}"))
    }

    /// A number that is there.
    pub(super) fn number(&self, name: &str) -> Result<Option<f32>, String> {
        match &self.0[name] {
            Value::Null => Ok(None),
            Value::Number(number) => Ok(number.as_f64().map(|number| number as f32)),
            _ => Err(format!("`{name}` is a number")),
        }
    }

    /// Names in a list.
    pub(super) fn names(&self, name: &str) -> Result<Vec<&'a str>, String> {
        let told = || format!("`{name}` is a list of at most {RULES_MAX} names");
        match &self.0[name] {
            Value::Null => Ok(Vec::new()),
            Value::Array(names) if names.len() <= RULES_MAX => {
                names.iter().map(|name| name.as_str().ok_or_else(told)).collect()
            }
            _ => Err(told()),
        }
    }
}

/// A row of `fraud_verdicts` from what somebody said.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn verdict_row(told: &Value, now: Timestamp) -> Result<Value, String> {
    let told = Told::of(told, "a verdict", &["payment_id", "verdict", "assigned_to", "comment", "decided_by"])?;
    let payment = told.needed("payment_id", "the decision_id of an alert")?;
    let by = told.needed("decided_by", "who says it")?;
    let verdict = told.text("verdict", NAME_BYTES_MAX)?;
    if verdict.is_some_and(|verdict| !["fraud", "good"].contains(&verdict)) {
        return Err("`verdict` is fraud or good".into());
    }
    let (assigned, comment) = (told.text("assigned_to", NAME_BYTES_MAX)?, told.text("comment", COMMENT_BYTES_MAX)?);
    Ok(json!({ "payment_id": payment, "verdict": verdict, "assigned_to": assigned, "comment": comment,
        "decided_at": now, "decided_by": by }))
}

/// A row of `fraud_lists` from what somebody said. `rules`: those there are.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn list_row(told: &Value, rules: &[String], now: Timestamp) -> Result<Value, String> {
    const FIELDS: [&str; 7] = ["kind", "entity", "list", "rules", "reason", "expires", "changed_by"];
    if told.is_object() && told.get("list").is_none() {
        return Err("`list` is missing: block, watch or allow; null takes it off".into());
    }
    let object = told;
    let told = Told::of(told, "a change of a list", &FIELDS)?;
    let kind = told.needed("kind", "what it is, for example card")?;
    if !LISTED.iter().any(|(name, _)| *name == kind) {
        let names = || LISTED.iter().map(|(name, _)| *name);
        let hint = did_you_mean(kind, names());
        return Err(format!(
            "`{kind}` is nothing that can be listed{hint}; there are {}",
            names().collect::<Vec<_>>().join(", ")
        ));
    }
    let entity = told.needed("entity", "its name, as `transactions` has it")?;
    if kind == "email" && entity.contains('@') {
        return Err("an e-mail address is listed by its hash: the `email_hash` of transactions, the SHA-256 of the address in small letters".into());
    }
    let by = told.needed("changed_by", "who says it")?;
    let list = told.text("list", NAME_BYTES_MAX)?;
    if let Some(list) = list.filter(|list| !NAMES.contains(list)) {
        return Err(format!("`{list}` is no list{}; there are block, watch and allow", did_you_mean(list, NAMES)));
    }
    let reason = told.text("reason", COMMENT_BYTES_MAX)?;
    if list.is_some() && reason.is_none() {
        return Err("`reason` is missing: whoever finds a payment held by it reads why".into());
    }
    let expires = told.text("expires", NAME_BYTES_MAX)?.map(|text| expiry(text, now)).transpose()?;
    let excused = excused(&object["rules"], rules)?;
    if excused.is_some() && list != Some("allow") {
        return Err("`rules` goes with the allow list: the rules that do not hold an allowed entity".into());
    }
    let (expires, excused) = if list.is_some() { (expires, excused) } else { (None, None) };
    Ok(json!({ "kind": kind, "entity": entity, "list": list, "rules": excused, "reason": reason,
        "changed_at": now, "changed_by": by, "expires_at": expires }))
}

/// A row of `fraud_rules` from what somebody said: the whole rule, of which what is not said now stays as it was.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn rule_row(
    told: &Value,
    before: Option<&Value>,
    settings: &JudgeSettings,
    now: Timestamp,
) -> Result<Value, String> {
    const FIELDS: [&str; 7] = ["name", "state", "when", "points", "description", "reason", "changed_by"];
    let object = told;
    let told = Told::of(told, "a change of a rule", &FIELDS)?;
    let name = told.needed("name", "the rule")?;
    let is_word =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !is_word(name) {
        return Err(format!("`{name}` is no name of a rule; write small letters, digits and _"));
    }
    let by = told.needed("changed_by", "who says it")?;
    let reason = told.text("reason", COMMENT_BYTES_MAX)?.ok_or("`reason` is missing: the audit trail says why")?;
    let Some(state) = object.get("state") else {
        return Err(format!("`state` is missing: {}, or null for what the settings say", RULE_STATES.join(", ")));
    };
    if state.is_null() {
        return Ok(json!({ "name": name, "state": null, "when": null, "points": null, "description": null,
            "reason": reason, "changed_at": now, "changed_by": by }));
    }
    // A row that gave the rule back to the settings says nothing of it.
    let before = before.filter(|before| !before["state"].is_null()).unwrap_or(&Value::Null);
    let kept = |name: &str| if object[name].is_null() { before[name].clone() } else { object[name].clone() };
    let row = json!({ "name": name, "state": state, "when": kept("when"), "points": kept("points"),
        "description": kept("description"), "reason": reason, "changed_at": now, "changed_by": by });
    let change: RuleChange = serde_json::from_value(row.clone()).map_err(|error| format!("rule `{name}`: {error}"))?;
    let changed = change.rule()?.into_iter().map(|rule| (name.to_owned(), rule)).collect();
    let rule = settings.merged_with(&changed).remove(name).unwrap_or_default();
    if rule.when.is_empty() {
        let known = settings.merged();
        let hint = did_you_mean(name, known.keys().map(String::as_str));
        return Err(format!("there is no rule `{name}`{hint}; a new one says `when`"));
    }
    rule.check(name)?;
    if rule.points == 0.0 {
        return Err(format!("rule `{name}`: `points` is missing; 7 are enough for a review"));
    }
    Ok(row)
}

/// A time that is to come, or how long from now.
fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let day = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let time = match Timestamp::parse(day.as_bytes()) {
        Some(time) => time,
        None => {
            let span = parse_duration(text).map_err(|_| {
                format!("`expires` is `{text}`; write how long (30d) or until when (2026-12-31T12:00:00Z)")
            })?;
            Timestamp(now.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
        }
    };
    if time <= now {
        return Err(format!("`expires` is {time}, which is over; it is {now} now"));
    }
    Ok(time)
}

fn excused(told: &Value, known: &[String]) -> Result<Option<Vec<String>>, String> {
    let names = match told {
        Value::Null => return Ok(None),
        Value::Array(names) if names.len() <= RULES_MAX => names,
        _ => return Err(format!("`rules` is a list of at most {RULES_MAX} names of rules")),
    };
    let mut rules = Vec::new();
    for name in names {
        let name = name.as_str().ok_or("`rules` is a list of names")?;
        if !known.iter().any(|rule| rule == name) {
            let hint = did_you_mean(name, known.iter().map(String::as_str));
            return Err(format!("there is no rule `{name}`{hint}; `millrace fraud rules` lists them"));
        }
        rules.push(name.to_owned());
    }
    Ok(Some(rules).filter(|rules| !rules.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_rules_are_whole_rules_and_keep_the_contract() {
        let (now, settings) = (Timestamp(0), JudgeSettings::default());
        let said = |change: Value, before: Option<&Value>| {
            let mut told = json!({ "name": "fast", "reason": "many at night", "changed_by": "ann" });
            change.as_object().expect("an object").iter().for_each(|(name, value)| told[name] = value.clone());
            rule_row(&told, before, &settings, now)
        };
        let tried =
            said(json!({ "state": "shadow", "when": "card_attempts_1m >= 2", "points": 8 }), None).expect("a rule");
        let contracts = millrace_model::Contracts::builtin();
        let contract = contracts.get(RULES).expect("it ships");
        let fields: Vec<&String> = tried.as_object().expect("an object").keys().collect();
        assert!(fields.len() == contract.columns.len() && fields.iter().all(|field| contract.column(field).is_some()));
        let promoted = said(json!({ "state": "acts" }), Some(&tried)).expect("a change");
        assert_eq!((&promoted["when"], &promoted["points"]), (&tried["when"], &tried["points"]));
        let reset = said(json!({ "state": null }), Some(&promoted)).expect("a change");
        assert!(said(json!({ "state": "acts" }), Some(&reset)).is_err_and(|why| why.contains("no rule `fast`")));
        assert!(said(json!({ "name": "velocity", "state": "off" }), None).is_ok());
        for (change, told) in [
            (json!({ "state": "on", "when": "amount > 5", "points": 1 }), "no state of a rule"),
            (json!({ "state": "shadow", "when": "amont > 5", "points": 1 }), "did you mean `amount`?"),
            (json!({ "state": "shadow", "when": "amount > 5" }), "`points` is missing"),
            (json!({ "name": "velocty", "state": "off" }), "did you mean `velocity`?"),
            (json!({ "name": "Fast!", "state": "off" }), "is no name of a rule"),
            (json!({ "when": "amount > 5" }), "`state` is missing"),
            (json!({ "state": "acts", "reason": "" }), "`reason` is missing"),
        ] {
            let error = said(change, None).expect_err(told);
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn verdicts_are_checked() {
        let now = Timestamp(0);
        let row =
            verdict_row(&json!({ "payment_id": "p", "verdict": "good", "decided_by": "ann" }), now).expect("a verdict");
        assert_eq!(
            (&row["verdict"], &row["comment"], &row["decided_at"]),
            (&json!("good"), &Value::Null, &json!("1970-01-01T00:00:00.000000Z"))
        );
        for (wrong, told) in [
            (json!([]), "is an object"),
            (json!({ "verdict": "good", "decided_by": "ann" }), "`payment_id` is missing"),
            (json!({ "payment_id": "p", "verdict": "good" }), "`decided_by` is missing"),
            (json!({ "payment_id": "p", "verdict": "bad", "decided_by": "ann" }), "is fraud or good"),
            (json!({ "payment_id": 5, "decided_by": "ann" }), "`payment_id` is a text"),
            (json!({ "payment_id": "p", "note": "x", "decided_by": "ann" }), "`note` is no field of a verdict"),
        ] {
            let error = verdict_row(&wrong, now).expect_err(told);
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn changes_of_lists_are_checked_and_keep_the_contract() {
        let (now, rules) = (Timestamp(0), ["velocity".to_owned()]);
        let told = |change: &[(&str, Value)]| {
            let mut told =
                json!({ "kind": "card", "entity": "tok_1", "list": "allow", "reason": "ours", "changed_by": "ann" });
            change.iter().for_each(|(name, value)| told[*name] = value.clone());
            list_row(&told, &rules, now)
        };
        let row = told(&[("expires", json!("2h")), ("rules", json!(["velocity"]))]).expect("a change");
        assert_eq!((&row["expires_at"], &row["rules"]), (&json!("1970-01-01T02:00:00.000000Z"), &json!(["velocity"])));
        let contracts = millrace_model::Contracts::builtin();
        let contract = contracts.get(LISTS).expect("it ships");
        let fields: Vec<&String> = row.as_object().expect("an object").keys().collect();
        assert!(fields.len() == contract.columns.len() && fields.iter().all(|field| contract.column(field).is_some()));
        let off = told(&[("list", Value::Null), ("reason", Value::Null), ("expires", json!("1d"))]).expect("a change");
        assert_eq!((&off["list"], &off["expires_at"]), (&Value::Null, &Value::Null));
        for (field, value, problem) in [
            ("kind", json!("cart"), "did you mean `card`?"),
            ("list", json!("grey"), "no list"),
            ("reason", json!(" "), "`reason` is missing"),
            ("expires", json!("soon"), "write how long (30d)"),
            ("expires", json!("1969-01-01"), "which is over"),
            ("rules", json!(["velocty"]), "did you mean `velocity`?"),
            ("changed_by", Value::Null, "`changed_by` is missing"),
        ] {
            let error = told(&[(field, value)]).expect_err(problem);
            assert!(error.contains(problem), "{error}");
        }
        let email = told(&[("kind", json!("email")), ("entity", json!("ann@example.com"))]);
        assert!(email.is_err_and(|error| error.contains("email_hash")));
        let blocked = told(&[("list", json!("block")), ("rules", json!(["velocity"]))]);
        assert!(blocked.is_err_and(|error| error.contains("allow list")));
        assert!(
            list_row(&json!({ "kind": "card" }), &rules, now).is_err_and(|error| error.contains("null takes it off"))
        );
    }
}
