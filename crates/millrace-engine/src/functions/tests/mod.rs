//! Spark's answers, from the examples of its function reference and the cases its text speaks of.
//!
//! A row is an expression, the name of its type in Spark, and its value. Literals without a type differ by design: an integer
//! is a BIGINT here, an INT in Spark.

mod arrays;
mod numbers;
mod operators;
mod recorded;
mod texts;
mod times;
mod windows;

use arrow_array::Array;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;

use super::{register, type_name};

fn context() -> SessionContext {
    SessionContext::new_with_state(register(SessionStateBuilder::new()).build())
}

/// The type and the value of an expression.
async fn answer(context: &SessionContext, expression: &str) -> Result<(String, String)> {
    let batches = context.sql(&format!("SELECT {expression} AS x")).await?.collect().await?;
    let column = batches[0].column(0);
    let options = FormatOptions::new().with_null("NULL");
    let value = ArrayFormatter::try_new(column.as_ref(), &options)?.value(0).to_string();
    Ok((type_name(column.data_type()), value))
}

async fn answers(table: &[(&str, &str, &str)]) {
    let context = context();
    for (expression, expected_type, expected) in table {
        match answer(&context, expression).await {
            Ok((of, value)) => {
                assert_eq!((of.as_str(), value.as_str()), (*expected_type, *expected), "{expression}");
            }
            Err(error) => panic!("{expression}: {}", error.strip_backtrace()),
        }
    }
}

/// Expressions that fail, and a part of what is said.
async fn errors(table: &[(&str, &str)]) {
    let context = context();
    for (expression, expected) in table {
        let found = match answer(&context, expression).await {
            Ok((_, value)) => format!("no error but {value}"),
            Err(error) => error.strip_backtrace(),
        };
        assert!(found.contains(expected), "{expression}: {found}");
    }
}
