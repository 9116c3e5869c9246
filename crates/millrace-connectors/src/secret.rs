//! Passwords, keys and secret addresses: named in the settings, read from the environment or a file, never shown.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// Where a secret is: `env:NAME` or `file:PATH`. A secret itself in a settings file is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretPlace {
    /// An environment variable.
    Env(String),
    /// A file; white space at its end is not part of the secret.
    File(std::path::PathBuf),
}

/// A secret, in memory. Its debug form is three stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret that is known already.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The secret itself: for the wire, not for a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl SecretPlace {
    /// Reads the secret.
    ///
    /// # Errors
    /// It is not there, or empty; the text names the place, never the secret.
    pub fn read(&self) -> Result<Secret, String> {
        let text = match self {
            SecretPlace::Env(name) => {
                std::env::var(name).map_err(|_| format!("environment variable {name} is not set, or no UTF-8"))?
            }
            SecretPlace::File(path) => {
                std::fs::read_to_string(path).map_err(|error| format!("secret file {}: {error}", path.display()))?
            }
        };
        let text = text.trim_end();
        match (text.is_empty(), self) {
            (false, _) => Ok(Secret(text.to_owned())),
            (true, SecretPlace::Env(name)) => Err(format!("environment variable {name} is empty")),
            (true, SecretPlace::File(path)) => Err(format!("secret file {} is empty", path.display())),
        }
    }
}

impl<'de> Deserialize<'de> for SecretPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(SecretPlace::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(SecretPlace::File(path.into())),
            // Without the text: it may be the secret.
            _ => Err(serde::de::Error::custom(
                "a secret does not stand in the settings: write `env:NAME` or `file:PATH`, where it is read from",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<SecretPlace, String> {
        serde_json::from_value(serde_json::Value::String(text.into())).map_err(|error| error.to_string())
    }

    #[test]
    fn places() {
        assert_eq!(place("env:SLACK_URL"), Ok(SecretPlace::Env("SLACK_URL".into())));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "hunter2\n").expect("written");
        let secret = place(&format!("file:{}", file.display())).and_then(|place| place.read()).expect("a secret");
        assert_eq!((secret.reveal(), format!("{secret:?}").as_str()), ("hunter2", "***"));
        for wrong in ["hunter2", "https://hooks.example/services/T0/B0/xyz", "env:"] {
            let why = place(wrong).expect_err(wrong);
            assert!(why.contains("env:NAME") && !why.contains("hunter2") && !why.contains("xyz"), "{why}");
        }
        std::fs::write(&file, "\n").expect("written");
        assert!(place(&format!("file:{}", file.display())).and_then(|place| place.read()).is_err());
        assert!(place("env:MILLRACE_NOT_SET_ANYWHERE").and_then(|place| place.read()).is_err());
    }
}
