//! All pipeline files together: which table reads which, and what each result looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::datasource::ViewTable;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DfStatement;
use millrace_model::contract::{ResultShape, result_contract};
use millrace_model::names::did_you_mean;
use millrace_model::{Contract, Contracts};
use sqlparser::ast::Statement;
use sqlparser::tokenizer::Location;

use super::physical::{TableInputs, plan_table};
use super::slot::Slot;
use super::table::SlotTable;
use super::{JobPlan, SourcePlan, StaticSlot, StaticSlots, StreamRef, TablePlan};
use crate::SqlError;
use crate::sql::{self, Instances, Origin, Pipeline, StaticTable, StreamingTable, rewrite};

/// A pipeline file as it was found.
#[derive(Clone, Debug)]
pub struct PipelineFile {
    /// As the user named it, for messages.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl PipelineFile {
    /// The job's name: the file's stem.
    pub fn job(&self) -> &str {
        let file = self.path.rsplit(['/', '\\']).next().unwrap_or(&self.path);
        file.strip_suffix(".sql").unwrap_or(file)
    }
}

/// Reads static tables: a component, so the engine opens no database itself.
pub trait StaticTables: Send + Sync {
    /// The whole table, and its schema.
    ///
    /// # Errors
    /// A sentence for the user.
    fn load(&self, table: &StaticTable) -> Result<(SchemaRef, Vec<RecordBatch>), String>;
}

/// What pipelines may read and what they make.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Contracts of sources, of result tables and of the product's own topics.
    pub contracts: Contracts,
}

/// A file being planned.
struct Open<'a> {
    file: &'a PipelineFile,
    pipeline: Pipeline,
    planned: Vec<Option<TablePlan>>,
    slots: BTreeMap<String, SourcePlan>,
    statics: StaticSlots,
    context: SessionContext,
}

/// Plans all pipeline files; tables may read tables of other files. Returns a job a file, in the order given, and the
/// catalog with the contracts of all results.
///
/// # Errors
/// Every file's first error, so that a user sees all broken files at once.
pub fn plan_pipelines(
    files: &[PipelineFile],
    contracts: &Contracts,
    static_tables: &dyn StaticTables,
) -> Result<(Vec<JobPlan>, Catalog), Vec<SqlError>> {
    let mut catalog = Catalog { contracts: contracts.clone() };
    let mut open = Vec::new();
    let mut errors = Vec::new();
    for file in files {
        match open_file(file, static_tables) {
            Ok(opened) => open.push(opened),
            Err(error) => errors.push(error.in_file(&file.path)),
        }
    }
    if let Err(error) = unique_names(&open) {
        errors.push(error);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    // A table can be planned when everything it reads is known; each round plans what has become possible.
    loop {
        let mut progress = false;
        let mut waiting: Vec<(usize, usize, String)> = Vec::new();
        let names: BTreeSet<String> =
            open.iter().flat_map(|o| o.pipeline.tables.iter().map(|t| t.name.clone())).collect();
        for (file, of_file) in open.iter_mut().enumerate() {
            if errors.iter().any(|error: &SqlError| error.file == of_file.file.path) {
                continue;
            }
            for table in 0..of_file.planned.len() {
                if of_file.planned[table].is_some() {
                    continue;
                }
                match of_file.plan(table, &catalog, &names) {
                    Ok(Planned::Done(plan)) => {
                        catalog.contracts.insert(plan.contract.clone());
                        of_file.planned[table] = Some(*plan);
                        progress = true;
                    }
                    Ok(Planned::Waits(on)) => waiting.push((file, table, on)),
                    Err(error) => {
                        errors.push(error.in_file(&of_file.file.path));
                        break;
                    }
                }
            }
        }
        if !progress || waiting.is_empty() {
            for (file, table, on) in waiting {
                let failed = errors.iter().any(|error| error.file == open[file].file.path);
                if !failed && errors.is_empty() {
                    let table = &open[file].pipeline.tables[table];
                    let message = format!("`{}` reads `{on}`, which waits for it: a circle", table.name);
                    errors.push(SqlError::at(table.place, message).in_file(&open[file].file.path));
                }
            }
            break;
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok((open.into_iter().map(Open::close).collect(), catalog))
}

fn open_file<'a>(file: &'a PipelineFile, static_tables: &dyn StaticTables) -> Result<Open<'a>, SqlError> {
    let pipeline = sql::parse(&file.path, &file.text)?;
    let context = crate::session::planning_context();
    let mut statics = StaticSlots::new();
    for table in &pipeline.static_tables {
        let (schema, batches) = static_tables
            .load(table)
            .map_err(|error| SqlError::at(table.place, format!("static table `{}`: {error}", table.name)))?;
        let slot = Slot::default();
        slot.put(batches);
        let name = table.name.clone();
        let provider = SlotTable { name, streaming: false, event_time: None, schema, slot: slot.clone() };
        register(&context, &table.name, Arc::new(provider), table.place)?;
        statics.insert(table.name.clone(), StaticSlot { table: table.clone(), slot });
    }
    let planned = pipeline.tables.iter().map(|_| None).collect();
    Ok(Open { file, pipeline, planned, slots: BTreeMap::new(), statics, context })
}

fn unique_names(open: &[Open<'_>]) -> Result<(), SqlError> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for opened in open {
        for table in &opened.pipeline.tables {
            if let Some(other) = seen.insert(&table.name, &opened.file.path) {
                let message = format!("streaming table `{}` is also created in {other}", table.name);
                return Err(SqlError::at(table.place, message).in_file(&opened.file.path));
            }
        }
    }
    Ok(())
}

fn register(
    context: &SessionContext,
    name: &str,
    provider: Arc<dyn datafusion::catalog::TableProvider>,
    place: Location,
) -> Result<(), SqlError> {
    let reference = datafusion::common::TableReference::bare(name);
    context.register_table(reference, provider).map_err(|error| SqlError::planning(&error, place))?;
    Ok(())
}

enum Planned {
    Done(Box<TablePlan>),
    /// On this table.
    Waits(String),
}

impl Open<'_> {
    fn plan(&mut self, at: usize, catalog: &Catalog, names: &BTreeSet<String>) -> Result<Planned, SqlError> {
        let table = self.pipeline.tables[at].clone();
        let mut scope = Scope { references: Vec::new(), waits: None, depth: 0, prefix: format!("{}.", table.name) };
        let logical = self.logical(&table.query, table.place, catalog, names, &mut scope)?;
        let Some(logical) = logical else { return Ok(Planned::Waits(scope.waits.unwrap_or_default())) };
        let inputs = TableInputs { logical: &logical, table: &table, context: &self.context };
        let (parts, schema, needed) = plan_table(inputs).map_err(|error| {
            let said = SqlError::planning(&error, table.place);
            match sql::place_of(&table.query.query, &said.message) {
                Some(place) if (said.line, said.column) == (table.place.line, table.place.column) => {
                    SqlError { line: place.line, column: place.column, ..said }
                }
                _ => said,
            }
        })?;
        let contract = contract_of(&table, &schema)?;
        for reference in &scope.references {
            let source = self.slots.get_mut(&reference.source).expect("referencing a source opens its slot");
            let delay =
                reference.watermark.as_ref().map_or(source.contract.watermark_delay_micros, |(_, delay)| *delay);
            source.delay_micros = source.delay_micros.max(delay);
            let event_time = reference.watermark.iter().map(|(column, _)| column.clone());
            let needed = needed.get(&reference.source).into_iter().flatten().cloned();
            for column in needed.chain(event_time) {
                if !source.columns.contains(&column) {
                    source.columns.push(column);
                }
            }
        }
        let mut explanation = explain_sources(&scope.references);
        explanation.extend(parts.explanation);
        Ok(Planned::Done(Box::new(TablePlan {
            contract,
            output_mode: table.output_mode,
            streams: scope.references,
            window_end: parts.window_end,
            state: parts.state,
            explanation,
            keeps: parts.keeps,
            stages: parts.stages,
            output: parts.output,
        })))
    }

    /// Plans a query; `None` when it reads a table that is not planned yet.
    fn logical(
        &mut self,
        query: &sql::StreamQuery,
        place: Location,
        catalog: &Catalog,
        names: &BTreeSet<String>,
        scope: &mut Scope,
    ) -> Result<Option<LogicalPlan>, SqlError> {
        scope.depth += 1;
        let prefix = format!("{}{}.", scope.prefix, scope.depth);
        let (mut renamed, instances) = sql::name_instances(query, &prefix);
        if !self.open_instances(&instances, catalog, names, scope)? {
            return Ok(None);
        }
        rewrite(&mut renamed)?;
        let statement = DfStatement::Statement(Box::new(Statement::Query(Box::new(renamed))));
        let state = self.context.state();
        let planning = state.statement_to_plan(statement);
        let plan = crate::session::block_on(planning).map_err(|error| SqlError::planning(&error, place))?;
        Ok(Some(plan))
    }

    /// Registers what the references of a query mean; false when one is not planned yet.
    fn open_instances(
        &mut self,
        instances: &Instances,
        catalog: &Catalog,
        names: &BTreeSet<String>,
        scope: &mut Scope,
    ) -> Result<bool, SqlError> {
        for (unique, instance) in instances {
            self.refuse_lost_watermark(instance)?;
            if let Some(view) = self.pipeline.views.iter().find(|view| view.name == instance.table).cloned() {
                if scope.depth > VIEW_DEPTH_MAX {
                    return Err(SqlError::at(instance.place, format!("view `{}` reads itself", view.name)));
                }
                let Some(plan) = self.logical(&view.query, view.place, catalog, names, scope)? else {
                    return Ok(false);
                };
                register(&self.context, unique, Arc::new(ViewTable::new(plan, None)), instance.place)?;
                continue;
            }
            if self.statics.contains_key(&instance.table) {
                let provider = crate::session::block_on(self.context.table_provider(instance.table.as_str()))
                    .map_err(|error| SqlError::planning(&error, instance.place))?;
                register(&self.context, unique, provider, instance.place)?;
                continue;
            }
            let Some(source) = self.source(&instance.table, catalog) else {
                if names.contains(&instance.table) {
                    scope.waits = Some(instance.table.clone());
                    return Ok(false);
                }
                let views = self.pipeline.views.iter().map(|view| view.name.as_str());
                let known: Vec<&str> = catalog.contracts.iter().map(|c| c.name.as_str()).chain(views).collect();
                let hint = did_you_mean(&instance.table, known);
                return Err(SqlError::at(instance.place, format!("`{}` is not known{hint}", instance.table))
                    .hint("streams are the topics of the contracts, streaming tables, and views of this file"));
            };
            let watermark = match &instance.watermark {
                Some(watermark) => {
                    let column = source.contract.column(&watermark.column);
                    match column.map(|c| &c.column_type) {
                        Some(millrace_model::ColumnType::Timestamp) => {}
                        Some(_) => {
                            let message = format!("watermark column `{}` is not a TIMESTAMP", watermark.column);
                            return Err(SqlError::at(instance.place, message));
                        }
                        None => {
                            let columns = source.contract.columns.iter().map(|c| c.name.as_str());
                            let hint = did_you_mean(&watermark.column, columns);
                            let message = format!("`{}` has no column `{}`{hint}", instance.table, watermark.column);
                            return Err(SqlError::at(instance.place, message));
                        }
                    }
                    Some((watermark.column.clone(), watermark.delay_micros))
                }
                None => None,
            };
            let slot = Slot::default();
            source.slots.push(slot.clone());
            let schema = Arc::new(source.contract.arrow_schema());
            let event_time = watermark.as_ref().map(|(column, _)| column.clone());
            let provider = SlotTable { name: instance.table.clone(), streaming: true, event_time, schema, slot };
            register(&self.context, unique, Arc::new(provider), instance.place)?;
            scope.references.push(StreamRef { source: instance.table.clone(), watermark });
        }
        Ok(true)
    }

    /// A view has the watermarks of the streams it reads, and a static table has none: a clause on the reference would be
    /// lost.
    fn refuse_lost_watermark(&self, instance: &sql::StreamInstance) -> Result<(), SqlError> {
        let Some(watermark) = &instance.watermark else { return Ok(()) };
        let name = &instance.table;
        let (what, hint) = if self.pipeline.views.iter().any(|view| view.name == *name) {
            let hint = format!("write WATERMARK {} … inside the view, after the stream it reads", watermark.column);
            ("view", hint)
        } else if self.statics.contains_key(name) {
            ("static table", "leave the clause out: a static table has no event time".to_owned())
        } else {
            return Ok(());
        };
        Err(SqlError::at(instance.place, format!("{what} `{name}` takes no WATERMARK")).hint(hint))
    }

    /// The source of this name, opened if it is known.
    fn source(&mut self, name: &str, catalog: &Catalog) -> Option<&mut SourcePlan> {
        if !self.slots.contains_key(name) {
            let declared = self.pipeline.sources.iter().find(|source| source.contract.name == name);
            let (contract, origin) = match declared {
                Some(declared) => (declared.contract.clone(), declared.origin.clone()),
                None => (catalog.contracts.get(name)?.clone(), Origin::Topic(name.to_owned())),
            };
            let plan = SourcePlan { contract, origin, columns: Vec::new(), delay_micros: 0, slots: Vec::new() };
            self.slots.insert(name.to_owned(), plan);
        }
        self.slots.get_mut(name)
    }

    fn close(self) -> JobPlan {
        let mut sources: Vec<SourcePlan> = self.slots.into_values().filter(|source| !source.slots.is_empty()).collect();
        for source in &mut sources {
            let contract = &source.contract;
            if !contract.deduplicate_by.is_empty() {
                for column in contract.deduplicate_by.iter().chain(&contract.event_time) {
                    if !source.columns.contains(column) {
                        source.columns.push(column.clone());
                    }
                }
            }
        }
        JobPlan {
            name: self.file.job().to_owned(),
            sources,
            tables: self.planned.into_iter().flatten().collect(),
            static_slots: self.statics.into_values().collect(),
            task: self.context.task_ctx(),
        }
    }
}

/// Views may read views this deep.
const VIEW_DEPTH_MAX: usize = 32;

/// What the planning of one table has met so far.
struct Scope {
    references: Vec<StreamRef>,
    waits: Option<String>,
    depth: usize,
    prefix: String,
}

/// The contract of a table's result; its key columns must exist.
fn contract_of(table: &StreamingTable, schema: &arrow_schema::Schema) -> Result<Contract, SqlError> {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    for (at, name) in names.iter().enumerate() {
        let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message = format!("column {} of `{}` has no name of its own", at + 1, table.name);
            return Err(SqlError::at(table.place, message).hint("name it in the SELECT: … AS total"));
        }
    }
    for key in &table.key {
        if !names.contains(&key.as_str()) {
            let hint = did_you_mean(key, names.iter().copied());
            return Err(SqlError::at(
                table.place,
                format!("key column `{key}` is not in the SELECT of `{}`{hint}", table.name),
            ));
        }
    }
    if table.output_mode != sql::OutputMode::Append && table.key.is_empty() {
        let mode = table.output_mode.name();
        return Err(SqlError::at(table.place, format!("`{}` is in {mode} mode but has no key", table.name)).hint(format!(
            "name the columns that identify a row: TBLPROPERTIES ('output_mode' = '{mode}', 'key' = 'window_start, …')",
        )));
    }
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            return Err(SqlError::at(table.place, format!("`{}` has two columns named `{name}`", table.name))
                .hint("give one of them another name with AS"));
        }
    }
    let times = ["window_end", "event_time", "session_end"];
    let event_time = times.into_iter().find(|time| names.contains(time)).map(str::to_owned);
    let shape = ResultShape { name: &table.name, comment: &table.comment, schema, key: table.key.clone(), event_time };
    result_contract(&shape).map_err(|error| SqlError::at(table.place, error))
}

fn explain_sources(references: &[StreamRef]) -> Vec<String> {
    let mut lines = Vec::new();
    for reference in references {
        let line = match &reference.watermark {
            Some((column, delay)) => {
                format!("source {}: watermark on {column}, {} s late at most", reference.source, *delay as f64 / 1e6)
            }
            None => format!("source {}: no watermark", reference.source),
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}
