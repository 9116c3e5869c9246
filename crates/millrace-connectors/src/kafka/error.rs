//! What can go wrong with Kafka, and the one place that turns its codes into an instruction.

use std::fmt;

use millrace_model::{Classified, ErrorKind};
use rdkafka::error::KafkaError as NativeError;
use rdkafka::types::RDKafkaErrorCode as Code;

/// An error of Kafka: what was done, what the broker or client said, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KafkaError {
    kind: ErrorKind,
    text: String,
    requires_abort: bool,
    code: Option<Code>,
}

impl KafkaError {
    /// An error with its text: lower case, what and detail and hint.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        KafkaError { kind, text: text.into(), requires_abort: false, code: None }
    }

    /// An error of the client library while doing `what`.
    pub fn of(what: impl fmt::Display, error: &NativeError) -> Self {
        let kind = kind_of(error);
        let requires_abort = matches!(error, NativeError::Transaction(inner) if inner.txn_requires_abort());
        KafkaError {
            kind,
            text: format!("{what}: {}{}", detail(error), hint(kind, code_of(error))),
            requires_abort,
            code: code_of(error),
        }
    }

    /// The transaction has to be aborted; a new one may succeed.
    pub fn requires_abort(&self) -> bool {
        self.requires_abort
    }

    /// Kafka's own code, when there is one.
    pub fn code(&self) -> Option<Code> {
        self.code
    }
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for KafkaError {}

impl Classified for KafkaError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// The library's own accessor knows nothing of admin operations and groups.
fn code_of(error: &NativeError) -> Option<Code> {
    match error {
        NativeError::AdminOp(code) | NativeError::GroupListFetch(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

fn detail(error: &NativeError) -> String {
    match error {
        // Without the value: it may be a password.
        NativeError::ClientConfig(_, description, name, _) => format!("property `{name}`: {description}"),
        NativeError::ClientCreation(text) => text.clone(),
        NativeError::Transaction(inner) => inner.string(),
        other => match code_of(other) {
            Some(code) => code.to_string(),
            None => other.to_string(),
        },
    }
}

fn hint(kind: ErrorKind, code: Option<Code>) -> &'static str {
    match (kind, code) {
        (_, Some(Code::UnknownTopicOrPartition | Code::UnknownTopic)) => "; topics are made when Millrace starts",
        (
            ErrorKind::Unavailable,
            Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::OperationTimedOut),
        ) => "; is the broker running and reachable at `bootstrap_servers`?",
        (ErrorKind::Fenced, _) => "; another process has taken over",
        (_, Some(Code::MessageSizeTooLarge)) => "; `max.message.bytes` of the topic is the limit",
        _ => "",
    }
}

/// The kind of an error of the client library.
pub(super) fn kind_of(error: &NativeError) -> ErrorKind {
    match error {
        NativeError::ClientConfig(..)
        | NativeError::ClientCreation(_)
        | NativeError::AdminOpCreation(_)
        | NativeError::Nul(_) => ErrorKind::Invalid,
        NativeError::Canceled | NativeError::NoMessageReceived => ErrorKind::Unavailable,
        NativeError::Transaction(inner) => match kind_of_code(inner.code()) {
            ErrorKind::Internal if inner.is_retriable() || inner.txn_requires_abort() => ErrorKind::Unavailable,
            kind => kind,
        },
        other => code_of(other).map_or(ErrorKind::Internal, kind_of_code),
    }
}

fn kind_of_code(code: Code) -> ErrorKind {
    match code {
        Code::Fenced
        | Code::ProducerFenced
        | Code::InvalidProducerEpoch
        | Code::FencedInstanceId
        | Code::FencedMemberEpoch
        | Code::TransactionCoordinatorFenced
        | Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::AssignmentLost
        | Code::PollExceeded => ErrorKind::Fenced,

        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::MessageTimedOut
        | Code::OperationTimedOut
        | Code::TimedOutQueue
        | Code::RequestTimedOut
        | Code::QueueFull
        | Code::WaitingForCoordinator
        | Code::InProgress
        | Code::Retry
        | Code::Outdated
        | Code::DestroyBroker
        | Code::UnknownBroker
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::UnknownTopicId
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotController
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::RebalanceInProgress
        | Code::ConcurrentTransactions
        | Code::KafkaStorageError
        | Code::FetchSessionIdNotFound
        | Code::InvalidFetchSessionEpoch
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::OffsetNotAvailable
        | Code::UnstableOffsetCommit
        | Code::ThrottlingQuotaExceeded => ErrorKind::Unavailable,

        Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::InvalidTimestamp => ErrorKind::Data,

        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::SSL
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SecurityDisabled
        | Code::InvalidArgument
        | Code::InvalidTopic
        | Code::InvalidGroupId
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidConfig
        | Code::InvalidTransactionTimeout
        | Code::PolicyViolation
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::UnsupportedCompressionType => ErrorKind::Invalid,

        _ => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        for (code, kind) in [
            (Code::ProducerFenced, ErrorKind::Fenced),
            (Code::AllBrokersDown, ErrorKind::Unavailable),
            (Code::UnknownTopicOrPartition, ErrorKind::Unavailable),
            (Code::MessageSizeTooLarge, ErrorKind::Data),
            (Code::TopicAuthorizationFailed, ErrorKind::Invalid),
            (Code::OutOfOrderSequenceNumber, ErrorKind::Internal),
        ] {
            assert_eq!(kind_of(&NativeError::Global(code)), kind, "{code}");
            assert_eq!(kind_of(&NativeError::AdminOp(code)), kind, "{code}");
        }
    }

    #[test]
    fn says_what_and_hint() {
        let error = KafkaError::of("read the topics", &NativeError::MetadataFetch(Code::BrokerTransportFailure));
        assert!(error.to_string().starts_with("read the topics: "), "{error}");
        assert!(error.to_string().ends_with("reachable at `bootstrap_servers`?"), "{error}");
    }
}
