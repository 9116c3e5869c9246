//! Style sheet, scripts and Plotly.js: embedded, with an ETag, compressed once.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::answer::Problem;
use crate::row::public_id;

/// Where the style sheet of pages people answer on is.
pub(crate) const ANSWER_STYLE_PATH: &str = "/assets/answer.css";
/// Where the style sheet is.
pub(crate) const STYLE_PATH: &str = "/assets/millrace.css";
/// Where Plotly.js is: its version is in its name, so a browser may keep it.
pub(crate) const PLOTLY_PATH: &str = concat!("/assets/plotly-", env!("PLOTLY_JS_VERSION"), ".min.js");
const PLOTLY_NAME: &str = concat!("plotly-", env!("PLOTLY_JS_VERSION"), ".min.js");
const PLOTLY_GZIP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/plotly.min.js.gz"));

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! texts {
    ($($name:literal => $kind:expr),+ $(,)?) => {
        &[$(($name, $kind, include_str!(concat!("../assets/", $name)))),+]
    };
}

const TEXTS: &[(&str, &str, &str)] = texts! {
    "millrace.css" => "text/css; charset=utf-8",
    "fraud.css" => "text/css; charset=utf-8",
    "icon.svg" => "image/svg+xml",
    "answer.css" => "text/css; charset=utf-8",
    "act.js" => SCRIPT,
    "app.js" => SCRIPT,
    "chart.js" => SCRIPT,
    "figures.js" => SCRIPT,
    "format.js" => SCRIPT,
    "patch.js" => SCRIPT,
    "pulse.js" => SCRIPT,
    "say.js" => SCRIPT,
    "stream.js" => SCRIPT,
    "swap.js" => SCRIPT,
    "theme.js" => SCRIPT,
    "twin.js" => SCRIPT,
};

struct Asset {
    kind: &'static str,
    etag: HeaderValue,
    /// Versioned by name: need never be asked for again.
    immutable: bool,
    gzip: Bytes,
    /// None: unpacked when asked for, which no browser does.
    plain: Option<&'static str>,
}

static ASSETS: LazyLock<HashMap<&'static str, Asset>> = LazyLock::new(|| {
    let mut assets: HashMap<&'static str, Asset> = TEXTS
        .iter()
        .map(|(name, kind, text)| {
            let asset = Asset { kind, etag: etag(text), immutable: false, gzip: compressed(text), plain: Some(text) };
            (*name, asset)
        })
        .collect();
    let etag = etag(PLOTLY_PATH);
    let gzip = Bytes::from_static(PLOTLY_GZIP);
    assets.insert(PLOTLY_NAME, Asset { kind: SCRIPT, etag, immutable: true, gzip, plain: None });
    assets
});

fn etag(text: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{}\"", public_id(text))).expect("hexadecimal digits are valid in a header")
}

fn compressed(text: &str) -> Bytes {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text.as_bytes()).expect("writing into memory does not fail");
    Bytes::from(gzip.finish().expect("writing into memory does not fail"))
}

/// `GET /assets/{name}`.
pub(crate) async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.get(name.as_str()) else {
        return Problem::not_found("there is no such file").into_response();
    };
    let mut answer = HeaderMap::new();
    answer.insert(header::ETAG, asset.etag.clone());
    answer.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let caching = if asset.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    let lists = |name: header::HeaderName, item: &str| {
        let values = headers.get_all(name);
        values.iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains(item))
    };
    if asset.etag.to_str().is_ok_and(|etag| lists(header::IF_NONE_MATCH, etag)) {
        return (StatusCode::NOT_MODIFIED, answer).into_response();
    }
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    if lists(header::ACCEPT_ENCODING, "gzip") {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return (answer, asset.gzip.clone()).into_response();
    }
    match asset.plain {
        Some(text) => (answer, text).into_response(),
        None => {
            let mut plain = Vec::new();
            match GzDecoder::new(asset.gzip.as_ref()).read_to_end(&mut plain) {
                Ok(_) => (answer, plain).into_response(),
                Err(error) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_says_why_it_exists_and_is_small() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
        for file in std::fs::read_dir(folder).expect("the folder") {
            let path = file.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
            let text = std::fs::read_to_string(&path).expect("text");
            assert!(TEXTS.iter().any(|(known, _, _)| *known == name), "{name} is not served");
            assert!(text.lines().count() <= 500, "{name} is too long");
            let first = text.lines().next().unwrap_or_default();
            let says = ["// ", "/* ", "<!-- "].iter().any(|opening| first.starts_with(opening));
            assert!(says && first.len() > 20, "{name} does not open with why it exists");
        }
    }

    #[test]
    fn plotly_is_whole() {
        let mut text = String::new();
        GzDecoder::new(PLOTLY_GZIP).read_to_string(&mut text).expect("gzip");
        assert!(text.contains("plotly.js v") && text.len() > 1_000_000);
        assert!(!text.contains("</script>"), "it ends where the script ended");
    }
}
