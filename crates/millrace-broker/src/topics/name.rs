//! Topic names: which are valid, and which would collide with another.

use thiserror::Error;

/// Longest name; it becomes part of a directory name.
pub(crate) const NAME_BYTES_MAX: usize = 249;

/// Why a name is refused. The text goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NameError {
    #[error("topic name is illegal, it can't be empty")]
    Empty,
    #[error("topic name is illegal, it can't be '.' or '..'")]
    Dots,
    #[error("topic name is illegal, it can't be longer than 249 characters")]
    TooLong,
    #[error("topic name is illegal, it contains a character other than ASCII alphanumerics, '.', '_' and '-'")]
    Character,
}

/// Checks a topic name by Kafka's rules.
pub(crate) fn check(name: &str) -> Result<(), NameError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match name {
        "" => Err(NameError::Empty),
        "." | ".." => Err(NameError::Dots),
        _ if name.len() > NAME_BYTES_MAX => Err(NameError::TooLong),
        _ if !name.bytes().all(legal) => Err(NameError::Character),
        _ => Ok(()),
    }
}

/// Whether two different names would be the same metric name, which Kafka forbids: `.` and `_` count as equal.
pub(crate) fn collide(one: &str, other: &str) -> bool {
    one != other && one.len() == other.len() && one.replace('.', "_") == other.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_kafka() {
        for good in ["a", "user_events", "A.b-C_9", "...", &"x".repeat(249)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let bad = [
            ("", NameError::Empty),
            (".", NameError::Dots),
            ("..", NameError::Dots),
            ("a b", NameError::Character),
            ("a/b", NameError::Character),
            ("é", NameError::Character),
        ];
        for (name, error) in bad {
            assert_eq!(check(name), Err(error), "{name}");
        }
        assert_eq!(check(&"x".repeat(250)), Err(NameError::TooLong));
        assert!(collide("a.b", "a_b") && !collide("a.b", "a.b") && !collide("a.b", "a-b"));
    }
}
