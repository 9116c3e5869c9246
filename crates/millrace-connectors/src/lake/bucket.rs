//! A bucket as the library reaches it: where it is and who asks, from the environment by the names AWS's own tools use.
//!
//! The library knows the variables, roles of containers and the role of the machine. What it does not know is here: the
//! credentials file with its profiles, a file of certificates, and a sentence for whoever has set nothing at all.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider, S3ConditionalPut,
};
use object_store::{
    BackoffConfig, Certificate, ClientOptions, CredentialProvider, Error, HeaderValue, RetryConfig,
    StaticCredentialProvider,
};

/// Tries of a request after the first.
const RETRIES_MAX: usize = 3;
/// Wait before the second try, milliseconds; about doubled for each further one.
const BACKOFF_MS_MIN: u64 = 100;
/// Longest wait before a try, milliseconds.
const BACKOFF_MS_MAX: u64 = 2_000;
/// A request that has taken so long is not tried again, seconds.
const RETRY_SECONDS_MAX: u64 = 180;
/// Longest wait for a connection, seconds.
const CONNECT_SECONDS_MAX: u64 = 5;
/// Longest wait for an answer, seconds: an object of a few hundred megabytes may be under way.
const ANSWER_SECONDS_MAX: u64 = 120;
/// Longest wait for the role of this machine, seconds: outside of AWS nobody answers, and packets get lost.
const ROLE_SECONDS_MAX: u64 = 5;
/// Region of requests when none is set.
const REGION_DEFAULT: &str = "us-east-1";
/// Who has set nothing is told this.
const MISSING: &str =
    "no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials";

/// The variables of a process that are set to something.
pub(super) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process.
    pub(super) fn of_process() -> Self {
        let texts = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Environment::new(std::env::vars_os().filter_map(texts))
    }

    /// These.
    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Environment(variables.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| ["1", "true", "on", "yes", "y"].contains(&&*value.to_ascii_lowercase()))
    }
}

/// A bucket.
pub(super) struct Bucket {
    /// Its objects.
    pub(super) store: AmazonS3,
    /// Address of its server.
    pub(super) server: String,
}

/// Reads the environment and the files it names; nothing is asked of anybody yet.
///
/// # Errors
/// A sentence that says what to set.
pub(super) fn open(bucket: &str, set: &Environment) -> Result<Bucket, String> {
    if bucket.is_empty() {
        return Err("the bucket has no name; write s3://BUCKET/PREFIX".into());
    }
    if !bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err(format!("`{bucket}` is no bucket's name: letters, digits, dots and hyphens"));
    }
    let mut options = client_options();
    if let Some(file) = set.get("AWS_CA_BUNDLE") {
        options = certificates(file)?.into_iter().fold(options, ClientOptions::with_root_certificate);
    }
    let mut builder = AmazonS3Builder::new();
    for (name, value) in set.0.iter().filter(|(name, _)| name.starts_with("AWS_")) {
        match name.to_ascii_lowercase().parse() {
            Ok(AmazonS3ConfigKey::Client(key)) => options = options.with_config(key, value),
            Ok(key) => builder = builder.with_config(key, value),
            // Read above or below, or by other programs.
            Err(_) => {}
        }
    }
    let get = |key| builder.get_config_value(&key);
    let region = get(AmazonS3ConfigKey::Region).unwrap_or_else(|| REGION_DEFAULT.into());
    if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(format!("AWS_REGION is no region's name: `{region}`"));
    }
    let server = match get(AmazonS3ConfigKey::S3Endpoint).or_else(|| get(AmazonS3ConfigKey::Endpoint)) {
        Some(endpoint) => check_address(endpoint, set.is_on("AWS_ALLOW_HTTP"))?,
        None => format!("https://s3.{region}.amazonaws.com"),
    };
    let builder = builder
        .with_bucket_name(bucket)
        .with_region(region)
        .with_client_options(options)
        .with_retry(retries())
        // What the lake rests on is not for the environment to switch off.
        .with_conditional_put(S3ConditionalPut::ETagMatch);
    let built = |builder: AmazonS3Builder| builder.build().map_err(|error| error.to_string());
    let store = match who(set)? {
        Asks::AsSet => built(builder)?,
        Asks::Profile(credential) => {
            built(builder.with_credentials(Arc::new(StaticCredentialProvider::new(credential))))?
        }
        Asks::Machine { otherwise } => {
            let of = Arc::clone(built(builder.clone())?.credentials());
            let wait = Duration::from_secs(ROLE_SECONDS_MAX);
            built(builder.with_credentials(Arc::new(Role { of, wait, is_known: AtomicBool::new(false), otherwise })))?
        }
    };
    Ok(Bucket { store, server })
}

fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
        .with_timeout(Duration::from_secs(ANSWER_SECONDS_MAX))
        .with_user_agent(HeaderValue::from_static(concat!("millrace/", env!("CARGO_PKG_VERSION"))))
}

fn retries() -> RetryConfig {
    let [init_backoff, max_backoff] = [BACKOFF_MS_MIN, BACKOFF_MS_MAX].map(Duration::from_millis);
    RetryConfig {
        backoff: BackoffConfig { init_backoff, max_backoff, base: 2.0 },
        max_retries: RETRIES_MAX,
        retry_timeout: Duration::from_secs(RETRY_SECONDS_MAX),
    }
}

/// The library takes an address as it is, and panics with the first request if it is none.
fn check_address(endpoint: String, plain_allowed: bool) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte);
    let address = reqwest::Url::parse(&endpoint).ok().filter(|_| endpoint.bytes().all(is_plain));
    match address.as_ref().map(reqwest::Url::scheme) {
        Some("https") => Ok(endpoint),
        Some("http") if plain_allowed => Ok(endpoint),
        Some("http") => Err("AWS_ENDPOINT_URL has no TLS: set AWS_ALLOW_HTTP=true if that is meant".into()),
        // Without the text: a password may be in it.
        _ => Err("AWS_ENDPOINT_URL is not the address of a server; write https://HOST:PORT".into()),
    }
}

fn certificates(file: &str) -> Result<Vec<Certificate>, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("AWS_CA_BUNDLE: certificates in {file}: {error}");
    let text = std::fs::read(file).map_err(|e| unreadable(&e))?;
    let found = Certificate::from_pem_bundle(&text).map_err(|e| unreadable(&e))?;
    if found.is_empty() {
        return Err(unreadable(&"there is none; PEM is wanted"));
    }
    Ok(found)
}

/// Who asks the server.
enum Asks {
    /// Whom the variables name: keys, the role of a container or of a pod, or nobody in particular.
    AsSet,
    /// A profile of the credentials file.
    Profile(AwsCredential),
    /// The role of this machine, if it has one; `otherwise` says what else could be set.
    Machine { otherwise: String },
}

/// In the order in which AWS's tools look.
fn who(set: &Environment) -> Result<Asks, String> {
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        if set.get(name).is_some_and(|value| !value.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(format!("{name} holds white space or other characters that no key has"));
        }
    }
    match (set.get("AWS_ACCESS_KEY_ID"), set.get("AWS_SECRET_ACCESS_KEY")) {
        (Some(_), Some(_)) => return Ok(Asks::AsSet),
        (None, None) => {}
        _ => return Err("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together: one of them is not set".into()),
    }
    if set.is_on("AWS_SKIP_SIGNATURE") {
        return Ok(Asks::AsSet);
    }
    let file = set.get("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    let is_named = file.is_some() || set.get("AWS_PROFILE").is_some();
    let file = file.or_else(|| set.get("HOME").map(|home| Path::new(home).join(".aws/credentials")));
    let from_file = match &file {
        Some(file) => from_file(file, set.get("AWS_PROFILE").unwrap_or("default")),
        None => Err("there is no HOME".into()),
    };
    let has = |names: &[&str]| names.iter().all(|name| set.get(name).is_some());
    match from_file {
        Ok(credential) if is_named => Ok(Asks::Profile(credential)),
        Err(why) if is_named => Err(format!("{MISSING} ({why})")),
        _ if has(&["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"])
            || has(&["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"])
            || has(&["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]) =>
        {
            Ok(Asks::AsSet)
        }
        Ok(credential) => Ok(Asks::Profile(credential)),
        Err(why) if set.is_on("AWS_EC2_METADATA_DISABLED") => Err(format!("{MISSING} ({why})")),
        Err(why) => Ok(Asks::Machine { otherwise: format!("{MISSING} ({why}") }),
    }
}

/// The keys of a profile of the file that AWS's tools share; the library does not read it.
fn from_file(file: &Path, profile: &str) -> Result<AwsCredential, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut is_inside = false;
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_inside = name.trim() == profile;
        } else if is_inside && let Some((name, value)) = line.split_once('=') {
            let value = value.trim().to_owned();
            match name.trim() {
                "aws_access_key_id" => id = Some(value),
                "aws_secret_access_key" => secret = Some(value),
                "aws_session_token" => token = Some(value),
                _ => {}
            }
        }
    }
    let (Some(key_id), Some(secret_key)) = (id, secret) else {
        return Err(format!("{}: profile `{profile}` has no access key", file.display()));
    };
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain(&key_id) || token.as_deref().is_some_and(|token| !is_plain(token)) {
        return Err(format!("{}: profile `{profile}` holds characters that no key has", file.display()));
    }
    Ok(AwsCredential { key_id, secret_key, token })
}

/// The role of this machine. That it has none is told at the first request; once it had one, it is waited for.
#[derive(Debug)]
struct Role {
    of: AwsCredentialProvider,
    wait: Duration,
    is_known: AtomicBool,
    otherwise: String,
}

impl CredentialProvider for Role {
    type Credential = AwsCredential;

    fn get_credential<'a, 'b>(&'a self) -> BoxFuture<'b, object_store::Result<Arc<AwsCredential>>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            if self.is_known.load(Ordering::Relaxed) {
                return self.of.get_credential().await;
            }
            if let Ok(Ok(credential)) = tokio::time::timeout(self.wait, self.of.get_credential()).await {
                self.is_known.store(true, Ordering::Relaxed);
                return Ok(credential);
            }
            let source = format!("{}; this machine has no role either)", self.otherwise).into();
            Err(Error::Unauthenticated { path: String::new(), source })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn refused(bucket: &str, variables: &[(&str, &str)], told: &str) {
        let why = open(bucket, &environment(variables)).err().expect(told);
        assert!(why.contains(told) && !why.contains("hidden"), "{why}");
    }

    #[tokio::test]
    async fn environment_and_file() {
        let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hidden"), ("AWS_REGION", "")];
        let bucket = open("shop", &environment(&keys)).expect("enough");
        assert_eq!(bucket.server, "https://s3.us-east-1.amazonaws.com");
        assert!(!format!("{:?}", bucket.store).contains("hidden"), "{:?}", bucket.store);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("credentials");
        let text = "[default]\naws_access_key_id = a\naws_secret_access_key = hidden\n[shop]\naws_access_key_id=c\n\
                    aws_secret_access_key=hidden\naws_session_token=e\n[broken]\naws_access_key_id=a b\n\
                    aws_secret_access_key=hidden\n";
        std::fs::write(&file, text).expect("written");
        let file = file.display().to_string();
        let from_file = [("AWS_SHARED_CREDENTIALS_FILE", file.as_str()), ("AWS_DEFAULT_REGION", "eu-west-1")];
        for (profile, id, token) in [("", "a", None), ("shop", "c", Some("e"))] {
            let variables = [from_file[0], from_file[1], ("AWS_PROFILE", profile)];
            let bucket = open("shop", &environment(&variables)).expect("a profile");
            assert_eq!(bucket.server, "https://s3.eu-west-1.amazonaws.com");
            let credential = bucket.store.credentials().get_credential().await.expect("known");
            assert_eq!((credential.key_id.as_str(), credential.token.as_deref()), (id, token));
            assert!(!format!("{:?}", bucket.store).contains("hidden"), "{:?}", bucket.store);
        }
        refused("shop", &[("AWS_EC2_METADATA_DISABLED", "true")], "set AWS_ACCESS_KEY_ID");
        refused("shop", &keys[..1], "go together");
        refused("shop", &[keys[0], ("AWS_SECRET_ACCESS_KEY", "hidden\n")], "holds white space");
        refused("shop", &[from_file[0], ("AWS_PROFILE", "none")], "`none` has no access key");
        refused("shop", &[from_file[0], ("AWS_PROFILE", "broken")], "characters that no key has");
        refused("", &keys, "s3://BUCKET/PREFIX");
        refused("a b", &keys, "no bucket's name");
        let with = |name, value| [keys[0], keys[1], (name, value)];
        refused("shop", &with("AWS_REGION", "eu west"), "no region's name");
        refused("shop", &with("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), "set AWS_ALLOW_HTTP=true");
        for endpoint in ["127.0.0.1:9", "https://id:hidden@shop.example", "https://a b", "https://a:99999", "ftp://a"] {
            refused("shop", &with("AWS_ENDPOINT_URL_S3", endpoint), "not the address of a server");
        }
        refused("shop", &with("AWS_CA_BUNDLE", &file), "there is none");
        refused("shop", &with("AWS_TIMEOUT", "soon"), "soon");
    }

    #[tokio::test]
    async fn a_machine_without_a_role_is_told_what_to_set() {
        // It takes connections and says nothing.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", silent.local_addr().expect("an address"));
        let builder = AmazonS3Builder::new().with_bucket_name("shop").with_metadata_endpoint(address);
        let of = Arc::clone(builder.build().expect("a bucket").credentials());
        let wait = Duration::from_millis(200);
        let role = Role { of, wait, is_known: AtomicBool::new(false), otherwise: format!("{MISSING} (no file") };
        let error = role.get_credential().await.expect_err("nobody answers");
        assert!(matches!(error, Error::Unauthenticated { .. }), "{error}");
        assert!(error.to_string().contains("set AWS_ACCESS_KEY_ID"), "{error}");
    }
}
