//! `POST /v1/payments/score` and `POST /v1/fraud/verdicts`: the fraud scorer behind the front door.
//!
//! The body must say that it is JSON: a page of another site cannot make a browser send that without being asked first.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;

use super::{Refused, Services};
use crate::answer::Problem;

/// Longest body, bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Who scores payments.
pub trait Scores: Send + Sync {
    /// What would be said of a payment, given as a record of `transactions`. Called on a thread that serves others too: an answer
    /// takes a millisecond at most.
    ///
    /// # Errors
    /// Why it cannot.
    fn score(&self, payment: &[u8]) -> Result<Value, Refused>;

    /// Takes a verdict. It may wait for the cluster.
    ///
    /// # Errors
    /// Why it cannot.
    fn verdict(&self, verdict: &[u8]) -> Result<Value, Refused>;
}

type Scorer = Option<Arc<dyn Scores>>;

pub(super) fn routes<S: Clone + Send + Sync + 'static>(services: &Services) -> Router<S> {
    let (asked, told) = (services.scores.clone(), services.scores.clone());
    let score = move |headers: HeaderMap, body: Bytes| async move { answer(score(asked.as_ref(), &headers, &body)) };
    let verdict = move |headers: HeaderMap, body: Bytes| async move { answer(verdict(told, &headers, body).await) };
    Router::new()
        .route("/v1/payments/score", post(score))
        .route("/v1/fraud/verdicts", post(verdict))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

fn answer(result: Result<Json<Value>, Problem>) -> Response {
    result.into_response()
}

fn scorer<'a>(scores: Option<&'a Arc<dyn Scores>>, headers: &HeaderMap) -> Result<&'a Arc<dyn Scores>, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        let detail = "send the body as JSON, with `content-type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    scores.ok_or_else(|| {
        let detail =
            "payments are scored where the role `score` runs: `millrace up`, or the address of `millrace score`";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })
}

fn score(scores: Option<&Arc<dyn Scores>>, headers: &HeaderMap, body: &[u8]) -> Result<Json<Value>, Problem> {
    Ok(Json(scorer(scores, headers)?.score(body)?))
}

async fn verdict(scores: Scorer, headers: &HeaderMap, body: Bytes) -> Result<Json<Value>, Problem> {
    let scores = scorer(scores.as_ref(), headers)?.clone();
    let told = tokio::task::spawn_blocking(move || scores.verdict(&body)).await;
    let cut_off = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "taking the verdict was cut off");
    Ok(Json(told.map_err(cut_off)??))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Echo;

    impl Scores for Echo {
        fn score(&self, payment: &[u8]) -> Result<Value, Refused> {
            match payment {
                b"" => Err(Refused::Invalid("no payment".into())),
                payment => Ok(json!({ "bytes": payment.len() })),
            }
        }

        fn verdict(&self, _: &[u8]) -> Result<Value, Refused> {
            Err(Refused::Unavailable("the cluster is away".into()))
        }
    }

    fn json_headers() -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, "application/json; charset=utf-8".parse().expect("a value"))])
    }

    #[tokio::test]
    async fn questions_are_json_and_go_to_who_answers() {
        let echo: Arc<dyn Scores> = Arc::new(Echo);
        let asked = |headers: &HeaderMap, body: &[u8]| {
            score(Some(&echo), headers, body).map(|answer| answer.0).map_err(|problem| problem.detail().to_owned())
        };
        assert_eq!(asked(&json_headers(), b"{}"), Ok(json!({ "bytes": 2 })));
        assert_eq!(asked(&json_headers(), b""), Err("no payment".to_owned()));
        assert!(asked(&HeaderMap::new(), b"{}").is_err_and(|detail| detail.contains("content-type: application/json")));
        assert!(score(None, &json_headers(), b"{}").is_err_and(|problem| problem.detail().contains("millrace score")));
        let told = verdict(Some(echo.clone()), &json_headers(), Bytes::new()).await;
        assert!(told.is_err_and(|problem| problem.detail() == "the cluster is away"));
    }
}
