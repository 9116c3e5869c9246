//! Every record that is meant to be good conforms to its contract, in every field.

use std::collections::{HashMap, HashSet};

use millrace_model::contract::{Column, ColumnType};
use millrace_model::{Contracts, Timestamp};
use millrace_simulate::{Delivery, Topic};
use serde_json::{Map, Value};

use crate::common::{run, settings};

fn conforms(value: &Value, column: &Column) -> bool {
    if value.is_null() {
        return false; // Absent fields are left out.
    }
    match &column.column_type {
        ColumnType::Text => value.as_str().is_some_and(|text| !text.is_empty()),
        ColumnType::Integer => value.is_i64(),
        ColumnType::Number => value.is_number(),
        ColumnType::Boolean => value.is_boolean(),
        ColumnType::Timestamp => {
            let text = value.as_str().unwrap_or_default();
            Timestamp::parse(text.as_bytes()).is_some_and(|time| time.to_string() == text)
        }
        ColumnType::List(item) => value.as_array().is_some_and(|items| {
            let column = Column { column_type: (**item).clone(), ..column.clone() };
            items.iter().all(|item| conforms(item, &column))
        }),
        ColumnType::Struct(columns) => value.as_object().is_some_and(|object| object_conforms(object, columns)),
        ColumnType::Map(_) => false,
    }
}

/// Known fields only, each of its type, in the contract's order, and none missing.
fn object_conforms(object: &Map<String, Value>, columns: &[Column]) -> bool {
    let place = |name: &String| columns.iter().position(|column| column.name == *name);
    let places: Option<Vec<usize>> = object.keys().map(place).collect();
    places.is_some_and(|places| places.is_sorted_by(|a, b| a < b))
        && columns.iter().all(|column| match object.get(&column.name) {
            Some(value) => conforms(value, column),
            None => !column.required,
        })
}

#[test]
fn every_good_record_conforms() {
    let contracts = Contracts::builtin();
    let mut seen: HashMap<(Topic, String), HashSet<String>> = HashMap::new();
    for record in run(settings(11, 70.0), 60) {
        if record.delivery == Delivery::Malformed {
            continue;
        }
        let contract = contracts.get(record.topic.name()).expect("a contract a topic");
        let text = String::from_utf8_lossy(&record.value);
        let value: Map<String, Value> = serde_json::from_slice(&record.value).expect("a JSON object");
        assert!(object_conforms(&value, &contract.columns), "{text}");
        assert_eq!(value[&contract.key[0]].as_str().map(str::as_bytes), Some(&record.key[..]), "{text}");
        assert_eq!(value["event_time"].as_str(), Some(record.event_time.to_string().as_str()), "{text}");
        assert!(!text.contains('@') && !has_card_number(&text), "{text}");
        let kind = if record.topic == Topic::AnswerKey { "kind" } else { "event_type" };
        let kind = value[kind].as_str().unwrap_or_default().to_owned();
        seen.entry((record.topic, kind)).or_default().extend(value.keys().cloned());
    }
    // Everything the contracts name is made at some time.
    for topic in Topic::ALL {
        let contract = contracts.get(topic.name()).expect("a contract a topic");
        let fields: HashSet<&String> =
            seen.iter().filter(|((of, _), _)| *of == topic).flat_map(|(_, all)| all).collect();
        for column in &contract.columns {
            assert!(fields.contains(&column.name), "{} never has `{}`", topic.name(), column.name);
        }
    }
    for (topic, kinds) in [
        (
            Topic::UserEvents,
            "page_viewed products_searched product_list_viewed product_clicked product_viewed product_added product_removed cart_viewed checkout_started payment_info_entered signed_up signed_in sign_in_failed signed_out password_changed address_changed",
        ),
        (
            Topic::Transactions,
            "order_placed payment_authorized payment_declined payment_captured order_refunded order_cancelled chargeback_received",
        ),
        (
            Topic::InventoryUpdates,
            "stock_counted stock_adjusted stock_reserved reservation_released shipment_dispatched shipment_received restocked",
        ),
        (Topic::AnswerKey, "campaign payment session minute stock disorder"),
    ] {
        for kind in kinds.split(' ') {
            assert!(seen.contains_key(&(topic, kind.to_owned())), "no {kind}");
        }
    }
}

/// Thirteen digits or more in a row, not within hexadecimal: what a card number would look like.
fn has_card_number(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word.len() >= 13 && word.bytes().all(|b| b.is_ascii_digit()))
}
