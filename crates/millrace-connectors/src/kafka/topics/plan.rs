//! What to do about each topic: contracts and the cluster's state in, steps out.

use std::collections::BTreeMap;

use millrace_model::Contract;

/// A topic as the cluster has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Existing {
    /// Number of partitions.
    pub(super) partitions: u32,
    /// Settings made for this topic.
    pub(super) config: BTreeMap<String, String>,
}

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step<'a> {
    /// There is no such topic.
    Create(&'a Contract),
    /// It has fewer partitions than the contract.
    Widen {
        /// Topic.
        topic: String,
        /// How many it is to have.
        partitions: u32,
    },
    /// Its settings differ from the contract's. `config` is all of them: Kafka's AlterConfigs replaces the whole set, so
    /// the ones someone else made are in it too.
    Configure {
        /// Topic.
        topic: String,
        /// Every setting it is to have.
        config: BTreeMap<String, String>,
    },
}

/// Decides.
///
/// # Errors
/// Why a topic cannot become what its contract says.
pub(super) fn plan<'a>(
    contracts: &'a [Contract],
    existing: &BTreeMap<String, Existing>,
) -> Result<Vec<Step<'a>>, String> {
    let mut steps = Vec::new();
    for contract in contracts {
        let topic = &contract.name;
        let Some(found) = existing.get(topic) else {
            steps.push(Step::Create(contract));
            continue;
        };
        let wanted = contract.topic.partitions;
        if found.partitions > wanted {
            return Err(format!(
                "topic `{topic}` has {} partitions and its contract says {wanted}; Kafka cannot take partitions away: \
                 say {} in the contract, or delete the topic with its records",
                found.partitions, found.partitions
            ));
        }
        if found.partitions < wanted {
            steps.push(Step::Widen { topic: topic.clone(), partitions: wanted });
        }
        let differs = |(name, value): (&String, &String)| {
            found.config.get(name).is_none_or(|current| normal(name, current) != normal(name, value))
        };
        if contract.topic.config.iter().any(differs) {
            let mut config = found.config.clone();
            config.extend(contract.topic.config.clone());
            steps.push(Step::Configure { topic: topic.clone(), config });
        }
    }
    Ok(steps)
}

/// `compact,delete` and `delete,compact` are one setting.
fn normal<'a>(name: &str, value: &'a str) -> Vec<&'a str> {
    if name != "cleanup.policy" {
        return vec![value];
    }
    let mut parts: Vec<&str> = value.split(',').map(str::trim).collect();
    parts.sort_unstable();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::Contracts;

    fn found(partitions: u32, config: &[(&str, &str)]) -> BTreeMap<String, Existing> {
        let config = config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        BTreeMap::from([("job_progress".to_owned(), Existing { partitions, config })])
    }

    #[test]
    fn plans() {
        let mut contract = Contracts::builtin().get("job_progress").expect("it ships").clone();
        contract.topic.partitions = 2;
        let config = [("cleanup.policy", "compact,delete"), ("retention.ms", "86400000")];
        contract.topic.config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let contracts = [contract.clone()];
        let kept = ("retention.ms", "86400000");
        let same = [("cleanup.policy", "delete, compact"), kept];
        let widen = Step::Widen { topic: "job_progress".into(), partitions: 2 };
        let configure = |config: &[(&str, &str)]| Step::Configure {
            topic: "job_progress".into(),
            config: config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        for (case, existing, expected) in [
            ("no topic", BTreeMap::new(), vec![Step::Create(&contract)]),
            ("as it should be", found(2, &same), vec![]),
            ("fewer partitions", found(1, &same), vec![widen]),
            (
                "another retention, and a setting of someone else",
                found(2, &[("cleanup.policy", "compact,delete"), ("retention.ms", "1"), ("segment.bytes", "9")]),
                vec![configure(&[("cleanup.policy", "compact,delete"), kept, ("segment.bytes", "9")])],
            ),
            ("an inherited setting", found(2, &[kept]), vec![configure(&[("cleanup.policy", "compact,delete"), kept])]),
        ] {
            assert_eq!(plan(&contracts, &existing).as_deref(), Ok(&expected[..]), "{case}");
        }
        let refusal = plan(&contracts, &found(3, &same)).expect_err("it cannot shrink");
        assert!(refusal.contains("has 3 partitions and its contract says 2"), "{refusal}");
    }
}
