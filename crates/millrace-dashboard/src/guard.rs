//! What protects a page: a content policy that allows only us, and no foreign host names on a loopback address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
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
    let mut response = if host_is_allowed(shared.settings.listen, &shared.settings.hosts_allowed, host) {
        next.run(request).await
    } else {
        let detail = "this host name is not ours; name it in the dashboard's allowed hosts if it should be";
        Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response()
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
}
