//! The DevTools protocol's wire: numbered calls and their answers over one WebSocket, and errors told in between.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::Failure;

const ANSWER_MAX: Duration = Duration::from_secs(30);
const CALLS_MAX: usize = 64;

/// A connection to the browser; clones share it.
#[derive(Clone)]
pub(super) struct Wire {
    calls: mpsc::Sender<Message>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    problems: Mutex<HashMap<String, Vec<String>>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire {
    pub(super) async fn connect(address: &str) -> Result<Wire, Failure> {
        let connected = tokio_tungstenite::connect_async(address).await;
        let (socket, _) = connected.map_err(|error| format!("{address}: {error}"))?;
        let (mut out, mut incoming) = socket.split();
        let (calls, mut queue) = mpsc::channel::<Message>(CALLS_MAX);
        tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                if out.send(message).await.is_err() {
                    return;
                }
            }
        });
        let state = Arc::<State>::default();
        let reader = state.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                if let Message::Text(text) = message
                    && let Ok(message) = serde_json::from_str(&text)
                {
                    reader.take(message);
                }
            }
        });
        Ok(Wire { calls, state })
    }

    pub(super) async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value, Failure> {
        let id = self.state.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (answer, answered) = oneshot::channel();
        held(&self.state.waiting).insert(id, answer);
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        let sent = self.calls.send(Message::text(message.to_string())).await;
        sent.map_err(|_| "the browser is gone".to_owned())?;
        let answer = timeout(ANSWER_MAX, answered).await;
        held(&self.state.waiting).remove(&id);
        let answer =
            answer.map_err(|_| format!("{method}: no answer"))?.map_err(|_| "the browser is gone".to_owned())?;
        match answer.get("error") {
            Some(error) => Err(format!("{method}: {}", error["message"])),
            None => Ok(answer["result"].clone()),
        }
    }

    pub(super) fn problems(&self, session: &str) -> Vec<String> {
        held(&self.state.problems).get(session).cloned().unwrap_or_default()
    }
}

impl State {
    fn take(&self, message: Value) {
        if let Some(id) = message["id"].as_u64() {
            if let Some(waiting) = held(&self.waiting).remove(&id) {
                let _ = waiting.send(message);
            }
            return;
        }
        let params = &message["params"];
        let problem = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                let details = &params["exceptionDetails"];
                details["exception"]["description"].as_str().or(details["text"].as_str()).map(str::to_owned)
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                Some(format!("{} {}", params["entry"]["text"], params["entry"]["url"]))
            }
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => Some(params["args"].to_string()),
            _ => None,
        };
        if let (Some(problem), Some(session)) = (problem, message["sessionId"].as_str()) {
            held(&self.problems).entry(session.to_owned()).or_default().push(problem);
        }
    }
}
