//! The value of a dead letter as somebody may edit it who may not see all of it: personal values stand as ⟦1⟧, ⟦2⟧ … and are
//! put back when the text returns.
//!
//! ```text
//!  {"user_id":"u-123456789","n":"two"} ──▶ {"user_id":"u-⟦1⟧89","n":"two"} ──(edited)──▶ {"user_id":"u-⟦1⟧89","n":2}
//!                                                                                   └──▶ {"user_id":"u-123456789","n":2}
//! ```

use crate::mask;

/// Longest value that is edited as text, bytes; of a longer one a patch changes what it must.
pub(crate) const EDIT_BYTES_MAX: usize = 64 * 1024;
/// A shorter piece is too common to be hidden wherever it occurs.
const SECRET_BYTES_MIN: usize = 3;
/// What a place begins and ends with.
const OPEN: char = '⟦';
const CLOSE: char = '⟧';

/// The value as text to edit; none when it cannot come back from an editor as it was: it is no text, has control characters
/// or what looks like a place, or is too long.
pub(crate) fn editable(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= EDIT_BYTES_MAX)?;
    let misleading = |character: char| {
        matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || (character.is_control() && !matches!(character, '\n' | '\t'))
            || matches!(character, OPEN | CLOSE)
    };
    if text.chars().any(misleading) {
        return None;
    }
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    for (number, (start, end)) in hidden(text).into_iter().enumerate() {
        shown.push_str(&text[at..start]);
        shown.push_str(&format!("{OPEN}{}{CLOSE}", number + 1));
        at = end;
    }
    shown.push_str(&text[at..]);
    Some(shown)
}

/// The text with its places filled from the value it was made of.
///
/// # Errors
/// A place that stands for nothing, in words.
pub(crate) fn restored(value: &[u8], edited: &str) -> Result<String, String> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let places = if editable(value).is_some() { hidden(text) } else { Vec::new() };
    let mut whole = String::with_capacity(edited.len());
    let mut rest = edited;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let (number, behind) = after.split_once(CLOSE).ok_or_else(|| format!("`{OPEN}` is not closed by `{CLOSE}`"))?;
        let place = number.parse::<usize>().ok().and_then(|number| places.get(number.checked_sub(1)?));
        let (start, end) = place.ok_or_else(|| format!("{OPEN}{number}{CLOSE} stands for nothing in this letter"))?;
        whole.push_str(before);
        whole.push_str(&text[*start..*end]);
        rest = behind;
    }
    whole.push_str(rest);
    Ok(whole)
}

/// A text as it may be shown beside the value it came from: what the mask hides there is hidden here too, wherever it was moved to.
pub(crate) fn concealed(value: &[u8], shown: &str) -> String {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let secrets = hidden(text).into_iter().map(|(start, end)| &text[start..end]);
    secrets
        .filter(|secret| secret.len() >= SECRET_BYTES_MIN)
        .fold(shown.to_owned(), |shown, secret| shown.replace(secret, &"*".repeat(secret.chars().count())))
}

/// Where the mask hides something: the runs of bytes it changes, widened to whole characters.
fn hidden(text: &str) -> Vec<(usize, usize)> {
    let mut masked = text.as_bytes().to_vec();
    mask::bytes(&mut masked);
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let differs = text.bytes().zip(&masked).enumerate().filter(|(_, (byte, shown))| byte != *shown);
    for (at, _) in differs {
        let (start, end) = (text.floor_char_boundary(at), text.ceil_char_boundary(at + 1));
        match runs.last_mut() {
            Some(last) if start <= last.1 => last.1 = end.max(last.1),
            _ => runs.push((start, end)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_comes_back() {
        let value = r#"{"user_id":"u-123456789","ip":"203.0.113.77","n":"two","email":"ünïcödé@shop.example"}"#;
        let shown = editable(value.as_bytes()).expect("a text");
        assert_eq!(shown.matches(OPEN).count(), 3, "{shown}");
        for secret in ["123456", "203.0.113.77", "cödé@shop"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert_eq!(restored(value.as_bytes(), &shown).as_deref(), Ok(value), "nothing was changed");
        let edited = shown.replace("\"two\"", "2");
        assert_eq!(restored(value.as_bytes(), &edited), Ok(value.replace("\"two\"", "2")));
        // What is typed in place of a place is what counts.
        let replaced = shown.replace("u-⟦1⟧89", "u-7");
        assert!(restored(value.as_bytes(), &replaced).is_ok_and(|text| text.starts_with(r#"{"user_id":"u-7","ip""#)));
        for (edited, why) in [("⟦9⟧", "stands for nothing"), ("⟦0⟧", "stands for nothing"), ("⟦1", "is not closed")]
        {
            assert!(restored(value.as_bytes(), edited).is_err_and(|told| told.contains(why)), "{edited}");
        }
    }

    #[test]
    fn what_is_hidden_stays_hidden_elsewhere() {
        let value = br#"{"user_id":"u-123456789","path":"/a"}"#;
        let moved = restored(value, r#"{"path":"⟦1⟧"}"#).expect("a text");
        assert!(moved.contains("1234567"), "{moved}");
        assert_eq!(concealed(value, &moved), r#"{"path":"*******"}"#);
        assert_eq!(concealed(b"\xff", "as it is"), "as it is");
    }

    #[test]
    fn what_would_not_come_back_is_not_edited() {
        for value in
            [&b"\xff\xfe"[..], b"a\r\nb", "a⟦1⟧".as_bytes(), "a\u{202e}b".as_bytes(), &[b'x'; EDIT_BYTES_MAX + 1]]
        {
            assert_eq!(editable(value), None);
        }
        assert_eq!(editable(b"not json\n\tat all").as_deref(), Some("not json\n\tat all"));
        assert_eq!(restored(b"\xff", "whole"), Ok("whole".into()), "another value altogether");
    }
}
