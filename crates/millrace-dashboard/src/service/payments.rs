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
}

/// Who takes what analysts say to where the scorer reads it. It may wait for the cluster: called on a thread that may wait.
pub trait Hears: Send + Sync {
    /// Takes a verdict, an assignment or a remark; gives the row that was kept.
    ///
    /// # Errors
    /// Why it cannot.
    fn verdict(&self, told: &Value) -> Result<Value, Refused>;

    /// Takes the change of a list; gives the row that was kept.
    ///
    /// # Errors
    /// Why it cannot.
    fn list(&self, told: &Value) -> Result<Value, Refused>;

    /// Takes the change of a rule, whose last change was `before`; gives the row that was kept.
    ///
    /// # Errors
    /// Why it cannot.
    fn rule(&self, told: &Value, before: Option<&Value>) -> Result<Value, Refused>;
}

/// Who holds the scorer's decisions against what was true.
pub trait Measures: Send + Sync {
    /// How well it does: `caught_up`, `answer_key`, `as_of` and `report`. It may compute for a while: called on a thread that may.
    ///
    /// # Errors
    /// Why it cannot.
    fn scoreboard(&self) -> Result<Value, Refused>;
}

/// Asks for the scoreboard, on a thread that may wait.
pub(crate) async fn measure(measures: Option<&Arc<dyn Measures>>) -> Result<Value, Problem> {
    let measures = measures.cloned().ok_or_else(|| {
        let detail = "this server has no cluster to read decisions from; `millrace up` and `millrace dashboard` have";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let told = tokio::task::spawn_blocking(move || measures.scoreboard()).await;
    let cut_off = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "computing the scoreboard was cut off");
    Ok(told.map_err(cut_off)??)
}

pub(super) fn routes<S: Clone + Send + Sync + 'static>(services: &Services) -> Router<S> {
    let (asked, told) = (services.scores.clone(), services.hears.clone());
    let score = move |headers: HeaderMap, body: Bytes| async move { answer(score(asked.as_ref(), &headers, &body)) };
    let verdict =
        move |headers: HeaderMap, body: Bytes| async move { answer(verdict(told.as_ref(), &headers, &body).await) };
    Router::new()
        .route("/v1/payments/score", post(score))
        .route("/v1/fraud/verdicts", post(verdict))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

fn answer(result: Result<Json<Value>, Problem>) -> Response {
    result.into_response()
}

/// Whether the body says that it is JSON.
fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        let detail = "send the body as JSON, with `content-type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(())
}

fn score(scores: Option<&Arc<dyn Scores>>, headers: &HeaderMap, body: &[u8]) -> Result<Json<Value>, Problem> {
    is_json(headers)?;
    let scores = scores.ok_or_else(|| {
        let detail =
            "payments are scored where the role `score` runs: `millrace up`, or the address of `millrace score`";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    Ok(Json(scores.score(body)?))
}

/// The body as JSON.
pub(crate) fn told(headers: &HeaderMap, body: &[u8]) -> Result<Value, Problem> {
    is_json(headers)?;
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("the body is no JSON: {error}")))
}

/// Hands over what an analyst says, on a thread that may wait.
pub(crate) async fn hear(
    hears: Option<&Arc<dyn Hears>>,
    say: impl FnOnce(&dyn Hears) -> Result<Value, Refused> + Send + 'static,
) -> Result<Value, Problem> {
    let hears = hears.cloned().ok_or_else(|| {
        let detail =
            "this server has no cluster to take it to: `millrace up`, `millrace dashboard` and `millrace score` have";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let said = tokio::task::spawn_blocking(move || say(&*hears)).await;
    let cut_off = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "taking it to the cluster was cut off");
    Ok(said.map_err(cut_off)??)
}

async fn verdict(hears: Option<&Arc<dyn Hears>>, headers: &HeaderMap, body: &[u8]) -> Result<Json<Value>, Problem> {
    let told = told(headers, body)?;
    hear(hears, move |hears| hears.verdict(&told)).await.map(Json)
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
    }

    impl Hears for Echo {
        fn verdict(&self, _: &Value) -> Result<Value, Refused> {
            Err(Refused::Unavailable("the cluster is away".into()))
        }

        fn list(&self, told: &Value) -> Result<Value, Refused> {
            Ok(told.clone())
        }

        fn rule(&self, told: &Value, _: Option<&Value>) -> Result<Value, Refused> {
            Ok(told.clone())
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
        let hears: Arc<dyn Hears> = Arc::new(Echo);
        for (hears, body, problem) in [
            (Some(&hears), b"{}".as_slice(), "the cluster is away"),
            (Some(&hears), b"", "the body is no JSON"),
            (None, b"{}", "no cluster to take it to"),
        ] {
            let told = verdict(hears, &json_headers(), body).await;
            assert!(told.is_err_and(|told| told.detail().contains(problem)), "{problem}");
        }
    }
}
