//! Single expressions Spark spells otherwise than DataFusion's planner takes them.
//!
//! | Spark | becomes |
//! |---|---|
//! | `struct(a, t.b)`, `(a, t.b)` | `named_struct('a', a, 'b', t.b)` |
//! | `x RLIKE '…'` | `rlike(x, '…')` |
//! | `x LIKE ANY ('a%', 'b%')`, ALL | `x LIKE 'a%' OR x LIKE 'b%'`, AND |
//! | `timestampdiff(HOUR, a, b)` | `timestampdiff('HOUR', a, b)`, and so with its relatives |
//! | `array_sort(xs, (a, b) -> …)` | `array_sort_by(xs, (a, b) -> …)` |
//! | `bigint(x)`, `date(x)` … | `CAST(x AS BIGINT)` |
//! | `1e3` | a DOUBLE, where `1.5` is a DECIMAL |
//! | `f(x).field`, `xs[0].field` | `get_field(f(x), 'field')` |
//! | `x -> x.field` | `x -> get_field(x, 'field')` |
//! | functions that are a short form of others | those, see [`synonym`] |

use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, OneOrManyWithParens, TimezoneInfo,
    UnaryOperator, Value, ValueWithSpan, visit_expressions_mut,
};
use sqlparser::tokenizer::Span;

use super::rewrite::function_name;

/// Rewrites one expression in place; its parts have been already.
pub(super) fn respell(expr: &mut Expr) {
    match expr {
        Expr::Struct { values, fields } if fields.is_empty() => *expr = named_struct(values),
        Expr::Tuple(values) if values.len() > 1 => *expr = named_struct(values),
        Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) if number.contains(['e', 'E']) => {
            *expr = cast(text(number), DataType::Double(ExactNumberInfo::None));
        }
        Expr::CompoundFieldAccess { root, access_chain } => *expr = field_access(root, access_chain),
        Expr::Lambda(lambda) => {
            let parameters: Vec<String> = match &lambda.params {
                OneOrManyWithParens::One(one) => vec![one.name.value.to_lowercase()],
                OneOrManyWithParens::Many(many) => many.iter().map(|one| one.name.value.to_lowercase()).collect(),
            };
            let _ = visit_expressions_mut(&mut lambda.body, |part: &mut Expr| {
                if let Expr::CompoundIdentifier(parts) = part
                    && parameters.contains(&parts[0].value.to_lowercase())
                {
                    let fields = parts[1..].iter().map(|field| text(&field.value));
                    *part =
                        fields.fold(Expr::Identifier(parts[0].clone()), |of, field| call("get_field", vec![of, field]));
                }
                ControlFlow::<()>::Continue(())
            });
        }
        Expr::RLike { negated, expr: value, pattern, .. } => {
            let matched = call("rlike", vec![value.as_ref().clone(), pattern.as_ref().clone()]);
            *expr = if *negated { not(matched) } else { matched };
        }
        Expr::Like { .. } | Expr::ILike { .. } => {
            own_escape(expr);
            like_several(expr);
        }
        Expr::Overlay { expr: value, overlay_what, overlay_from, overlay_for } => {
            let mut arguments =
                vec![value.as_ref().clone(), overlay_what.as_ref().clone(), overlay_from.as_ref().clone()];
            arguments.extend(overlay_for.iter().map(|length| length.as_ref().clone()));
            *expr = call("overlay", arguments);
        }
        Expr::Function(function) => {
            if let Some(respelled) = respelled_call(function) {
                *expr = respelled;
            }
        }
        _ => {}
    }
}

fn respelled_call(function: &mut Function) -> Option<Expr> {
    let name = function_name(function);
    if function.filter.is_some() || function.over.is_some() {
        return None;
    }
    let FunctionArguments::List(list) = &mut function.args else { return None };
    let lambda = |arg: &FunctionArg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Lambda(_))));
    match (name.as_str(), list.args.as_mut_slice()) {
        ("array_sort", [_, comparator]) if lambda(comparator) => {
            function.name = ObjectName::from(vec![Ident::new("array_sort_by")]);
            None
        }
        (
            "timestampdiff" | "datediff" | "date_diff" | "timestampadd" | "dateadd" | "date_add",
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(unit)), _, _],
        ) => {
            if let Expr::Identifier(ident) = unit {
                *unit = text(&ident.value.to_uppercase());
            }
            let between = name.ends_with("diff");
            function.name = ObjectName::from(vec![Ident::new(if between { "timestampdiff" } else { "timestampadd" })]);
            None
        }
        _ => {
            let given = all_arguments(function);
            match (synonym(&name, &given), given.as_slice()) {
                (None, [value]) => type_as_function(&name, value),
                (found, _) => found,
            }
        }
    }
}

/// `bigint(x)` is a cast.
fn type_as_function(name: &str, value: &Expr) -> Option<Expr> {
    let to = match name {
        "boolean" => DataType::Boolean,
        "tinyint" => DataType::TinyInt(None),
        "smallint" => DataType::SmallInt(None),
        "int" => DataType::Int(None),
        "bigint" => DataType::BigInt(None),
        "float" => DataType::Float(ExactNumberInfo::None),
        "double" => DataType::Double(ExactNumberInfo::None),
        "string" => DataType::String(None),
        "binary" => DataType::Binary(None),
        "decimal" => DataType::Decimal(ExactNumberInfo::PrecisionAndScale(10, 0)),
        "date" => DataType::Date,
        "timestamp" => DataType::Timestamp(None, TimezoneInfo::None),
        _ => return None,
    };
    Some(cast(value.clone(), to))
}

/// `root[0].field …` as calls; subscripts stay.
fn field_access(root: &Expr, chain: &[AccessExpr]) -> Expr {
    let mut found = root.clone();
    for access in chain {
        found = match access {
            AccessExpr::Dot(Expr::Identifier(field)) => call("get_field", vec![found, text(&field.value)]),
            other => Expr::CompoundFieldAccess { root: Box::new(found), access_chain: vec![other.clone()] },
        };
    }
    found
}

/// The functions that are only a spelling: [`synonym`] knows what each means.
#[cfg(test)]
pub(crate) const SPELLINGS: [&str; 35] = [
    "array_prepend",
    "bigint",
    "binary",
    "boolean",
    "curdate",
    "current_timezone",
    "date",
    "date_from_unix_date",
    "dayname",
    "decimal",
    "decode",
    "double",
    "e",
    "exists",
    "float",
    "ilike",
    "int",
    "like",
    "log",
    "nullifzero",
    "overlay",
    "position",
    "positive",
    "regexp_substr",
    "smallint",
    "space",
    "string",
    "struct",
    "timestamp",
    "timestampadd",
    "timestampdiff",
    "tinyint",
    "try_mod",
    "try_to_date",
    "zeroifnull",
];

/// A function that only says shorter what others say.
fn synonym(name: &str, given: &[Expr]) -> Option<Expr> {
    let zero = || number("0");
    Some(match (name, given) {
        ("log", [x]) => call("ln", vec![x.clone()]),
        ("e", []) => cast(text("2.718281828459045"), DataType::Double(ExactNumberInfo::None)),
        ("positive", [x]) => x.clone(),
        ("nullifzero", [x]) => call("nullif", vec![x.clone(), zero()]),
        ("zeroifnull", [x]) => call("coalesce", vec![x.clone(), zero()]),
        ("isnan", [x]) => call("coalesce", vec![call("isnan", vec![x.clone()]), boolean(false)]),
        ("replace", [x, part]) => call("replace", vec![x.clone(), part.clone(), text("")]),
        ("position", [part, x]) => call("locate", vec![part.clone(), x.clone()]),
        ("position" | "locate", [part, x, start]) => call("locate", vec![part.clone(), x.clone(), start.clone()]),
        ("ltrim" | "rtrim", [characters, x]) => call(name, vec![x.clone(), characters.clone()]),
        ("left", [x, length]) => {
            call("substring", vec![x.clone(), number("1"), call("greatest", vec![length.clone(), zero()])])
        }
        ("try_mod", [a, b]) => Expr::BinaryOp {
            left: Box::new(a.clone()),
            op: BinaryOperator::Modulo,
            right: Box::new(call("nullif", vec![b.clone(), zero()])),
        },
        ("regexp_substr", [x, pattern]) => {
            call("nullif", vec![call("regexp_extract", vec![x.clone(), pattern.clone(), zero()]), text("")])
        }
        ("levenshtein", [a, b, most]) => {
            let distance = call("levenshtein", vec![a.clone(), b.clone()]);
            let near = Expr::BinaryOp {
                left: Box::new(distance.clone()),
                op: BinaryOperator::LtEq,
                right: Box::new(most.clone()),
            };
            call("if", vec![near, distance, number("-1")])
        }
        ("try_to_date", [_] | [_, _]) => cast(call("try_to_timestamp", given.to_vec()), DataType::Date),
        ("date_from_unix_date", [days]) => {
            call("date_add", vec![cast(text("1970-01-01"), DataType::Date), days.clone()])
        }
        ("current_timezone", []) => text("UTC"),
        ("curdate", []) => call("current_date", Vec::new()),
        ("dayname", [day]) => call("date_format", vec![day.clone(), text("E")]),
        ("array_prepend", [list, x]) => call("concat", vec![call("array", vec![x.clone()]), list.clone()]),
        ("space", [length]) => call("repeat", vec![text(" "), length.clone()]),
        ("factorial", [x]) => call("factorial", vec![cast(x.clone(), DataType::Int(None))]),
        ("decode", [x, pairs @ ..]) if pairs.len() >= 2 => decode(x, pairs),
        _ => return None,
    })
}

/// `decode(x, a, 'A', b, 'B', 'other')` as a CASE, where NULL is NULL.
fn decode(value: &Expr, pairs: &[Expr]) -> Expr {
    let whens = pairs.chunks_exact(2).map(|pair| CaseWhen {
        condition: Expr::BinaryOp {
            left: Box::new(value.clone()),
            op: BinaryOperator::Spaceship,
            right: Box::new(pair[0].clone()),
        },
        result: pair[1].clone(),
    });
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: whens.collect(),
        else_result: (pairs.len() % 2 == 1).then(|| Box::new(pairs[pairs.len() - 1].clone())),
    }
}

/// `LIKE '50!%' ESCAPE '!'`: with a backslash, the only escape DataFusion knows.
fn own_escape(expr: &mut Expr) {
    let (Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. }) = expr else { return };
    let escape = match escape_char {
        Some(ValueWithSpan { value: Value::SingleQuotedString(escape), .. }) => escape.chars().next(),
        _ => None,
    };
    let (Some(escape), Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(written), .. })) =
        (escape.filter(|escape| *escape != '\\'), pattern.as_mut())
    else {
        return;
    };
    let doubled = written.replace('\\', "\\\\");
    let mut escaped = String::with_capacity(doubled.len());
    let mut rest = doubled.chars();
    while let Some(c) = rest.next() {
        if c == escape {
            escaped.push('\\');
            escaped.extend(rest.next());
        } else {
            escaped.push(c);
        }
    }
    *written = escaped;
    *escape_char = None;
}

/// `x LIKE ANY (a, b)`: one of the patterns; `x LIKE ALL (a, b)`: each of them.
fn like_several(expr: &mut Expr) {
    let (Expr::Like { any, pattern, .. } | Expr::ILike { any, pattern, .. }) = &*expr else { return };
    let (patterns, op) = match pattern.as_ref() {
        // sqlparser takes `ALL (a, b)` for a function.
        Expr::Function(function) if function_name(function) == "all" => (all_arguments(function), BinaryOperator::And),
        _ if !any => return,
        Expr::Tuple(patterns) => (patterns.clone(), BinaryOperator::Or),
        Expr::Nested(one) => (vec![one.as_ref().clone()], BinaryOperator::Or),
        // A tuple that has become a struct already: every second argument is a pattern.
        Expr::Function(function) if function_name(function) == "named_struct" => {
            (arguments(function), BinaryOperator::Or)
        }
        _ => return,
    };
    let each = expr.clone();
    let one = |one: Expr| {
        let mut each = each.clone();
        if let Expr::Like { any, pattern, .. } | Expr::ILike { any, pattern, .. } = &mut each {
            *any = false;
            **pattern = one;
        }
        each
    };
    let joined = patterns.into_iter().map(one).reduce(|a, b| Expr::BinaryOp {
        left: Box::new(a),
        op: op.clone(),
        right: Box::new(b),
    });
    if let Some(joined) = joined {
        *expr = Expr::Nested(Box::new(joined));
    }
}

/// The values of a call of named_struct.
fn arguments(function: &Function) -> Vec<Expr> {
    all_arguments(function).into_iter().skip(1).step_by(2).collect()
}

/// The arguments of a call, when all of them are expressions.
pub(super) fn all_arguments(function: &Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let expr = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().map(expr).collect::<Option<_>>().unwrap_or_default()
}

/// `struct(a, t.b, c AS d)` names its fields after its columns.
fn named_struct(values: &[Expr]) -> Expr {
    let mut named = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let name = match value {
            Expr::Identifier(ident) | Expr::Named { name: ident, .. } => ident.value.to_lowercase(),
            Expr::CompoundIdentifier(parts) => parts.last().map(|part| part.value.to_lowercase()).unwrap_or_default(),
            _ => format!("col{}", at + 1),
        };
        let value = match value {
            Expr::Named { expr, .. } => (**expr).clone(),
            other => other.clone(),
        };
        named.extend([text(&name), value]);
    }
    call("named_struct", named)
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) }
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn number(value: &str) -> Expr {
    Expr::Value(ValueWithSpan { value: Value::Number(value.to_owned(), false), span: Span::empty() })
}

fn boolean(value: bool) -> Expr {
    Expr::Value(ValueWithSpan { value: Value::Boolean(value), span: Span::empty() })
}

/// A text literal.
pub(super) fn text(value: &str) -> Expr {
    Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(value.to_owned()), span: Span::empty() })
}

/// A call of a function.
pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
