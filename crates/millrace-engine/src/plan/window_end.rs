//! Which column of a result is the end of its window: rows of windows that were final before can be told by it.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::stateful::Stateful;

/// What a column of a plan holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Window,
    End,
}

/// The column of a streaming table's plan that is the end of its window, if there is a window and it is shown.
pub(crate) fn window_end_column(plan: &LogicalPlan) -> Option<String> {
    let names = plan.schema().fields().iter().map(|field| field.name().clone());
    names.enumerate().find(|(at, _)| holds(plan, *at) == Some(Holds::End)).map(|(_, name)| name)
}

/// What the column at a place holds, as far as windows go.
fn holds(plan: &LogicalPlan, at: usize) -> Option<Holds> {
    match plan {
        LogicalPlan::Projection(node) => of_expr(node.expr.get(at)?, &node.input),
        LogicalPlan::Filter(node) => holds(&node.input, at),
        LogicalPlan::SubqueryAlias(node) => holds(&node.input, at),
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any().downcast_ref::<Stateful>()?;
            // Held back by a join below, windows before the watermark may still be open.
            (node.window_at == Some(at) && node.lag == Some(0)).then_some(Holds::Window)
        }
        _ => None,
    }
}

fn of_expr(expr: &Expr, input: &LogicalPlan) -> Option<Holds> {
    match expr {
        Expr::Alias(alias) => of_expr(&alias.expr, input),
        Expr::Column(column) => holds(input, input.schema().maybe_index_of_column(column)?),
        Expr::ScalarFunction(call) if call.func.name() == "get_field" => {
            let [from, Expr::Literal(ScalarValue::Utf8(Some(field)) | ScalarValue::Utf8View(Some(field)), _)] =
                call.args.as_slice()
            else {
                return None;
            };
            (field == "end" && of_expr(from, input)? == Holds::Window).then_some(Holds::End)
        }
        _ => None,
    }
}
