//! DataFusion sessions: for planning statements, and for batch queries over lake and results.

use std::future::Future;

use datafusion::execution::context::SessionContext;
use datafusion::execution::session_state::SessionStateBuilder;

/// A session that knows Spark's functions and no tables yet.
pub(crate) fn planning_context() -> SessionContext {
    SessionContext::new_with_state(crate::functions::register(SessionStateBuilder::new()).build())
}

/// Waits for a future of DataFusion's on the calling thread: its planning and our plans of one partition spawn nothing.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    futures::executor::block_on(future)
}
