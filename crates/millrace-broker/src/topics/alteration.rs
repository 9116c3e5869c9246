//! Changing a topic's settings: pure, from what is set now and what is asked.

use crate::settings::Limits;
use crate::topics::config::{self, Accepts, Overrides};
use crate::topics::creation::{Refusal, checked_configs};
use kafka_protocol::error::ResponseError;

/// One change of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Set(String),
    /// Back to the default.
    Delete,
    /// Add words to a list.
    Append(String),
    /// Take words out of a list.
    Subtract(String),
}

/// The settings after `changes`, each checked.
pub(crate) fn alter(now: &Overrides, changes: &[(String, Operation)], limits: &Limits) -> Result<Overrides, Refusal> {
    let invalid = |why: String| (ResponseError::InvalidConfig, why);
    let mut altered = now.clone();
    for (name, operation) in changes {
        let definition =
            config::definition(name).ok_or_else(|| invalid(format!("unknown topic config name: {name}")))?;
        let is_list = definition.kind == config::ValueKind::List;
        let words = |text: &str| {
            text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let value = match operation {
            Operation::Delete => None,
            Operation::Set(value) => Some(value.clone()),
            Operation::Append(_) | Operation::Subtract(_) if !is_list => {
                return Err(invalid(format!(
                    "config value append and subtract are not allowed for {name}, which is no list"
                )));
            }
            Operation::Append(more) => {
                let mut all = words(config::value(&altered, name));
                all.extend(words(more).into_iter().filter(|word| !all.contains(word)).collect::<Vec<_>>());
                Some(all.join(","))
            }
            Operation::Subtract(less) => {
                let less = words(less);
                let rest: Vec<_> =
                    words(config::value(&altered, name)).into_iter().filter(|word| !less.contains(word)).collect();
                Some(rest.join(","))
            }
        };
        match value {
            Some(value) => {
                // An empty list is fine where nothing has to be in it.
                if !(value.is_empty() && definition.accepts == Accepts::Anything) {
                    checked_configs(&[(name.clone(), Some(value.clone()))], limits)?;
                }
                altered.insert(name.clone(), value);
            }
            None => {
                altered.remove(name);
            }
        }
    }
    Ok(altered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_set_deleted_and_lists_edited() {
        let now = Overrides::from([("retention.ms".to_owned(), "5".to_owned())]);
        let change = |name: &str, operation| {
            let altered = alter(&now, &[(name.to_owned(), operation)], &Limits::default());
            altered.map(|all| all.get(name).cloned()).map_err(|(_, why)| why)
        };
        let some = |value: &str| Ok(Some(value.to_owned()));
        assert_eq!(change("retention.ms", Operation::Set("7".into())), some("7"));
        assert_eq!(change("retention.ms", Operation::Delete), Ok(None));
        assert_eq!(change("cleanup.policy", Operation::Append("compact".into())), some("delete,compact"));
        assert_eq!(change("cleanup.policy", Operation::Append("delete".into())), some("delete"));
        assert!(change("cleanup.policy", Operation::Subtract("delete".into())).is_err(), "no policy would be left");
        assert!(change("retention.ms", Operation::Append("1".into())).unwrap_err().contains("is no list"));
        assert!(change("retention.ms", Operation::Set("x".into())).unwrap_err().contains("whole number"));
        assert!(change("nonsense", Operation::Delete).unwrap_err().contains("unknown topic config"));
    }
}
