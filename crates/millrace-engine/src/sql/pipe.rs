//! Pipe syntax (`FROM events |> WHERE … |> AGGREGATE … GROUP BY …`), as far as DataFusion does not plan it itself.
//!
//! | Spark | becomes |
//! |---|---|
//! | `FROM t` | `SELECT * FROM t` |
//! | `\|> SET a = x` | `\|> SELECT * REPLACE (x AS a)` |
//! | `\|> DROP a` | `\|> SELECT * EXCEPT (a)` |
//! | `\|> RENAME a AS b` | refused: Spark has no such operator |
//! | `\|> AGGREGATE … GROUP BY window(t, '5 minutes')` | `… GROUP BY window(t, '5 minutes') AS window` |

use sqlparser::ast::{
    AssignmentTarget, ExceptSelectItem, Expr, Ident, PipeOperator, Query, ReplaceSelectElement, ReplaceSelectItem,
    SelectFlavor, SelectItem, SetExpr, Spanned, WildcardAdditionalOptions,
};
use sqlparser::tokenizer::Location;

use super::rewrite::function_name;
use crate::SqlError;

/// Rewrites the pipe operators of one query.
///
/// # Errors
/// An operator that is not known here.
pub(super) fn rewrite(query: &mut Query) -> Result<(), SqlError> {
    if let SetExpr::Select(select) = query.body.as_mut()
        && select.flavor == SelectFlavor::FromFirstNoSelect
    {
        select.flavor = SelectFlavor::Standard;
        select.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
    }
    for operator in &mut query.pipe_operators {
        match operator {
            PipeOperator::Set { assignments } => {
                let mut items = Vec::new();
                for assignment in assignments.iter() {
                    let column = match &assignment.target {
                        AssignmentTarget::ColumnName(name) => name.0.last().and_then(|part| part.as_ident()).cloned(),
                        AssignmentTarget::Tuple(_) => None,
                    };
                    let Some(column) = column else {
                        return Err(SqlError::at(assignment.value.span().start, "SET of several columns at once")
                            .hint("write |> SET a = …, b = …"));
                    };
                    let (expr, column_name) = (assignment.value.clone(), column);
                    items.push(Box::new(ReplaceSelectElement { expr, column_name, as_keyword: true }));
                }
                let replaced =
                    WildcardAdditionalOptions { opt_replace: Some(ReplaceSelectItem { items }), ..Default::default() };
                *operator = PipeOperator::Select { exprs: vec![SelectItem::Wildcard(replaced)] };
            }
            PipeOperator::Drop { columns } => *operator = PipeOperator::Select { exprs: vec![all_but(columns)] },
            PipeOperator::Aggregate { group_by_expr, .. } => {
                for group in group_by_expr {
                    if let (Expr::Function(function), None) = (&group.expr.expr, &group.expr.alias) {
                        let name = function_name(function);
                        if ["window", "session_window"].contains(&name.as_str()) {
                            group.expr.alias = Some(Ident::new(name));
                        }
                    }
                }
            }
            PipeOperator::Rename { mappings } => {
                let place = mappings.first().map_or(Location { line: 0, column: 0 }, |first| first.ident.span.start);
                return Err(SqlError::at(place, "there is no pipe operator RENAME")
                    .hint("write |> EXTEND old AS new |> DROP old"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `* EXCEPT (columns)`
pub(super) fn all_but(columns: &[Ident]) -> SelectItem {
    let Some((first, rest)) = columns.split_first() else {
        return SelectItem::Wildcard(WildcardAdditionalOptions::default());
    };
    let except = ExceptSelectItem { first_element: first.clone(), additional_elements: rest.to_vec() };
    SelectItem::Wildcard(WildcardAdditionalOptions { opt_except: Some(except), ..Default::default() })
}
