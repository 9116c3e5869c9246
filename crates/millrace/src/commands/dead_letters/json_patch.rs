//! JSON Patch (RFC 6902): operations in order, all of them or none. Places are JSON Pointers (RFC 6901).

use serde::Deserialize;
use serde_json::Value;

/// A patch.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Patch(Vec<Operation>);

/// Members an operation does not know are ignored, as the RFC asks.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
    Replace { path: String, value: Value },
    Move { from: String, path: String },
    Copy { from: String, path: String },
    Test { path: String, value: Value },
}

impl Patch {
    /// The patched document.
    ///
    /// # Errors
    /// The first operation that does not apply, with the reason.
    pub(super) fn apply(&self, document: &Value) -> Result<Value, String> {
        let mut patched = document.clone();
        for (at, operation) in self.0.iter().enumerate() {
            operation.apply(&mut patched).map_err(|why| format!("operation {} of the patch: {why}", at + 1))?;
        }
        Ok(patched)
    }
}

impl Operation {
    fn apply(&self, document: &mut Value) -> Result<(), String> {
        match self {
            Operation::Add { path, value } => add(document, path, value.clone()),
            Operation::Remove { path } => remove(document, path).map(drop),
            Operation::Replace { path, value } => {
                *at(document, path)? = value.clone();
                Ok(())
            }
            Operation::Move { from, path } => {
                if path.starts_with(&format!("{from}/")) {
                    return Err(format!("`{from}` cannot be moved into itself"));
                }
                let value = remove(document, from)?;
                add(document, path, value)
            }
            Operation::Copy { from, path } => {
                let value = at(document, from)?.clone();
                add(document, path, value)
            }
            Operation::Test { path, value } => match at(document, path)? {
                found if same(found, value) => Ok(()),
                found => Err(format!("`{path}` is {found}, not {value}")),
            },
        }
    }
}

/// Equal as the RFC has it: numbers by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

fn at<'a>(document: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    check(path)?;
    document.pointer_mut(path).ok_or_else(|| format!("there is no `{path}`"))
}

fn check(path: &str) -> Result<(), String> {
    let sound = path.is_empty() || path.starts_with('/');
    if sound { Ok(()) } else { Err(format!("`{path}` is not a JSON Pointer: it starts with /")) }
}

/// The place's parent, and its name within.
fn parent<'a>(document: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    check(path)?;
    let (parent, name) = path.rsplit_once('/').ok_or("the whole document has no parent")?;
    Ok((at(document, parent)?, name.replace("~1", "/").replace("~0", "~")))
}

/// A place in an array: digits without leading zeros, at most `most`.
fn index(name: &str, most: usize) -> Result<usize, String> {
    let plain = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    let index = name.parse::<usize>().ok().filter(|index| plain && *index <= most);
    index.ok_or_else(|| format!("`{name}` is no place in an array of {most}"))
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    match parent(document, path)? {
        (Value::Object(fields), name) => drop(fields.insert(name, value)),
        (Value::Array(items), name) if name == "-" => items.push(value),
        (Value::Array(items), name) => items.insert(index(&name, items.len())?, value),
        _ => return Err(format!("what holds `{path}` is neither an object nor an array")),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, String> {
    if path.is_empty() {
        return Ok(std::mem::take(document));
    }
    let missing = || format!("there is no `{path}`");
    match parent(document, path)? {
        // The order of the other fields stays.
        (Value::Object(fields), name) => fields.shift_remove(&name).ok_or_else(missing),
        (Value::Array(items), name) => {
            let index = index(&name, items.len())?;
            if index < items.len() { Ok(items.remove(index)) } else { Err(missing()) }
        }
        _ => Err(missing()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Document, patch, and the answer or a part of what is wrong: most are the examples of the RFC's appendix.
    #[test]
    fn operations() {
        for (document, patch, expected) in [
            (r#"{"a":1}"#, r#"[{"op":"add","path":"/b","value":2}]"#, Ok(r#"{"a":1,"b":2}"#)),
            (r#"{"a":[1,3]}"#, r#"[{"op":"add","path":"/a/1","value":2}]"#, Ok(r#"{"a":[1,2,3]}"#)),
            (r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/-","value":[2]}]"#, Ok(r#"{"a":[1,[2]]}"#)),
            (r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/2","value":2}]"#, Err("no place in an array of 1")),
            (r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/01","value":2}]"#, Err("`01` is no place")),
            (r#"{"a":1}"#, r#"[{"op":"add","path":"/b/c","value":2}]"#, Err("there is no `/b`")),
            (r#"{"a":1}"#, r#"[{"op":"add","path":"b","value":2}]"#, Err("not a JSON Pointer")),
            (r#"{"a":1}"#, r#"[{"op":"add","path":"","value":[]}]"#, Ok("[]")),
            (r#"{"a":1,"b":2,"c":3}"#, r#"[{"op":"remove","path":"/a"}]"#, Ok(r#"{"b":2,"c":3}"#)),
            (r#"{"a":[1,2,3]}"#, r#"[{"op":"remove","path":"/a/1"}]"#, Ok(r#"{"a":[1,3]}"#)),
            (r#"{"a":[1]}"#, r#"[{"op":"remove","path":"/a/1"}]"#, Err("there is no `/a/1`")),
            (r#"{"a":1}"#, r#"[{"op":"replace","path":"/a","value":null}]"#, Ok(r#"{"a":null}"#)),
            (r#"{"a":1}"#, r#"[{"op":"replace","path":"/b","value":2}]"#, Err("there is no `/b`")),
            (
                r#"{"a":{"x":1},"b":{}}"#,
                r#"[{"op":"move","from":"/a/x","path":"/b/y"}]"#,
                Ok(r#"{"a":{},"b":{"y":1}}"#),
            ),
            (r#"{"a":[1,2,3]}"#, r#"[{"op":"move","from":"/a/0","path":"/a/2"}]"#, Ok(r#"{"a":[2,3,1]}"#)),
            (r#"{"a":{}}"#, r#"[{"op":"move","from":"/a","path":"/a/b"}]"#, Err("into itself")),
            (r#"{"a":1}"#, r#"[{"op":"copy","from":"/a","path":"/b"}]"#, Ok(r#"{"a":1,"b":1}"#)),
            (r#"{"a/b":{"m~n":1}}"#, r#"[{"op":"replace","path":"/a~1b/m~0n","value":2}]"#, Ok(r#"{"a/b":{"m~n":2}}"#)),
            (r#"{"a":1.0}"#, r#"[{"op":"test","path":"/a","value":1}]"#, Ok(r#"{"a":1.0}"#)),
            (
                r#"{"a":"1"}"#,
                r#"[{"op":"test","path":"/a","value":1}]"#,
                Err(r#"operation 1 of the patch: `/a` is "1", not 1"#),
            ),
            (r#"{"a":1}"#, r#"[{"op":"remove","path":"/a"},{"op":"test","path":"/a","value":1}]"#, Err("operation 2")),
            (r#"{"a":1}"#, r#"[{"op":"add","path":"/b","value":2,"comment":"ignored"}]"#, Ok(r#"{"a":1,"b":2}"#)),
        ] {
            let given: Value = serde_json::from_str(document).expect("a document");
            let patch: Patch = serde_json::from_str(patch).expect("a patch");
            match (patch.apply(&given).map(|patched| patched.to_string()), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{document} {patch:?}"),
                (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
                (found, expected) => panic!("{document} {patch:?}: {found:?}, not {expected:?}"),
            }
        }
        for wrong in [r#"{"op":"add"}"#, r#"[{"op":"add","path":"/a"}]"#, r#"[{"op":"merge","path":"/a"}]"#] {
            assert!(serde_json::from_str::<Patch>(wrong).is_err(), "{wrong}");
        }
    }
}
