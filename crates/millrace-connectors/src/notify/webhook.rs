//! Any webhook: the message as JSON, signed, so that the receiver knows who sent it and that it is not an old one.

use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use millrace_model::{ErrorKind, Timestamp};
use sha2::Sha256;

use super::message::Message;
use super::{NotifyError, SEND_MAX, taken};
use crate::http::{HttpClient, Method};
use crate::secret::Secret;

/// Header of the signature: `t=SECONDS,v1=HEX`, HEX being HMAC-SHA256 of `SECONDS.BODY` with the channel's secret.
pub const SIGNATURE_HEADER: &str = "Millrace-Signature";

/// A webhook.
#[derive(Debug)]
pub(super) struct Webhook {
    client: HttpClient,
    secret: Secret,
}

impl Webhook {
    pub(super) fn new(client: HttpClient, secret: Secret) -> Self {
        Webhook { client, secret }
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), NotifyError> {
        let body = serde_json::to_vec(message).map_err(|e| NotifyError::new(ErrorKind::Internal, e.to_string()))?;
        let seconds = Timestamp::from_system_time(SystemTime::now()).millis() / 1_000;
        let signature = signature(&self.secret, seconds, &body)?;
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", message.id.as_str()),
            (SIGNATURE_HEADER, signature.as_str()),
        ];
        let answer = self.client.send(Method::POST, self.client.path(), &headers, body, SEND_MAX).await?;
        taken("webhook", &self.client, &answer)
    }
}

fn signature(secret: &Secret, seconds: i64, body: &[u8]) -> Result<String, NotifyError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes())
        .map_err(|e| NotifyError::new(ErrorKind::Invalid, format!("webhook secret: {e}")))?;
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("t={seconds},v1={hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures() {
        // printf '%s' '1700000000.{}' | openssl dgst -sha256 -hmac key
        let expected = "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";
        let found = signature(&Secret::new("key"), 1_700_000_000, b"{}").expect("signed");
        assert_eq!(found, expected);
        assert_ne!(signature(&Secret::new("other"), 1_700_000_000, b"{}").expect("signed"), expected);
        assert_ne!(signature(&Secret::new("key"), 1_700_000_001, b"{}").expect("signed"), expected);
    }
}
