//! The contracts that ship, and those a user adds in a folder.

use std::collections::BTreeMap;

use super::{Contract, ContractError, Role};

/// Texts of `contracts/topics/`, compiled in: the binary needs no file beside it.
const TEXTS: &[&str] = &[
    include_str!("../../../../contracts/topics/answer_key.json"),
    include_str!("../../../../contracts/topics/dead_letter_redrives.json"),
    include_str!("../../../../contracts/topics/dead_letters.json"),
    include_str!("../../../../contracts/topics/fraud_alerts.json"),
    include_str!("../../../../contracts/topics/fraud_batches.json"),
    include_str!("../../../../contracts/topics/fraud_decisions.json"),
    include_str!("../../../../contracts/topics/fraud_lists.json"),
    include_str!("../../../../contracts/topics/fraud_models.json"),
    include_str!("../../../../contracts/topics/fraud_rules.json"),
    include_str!("../../../../contracts/topics/fraud_verdicts.json"),
    include_str!("../../../../contracts/topics/inventory_updates.json"),
    include_str!("../../../../contracts/topics/job_progress.json"),
    include_str!("../../../../contracts/topics/transactions.json"),
    include_str!("../../../../contracts/topics/user_events.json"),
];

/// What the topic alone holds: no sink writes it into a store.
pub(super) const IN_TOPIC_ALONE: [&str; 3] = ["answer_key", "fraud_batches", "fraud_decisions"];

/// Contracts by name.
#[derive(Clone, Debug, Default)]
pub struct Contracts(BTreeMap<String, Contract>);

impl Contracts {
    /// The contracts that ship: three sources and the product's own topics.
    pub fn builtin() -> Self {
        let read = |text: &&str| Contract::parse(text).expect("a test reads every shipped contract");
        Contracts(TEXTS.iter().map(read).map(|contract| (contract.name.clone(), contract)).collect())
    }

    /// Adds a contract, or replaces the one of the same name.
    pub fn insert(&mut self, contract: Contract) {
        self.0.insert(contract.name.clone(), contract);
    }

    /// Adds a contract from the text of its JSON Schema.
    ///
    /// # Errors
    /// As [`Contract::parse`].
    pub fn insert_text(&mut self, text: &str) -> Result<(), ContractError> {
        self.insert(Contract::parse(text)?);
        Ok(())
    }

    /// The contract of this name.
    pub fn get(&self, name: &str) -> Option<&Contract> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Contract> {
        self.0.values()
    }

    /// Those of one role, by name.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = &Contract> {
        self.iter().filter(move |contract| contract.role == role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_compiled_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/topics");
        let files = std::fs::read_dir(folder).expect("the folder of contracts").count();
        assert_eq!(files, TEXTS.len());
        assert_eq!(Contracts::builtin().iter().count(), TEXTS.len());
        assert_eq!(Contracts::builtin().of_role(Role::Source).count(), 3);
    }
}
