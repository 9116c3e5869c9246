//! Spark's dialect for sqlparser: its own, with what that one lacks.
//!
//! | more | example |
//! |---|---|
//! | pipe syntax | `FROM t \|> WHERE x > 1 \|> SELECT x` |
//! | escapes in texts | `'(\\d+)'` |
//! | intervals of several units | `INTERVAL '1 day 2 hours'` |
//! | DIV before `+` | `7 DIV 2 + 1` is 4 |

use std::any::TypeId;

use sqlparser::ast::{BinaryOperator, Expr};
use sqlparser::dialect::{Dialect, SparkSqlDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};

/// sqlparser's dialect of Spark, completed.
#[derive(Debug)]
pub(crate) struct SparkDialect;

/// What everything else is asked of.
const BASE: SparkSqlDialect = SparkSqlDialect;

/// Answers that stay as they are.
macro_rules! as_base {
    ($($question:ident)*) => {
        $(fn $question(&self) -> bool {
            BASE.$question()
        })*
    };
}

impl Dialect for SparkDialect {
    fn dialect(&self) -> TypeId {
        BASE.dialect()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        BASE.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        BASE.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        BASE.is_identifier_part(ch)
    }

    fn supports_pipe_operator(&self) -> bool {
        true
    }

    fn supports_from_first_select(&self) -> bool {
        true
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn require_interval_qualifier(&self) -> bool {
        false
    }

    fn parse_infix(&self, parser: &mut Parser, left: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        if !parser.parse_keyword(Keyword::DIV) {
            return None;
        }
        let divided = parser.parse_subexpr(precedence).map(|right| Expr::BinaryOp {
            left: Box::new(left.clone()),
            op: BinaryOperator::MyIntegerDivide,
            right: Box::new(right),
        });
        Some(divided)
    }

    as_base! {
        supports_filter_during_aggregation supports_group_by_expr supports_group_by_with_modifier
        supports_lambda_functions supports_select_wildcard_except supports_struct_literal supports_nested_comments
        supports_create_table_using supports_long_type_as_bigint supports_values_as_table_factor
        supports_bang_not_operator supports_select_item_multi_column_alias supports_cte_without_as
        supports_map_literal_with_angle_brackets
    }
}
