//! Where an S3 server is and who asks it: from the environment and the credentials file, by the names AWS's tools use.

use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// Region of requests when none is set.
const REGION_DEFAULT: &str = "us-east-1";

/// How to reach S3.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// `http://…` or `https://…` of a server that is not AWS.
    pub(super) endpoint: Option<String>,
    pub(super) region: String,
    pub(super) credentials: Credentials,
    /// PEM file of certificates to trust besides the system's.
    pub(super) ca_file: Option<PathBuf>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_key: Secret,
    pub(super) session_token: Option<Secret>,
}

impl Settings {
    /// Reads this environment, and the file it names.
    ///
    /// # Errors
    /// A sentence that says what to set.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let endpoint = set("AWS_ENDPOINT_URL_S3").or_else(|| set("AWS_ENDPOINT_URL"));
        let plain_allowed =
            set("AWS_ALLOW_HTTP").is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1");
        if let Some(endpoint) = &endpoint {
            match endpoint.split_once("://") {
                Some(("https", _)) => {}
                Some(("http", _)) if plain_allowed => {}
                Some(("http", _)) => {
                    return Err("AWS_ENDPOINT_URL has no TLS: set AWS_ALLOW_HTTP=true if that is meant".into());
                }
                _ => return Err("AWS_ENDPOINT_URL is not an address; write https://HOST:PORT".into()),
            }
        }
        let region = set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION")).unwrap_or_else(|| REGION_DEFAULT.into());
        let credentials = match (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key_id), Some(secret)) => Credentials {
                access_key_id,
                secret_key: Secret::new(secret),
                session_token: set("AWS_SESSION_TOKEN").map(Secret::new),
            },
            (None, None) => {
                let file = set("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
                let home = || set("HOME").map(|home| Path::new(&home).join(".aws/credentials"));
                let profile = set("AWS_PROFILE").unwrap_or_else(|| "default".into());
                let missing = "no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write \
                               ~/.aws/credentials";
                from_file(&file.or_else(home).ok_or(missing)?, &profile).map_err(|why| format!("{missing} ({why})"))?
            }
            _ => return Err("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together: one of them is not set".into()),
        };
        Ok(Settings { endpoint, region, credentials, ca_file: set("AWS_CA_BUNDLE").map(PathBuf::from) })
    }
}

fn from_file(file: &Path, profile: &str) -> Result<Credentials, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut inside = false;
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if inside && let Some((name, value)) = line.split_once('=') {
            let value = value.trim().to_owned();
            match name.trim() {
                "aws_access_key_id" => id = Some(value),
                "aws_secret_access_key" => secret = Some(Secret::new(value)),
                "aws_session_token" => token = Some(Secret::new(value)),
                _ => {}
            }
        }
    }
    match (id, secret) {
        (Some(access_key_id), Some(secret_key)) => Ok(Credentials { access_key_id, secret_key, session_token: token }),
        _ => Err(format!("{}: profile `{profile}` has no access key", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::read(find)
    }

    #[test]
    fn environment_and_file() {
        let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hidden")];
        let settings = read(&keys).expect("enough");
        assert_eq!((settings.region.as_str(), settings.endpoint.as_deref()), ("us-east-1", None));
        assert!(!format!("{settings:?}").contains("hidden"), "{settings:?}");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("credentials");
        let text = "[default]\naws_access_key_id = a\naws_secret_access_key = b\n[shop]\naws_access_key_id=c\n\
                    aws_secret_access_key=d\naws_session_token=e\n";
        std::fs::write(&file, text).expect("written");
        let file = file.display().to_string();
        let settings =
            read(&[("AWS_SHARED_CREDENTIALS_FILE", &file), ("AWS_PROFILE", "shop"), ("AWS_REGION", "eu-west-1")]);
        let settings = settings.expect("a profile");
        assert_eq!((settings.credentials.access_key_id.as_str(), settings.region.as_str()), ("c", "eu-west-1"));
        assert!(settings.credentials.session_token.is_some());
        for (variables, told) in [
            (vec![], "set AWS_ACCESS_KEY_ID"),
            (vec![keys[0]], "go together"),
            (vec![("AWS_SHARED_CREDENTIALS_FILE", file.as_str()), ("AWS_PROFILE", "none")], "`none` has no access key"),
            (vec![keys[0], keys[1], ("AWS_ENDPOINT_URL", "http://127.0.0.1:9")], "set AWS_ALLOW_HTTP=true"),
            (vec![keys[0], keys[1], ("AWS_ENDPOINT_URL", "127.0.0.1:9")], "is not an address"),
        ] {
            let why = read(&variables).expect_err(told);
            assert!(why.contains(told), "{why}");
        }
    }
}
