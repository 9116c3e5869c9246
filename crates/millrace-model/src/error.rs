//! An error's kind is an instruction: what the caller is to do about it.

use std::fmt;

/// What to do about an error. One place (a role's supervisor) matches on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The user gave something that cannot work: say it, with place and hint, and do not start.
    Invalid,
    /// Something outside is away: try again with back-off.
    Unavailable,
    /// One record is at fault: it goes to `dead_letters`, the rest goes on.
    Data,
    /// Another owner has taken over: stop at once, without another write.
    Fenced,
    /// We are wrong, or what we stored is: stop the job and restore it.
    Internal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorKind::Invalid => "invalid",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Data => "data",
            ErrorKind::Fenced => "fenced",
            ErrorKind::Internal => "internal",
        })
    }
}

/// An error that knows its kind.
pub trait Classified: std::error::Error {
    /// What the caller is to do.
    fn kind(&self) -> ErrorKind;
}
