//! Slack: a message as Block Kit, to an incoming webhook.

use serde_json::{Value, json};

use super::message::Message;
use super::{NotifyError, SEND_MAX, taken};
use crate::http::{HttpClient, Method};

/// Characters of a header block, at most: Slack refuses more.
const HEADER_CHARS_MAX: usize = 150;
/// Characters of a field of a section, at most 2,000 by Slack; values are evidence, not documents.
const FIELD_CHARS_MAX: usize = 300;

/// A webhook of Slack.
#[derive(Debug)]
pub(super) struct Slack(HttpClient);

impl Slack {
    pub(super) fn new(client: HttpClient) -> Self {
        Slack(client)
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), NotifyError> {
        let body = blocks(message).to_string().into_bytes();
        let headers = [("content-type", "application/json; charset=utf-8")];
        let answer = self.0.send(Method::POST, self.0.path(), &headers, body, SEND_MAX).await?;
        taken("slack", &self.0, &answer)
    }
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
}
