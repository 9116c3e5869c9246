//! Takes Plotly.js out of the `plotly` crate and leaves it compressed for `src/assets.rs` to embed.

use std::env;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

const OPENING: &str = "<script type=\"text/javascript\">";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let scripts = plotly::Plot::offline_js_sources();
    // The crate gives two script elements, Plotly first; MathJax after it is not needed.
    let script = scripts
        .split_once(OPENING)
        .and_then(|(_, rest)| rest.split_once("</script>"))
        .map(|(script, _)| script)
        .filter(|script| script.contains("plotly.js v"))
        .ok_or("the plotly crate no longer gives Plotly.js as its first script")?;
    let version = script
        .split_once("plotly.js v")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .ok_or("Plotly.js does not say its version")?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    gzip.write_all(script.as_bytes())?;
    let folder = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(folder.join("plotly.min.js.gz"), gzip.finish()?)?;
    println!("cargo::rustc-env=PLOTLY_JS_VERSION={version}");
    Ok(())
}
