//! Expressions of CEL, as users write them into resources: compiled once, within limits, over names
//! that are known.

use std::sync::{Arc, OnceLock};
use std::thread;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr};
use cel::{Env, Program};

use super::names::nearest;

/// The stack of the thread that parses. The parser descends into each bracket and condition, and
/// takes up to 200 KiB for one (debug build).
const PARSER_STACK: usize = 64 * 1024 * 1024;

/// How deep operations may stand in each other. Evaluation descends into each, on the 2 MiB stack
/// of whatever thread it is, and overflows it beyond 48 (debug build).
const MAX_DEPTH: usize = 24;

/// The names of types, which stand for themselves.
const TYPES: [&str; 11] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// How large an expression may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes.
    pub bytes: usize,
    /// The most brackets and conditions, wherever they stand, in texts too: what the parser makes
    /// of a broken text nobody can say beforehand.
    pub brackets: usize,
}

/// The standard functions of CEL, made once.
pub fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| Arc::new(Env::stdlib()))
}

/// Compiles an expression that uses no other variables than the `known` ones.
///
/// # Errors
///
/// What is wrong with it.
pub fn compile(text: &str, limits: &Limits, known: &[&str]) -> Result<Program, String> {
    let Limits { bytes, brackets } = limits;
    if text.len() > *bytes {
        return Err(format!("has more than {bytes} bytes"));
    }
    if text.matches(['(', '[', '{', '?']).count() > *brackets {
        return Err(format!("has more than {brackets} brackets and conditions"));
    }
    let program = parse(text)?;
    match unknown(program.expression(), &mut known.to_vec()) {
        None => Ok(program),
        Some(name) => {
            let hint = nearest(name, known.iter().copied())
                .map(|near| format!("; did you mean {near:?}?"))
                .unwrap_or_default();
            let known = known.join(", ");
            Err(format!(
                "{text:?} uses {name:?}, which is not known; accepted are {known}{hint}"
            ))
        }
    }
}

/// Parses on a thread of its own, whose stack is large enough for it.
fn parse(text: &str) -> Result<Program, String> {
    thread::scope(|scope| {
        let parser = thread::Builder::new().stack_size(PARSER_STACK);
        let parsed = parser.spawn_scoped(scope, || {
            let program = environment().compile(text).map_err(|errors| {
                format!("{text:?} is no expression of CEL: {}", plain(&errors))
            })?;
            if depth(program.expression()) > MAX_DEPTH {
                return Err(format!("is nested more than {MAX_DEPTH} deep"));
            }
            Ok(program)
        });
        let parsed = parsed.map_err(|error| format!("cannot be parsed: {error}"))?;
        let broken = |_| Err(format!("{text:?} cannot be parsed"));
        parsed.join().unwrap_or_else(broken)
    })
}

/// The message of a parser in one line.
fn plain(errors: &cel::ParseErrors) -> String {
    let text = errors.to_string();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// How deep operations stand in each other.
fn depth(expression: &IdedExpr) -> usize {
    let parts = parts(&expression.expr).into_iter();
    1 + parts.map(depth).max().unwrap_or_default()
}

/// The expressions of which one is made.
fn parts(expression: &Expr) -> Vec<&IdedExpr> {
    match expression {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => Vec::new(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Call(CallExpr { target, args, .. }) => {
            let target = target.iter().map(AsRef::as_ref);
            target.chain(args).collect()
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => entries(map.entries.iter().map(|entry| &entry.expr)),
        Expr::Struct(object) => entries(object.entries.iter().map(|entry| &entry.expr)),
        Expr::Comprehension(of) => vec![
            &of.iter_range,
            &of.accu_init,
            &of.loop_cond,
            &of.loop_step,
            &of.result,
        ],
    }
}

fn entries<'e>(entries: impl Iterator<Item = &'e EntryExpr>) -> Vec<&'e IdedExpr> {
    let parts = entries.flat_map(|entry| match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    });
    parts.collect()
}

/// The first variable that is not in scope.
fn unknown<'e>(expression: &'e IdedExpr, scope: &mut Vec<&'e str>) -> Option<&'e str> {
    let outer = scope.len();
    let parts = parts(&expression.expr);
    match &expression.expr {
        Expr::Ident(name) => {
            let is_known = scope.contains(&name.as_str()) || TYPES.contains(&name.as_str());
            (!is_known).then_some(name)
        }
        Expr::Comprehension(of) => {
            // What a macro brings is known inside of it only, and not where its list stands.
            let (outside, inside) = parts.split_at(2);
            let found = outside.iter().find_map(|part| unknown(part, scope));
            scope.extend([of.iter_var.as_str(), of.accu_var.as_str()]);
            scope.extend(of.iter_var2.as_deref());
            let found = found.or_else(|| inside.iter().find_map(|part| unknown(part, scope)));
            scope.truncate(outer);
            found
        }
        _ => parts.into_iter().find_map(|part| unknown(part, scope)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        bytes: 512,
        brackets: 16,
    };

    fn refusal(text: &str) -> Option<String> {
        compile(text, &LIMITS, &["event"]).err()
    }

    #[test]
    fn refuses_variables_that_are_not_known() {
        for good in [
            "event.a == 1",
            "has(event.a) && event.a.exists(x, x > 1)",
            "type(event.a) == int",
            "event.a.map(x, event.b.filter(y, y == x)).size() == {'k': event.c}.size()",
        ] {
            assert_eq!(refusal(good), None, "{good}");
        }
        for (bad, name) in [
            ("evnt.a == 1", "evnt"),
            ("event.a.exists(x, x > y)", "y"),
            // What a macro brings is known inside of it only.
            ("event.a.exists(x, x > 1) && x == 2", "x"),
            ("[event, {a: 1}].size() == 2", "a"),
        ] {
            let expected = format!("uses {name:?}, which is not known; accepted are event");
            assert!(
                refusal(bad).is_some_and(|text| text.contains(&expected)),
                "{bad}"
            );
        }
    }

    #[test]
    fn operations_stand_in_each_other_up_to_a_limit() {
        let most = MAX_DEPTH - 2;
        for (nested, beside) in [
            (
                format!("{}1 > 0", "1+".repeat(most + 1)),
                format!("{}1 > 0", "1+".repeat(most)),
            ),
            (
                format!("{}event", "event in ".repeat(most + 2)),
                format!("{}event", "event in ".repeat(most + 1)),
            ),
            (
                format!("event{}", ".a".repeat(most + 2)),
                format!("event{}", ".a".repeat(most + 1)),
            ),
        ] {
            let expected = format!("is nested more than {MAX_DEPTH} deep");
            assert_eq!(refusal(&nested), Some(expected), "{nested}");
            assert_eq!(refusal(&beside), None, "{beside}");
        }
        // Alternatives stand beside each other.
        assert_eq!(refusal(&format!("{}false", "false||".repeat(70))), None);
    }

    #[test]
    fn says_what_is_no_expression() {
        for bad in ["", "event.", "event.a ==", "'a", "(event"] {
            let refusal = refusal(bad);
            assert!(
                refusal.is_some_and(|text| text.contains("is no expression of CEL")),
                "{bad}"
            );
        }
    }
}
