//! The topics a consumer says it subscribes to, read from the metadata it joins with.

use std::collections::BTreeSet;

/// Topics in a consumer's subscription (Kafka's consumer protocol, any version); empty if it is not one.
pub(crate) fn topics(metadata: &[u8]) -> BTreeSet<String> {
    read(metadata).unwrap_or_default()
}

fn read(metadata: &[u8]) -> Option<BTreeSet<String>> {
    // Version (2 bytes), then a counted list of strings; what follows does not matter here.
    let (count, mut rest) = metadata.get(2..)?.split_first_chunk::<4>()?;
    let mut topics = BTreeSet::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (name, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        topics.insert(std::str::from_utf8(name).ok()?.to_owned());
        rest = after;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_junk_is_not() {
        let metadata = [&[0, 1, 0, 0, 0, 2, 0, 1][..], b"a", &[0, 2], b"bc", &[0xff; 8]].concat();
        assert_eq!(topics(&metadata), BTreeSet::from(["a".into(), "bc".into()]));
        for junk in [&[][..], &[0; 5], &[0, 0, 0x7f, 0xff, 0xff, 0xff], &[0, 0, 0, 0, 0, 1, 0, 9, 1]] {
            assert!(topics(junk).is_empty());
        }
    }
}
