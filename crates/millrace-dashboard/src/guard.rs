//! What protects a page: a content policy that allows only us, no foreign host names on a loopback address, and no writing
//! on behalf of another site's page.
//!
//! Nobody logs in here, so a browser must not be made to write by a page that is not ours ([`foreign_write`]): every request
//! but GET and HEAD comes from our own origin, or from a program, and its body is JSON.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::answer::Problem;
use crate::shared::Shared;

/// Only what we serve ourselves; pictures also from memory, for saving a chart as PNG.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Checks the host, counts the request and adds the headers every answer has.
pub(crate) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let hosts_allowed = &shared.settings.hosts_allowed;
    let mut response = if !host_is_allowed(shared.settings.listen, hosts_allowed, host) {
        let detail = "this host name is not ours; name it in the dashboard's allowed hosts if it should be";
        Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response()
    } else if let Some(problem) = foreign_write(hosts_allowed, request.method(), request.headers()) {
        problem.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Figures of a moment: no copy of them is good later.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A page of another site can make a browser send requests here under a name it controls (DNS rebinding). On a
/// loopback address only loopback names are answered, unless the settings name others.
pub(crate) fn host_is_allowed(listen: SocketAddr, hosts_allowed: &[String], host: &str) -> bool {
    let name = host_name(host);
    let local = name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let named = hosts_allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    match (hosts_allowed.is_empty(), listen.ip().is_loopback()) {
        (true, true) => local,
        (true, false) => true,
        (false, _) => named || local,
    }
}

/// What is wrong with a request that changes something; none when it reads, comes from a page of ours, or from a program.
///
/// A browser says where a request comes from (`Sec-Fetch-Site`, `Origin`); a program says neither. That the body must say it
/// is JSON keeps out forms, and browsers that tell less: they would have to ask first, and nobody answers that here.
pub(crate) fn foreign_write(hosts_allowed: &[String], method: &Method, headers: &HeaderMap) -> Option<Problem> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?").trim());
    let ours = matches!(said("sec-fetch-site"), None | Some("same-origin" | "none"))
        && said("origin").is_none_or(|origin| origin_is_ours(hosts_allowed, origin, said("host").unwrap_or_default()));
    if !ours {
        let detail = "this request comes from another site's page; if its host name is ours, name it in the dashboard's \
                      allowed hosts";
        return Some(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let kind = said("content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        let detail = "send the body as JSON, with `content-type: application/json`";
        return Some(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    None
}

/// The page asked is the page that asks. A name it goes by must be one of the settings, whatever else it may read under: a
/// page that made a name of its own lead here (DNS rebinding) is of one origin with itself.
fn origin_is_ours(hosts_allowed: &[String], origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let usual_port = if scheme == "https" { ":443" } else { ":80" };
    let bare = |authority: &str| authority.strip_suffix(usual_port).unwrap_or(authority).to_ascii_lowercase();
    let name = host_name(authority);
    let is_address = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
    // Behind a proxy the host asked may be another than the one the browser knows.
    hosts_allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
        || (is_address && bare(authority) == bare(host))
}

/// The host without its port and brackets.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (listen, hosts, host, allowed) in [
            ("127.0.0.1:80", &[][..], "localhost:8080", true),
            ("127.0.0.1:80", &[], "127.0.0.1", true),
            ("127.0.0.1:80", &[], "[::1]:8080", true),
            ("127.0.0.1:80", &[], "evil.example", false),
            ("127.0.0.1:80", &[], "localhost.evil.example", false),
            ("127.0.0.1:80", &[], "", false),
            ("0.0.0.0:80", &[], "shop.example", true),
            ("0.0.0.0:80", &["dash.example"], "dash.example:443", true),
            ("0.0.0.0:80", &["dash.example"], "evil.example", false),
        ] {
            let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
            let listen: SocketAddr = listen.parse().expect("an address");
            assert_eq!(host_is_allowed(listen, &hosts, host), allowed, "{listen} {hosts:?} {host}");
        }
    }

    #[test]
    fn writes() {
        let json = ("content-type", "application/json; charset=utf-8");
        let host = ("host", "127.0.0.1:8080");
        let of = |origin: &'static str| [json, host, ("origin", origin)];
        let hosts = ["dash.example".to_owned()];
        for (headers, hosts, status) in [
            (&[json, host][..], &[][..], None),
            (&of("http://127.0.0.1:8080"), &[], None),
            (&[json, host, ("sec-fetch-site", "same-origin")], &[], None),
            (&[json, ("host", "[::1]:80"), ("origin", "http://[::1]")], &[], None),
            (&of("https://dash.example"), &hosts, None),
            // Another port is another origin: another program of this machine.
            (&of("http://127.0.0.1:3000"), &[], Some(403)),
            (&of("http://localhost:8080"), &[], Some(403)),
            (&of("https://evil.example"), &hosts, Some(403)),
            (&of("null"), &[], Some(403)),
            (&[json, host, ("sec-fetch-site", "cross-site")], &[], Some(403)),
            (&[json, host, ("sec-fetch-site", "same-site")], &[], Some(403)),
            // A name that was made to lead here.
            (&[json, ("host", "evil.example"), ("origin", "http://evil.example")], &[], Some(403)),
            (&[json, ("host", "dash.example"), ("origin", "http://dash.example")], &hosts, None),
            (&[("content-type", "text/plain"), host], &[], Some(415)),
            (&[("content-type", "application/x-www-form-urlencoded"), host], &[], Some(415)),
            (&[host], &[], Some(415)),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| {
                    (name.parse::<header::HeaderName>().expect("a name"), value.parse().expect("a value"))
                })
                .collect();
            let problem = foreign_write(hosts, &Method::POST, &map);
            assert_eq!(
                problem.map(|problem| problem.into_response().status().as_u16()),
                status,
                "{headers:?} {hosts:?}"
            );
            assert!(foreign_write(hosts, &Method::GET, &map).is_none());
        }
    }
}
