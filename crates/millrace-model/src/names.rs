//! Did you mean: the known name nearest to one that is not known.

/// The known name most like `wrong`, if one is near enough to be a slip of the finger.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// "; did you mean `x`?" or nothing: the end of an error text.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wrong, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_slip() {
        let known = ["data_dir", "rate", "pipelines"];
        assert_eq!(nearest("data_dri", known), Some("data_dir"));
        assert_eq!(nearest("piplines", known), Some("pipelines"));
        assert_eq!(nearest("zebra", known), None);
    }
}
