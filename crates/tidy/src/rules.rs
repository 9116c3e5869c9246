//! The rules, each a function from a file's path and text to what is wrong with it.

/// Longest source file, lines.
pub const LINES_MAX: usize = 500;

/// Everything wrong with a file; `path` is relative to the repository.
pub fn faults(path: &str, text: &str) -> Vec<String> {
    let rules = [purpose, length, whitespace, left_open, unwraps, vague_names, machine, hosts];
    rules.iter().flat_map(|rule| rule(path, text)).collect()
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn fault(path: &str, line: usize, what: &str) -> String {
    format!("{path}:{line}: {what}")
}

/// Every source file says in its first line why it exists.
fn purpose(path: &str, text: &str) -> Vec<String> {
    let opens: &[&str] = match extension(path) {
        "rs" => &["//! "],
        "js" | "css" => &["// ", "/* ", "/** "],
        "sql" => &["-- "],
        "py" => &["\"\"\"", "# "],
        "sh" => &["# "],
        _ => return Vec::new(),
    };
    let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
    if opens.iter().any(|open| first.starts_with(open)) {
        return Vec::new();
    }
    vec![fault(path, 1, "the first line does not say why the file exists")]
}

fn is_source(path: &str) -> bool {
    matches!(extension(path), "rs" | "js" | "css" | "sql" | "py" | "sh")
}

/// A file has one subject; beyond this length it has several.
fn length(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if is_source(path) && lines > LINES_MAX {
        return vec![fault(path, lines, &format!("{lines} lines; at most {LINES_MAX}: split it by subject"))];
    }
    Vec::new()
}

fn whitespace(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.ends_with([' ', '\t']) && extension(path) != "md" {
            faults.push(fault(path, at + 1, "white space at the end of the line"));
        }
        if line.contains('\t') && is_source(path) {
            faults.push(fault(path, at + 1, "a tab"));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        faults.push(fault(path, text.lines().count(), "no newline at the end of the file"));
    }
    faults
}

/// What is left open belongs into an issue.
fn left_open(path: &str, text: &str) -> Vec<String> {
    // Spelled apart, so that this file keeps its own rule.
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("todo", "!("), concat!("dbg", "!(")];
    each_line(path, text, |line| words.iter().any(|word| line.contains(word)).then_some("left open: make it an issue"))
}

/// Code that runs does not unwrap; tests may.
fn unwraps(path: &str, text: &str) -> Vec<String> {
    let in_product = path.starts_with("crates/") && path.contains("/src/") && !path.contains("/tests/");
    if extension(path) != "rs" || !in_product || path.ends_with("tests.rs") {
        return Vec::new();
    }
    let product = text.split("#[cfg(test)]").next().unwrap_or_default();
    let word = concat!(".unwrap", "()");
    each_line(path, product, |line| {
        (line.contains(word) && !line.trim_start().starts_with("//"))
            .then_some("unwrap: handle it, or expect(\"why it holds\")")
    })
}

/// Names that say nothing.
fn vague_names(path: &str, text: &str) -> Vec<String> {
    if extension(path) != "rs" {
        return Vec::new();
    }
    each_line(path, text, |line| {
        let declared = ["struct ", "enum ", "trait "].iter().find_map(|word| {
            let (before, rest) = line.split_once(word)?;
            let plain = before.trim().is_empty() || before.trim_end().starts_with("pub");
            plain.then(|| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
        })?;
        let vague = ["Manager", "Helper", "Util", "Utils", "Inner", "V2"].iter().any(|end| declared.ends_with(end));
        vague.then_some("a name that says nothing: name it after what it is")
    })
}

/// Nothing here belongs to one machine.
fn machine(path: &str, text: &str) -> Vec<String> {
    let places = [concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    each_line(path, text, |line| places.iter().any(|place| line.contains(place)).then_some("a path of one machine"))
}

/// Packages come from whatever registry the machine is set up for.
fn hosts(path: &str, text: &str) -> Vec<String> {
    if path == "Cargo.lock" {
        return Vec::new();
    }
    let hosts = [
        concat!("crates", ".io/"),
        concat!("pypi", ".org"),
        concat!("repo", ".maven"),
        concat!("repo1", ".maven"),
        concat!("registry.npm", "js"),
        concat!("deb.", "debian"),
    ];
    each_line(path, text, |line| hosts.iter().any(|host| line.contains(host)).then_some("the host of a registry"))
}

fn each_line(path: &str, text: &str, rule: impl Fn(&str) -> Option<&'static str>) -> Vec<String> {
    let found = text.lines().enumerate().filter_map(|(at, line)| rule(line).map(|what| fault(path, at + 1, what)));
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_fault() {
        let many = format!("//! why\n{}", "\n".repeat(LINES_MAX));
        for (path, text, expected) in [
            ("a.rs", "use std;\n", "why the file exists"),
            ("a.sql", "SELECT 1\n", "why the file exists"),
            ("a.rs", many.as_str(), "lines; at most"),
            ("a.rs", "//! why\nlet a = 1; \n", "white space at the end"),
            ("a.rs", "//! why", "no newline"),
            ("a.rs", concat!("//! why\n// TO", "DO later\n"), "left open"),
            ("crates/a/src/a.rs", concat!("//! why\nlet a = b.unwrap", "();\n"), "unwrap"),
            ("a.rs", "//! why\npub(crate) struct JobManager;\n", "says nothing"),
            ("a.md", concat!("see /wo", "rk/main\n"), "path of one machine"),
            ("a.toml", concat!("url = 'https://pypi", ".org'\n"), "host of a registry"),
        ] {
            let found = faults(path, text);
            assert!(found.iter().any(|fault| fault.contains(expected)), "{path}: {found:?}");
        }
    }

    #[test]
    fn good_files_pass() {
        let test_code = concat!("//! why\nfn a() {}\n#[cfg(test)]\nmod tests { fn b() { c.unwrap", "(); } }\n");
        for (path, text) in [
            ("crates/a/src/a.rs", test_code),
            ("run.sh", "#!/usr/bin/env bash\n# Why.\necho\n"),
            ("a.sql", "-- Why.\nSELECT 1;\n"),
        ] {
            assert_eq!(faults(path, text), Vec::<String>::new(), "{path}");
        }
    }
}
