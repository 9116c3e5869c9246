//! Slack: a message as Block Kit, to an incoming webhook, or by `chat.postMessage` as a bot.

use std::path::Path;

use millrace_model::ErrorKind;
use serde_json::{Value, json};

use super::message::Message;
use super::{NotifyError, SEND_MAX, taken};
use crate::http::{Answer, HttpClient, Method};
use crate::secret::Secret;

/// Characters of a header block, at most: Slack refuses more.
const HEADER_CHARS_MAX: usize = 150;
/// Characters of a field of a section, at most 2,000 by Slack; values are evidence, not documents.
const FIELD_CHARS_MAX: usize = 300;

/// Where a bot's messages go.
pub(super) const API_URL: &str = "https://slack.com/api/chat.postMessage";

/// Slack, by a webhook or as a bot.
#[derive(Debug)]
pub(super) struct Slack {
    client: HttpClient,
    bot: Option<Bot>,
}

/// Who writes, and where.
#[derive(Debug)]
struct Bot {
    token: Secret,
    channel: String,
}

impl Slack {
    /// To an incoming webhook.
    pub(super) fn webhook(client: HttpClient) -> Self {
        Slack { client, bot: None }
    }

    /// As a bot that may write into the conversation.
    ///
    /// # Errors
    /// `Invalid`: the address, or a token that would go over the network in the clear.
    pub(super) fn bot(
        api_url: &str,
        ca_file: Option<&Path>,
        token: Secret,
        channel: &str,
    ) -> Result<Self, NotifyError> {
        let client = HttpClient::new(api_url, ca_file)?;
        let server = client.server();
        let is_local = server.starts_with("127.") || server.starts_with("::1:") || server.starts_with("localhost:");
        if !api_url.starts_with("https://") && !is_local {
            return Err(NotifyError::new(ErrorKind::Invalid, "slack: a token goes over https only; mend `api_url`"));
        }
        if channel.trim().is_empty() {
            return Err(NotifyError::new(ErrorKind::Invalid, "slack: `channel` is empty"));
        }
        Ok(Slack { client, bot: Some(Bot { token, channel: channel.trim().to_owned() }) })
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), NotifyError> {
        let mut body = blocks(message);
        let kind = ("content-type", "application/json; charset=utf-8");
        let Some(Bot { token, channel }) = &self.bot else {
            let body = body.to_string().into_bytes();
            let answer = self.client.send(Method::POST, self.client.path(), &[kind], body, SEND_MAX).await?;
            return taken("slack", &self.client, &answer);
        };
        body["channel"] = json!(channel);
        // The page is for whom it may concern, not for Slack's servers to open.
        body["unfurl_links"] = json!(false);
        let bearer = format!("Bearer {}", token.reveal());
        let headers = [kind, ("authorization", bearer.as_str())];
        let body = body.to_string().into_bytes();
        let answer = self.client.send(Method::POST, self.client.path(), &headers, body, SEND_MAX).await?;
        taken("slack", &self.client, &answer)?;
        posted(&answer)
    }
}

/// What `chat.postMessage` says with status 200: `ok`, or the reason why not.
fn posted(answer: &Answer) -> Result<(), NotifyError> {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if said["ok"] == true {
        return Ok(());
    }
    let why: String = said["error"].as_str().unwrap_or("an answer without `ok`").chars().take(80).collect();
    let kind = match why.as_str() {
        "ratelimited"
        | "rate_limited"
        | "message_limit_exceeded"
        | "internal_error"
        | "fatal_error"
        | "request_timeout"
        | "service_unavailable"
        | "team_added_to_org"
        | "an answer without `ok`" => ErrorKind::Unavailable,
        "msg_too_long"
        | "msg_blocks_too_long"
        | "no_text"
        | "invalid_blocks"
        | "invalid_blocks_format"
        | "invalid_arguments"
        | "invalid_json" => ErrorKind::Data,
        // Token, scope, conversation: every message is refused until somebody mends it.
        _ => ErrorKind::Invalid,
    };
    let text = format!("slack does not take it: {why}");
    Err(NotifyError { retry_after: answer.retry_after, ..NotifyError::new(kind, text) })
}

/// Header, introduction, an entity a section with its values, and where to see more. At most 50 blocks, which ten entities
/// cannot reach.
fn blocks(message: &Message) -> Value {
    let subject = message.subject();
    let mut blocks = vec![json!({
        "type": "header", "text": { "type": "plain_text", "text": clip(&subject, HEADER_CHARS_MAX), "emoji": false },
    })];
    let introduction = message.introduction();
    if !introduction.is_empty() {
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": escaped(&introduction) } }));
    }
    for entity in &message.entities {
        let heading = format!("*{}* · {}", escaped(&clip(&entity.heading(), FIELD_CHARS_MAX)), entity.severity.name());
        let mut section = json!({ "type": "section", "text": { "type": "mrkdwn", "text": heading } });
        let field = |(name, value): &(String, String)| json!({ "type": "mrkdwn", "text": format!("*{}*\n{}", escaped(name), escaped(&clip(value, FIELD_CHARS_MAX))) });
        let fields: Vec<Value> = entity.evidence.iter().take(super::EVIDENCE_MAX).map(field).collect();
        if !fields.is_empty() {
            section["fields"] = Value::Array(fields);
        }
        blocks.push(section);
    }
    let link = message.link.as_ref().map(|link| format!("<{}|Open the page> · ", escaped(link))).unwrap_or_default();
    let ids: Vec<&str> =
        message.entities.iter().flat_map(|entity| entity.alert_ids.first()).take(1).map(String::as_str).collect();
    let ack = ids.first().map(|id| format!("`millrace alerts ack {}`", escaped(id))).unwrap_or_default();
    let foot = format!("{link}{ack} · {}", message.time);
    blocks.push(json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": foot }] }));
    json!({ "text": escaped(&subject), "blocks": blocks })
}

/// Slack's own three.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn clip(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max - 1) {
        Some((end, _)) if text.chars().count() > chars_max => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::message::sample;

    #[test]
    fn block_kit_within_its_limits() {
        let body = blocks(&sample(10_000, 2_500));
        let list = body["blocks"].as_array().expect("blocks");
        assert_eq!(list.len(), 1 + 1 + 10 + 1);
        assert!(list[0]["text"]["text"].as_str().expect("a text").chars().count() <= HEADER_CHARS_MAX);
        assert_eq!(list[2]["text"]["text"], "*velocity &lt;card_0&gt; (4 alerts)* · high");
        assert_eq!(list[2]["fields"][1]["text"], "*amount*\na &amp; b");
        let foot = list[12]["elements"][0]["text"].as_str().expect("a text");
        assert!(foot.contains("<http://127.0.0.1:8080/fraud|Open the page>") && foot.contains("ack fraud/0"), "{foot}");
        assert_eq!(clip("abcdef", 4), "abc…");
        assert_eq!(clip("abcd", 4), "abcd");
    }

    /// Answers one request with this body, and gives the request.
    async fn receive(listener: &tokio::net::TcpListener, status: &str, body: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        let whole = |request: &[u8]| {
            let text = String::from_utf8_lossy(request).into_owned();
            let (head, body) = text.split_once("\r\n\r\n")?;
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned))?;
            (body.len() >= length.trim().parse::<usize>().ok()?).then_some(text)
        };
        let text = loop {
            let mut part = [0; 4_096];
            let read = stream.read(&mut part).await.expect("a request");
            request.extend_from_slice(&part[..read]);
            match whole(&request) {
                Some(text) => break text,
                None => assert!(read > 0, "the request is cut off"),
            }
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nretry-after: 7\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await.expect("answered");
        text
    }

    #[tokio::test]
    async fn a_bot_posts_and_hears_why_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/api/chat.postMessage", listener.local_addr().expect("an address"));
        let slack = Slack::bot(&url, None, Secret::new("xoxb-of-the-test"), " C0123 ").expect("a bot");
        assert!(!format!("{slack:?}").contains("xoxb"));
        for (status, body, kind) in [
            ("200 OK", r#"{"ok":true,"ts":"1"}"#, None),
            ("200 OK", r#"{"ok":false,"error":"ratelimited"}"#, Some(ErrorKind::Unavailable)),
            ("200 OK", r#"{"ok":false,"error":"invalid_blocks"}"#, Some(ErrorKind::Data)),
            ("200 OK", r#"{"ok":false,"error":"not_in_channel"}"#, Some(ErrorKind::Invalid)),
            ("200 OK", "<html>", Some(ErrorKind::Unavailable)),
            ("429 Too Many Requests", "", Some(ErrorKind::Unavailable)),
        ] {
            let message = sample(2, 1);
            let (sent, request) = tokio::join!(slack.send(&message), receive(&listener, status, body));
            let error = sent.err();
            assert_eq!(error.as_ref().map(millrace_model::Classified::kind), kind, "{status} {body}: {error:?}");
            if let Some(error) = error {
                assert_eq!(error.retry_after, Some(std::time::Duration::from_secs(7)));
                assert!(!error.to_string().contains("xoxb"), "{error}");
            }
            let (head, sent) = request.split_once("\r\n\r\n").expect("a body");
            assert!(head.starts_with("POST /api/chat.postMessage "), "{head}");
            assert!(head.to_ascii_lowercase().contains("authorization: bearer xoxb-of-the-test"), "{head}");
            let sent: Value = serde_json::from_str(sent).expect("JSON");
            assert_eq!((&sent["channel"], &sent["unfurl_links"]), (&json!("C0123"), &json!(false)));
            assert!(sent["blocks"].as_array().is_some_and(|blocks| blocks.len() > 2) && sent["text"].is_string());
        }
        let clear = Slack::bot("http://slack.example/api", None, Secret::new("xoxb"), "C1").expect_err("in the clear");
        assert!(clear.to_string().contains("over https only"), "{clear}");
    }

    #[test]
    fn a_webhook_or_a_bot() {
        use crate::notify::{Channel, ChannelSettings};
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "https://hooks.example/T0/B0/x").expect("written");
        let open = |fields: &[(&str, &str)]| {
            let mut settings = json!({"kind": "slack"});
            for (name, value) in fields {
                settings[*name] = json!(value);
            }
            let settings: ChannelSettings = serde_json::from_value(settings).map_err(|error| error.to_string())?;
            Channel::open(&settings).map(drop).map_err(|error| error.to_string())
        };
        let secret = format!("file:{}", file.display());
        let secret = secret.as_str();
        assert_eq!(open(&[("url", secret)]), Ok(()));
        assert_eq!(open(&[("token", secret), ("channel", "#alerts")]), Ok(()));
        for (fields, told) in [
            (&[][..], "`token` and `channel` of a bot"),
            (&[("token", secret)], "`token` and `channel` of a bot"),
            (&[("url", secret), ("channel", "#alerts")], "`token` and `channel` of a bot"),
            (&[("token", secret), ("channel", " ")], "`channel` is empty"),
            (&[("token", "xoxb-1-2-3"), ("channel", "#alerts")], "env:NAME"),
            (&[("tokn", secret)], "unknown field"),
        ] {
            let why = open(fields).expect_err(told);
            assert!(why.contains(told) && !why.contains("xoxb-1"), "{why}");
        }
    }
}
