//! A session on a Spark Connect server: every request has a time limit, and retrying is the caller's.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use millrace_model::ErrorKind;
use spark_connect_core::channel::ChannelBuilder;
use spark_connect_core::client::SparkConnectClient;
use spark_connect_core::retries::RetryPolicy;
use spark_connect_core::runtime::{block_on, get_runtime};
use spark_connect_proto as proto;
use spark_connect_proto::analyze_plan_request::{self as analyze, Analyze};
use spark_connect_proto::analyze_plan_response::Result as Analysis;
use spark_connect_proto::command::CommandType;
use spark_connect_proto::execute_plan_response::ResponseType;
use spark_connect_proto::streaming_query_command::Command as QueryCommand;
use spark_connect_proto::streaming_query_command_result::ResultType as QueryResult;

use crate::error::SparkError;
use crate::relation;

/// A session.
pub(crate) struct Session {
    client: Arc<SparkConnectClient>,
    user: proto::UserContext,
    request_max: Duration,
}

/// A streaming query the server runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RunningQuery {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) run_id: String,
}

/// How a streaming query stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QueryStatus {
    pub(crate) active: bool,
    /// A batch is being worked on.
    pub(crate) in_batch: bool,
    /// The last trigger found no new records: rows of closed windows, which come a batch after the records, are out too.
    pub(crate) settled: bool,
}

/// Sessions are kept by user and id; the name shows on Spark's page.
const USER: &str = "millrace";

impl Session {
    /// A session of this id, or a new one. The server is first spoken to by the first request.
    ///
    /// # Errors
    /// `Invalid` when the URL is none.
    pub(crate) fn open(url: &str, session_id: Option<&str>, request_max: Duration) -> Result<Self, SparkError> {
        let mut channel = ChannelBuilder::parse(url)?;
        if let Some(id) = session_id {
            channel.set("session_id", id);
        }
        if channel.user_id().is_none() {
            channel.set("user_id", USER);
        }
        let user_id = channel.user_id().unwrap_or(USER).to_owned();
        let mut client = block_on(SparkConnectClient::connect(&channel))?;
        client.set_retry_policy(RetryPolicy::no_retries());
        let user = proto::UserContext { user_name: user_id.clone(), user_id, ..Default::default() };
        Ok(Session { client: Arc::new(client), user, request_max })
    }

    pub(crate) fn id(&self) -> &str {
        self.client.session_id()
    }

    /// Runs a request on the client's runtime and waits at most `request_max`.
    fn ask<T, F>(&self, what: &str, request: F) -> Result<T, SparkError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, spark_connect_core::error::SparkError>> + Send + 'static,
    {
        let (answer, answered) = mpsc::channel();
        let task = get_runtime().spawn(async move {
            let _ = answer.send(request.await);
        });
        match answered.recv_timeout(self.request_max) {
            Ok(result) => Ok(result?),
            Err(_) => {
                task.abort();
                let seconds = self.request_max.as_secs();
                let text = format!("Spark did not answer within {seconds} s ({what})");
                Err(SparkError::new(ErrorKind::Unavailable, text))
            }
        }
    }

    fn execute(&self, what: &str, operation: proto::plan::OpType) -> Result<Vec<ResponseType>, SparkError> {
        let request = proto::ExecutePlanRequest {
            session_id: self.id().to_owned(),
            user_context: Some(self.user.clone()),
            plan: Some(plan(operation)),
            ..Default::default()
        };
        let client = self.client.clone();
        self.ask(what, async move {
            let mut stream = client.execute_plan(request).await?;
            let mut answers = Vec::new();
            loop {
                let message = stream.message().await;
                match message.map_err(spark_connect_core::error::SparkError::from_grpc_status)? {
                    Some(message) => answers.extend(message.response_type),
                    None => return Ok(answers),
                }
            }
        })
    }

    fn command(&self, what: &str, command: CommandType) -> Result<Vec<ResponseType>, SparkError> {
        self.execute(what, proto::plan::OpType::Command(proto::Command { command_type: Some(command) }))
    }

    fn analyze(&self, what: &str, analyze: Analyze) -> Result<Option<Analysis>, SparkError> {
        let request = proto::AnalyzePlanRequest {
            session_id: self.id().to_owned(),
            user_context: Some(self.user.clone()),
            analyze: Some(analyze),
            ..Default::default()
        };
        let client = self.client.clone();
        Ok(self.ask(what, async move { client.analyze_plan(request).await })?.result)
    }

    /// The server's version, for example `4.2.0`.
    pub(crate) fn version(&self) -> Result<String, SparkError> {
        match self.analyze("version", Analyze::SparkVersion(analyze::SparkVersion {}))? {
            Some(Analysis::SparkVersion(version)) => Ok(version.version),
            other => Err(unexpected("version", &other)),
        }
    }

    /// Sets a setting of the session.
    pub(crate) fn set(&self, key: &str, value: &str) -> Result<(), SparkError> {
        let pair = proto::KeyValue { key: key.to_owned(), value: Some(value.to_owned()) };
        let set = proto::config_request::Set { pairs: vec![pair], ..Default::default() };
        let operation =
            proto::config_request::Operation { op_type: Some(proto::config_request::operation::OpType::Set(set)) };
        let request = proto::ConfigRequest {
            session_id: self.id().to_owned(),
            user_context: Some(self.user.clone()),
            operation: Some(operation),
            ..Default::default()
        };
        let client = self.client.clone();
        self.ask(key, async move { client.config(request).await }).map(drop)
    }

    /// Runs a statement that is a command.
    pub(crate) fn run_sql(&self, sql: &str) -> Result<(), SparkError> {
        let command = proto::SqlCommand { input: Some(relation::sql(sql)), ..Default::default() };
        self.command("statement", CommandType::SqlCommand(command)).map(drop)
    }

    /// Names a relation.
    pub(crate) fn create_view(&self, name: &str, input: proto::Relation) -> Result<(), SparkError> {
        let view = proto::CreateDataFrameViewCommand {
            input: Some(input),
            name: name.to_owned(),
            is_global: false,
            replace: true,
        };
        self.command(name, CommandType::CreateDataframeView(view)).map(drop)
    }

    /// Column names and types of a relation.
    pub(crate) fn schema(&self, input: proto::Relation) -> Result<proto::data_type::Struct, SparkError> {
        let plan = Some(plan(proto::plan::OpType::Root(input)));
        match self.analyze("schema", Analyze::Schema(analyze::Schema { plan }))? {
            Some(Analysis::Schema(proto::analyze_plan_response::Schema {
                schema: Some(proto::DataType { kind: Some(proto::data_type::Kind::Struct(schema)) }),
            })) => Ok(schema),
            other => Err(unexpected("schema", &other)),
        }
    }

    /// Starts a streaming query.
    pub(crate) fn start(&self, start: proto::WriteStreamOperationStart) -> Result<RunningQuery, SparkError> {
        let name = start.query_name.clone();
        let answers = self.command(&name, CommandType::WriteStreamOperationStart(start))?;
        let started = answers.into_iter().find_map(|answer| match answer {
            ResponseType::WriteStreamOperationStartResult(started) => started.query_id,
            _ => None,
        });
        let id = started.ok_or_else(|| unexpected("start", &"no query id"))?;
        Ok(RunningQuery { name, id: id.id, run_id: id.run_id })
    }

    /// The streaming queries that run in this session.
    pub(crate) fn active(&self) -> Result<Vec<RunningQuery>, SparkError> {
        use spark_connect_proto::streaming_query_manager_command::Command as ManagerCommand;
        use spark_connect_proto::streaming_query_manager_command_result::ResultType as ManagerResult;
        let command = proto::StreamingQueryManagerCommand { command: Some(ManagerCommand::Active(true)) };
        let answers = self.command("active queries", CommandType::StreamingQueryManagerCommand(command))?;
        let active = answers.into_iter().find_map(|answer| match answer {
            ResponseType::StreamingQueryManagerCommandResult(proto::StreamingQueryManagerCommandResult {
                result_type: Some(ManagerResult::Active(active)),
            }) => Some(active.active_queries),
            _ => None,
        });
        let running = active.unwrap_or_default().into_iter().filter_map(|query| {
            let id = query.id?;
            Some(RunningQuery { name: query.name.unwrap_or_default(), id: id.id, run_id: id.run_id })
        });
        Ok(running.collect())
    }

    fn query(&self, query: &RunningQuery, command: QueryCommand) -> Result<Option<QueryResult>, SparkError> {
        let query_id = Some(proto::StreamingQueryInstanceId { id: query.id.clone(), run_id: query.run_id.clone() });
        let command = proto::StreamingQueryCommand { query_id, command: Some(command) };
        let answers = self.command(&query.name, CommandType::StreamingQueryCommand(command))?;
        Ok(answers.into_iter().find_map(|answer| match answer {
            ResponseType::StreamingQueryCommandResult(result) => result.result_type,
            _ => None,
        }))
    }

    pub(crate) fn status(&self, query: &RunningQuery) -> Result<QueryStatus, SparkError> {
        match self.query(query, QueryCommand::Status(true))? {
            Some(QueryResult::Status(status)) => {
                let in_batch = status.is_trigger_active;
                Ok(QueryStatus { active: status.is_active, in_batch, settled: !in_batch && !status.is_data_available })
            }
            other => Err(unexpected("status", &other)),
        }
    }

    /// The last batches' progress, oldest first, as Spark's JSON.
    pub(crate) fn recent_progress(&self, query: &RunningQuery) -> Result<Vec<String>, SparkError> {
        match self.query(query, QueryCommand::RecentProgress(true))? {
            Some(QueryResult::RecentProgress(recent)) => Ok(recent.recent_progress_json),
            other => Err(unexpected("progress", &other)),
        }
    }

    /// Why the query ended; `None` when it has not failed.
    pub(crate) fn exception(&self, query: &RunningQuery) -> Result<Option<SparkError>, SparkError> {
        let result = self.query(query, QueryCommand::Exception(true))?;
        let Some(QueryResult::Exception(exception)) = result else { return Ok(None) };
        let Some(text) = exception.exception_message else { return Ok(None) };
        Ok(Some(SparkError::reported(ErrorKind::Internal, exception.error_class, &text)))
    }

    pub(crate) fn stop(&self, query: &RunningQuery) -> Result<(), SparkError> {
        self.query(query, QueryCommand::Stop(true)).map(drop)
    }

    /// Ends the session on the server.
    pub(crate) fn release(&self) -> Result<(), SparkError> {
        let client = self.client.clone();
        self.ask("release the session", async move { client.release_session().await })
    }
}

fn plan(operation: proto::plan::OpType) -> proto::Plan {
    proto::Plan { op_type: Some(operation) }
}

fn unexpected(what: &str, answer: &impl std::fmt::Debug) -> SparkError {
    let text = format!("Spark answered `{what}` with something else: {answer:?}").chars().take(300).collect::<String>();
    SparkError::new(ErrorKind::Internal, text)
}
