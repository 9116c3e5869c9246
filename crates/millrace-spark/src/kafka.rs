//! Kafka client properties: from librdkafka's names, which the product's settings use, to those of Java's client.

use std::collections::BTreeMap;

use millrace_model::ErrorKind;

use crate::error::SparkError;

/// Properties that have the same name and meaning in both clients, and are of use to Spark.
const SAME: [&str; 8] = [
    "bootstrap.servers",
    "client.id",
    "security.protocol",
    "linger.ms",
    "request.timeout.ms",
    "retry.backoff.ms",
    "sasl.kerberos.service.name",
    "compression.type",
];

/// Longest record Spark may write, bytes: as the product's other producers. Java's own limit of 1 MiB would stop a query
/// whose rows are longer than the records they come from.
const REQUEST_BYTES_MAX: &str = "16777216";

/// Options of Spark's Kafka source and sink, each with the prefix `kafka.`. Properties that only concern librdkafka
/// (its queues, statistics, logs) are left out.
///
/// # Errors
/// `Invalid` for a security setting that cannot be said to Java's client: it must not be lost silently.
pub(crate) fn options(properties: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, SparkError> {
    let mut options = BTreeMap::new();
    let get = |name: &str| properties.get(name).map(String::as_str);
    for (name, value) in properties {
        if SAME.contains(&name.as_str()) {
            options.insert(name.clone(), value.clone());
        }
    }
    options.insert("max.request.size".into(), get("message.max.bytes").unwrap_or(REQUEST_BYTES_MAX).into());
    if let Some(codec) = get("compression.codec") {
        options.insert("compression.type".into(), codec.into());
    }
    if let Some(mechanism) = get("sasl.mechanism").or_else(|| get("sasl.mechanisms")) {
        options.insert("sasl.mechanism".into(), mechanism.into());
        options.insert("sasl.jaas.config".into(), login(mechanism, get("sasl.username"), get("sasl.password"))?);
    }
    trust(&get, &mut options)?;
    Ok(options.into_iter().map(|(name, value)| (format!("kafka.{name}"), value)).collect())
}

fn invalid(text: impl Into<String>) -> SparkError {
    SparkError::new(ErrorKind::Invalid, text)
}

/// What Java's client logs in with.
fn login(mechanism: &str, user: Option<&str>, password: Option<&str>) -> Result<String, SparkError> {
    let module = match mechanism {
        "PLAIN" => "org.apache.kafka.common.security.plain.PlainLoginModule",
        "SCRAM-SHA-256" | "SCRAM-SHA-512" => "org.apache.kafka.common.security.scram.ScramLoginModule",
        other => {
            let text =
                format!("sasl.mechanism {other} is not available on Spark; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512");
            return Err(invalid(text));
        }
    };
    let (Some(user), Some(password)) = (user, password) else {
        return Err(invalid(format!("sasl.mechanism {mechanism} needs sasl.username and sasl.password")));
    };
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    Ok(format!("{module} required username=\"{}\" password=\"{}\";", quoted(user), quoted(password)))
}

/// Certificates: PEM files, which Java's client reads when told so. Paths must hold on Spark's machines.
fn trust<'a>(get: &impl Fn(&str) -> Option<&'a str>, options: &mut BTreeMap<String, String>) -> Result<(), SparkError> {
    if let Some(path) = get("ssl.ca.location") {
        options.insert("ssl.truststore.type".into(), "PEM".into());
        options.insert("ssl.truststore.location".into(), path.into());
    }
    if let Some(path) = get("ssl.certificate.location") {
        if get("ssl.key.location").is_some_and(|key| key != path) {
            return Err(invalid(
                "Java's Kafka client wants key and certificate in one PEM file: put both into one file and name it in \
                 ssl.certificate.location and ssl.key.location",
            ));
        }
        options.insert("ssl.keystore.type".into(), "PEM".into());
        options.insert("ssl.keystore.location".into(), path.into());
        if let Some(password) = get("ssl.key.password") {
            options.insert("ssl.key.password".into(), password.into());
        }
    }
    if get("enable.ssl.certificate.verification") == Some("false") {
        return Err(invalid(
            "enable.ssl.certificate.verification=false has no counterpart on Spark; name the authority in ssl.ca.location",
        ));
    }
    if get("ssl.endpoint.identification.algorithm") == Some("none") {
        options.insert("ssl.endpoint.identification.algorithm".into(), String::new());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(pairs: &[(&str, &str)]) -> Result<BTreeMap<String, String>, String> {
        let properties = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        options(&properties).map_err(|error| error.to_string())
    }

    #[test]
    fn properties_in_javas_words() {
        let found = mapped(&[
            ("bootstrap.servers", "a:1,b:2"),
            ("queue.buffering.max.ms", "5"),
            ("message.max.bytes", "8000000"),
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.username", "shop"),
            ("sasl.password", "a\"b"),
            ("ssl.ca.location", "/etc/ca.pem"),
        ]);
        let found = found.expect("all known");
        let get = |name: &str| found.get(name).map(String::as_str);
        assert_eq!(get("kafka.bootstrap.servers"), Some("a:1,b:2"));
        assert_eq!(get("kafka.max.request.size"), Some("8000000"));
        assert_eq!(
            get("kafka.sasl.jaas.config"),
            Some(
                "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"shop\" password=\"a\\\"b\";"
            )
        );
        assert_eq!(get("kafka.ssl.truststore.type"), Some("PEM"));
        assert_eq!(get("kafka.queue.buffering.max.ms"), None);
        assert!(!found.keys().any(|name| name.contains("password")));
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        for (pairs, said) in [
            (&[("sasl.mechanism", "GSSAPI")][..], "not available"),
            (&[("sasl.mechanism", "PLAIN")], "needs sasl.username"),
            (&[("ssl.certificate.location", "a"), ("ssl.key.location", "b")], "one PEM file"),
            (&[("enable.ssl.certificate.verification", "false")], "no counterpart"),
        ] {
            let error = mapped(pairs).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }
}
