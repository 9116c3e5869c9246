//! Answers of other roles behind the same front door: `GET /v1/recommendations`, `POST /v1/payments/score`.
//!
//! The role that answers hands in a [`Recommends`] or [`Scores`]: a question goes in, JSON comes out, nothing of the role's state is
//! seen here.
//! [`serve`] gives the same routes a server of their own, for a role that runs alone.

mod backtests;
mod letters;
mod payments;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::answer::Problem;
use crate::connection::Deadlined;
use crate::error::DashboardError;
use crate::guard::{foreign_write, host_is_allowed};
use crate::params::Params;
use crate::settings::Limits;

pub use backtests::Backtests;
pub(crate) use backtests::backtests;
pub use letters::{Mend, Mends, RedriveWanted, Redriven, RepairWanted, Repaired};
pub use payments::{Hears, Measures, Scores};
pub(crate) use payments::{hear, measure, told};

/// Most items a question may ask for.
const COUNT_MAX: usize = 200;
/// What a question may say.
const PARAMETERS: &[&str] = &["placement", "session", "visitor", "product", "count", "evidence"];

/// What `GET /v1/recommendations` was asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecommendQuestion {
    /// Name of the placement; none: `next`.
    pub placement: Option<String>,
    /// Name of the session.
    pub session: Option<String>,
    /// Name of the visitor (the anonymous id of their events).
    pub visitor: Option<String>,
    /// The product being looked at.
    pub product: Option<String>,
    /// Items wanted; none: as many as the placement says.
    pub count: Option<usize>,
    /// Say why.
    pub evidence: bool,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The question is wrong: what to ask instead.
    Invalid(String),
    /// It does not go together with what is under way.
    Conflict(String),
    /// There is no answer now: what is waited for.
    Unavailable(String),
}

/// Who answers. Called on a thread that serves others too: an answer takes a millisecond at most.
pub trait Recommends: Send + Sync {
    /// Answers a question.
    ///
    /// # Errors
    /// Why it cannot.
    fn recommend(&self, question: &RecommendQuestion) -> Result<Value, Refused>;

    /// How the configurations that share the traffic compare.
    fn comparison(&self) -> Value;
}

/// The roles that answer here.
#[derive(Clone, Default)]
pub struct Services {
    /// The recommender.
    pub recommends: Option<Arc<dyn Recommends>>,
    /// The fraud scorer.
    pub scores: Option<Arc<dyn Scores>>,
    /// Who takes what analysts say to the scorer.
    pub hears: Option<Arc<dyn Hears>>,
    /// Who holds the scorer's decisions against what was true.
    pub measures: Option<Arc<dyn Measures>>,
    /// Backtests of rules and thresholds.
    pub backtests: Option<Arc<dyn Backtests>>,
    /// Repairs and redrives of dead letters.
    pub mends: Option<Arc<dyn Mends>>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Services");
        shown.field("recommends", &self.recommends.is_some()).field("scores", &self.scores.is_some());
        shown.field("hears", &self.hears.is_some()).field("measures", &self.measures.is_some());
        shown.field("backtests", &self.backtests.is_some()).field("mends", &self.mends.is_some()).finish()
    }
}

/// The routes of the services, for any server.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(services: &Services) -> Router<S> {
    let (asked, compared) = (services.recommends.clone(), services.recommends.clone());
    let recommend = move |params: Params| async move { recommend(asked.as_ref(), &params).into_response() };
    let compare = move || async move {
        match compared {
            Some(recommends) => Json(recommends.comparison()).into_response(),
            None => elsewhere().into_response(),
        }
    };
    Router::new()
        .route("/v1/recommendations", get(recommend))
        .route("/v1/recommendations/comparison", get(compare))
        .merge(payments::routes(services))
}

fn elsewhere() -> Problem {
    let detail = "recommendations are answered where the role `recommend` runs: `millrace up`, or the address of `millrace recommend`";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

fn recommend(recommends: Option<&Arc<dyn Recommends>>, params: &Params) -> Result<Json<Value>, Problem> {
    let recommends = recommends.ok_or_else(elsewhere)?;
    if let Some((name, _)) = params.iter().find(|(name, _)| !PARAMETERS.contains(name)) {
        let known = PARAMETERS.join(", ");
        return Err(Problem::bad_request(format!("`{name}` is no parameter of recommendations; there are {known}")));
    }
    let count = match params.get("count").map(str::parse::<usize>) {
        None => None,
        Some(Ok(count)) if (1..=COUNT_MAX).contains(&count) => Some(count),
        Some(_) => return Err(Problem::bad_request(format!("`count` is a number from 1 to {COUNT_MAX}"))),
    };
    let evidence = match params.get("evidence") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::bad_request("`evidence` is true or false")),
    };
    let question = RecommendQuestion {
        placement: params.owned("placement"),
        session: params.owned("session"),
        visitor: params.owned("visitor"),
        product: params.owned("product"),
        count,
        evidence,
    };
    recommends.recommend(&question).map(Json).map_err(Problem::from)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(detail) => Problem::bad_request(detail),
            Refused::Conflict(detail) => Problem::new(StatusCode::CONFLICT, detail),
            Refused::Unavailable(detail) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail),
        }
    }
}

/// A server of the services alone.
#[derive(Debug)]
pub struct ServiceServer {
    address: SocketAddr,
    shutdown_max: Duration,
    closing: tokio::sync::watch::Sender<bool>,
    server: JoinHandle<()>,
}

/// Serves the services on an address of their own, without pages.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    listen: SocketAddr,
    hosts_allowed: Vec<String>,
    services: &Services,
) -> Result<ServiceServer, DashboardError> {
    let failed = |source| DashboardError::Listen { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let limits = Limits::default();
    let listener = Deadlined::new(listener, limits.sse_stall_ms_max);
    let (closing, mut closes) = tokio::sync::watch::channel(false);
    let guard = move |request: Request, next: Next| guard(listen, hosts_allowed.clone(), request, next);
    let routes: Router = routes(services)
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(|| async {
            let detail = "there is no such path; there are /v1/recommendations and /v1/payments/score";
            Problem::not_found(detail).into_response()
        })
        .layer(middleware::from_fn(guard));
    let server = tokio::spawn(async move {
        let until = async move {
            let _ = closes.wait_for(|closing| *closing).await;
        };
        if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(until).await {
            tracing::error!(%error, "the server of answers ended");
        }
    });
    Ok(ServiceServer { address, shutdown_max: Duration::from_millis(limits.shutdown_ms_max), closing, server })
}

async fn guard(listen: SocketAddr, hosts_allowed: Vec<String>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !host_is_allowed(listen, &hosts_allowed, host) {
        let detail = "this host name is not ours; name it in dashboard.hosts_allowed if it should be";
        return Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response();
    }
    if let Some(problem) = foreign_write(&hosts_allowed, request.method(), request.headers()) {
        return problem.into_response();
    }
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl ServiceServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers what is under way, and ends.
    pub async fn shutdown(self) {
        self.closing.send_replace(true);
        let mut server = self.server;
        if tokio::time::timeout(self.shutdown_max, &mut server).await.is_err() {
            server.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Echo;

    impl Recommends for Echo {
        fn recommend(&self, question: &RecommendQuestion) -> Result<Value, Refused> {
            match question.placement.as_deref() {
                Some("none") => Err(Refused::Invalid("no placement is called `none`".into())),
                Some("later") => Err(Refused::Unavailable("not yet".into())),
                _ => Ok(json!({ "count": question.count, "visitor": question.visitor, "evidence": question.evidence })),
            }
        }

        fn comparison(&self) -> Value {
            json!({})
        }
    }

    fn asked(pairs: &[(&str, &str)]) -> Result<Value, String> {
        let params: Params = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let echo: Arc<dyn Recommends> = Arc::new(Echo);
        recommend(Some(&echo), &params).map(|answer| answer.0).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn questions_are_checked() {
        let answer = asked(&[("visitor", "v"), ("count", "5"), ("evidence", "true")]);
        assert_eq!(answer, Ok(json!({ "count": 5, "visitor": "v", "evidence": true })));
        for (pairs, told) in [
            (&[("count", "0")][..], "`count` is a number from 1 to 200"),
            (&[("count", "many")], "`count` is a number"),
            (&[("evidence", "1")], "`evidence` is true or false"),
            (&[("user", "v")], "`user` is no parameter of recommendations; there are placement"),
            (&[("placement", "none")], "no placement is called `none`"),
            (&[("placement", "later")], "not yet"),
        ] {
            let error = asked(pairs).expect_err(told);
            assert!(error.contains(told), "{error}");
        }
        assert!(recommend(None, &Params::default()).is_err_and(|problem| problem.detail().contains("millrace up")));
    }

    #[tokio::test]
    async fn a_server_of_its_own_answers_and_ends() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let services = Services { recommends: Some(Arc::new(Echo)), ..Services::default() };
        let server = serve("127.0.0.1:0".parse().expect("an address"), Vec::new(), &services).await.expect("started");
        let address = server.address();
        for (host, told) in [("127.0.0.1", "\"count\":7"), ("evil.example", "this host name is not ours")] {
            let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
            let request =
                format!("GET /v1/recommendations?count=7 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("asked");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("answered");
            assert!(answer.contains(told), "{answer}");
        }
        server.shutdown().await;
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}
