//! The paths of `get_json_object`: `$.store.book[0].title`, `$['a b']`, `$.lines[*].sku`.

use serde_json::Value;

/// A compiled path.
#[derive(Debug, PartialEq)]
pub(super) struct JsonPath(Vec<Step>);

#[derive(Debug, PartialEq)]
enum Step {
    Field(String),
    Element(usize),
    All,
}

impl JsonPath {
    /// `None` when the text is not a path, which finds nothing.
    pub(super) fn new(text: &str) -> Option<Self> {
        let mut rest = text.trim().strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("['") {
                let (name, after) = after.split_once("']")?;
                steps.push(Step::Field(name.to_owned()));
                rest = after;
            } else if let Some(after) = rest.strip_prefix('[') {
                let (index, after) = after.split_once(']')?;
                steps.push(if index == "*" { Step::All } else { Step::Element(index.parse().ok()?) });
                rest = after;
            } else {
                let after = rest.strip_prefix('.')?;
                let end = after.find(['.', '[']).unwrap_or(after.len());
                let name = &after[..end];
                if name.is_empty() {
                    return None;
                }
                steps.push(if name == "*" { Step::All } else { Step::Field(name.to_owned()) });
                rest = &after[end..];
            }
        }
        Some(JsonPath(steps))
    }

    /// What lies at the path: a text without its quotes, anything else as JSON; of many, an array of them.
    pub(super) fn find(&self, value: &Value) -> Option<String> {
        let mut found = Vec::new();
        collect(value, &self.0, &mut found);
        let many = self.0.contains(&Step::All);
        match found.as_slice() {
            [] | [Value::Null] => None,
            [Value::String(text)] if !many => Some(text.clone()),
            [one] => Some(one.to_string()),
            all => Some(format!("[{}]", all.iter().map(|value| value.to_string()).collect::<Vec<_>>().join(","))),
        }
    }
}

fn collect<'a>(value: &'a Value, steps: &[Step], found: &mut Vec<&'a Value>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(value);
        return;
    };
    match (step, value) {
        (Step::Field(name), Value::Object(fields)) => {
            if let Some(value) = fields.get(name) {
                collect(value, rest, found);
            }
        }
        // A name over an array is taken of each element.
        (Step::Field(_), Value::Array(elements)) => elements.iter().for_each(|element| collect(element, steps, found)),
        (Step::Element(index), Value::Array(elements)) => {
            if let Some(element) = elements.get(*index) {
                collect(element, rest, found);
            }
        }
        (Step::All, Value::Array(elements)) => elements.iter().for_each(|element| collect(element, rest, found)),
        (Step::All, Value::Object(fields)) => fields.values().for_each(|value| collect(value, rest, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found() {
        let text =
            r#"{"a":"b","n":1.5,"o":{"p":[1,{"q":null}]},"l":[{"s":"x"},{"s":"y"}],"one":[{"s":"x"}],"a b":true}"#;
        let value = serde_json::from_str(text).expect("a JSON text");
        for (path, expected) in [
            ("$.a", Some("b")),
            ("$.n", Some("1.5")),
            ("$.o.p[0]", Some("1")),
            ("$.o.p", Some(r#"[1,{"q":null}]"#)),
            ("$.o.p[1].q", None),
            ("$.l[*].s", Some(r#"["x","y"]"#)),
            ("$.one[*].s", Some(r#""x""#)),
            ("$['a b']", Some("true")),
            ("$.nothing", None),
            ("$.o.p[7]", None),
            ("a", None),
            ("$..a", None),
            ("$[x]", None),
        ] {
            assert_eq!(JsonPath::new(path).and_then(|path| path.find(&value)).as_deref(), expected, "{path}");
        }
    }
}
