//! What a backfill reads of a partition: facts in, a range of offsets out, or why there is none.
//!
//! ```text
//!  offsets      0 ······ from ═══════ lake ═══════▶ end ────── Kafka ──────▶
//!                         first, or committed     archived
//!  goes on live                                     ▲
//! ```

/// What is found of a partition.
#[derive(Clone, Debug, Default)]
pub(super) struct PlaceFacts {
    /// First offset in the lake.
    pub(super) first: Option<i64>,
    /// Offset before which the lake has everything; `None`: it knows nothing of the partition.
    pub(super) archived: Option<i64>,
    /// First offset that the topic still has.
    pub(super) low: i64,
    /// Where the topic ends.
    pub(super) end: i64,
    /// Where the job has come to; `None`: it begins.
    pub(super) committed: Option<i64>,
}

/// What is read of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PlaceRead {
    /// First offset to read from the lake.
    pub(super) from: i64,
    /// Offset after the last one to read from the lake; `from`: nothing.
    pub(super) end: i64,
    /// Where the job goes on live.
    pub(super) live: i64,
}

/// Decides. `holes` gives the offsets from one to another that the lake lacks. With `allow_gaps` what is missing is passed
/// over.
///
/// # Errors
/// Records that are neither in the lake nor in the topic, or a topic that is not the archived one: a sentence.
pub(super) fn decide(
    facts: &PlaceFacts,
    holes: impl Fn(i64, i64) -> Vec<(i64, i64)>,
    allow_gaps: bool,
) -> Result<PlaceRead, String> {
    let PlaceFacts { first, archived, low, end, committed } = *facts;
    let begins = || match (first, archived) {
        (Some(first), Some(archived)) => first.min(archived),
        (_, archived) => archived.unwrap_or(low),
    };
    let from = committed.unwrap_or_else(begins);
    let archived = archived.unwrap_or(from).max(from);
    if archived > end {
        return Err(format!(
            "the topic ends at offset {end}, but the lake or the job has come to {archived}: it is not the topic that was \
             archived"
        ));
    }
    let missing = holes(from, archived).into_iter().chain((archived < low).then_some((archived, low)));
    let missing: Vec<String> = missing.map(|(from, to)| format!("{from} to {to}")).collect();
    if !missing.is_empty() && !allow_gaps {
        return Err(format!(
            "offsets {} are neither in the lake, which has it up to {archived}, nor in the topic, which begins at {low}",
            missing.join(", ")
        ));
    }
    Ok(PlaceRead { from, end: archived, live: archived.max(low) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read() {
        let none = PlaceFacts { end: 100, ..PlaceFacts::default() };
        let lake = PlaceFacts { first: Some(5), archived: Some(80), ..none.clone() };
        let read = |from, end, live| PlaceRead { from, end, live };
        let no_holes = |_, _| Vec::new();
        for (case, facts, expected) in [
            ("a new job", lake.clone(), read(5, 80, 80)),
            ("retention has come near", PlaceFacts { low: 80, ..lake.clone() }, read(5, 80, 80)),
            ("it goes on", PlaceFacts { committed: Some(40), low: 60, ..lake.clone() }, read(40, 80, 80)),
            ("it is further than the lake", PlaceFacts { committed: Some(90), ..lake.clone() }, read(90, 90, 90)),
            ("nothing was archived yet", PlaceFacts { first: None, archived: Some(7), ..none.clone() }, read(7, 7, 7)),
            ("the lake knows nothing", none.clone(), read(0, 0, 0)),
            ("it is at the end", PlaceFacts { archived: Some(100), low: 100, ..lake.clone() }, read(5, 100, 100)),
        ] {
            assert_eq!(decide(&facts, no_holes, false), Ok(expected), "{case}");
        }
        let hole = |from: i64, end: i64| if from < 30 && end > 40 { vec![(30, 40)] } else { Vec::new() };
        for (case, facts, expected, passed) in [
            ("a gap behind the lake", PlaceFacts { low: 90, ..lake.clone() }, "80 to 90", read(5, 80, 90)),
            ("a hole in the lake", lake.clone(), "30 to 40", read(5, 80, 80)),
            ("both", PlaceFacts { low: 81, ..lake.clone() }, "30 to 40, 80 to 81", read(5, 80, 81)),
            (
                "the job was away too long",
                PlaceFacts { committed: Some(85), low: 90, ..lake.clone() },
                "85 to 90",
                read(85, 85, 90),
            ),
        ] {
            let holes =
                |from, end| if case.contains("away") || case.contains("behind") { Vec::new() } else { hole(from, end) };
            let why = decide(&facts, holes, false).expect_err(case);
            assert!(why.contains(&format!("offsets {expected} are")), "{case}: {why}");
            assert_eq!(decide(&facts, holes, true), Ok(passed), "{case}");
        }
        let other = decide(&PlaceFacts { end: 70, ..lake }, no_holes, true).expect_err("another topic");
        assert!(other.contains("ends at offset 70"), "{other}");
    }
}
